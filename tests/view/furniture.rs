//! What a view has of its own.

use std::fs;

use super::stage::{Stage, lines, makers};
use crate::support::or_skip;

#[test]
fn a_view_has_a_boot_of_its_own() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let boot_id = "cat /proc/sys/kernel/random/boot_id";
        let ran = stage.run(&[boot_id, boot_id, "reboot!", boot_id]);
        let of_machine = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let ids: Vec<&str> = ran.iter().map(|ran| ran.stdout_of_success()).collect();
        assert_eq!(ids[0].len(), of_machine.len());
        assert_ne!(ids[0], of_machine);
        assert_eq!(ids[0], ids[1]);
        assert_ne!(ids[1], ids[2]);
    }
}

#[test]
fn a_view_has_no_network_and_a_name_that_it_can_change() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let script = r#"cat /proc/net/dev; cat /proc/sys/kernel/hostname
            perl -e 'my $name = "other"; syscall(170, $name, 5)'"#;
        let ran = stage.run(&[script, "cat /proc/sys/kernel/hostname"]);
        let told: Vec<&str> = ran[0].text("stdout").lines().collect();
        // Two lines of headings, and the loopback device.
        assert_eq!(told.len(), 4, "{told:?}");
        let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(told[3], hostname.trim_end());
        if cfg!(target_arch = "x86_64") {
            assert_eq!(ran[1].stdout_of_success(), "other\n");
        }
        let after = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(after, hostname);
    }
}

#[test]
fn the_upper_layer_is_kept_where_that_is_asked_for() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let keep = stage.path("../kept");
        let make = |scripts: &[&str]| {
            let mut view = stage.view_of(&stage.root(), scripts);
            view.env("VIEW_KEEP", &keep).output().unwrap()
        };
        fs::create_dir(&keep).unwrap();
        let owner = fs::metadata(stage.root()).unwrap();
        let owner = std::os::unix::fs::MetadataExt::uid(&owner);
        std::os::unix::fs::chown(&keep, Some(owner), None).unwrap();
        lines(&make(&["echo kept >/etc/kept"]));
        let kept = fs::read_to_string(keep.join("root/upper/etc/kept")).unwrap();
        assert_eq!(kept, "kept\n");
        assert_eq!(crate::support::names(&keep.join("root")), ["upper"]);
        // Not to be mixed with the next one.
        let again = make(&["true"]);
        assert!(!again.status.success());
        let said = String::from_utf8_lossy(&again.stderr);
        assert!(
            said.ends_with("kept: expected an empty directory\n"),
            "{said}"
        );
    }
}

#[test]
fn a_root_without_the_directories_of_a_view_is_left_without_them() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        for name in ["dev", "proc", "run", "sys", "tmp"] {
            fs::remove_dir(stage.path(name)).unwrap();
        }
        // Not to be followed out of the root.
        std::os::unix::fs::symlink("/tmp", stage.path("proc")).unwrap();
        let ran = stage.run(&["cat /proc/self/comm; ls /dev/null /sys/kernel; echo >/tmp/x"]);
        assert!(
            ran[0].stdout_of_success().starts_with("cat\n"),
            "{}",
            ran[0].0
        );
        assert_eq!(ran[0].differences(), [""; 0]);
        assert!(!stage.path("dev").exists());
    }
}
