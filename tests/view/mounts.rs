//! Roots with mounts below them.

use std::process::Command;

use super::stage::{Stage, assert_unchanged, makers, ran};
use crate::support::{Skip, in_mount_namespace, is_root, or_skip, skip, wrapped};

#[test]
fn what_is_mounted_below_the_root_is_viewed_as_well() {
    if !is_root() {
        skip!(Skip::NotPossible(
            "only root can mount something below a root"
        ));
    }
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let prepare = "cd $0 && mkdir -p ../disk/dir fixed && echo disk >../disk/notes &&
             ln -s nowhere home/link && chown -hR --reference=. ../disk fixed home";
        let prepared = Command::new("sh")
            .args(["-c", prepare])
            .arg(stage.root())
            .status();
        assert!(prepared.unwrap().success());
        let before = stage.checksum();
        let script = "cat /home/user/notes /opt/notes /etc/config; ls -a /var/empty
             echo new >/home/user/notes; echo new >/etc/new; rm /opt/notes /home/link
             echo x >/opt/dir/x; touch /new; echo x >/fixed/config";
        let view = stage.view_of(&stage.root(), &[script, "rm /new"]);
        // Mounted by root, in a namespace in which the maker is then.
        let mut view = wrapped(&stage.as_maker(), &view);
        view.env_clear();
        let mount = "cd \"$0\" && mount --bind ../disk opt && mount -t tmpfs none var/empty &&
             touch var/empty/file && mount --bind etc fixed &&
             mount -o remount,bind,ro fixed && exec \"$@\"";
        let mut view = or_skip!(in_mount_namespace(mount, &stage.root(), &view));
        let ran = ran(&view.output().unwrap());
        let told = ran[0].text("stdout");
        // The tmpfs is none of the root's files.
        assert_eq!(
            told, "notes\ndisk\na = 1\n.\n..\n",
            "{maker:?} {}",
            ran[0].0
        );
        let changes = [
            "+ /etc/new",
            "- /home/link",
            "~ /home/user/notes content",
            "+ /new",
            "+ /opt/dir/x",
            "- /opt/notes",
        ];
        assert_eq!(ran[0].scan(), changes, "{maker:?}");
        assert_eq!(ran[1].scan(), ["- /new"], "{maker:?}");
        assert_unchanged(&stage, &before);
    }
}

#[test]
fn the_machine_itself_can_be_viewed() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        // Also by a user to whom none of these directories belongs.
        let script = "mkdir -p /var/lib/skyhook-agent-was/here && rm /etc/passwd &&
             echo x >/opt/skyhook-agent-was-here; cat /opt/skyhook-agent-was-here";
        let output = stage.view_of("/".as_ref(), &[script]).output().unwrap();
        let ran = ran(&output);
        assert_eq!(ran[0].stdout_of_success(), "x\n", "{}", ran[0].0);
        let changes = [
            "- /etc/passwd",
            "+ /opt/skyhook-agent-was-here",
            "+ /var/lib/skyhook-agent-was",
            "+ /var/lib/skyhook-agent-was/here",
        ];
        assert_eq!(ran[0].scan(), changes, "{maker:?}");
        assert!(!std::path::Path::new("/opt/skyhook-agent-was-here").exists());
        assert_eq!(
            std::fs::read_to_string("/proc/self/mountinfo").unwrap(),
            mounts
        );
    }
}

#[test]
fn a_root_whose_only_mounts_are_those_that_a_view_has_of_its_own_can_be_viewed() {
    if !is_root() {
        skip!(Skip::NotPossible(
            "only root can mount something below a root"
        ));
    }
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let before = stage.checksum();
        let script = "echo new >/etc/dir/new; echo new >/home/user/notes; cat /etc/config";
        let view = stage.view_of(&stage.root(), &[script]);
        let mut view = wrapped(&stage.as_maker(), &view);
        view.env_clear();
        // A file is mounted in a container, too: /etc/hosts.
        let mount = "cd \"$0\" && mount -t proc none proc &&
             mount --bind etc/config etc/config && exec \"$@\"";
        let mut view = or_skip!(in_mount_namespace(mount, &stage.root(), &view));
        let ran = ran(&view.output().unwrap());
        assert_eq!(ran[0].stdout_of_success(), "a = 1\n", "{maker:?}");
        let changes = ["+ /etc/dir/new", "~ /home/user/notes content"];
        assert_eq!(ran[0].scan(), changes, "{maker:?}");
        assert_unchanged(&stage, &before);
    }
}

#[test]
fn a_directory_of_another_group_can_be_added_to() {
    if !is_root() {
        skip!(Skip::NotPossible("only root can change groups"));
    }
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let mut change = Command::new("chgrp");
        change.args(["-hR", "12"]).arg(stage.path("etc"));
        assert!(change.status().unwrap().success());
        let before = stage.checksum();
        let ran = stage.run(&["mkdir /etc/dir/new && echo x >/etc/new"]);
        ran[0].stdout_of_success();
        let changes = ["+ /etc/dir/new", "+ /etc/new"];
        assert_eq!(ran[0].scan(), changes, "{maker:?}");
        assert_unchanged(&stage, &before);
    }
}
