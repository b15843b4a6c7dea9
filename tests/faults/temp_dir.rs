//! The directory for control files is missing, full or read-only. Then no step can
//! start; one line says why, and nothing is half done.

use std::fs;
use std::process::{Command, Output};

use serde_json::json;

use crate::support::{
    LEAVES_A_MARK, Node, assert_says, in_mount_namespace, is_root, or_skip, set_mode, stderr,
    with_prelude,
};

fn node() -> Node {
    Node::one_step()
        .command("reboot", LEAVES_A_MARK)
        .with_temp_dir()
}

/// An apply and an interrupt; both need a control file.
fn commands(node: &Node) -> [Command; 2] {
    let reboot = json!({ "type": "node_restart" });
    [node.run("apply"), node.interrupt(&reboot)]
}

#[track_caller]
fn assert_refused(node: &Node, output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = stderr(output);
    assert_eq!(line.lines().count(), 1, "{line}");
    let dir = node.path("tmp");
    let dir = dir.display();
    let expected = format!("skyhook-agent: cannot write a control file in {dir}: {why}");
    assert_says(&line, &[&expected]);
    // No step has succeeded, and the interrupt may be tried again.
    node.assert_nothing_done();
}

#[test]
fn a_missing_temp_dir_starts_nothing_and_is_reported() {
    let node = node();
    fs::remove_dir(node.path("tmp")).unwrap();
    for mut command in commands(&node) {
        assert_refused(
            &node,
            &command.output().unwrap(),
            "No such file or directory",
        );
        assert!(!node.path("tmp").exists());
    }
}

#[test]
fn a_full_temp_dir_starts_nothing_and_is_reported() {
    let node = node();
    let script = "mount -t tmpfs -o size=64k none \"$0\" || exit 98
        head -c 100k /dev/zero > \"$0/fill\" 2> /dev/null
        \"$@\"; code=$?
        [ \"$(ls \"$0\")\" = fill ] || exit 97
        exit $code";
    for command in commands(&node) {
        let mut command = or_skip!(in_mount_namespace(script, &node.path("tmp"), &command));
        assert_refused(&node, &command.output().unwrap(), "No space left on device");
    }
}

/// No byte can be written, as on a full disk. This does not need root.
#[test]
fn a_temp_dir_that_accepts_no_byte_starts_nothing_and_is_reported() {
    let node = node();
    for command in commands(&node) {
        // An interrupt writes its flag first, which fails as well.
        let mut command = with_prelude("ulimit -f 0", &command);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let line = stderr(&output);
        assert_eq!(line.lines().count(), 1, "{line}");
        assert_says(&line, &["skyhook-agent: cannot write ", "File too large"]);
        assert!(node.left_in_temp_dir().is_empty());
        node.assert_nothing_done();
    }
}

#[test]
fn a_read_only_temp_dir_starts_nothing_and_is_reported() {
    let node = node();
    if is_root() {
        for command in commands(&node) {
            let script = "mount -t tmpfs -o ro none \"$0\" && exec \"$@\"";
            let mut command = or_skip!(in_mount_namespace(script, &node.path("tmp"), &command));
            assert_refused(&node, &command.output().unwrap(), "Read-only file system");
        }
        return;
    }
    set_mode(&node.path("tmp"), 0o500);
    for mut command in commands(&node) {
        assert_refused(&node, &command.output().unwrap(), "Permission denied");
    }
}
