//! Roots with mounts below them.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::stage::{Stage, assert_unchanged, lines, makers, ran};
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

/// Runs scripts in a view of the root, after `mount`, which root runs in the root in a mount
/// namespace of its own.
fn after_mounts(stage: &Stage, mount: &str, scripts: &[&str]) -> Result<Output, Skip> {
    let view = stage.view_of(&stage.root(), scripts);
    let mut view = wrapped(&stage.as_maker(), &view);
    view.env_clear().env("PATH", env!("PATH"));
    let mount = format!("cd \"$0\" && {mount} && exec \"$@\"");
    let mut view = in_mount_namespace(&mount, &stage.root(), &view)?;
    Ok(view.output().unwrap())
}

#[test]
fn a_file_system_that_does_not_answer_is_named_and_not_waited_for() {
    if !is_root() || !cfg!(target_arch = "x86_64") {
        skip!(Skip::NotPossible("only root can mount, by these numbers"));
    }
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        std::fs::create_dir(stage.path("usr/local")).unwrap();
        // A file system in user space whose program does nothing. The next program has its
        // descriptor.
        let silent = r#"perl -e '$^F = 99; open(F, "+<", "/dev/fuse") or exit 0;
            my ($kind, $at) = ("fuse", "usr/local");
            my $options = "fd=" . fileno(F) . ",rootmode=40000,user_id=0,group_id=0,allow_other";
            syscall(165, $kind, $at, $kind, 0, $options) == 0 or exit 0;
            exec @ARGV' "#;
        let mount = format!("set -- {silent} \"$@\"");
        let start = Instant::now();
        let output = or_skip!(after_mounts(&stage, &mount, &["true"]));
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() && output.stdout.is_empty() {
            skip!(Skip::NotPossible("there is no /dev/fuse"));
        }
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("usr/local does not answer"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn mounts_are_laid_from_the_top_whatever_came_first() {
    if !is_root() {
        skip!(Skip::NotPossible("only root can mount"));
    }
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let mount = "mkdir -p ../a ../b/in opt/a opt/b && echo a >../a/file && echo b >../b/file &&
             chown -R --reference=. ../a ../b opt &&
             mount --bind ../a opt/a && mount --make-private opt/a &&
             mount --bind ../b opt/b && mount --move opt/a opt/b/in";
        let script = "cat /opt/b/file /opt/b/in/file; echo >/opt/b/in/new";
        let output = or_skip!(after_mounts(&stage, mount, &[script]));
        let lines = lines(&output);
        assert_eq!(lines[1].stdout_of_success(), "b\na\n", "{maker:?}");
        assert_eq!(lines[1].scan(), ["+ /opt/b/in/new"], "{maker:?}");
        assert_eq!(lines[0].gaps(), [""; 0], "{maker:?}");
    }
}

#[test]
fn a_mount_with_a_long_path_is_viewed_as_well() {
    if !is_root() {
        skip!(Skip::NotPossible("only root can mount"));
    }
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let path = format!("opt/{0}/{0}", "a".repeat(200));
        let mount =
            format!("mkdir -p ../disk {path} && chmod 777 ../disk && mount --bind ../disk {path}");
        let script = format!("echo >/{path}/new");
        let output = or_skip!(after_mounts(&stage, &mount, &[&script]));
        let lines = lines(&output);
        lines[1].stdout_of_success();
        assert_eq!(lines[1].scan(), [format!("+ /{path}/new")], "{maker:?}");
        assert_eq!(lines[0].gaps(), [""; 0], "{maker:?}");
    }
}

#[test]
fn an_overlay_that_is_a_part_of_the_root_is_viewed_and_those_of_containers_are_not() {
    if !is_root() {
        skip!(Skip::NotPossible("only root can mount"));
    }
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        // As systemd-sysext lays one over /usr.
        let mount =
            "mkdir -p ../more/share/more opt/c/merged && echo more >../more/share/more/file &&
             for at in usr opt/c/merged; do
                 mount -t overlay -o lowerdir=../more:usr none $at || exit 1
             done";
        let script = "cat /usr/share/more/file; ls -A /opt/c/merged; : >/usr/share/more/file";
        let output = or_skip!(after_mounts(&stage, mount, &[script]));
        let lines = lines(&output);
        assert_eq!(lines[1].text("stdout"), "more\n", "{maker:?}");
        // As in the root.
        assert!(
            lines[1].text("stderr").contains("Read-only file system"),
            "{maker:?}"
        );
    }
}
