use super::*;

const NODE: &str = "\
21 1 254:0 / / rw,relatime - overlay overlay rw
22 21 0:5 / /proc rw - proc proc rw
30 21 8:1 / /root rw,relatime master:1 - ext4 /dev/sda1 rw,errors=remount-ro
31 30 0:6 / /root/dev rw - devtmpfs devtmpfs rw
32 30 0:22 / /root/run rw - tmpfs tmpfs rw
33 30 8:2 / /root/boot rw - ext4 /dev/sda2 rw
34 33 8:3 / /root/boot/efi rw - vfat /dev/sda3 rw
35 30 0:40 / /root/var/my\\040disk rw shared:7 - btrfs /dev/sdb rw,subvol=/
36 30 8:4 / /root/usr ro - xfs /dev/sda4 rw
37 30 8:5 / /root/media rw - ext4 /dev/sda5 ro
38 30 0:50 / /root/nfs rw - nfs4 server:/ rw
39 38 8:6 / /root/nfs/local rw - ext4 /dev/sda6 rw
40 30 0:51 / /root/fuse rw - fuse.sshfs me@there rw
41 30 8:7 / /root/ntfs rw - fuseblk /dev/sda7 rw
42 30 0:52 / /root/new rw - afskind none rw
43 30 8:8 / /root/new/below rw - ext4 /dev/sda8 rw
44 30 0:53 / /root/auto rw - autofs systemd-1 rw
45 44 8:9 / /root/auto rw - ext4 /dev/sda9 rw
46 30 0:54 / /root/home rw - autofs auto rw
47 46 8:10 / /root/home/me rw - ext4 /dev/sda10 rw
48 30 8:1 /srv /root/srv rw - ext4 /dev/sda1 rw
49 30 0:60 / /root/run/containerd/rootfs rw - overlay overlay rw
50 30 8:11 / /root/var/lib/kubelet/pods/1/volumes/v rw - ext4 /dev/sdc rw
51 30 8:12 / /root/cluster rw - gfs2 /dev/sdd rw
52 30 8:13 / /rootless rw - ext4 /dev/sde rw
53 30 0:61 / /root/cifs rw - cifs //there rw
54 53 8:15 / /root/cifs rw - ext4 /dev/sdf rw
57 49 8:17 / /root/run/containerd/rootfs/disk rw - ext4 /dev/sdh rw
58 32 8:18 / /root/run/disk rw - ext4 /dev/sdi rw
broken
55 30 x:y / /root/broken rw - ext4 /dev/sdg rw
56 30 8:16 / /root/broken rw ext4 /dev/sdg rw
";

fn chosen(text: &str, root: &str) -> Vec<(String, (u64, u64))> {
    let mut mounts = Mounts::new(Path::new(root));
    for line in text.lines() {
        mounts.add(format!("{line}\n").as_bytes());
    }
    let chosen = mounts.chosen().into_iter();
    chosen
        .map(|mount| (mount.path.to_str().unwrap().to_owned(), mount.device))
        .collect()
}

#[test]
fn local_file_systems_at_and_below_the_root_are_chosen_and_nothing_that_could_hang() {
    let expected = [
        ("/root", (8, 1)),
        ("/root/boot", (8, 2)),
        ("/root/boot/efi", (8, 3)),
        ("/root/var/my disk", (0, 40)),
        // Mounted on its automount point, so nothing is triggered.
        ("/root/auto", (8, 9)),
        ("/root/srv", (8, 1)),
        // Neither an overlay nor a tmpfs can hang.
        ("/root/run/containerd/rootfs/disk", (8, 17)),
        ("/root/run/disk", (8, 18)),
    ];
    let expected = expected.map(|(path, device)| (path.to_owned(), device));
    assert_eq!(chosen(NODE, "/root"), expected);
}

#[test]
fn the_root_is_on_the_mount_with_the_longest_path_and_of_those_on_the_last() {
    // A directory of another file system.
    let below = "/root/boot/efi/EFI";
    assert_eq!(chosen(NODE, below), [(below.to_owned(), (8, 3))]);
    // A node whose own root is an overlay, as in kind.
    assert_eq!(chosen(NODE, "/x"), [("/x".to_owned(), (254, 0))]);
    let overlay = "21 1 0:30 / / rw - overlay overlay rw";
    assert_eq!(chosen(overlay, "/"), [("/".to_owned(), (0, 30))]);
    let covered = format!("{NODE}60 30 8:20 / /root rw - xfs /dev/sdz rw\n");
    assert_eq!(chosen(&covered, "/root")[0], ("/root".to_owned(), (8, 20)));
    // A root on the network, or read-only, is not synced itself.
    let covered = format!("{NODE}60 30 0:70 / /root rw - nfs there:/ rw\n");
    assert_eq!(chosen(&covered, "/root")[0].0, "/root/boot");
    assert_eq!(chosen(NODE, "/root/usr/local"), []);
}

/// Their files have other device numbers than the mount, each subvolume its own.
#[test]
fn file_systems_with_several_device_numbers_are_known() {
    let mount = |file_system: &str| {
        let text = format!("35 30 8:1 / /root/disk rw - {file_system} /dev/sdb rw");
        let mut mounts = Mounts::new(Path::new("/root"));
        mounts.add(text.as_bytes());
        mounts.chosen().remove(0)
    };
    for (file_system, has_one) in [("ext4", true), ("btrfs", false), ("bcachefs", false)] {
        assert_eq!(mount(file_system).has_one_device, has_one, "{file_system}");
    }
}

#[test]
fn escapes_are_undone_and_only_those() {
    for (field, path) in [
        (&br"/a\040b\011c\134d"[..], "/a b\tc\\d"),
        (br"/a\04", r"/a\04"),
        (br"\999", r"\999"),
        (br"/disk040", "/disk040"),
        (b"/plain", "/plain"),
    ] {
        assert_eq!(unescape(field), path.as_bytes());
    }
}
