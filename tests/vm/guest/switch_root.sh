# Runs in the initramfs, as init's last act: goes on with the systemd of the first disk.
# The second disk, which has what a part brings along, is at /test there.
mkdir /node
mount -t ext4 /dev/vda /node || { echo "switch_root: cannot mount the node"; poweroff -f; }
mount -t ext4 /dev/vdb /node/test || { echo "switch_root: cannot mount /test"; poweroff -f; }
mount --move /dev /node/dev
umount /sys /proc
exec switch_root /node /sbin/init
