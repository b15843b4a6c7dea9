//! The directories for control files. The first of TMPDIR, /tmp, /var/tmp and the working
//! directory that accepts one is used. If none does, no step starts.

use std::fs;
use std::process::{Command, Output};

use serde_json::json;

use crate::support::{
    LEAVES_A_MARK, Node, assert_says, in_mount_namespace, is_root, or_skip, set_mode, stderr,
    with_prelude,
};

fn node() -> Node {
    Node::one_step()
        .command("service", LEAVES_A_MARK)
        .with_temp_dir()
}

/// An apply and an interrupt; both need a control file.
fn commands(node: &Node) -> [Command; 2] {
    let restart = json!({ "type": "restart_all_services" });
    [node.run("apply"), node.interrupt(&restart)]
}

/// Both have run, with their control files elsewhere.
#[track_caller]
fn assert_done(node: &Node, output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!stderr(output).contains("control file"), "{output:?}");
    assert!(node.has_run("a.sh"));
}

#[test]
fn a_missing_temp_dir_is_passed_over() {
    let node = node();
    fs::remove_dir(node.path("tmp")).unwrap();
    for mut command in commands(&node) {
        assert_done(&node, &command.output().unwrap());
        assert!(!node.path("tmp").exists());
    }
}

#[test]
fn a_full_temp_dir_is_passed_over() {
    let node = node();
    let script = "mount -t tmpfs -o size=64k none \"$0\" || exit 98
        head -c 100k /dev/zero > \"$0/fill\" 2> /dev/null
        \"$@\"; code=$?
        [ \"$(ls \"$0\")\" = fill ] || exit 97
        exit $code";
    for command in commands(&node) {
        let mut command = or_skip!(in_mount_namespace(script, &node.path("tmp"), &command));
        assert_done(&node, &command.output().unwrap());
    }
}

#[test]
fn a_read_only_temp_dir_is_passed_over() {
    let node = node();
    if is_root() {
        for command in commands(&node) {
            let script = "mount -t tmpfs -o ro none \"$0\" && exec \"$@\"";
            let mut command = or_skip!(in_mount_namespace(script, &node.path("tmp"), &command));
            assert_done(&node, &command.output().unwrap());
        }
        return;
    }
    set_mode(&node.path("tmp"), 0o500);
    for mut command in commands(&node) {
        assert_done(&node, &command.output().unwrap());
    }
}

/// No byte can be written anywhere, as if all disks were full. This does not need root.
#[test]
fn a_step_does_not_start_if_no_directory_accepts_a_control_file() {
    let node = node();
    let mut command = with_prelude("ulimit -f 0", &node.run_step());
    command.env("SKYHOOK_AGENT_WRITE_LOGS", "false");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let tmp = node.path("tmp");
    let dirs = format!("{}, /tmp, /var/tmp, .", tmp.display());
    let expected = format!("skyhook-agent: cannot write a control file in any of {dirs}: ");
    let line = stderr(&output);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert_says(&line, &[&expected, "File too large"]);
    assert!(node.left_in_temp_dir().is_empty());
    node.assert_nothing_done();
}

/// The control file has the step's variables, which may be secret.
#[test]
fn a_control_file_that_cannot_be_removed_is_named() {
    let node = Node::new()
        .step("a.sh", "#!/bin/sh\n$LOCK \"$TMPDIR\"\n")
        .with_temp_dir();
    let output = if is_root() {
        let script = "mount -t tmpfs none \"$0\" && exec \"$@\"";
        let mut command = node.run_step();
        command.env("LOCK", "mount -t tmpfs none");
        let mut command = or_skip!(in_mount_namespace(script, &node.path("tmp"), &command));
        command.output().unwrap()
    } else {
        let output = node.run_step().env("LOCK", "chmod 500").output().unwrap();
        set_mode(&node.path("tmp"), 0o700);
        output
    };
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let expected = format!(
        "skyhook-agent: cannot remove the control file {}/skyhook-agent-",
        node.path("tmp").display()
    );
    assert_says(&stderr(&output), &[&expected]);
}
