# Runs in the guest of the part `quick`, as init's last act.
echo booted
/skyhook-agent --version
mount -t ext4 /dev/vda /root
mkdir -p /root/bin /root/etc /root/tmp
cp /bin/busybox /root/bin/busybox
ln -s busybox /root/bin/sh
COPY_RESOLV=false SKYHOOK_RESOURCE_ID=vm_greeting_1.0.0 \
    /skyhook-agent apply /root /var/lib/skyhook/greeting
echo "apply ended with $?"
echo "greeted: $(cat /root/etc/greeted)"
find /root/etc/skyhook/flags/greeting -type f | sed 's/^/flag: /'
umount /root
