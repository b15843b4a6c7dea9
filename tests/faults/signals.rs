//! Signals to a run.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::json;

use crate::support::node::{LEAVES_A_MARK, Node, behind_banner, files, wrapped};
use crate::support::{assert_says, log_in, pid, stderr, stdout, unstamp};

/// Says that it is ready, waits for a line on stdin, and has last words.
const WAITS: &str = "#!/bin/sh\necho ready\nread -r word\necho \"last $word\"\n";

/// `command` in a session of its own, where no terminal has a say.
fn in_own_session(command: &Command) -> Command {
    wrapped(&["setsid"], command)
}

/// Starts a run, has `signal` sent while its first step waits, and lets the step
/// go on once the agent has said that it will end.
fn cancelled(command: &mut Command, waiting: &str, signal: impl FnOnce(Pid)) -> Output {
    let mut run = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(run.stdout.take().unwrap());
    let mut said = String::new();
    while !said.ends_with(" ready\n") {
        assert_ne!(stdout.read_line(&mut said).unwrap(), 0, "{said}");
    }
    signal(pid(&run));
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    let mut notice = String::new();
    stderr.read_line(&mut notice).unwrap();
    assert_says(&notice, &["cancelled: ", &format!("{waiting} finishes")]);

    run.stdin.take().unwrap().write_all(b"words\n").unwrap();
    stdout.read_to_string(&mut said).unwrap();
    stderr.read_to_string(&mut notice).unwrap();
    Output {
        status: run.wait().unwrap(),
        stdout: said.into(),
        stderr: notice.into(),
    }
}

#[test]
fn sigterm_lets_the_step_finish_and_keeps_its_flag() {
    let to_the_process: fn(Pid) = |pid| kill(pid, Signal::SIGTERM).unwrap();
    let to_its_group: fn(Pid) = |pid| killpg(pid, Signal::SIGTERM).unwrap();
    for signal in [to_the_process, to_its_group] {
        let node = Node::new().step("a.sh", WAITS).step("b.sh", LEAVES_A_MARK);
        let output = cancelled(&mut in_own_session(&node.run("apply")), "a.sh", signal);
        assert_eq!(output.status.code(), Some(1));
        let said = unstamp("[out]", &behind_banner(&output));
        assert_says(&said, &["ready\nlast words\nSUCEEDED: a.sh \n"]);
        assert!(!said.contains("SUCEEDED: b.sh"), "{said}");
        assert_says(&stderr(&output), &["cancelled: b.sh does not start\n"]);
        let log = log_in(&node.path("log/pkg/1.2.3"), "a.sh", ".log");
        assert_eq!(unstamp("[out]", &log), "ready\nlast words\n");
        assert_eq!(
            files(&node.path("state/flags/pkg")),
            [node.flag("a.sh")],
            "the flag of what has finished, and of nothing else"
        );
        assert!(!node.has_run("b.sh"));
    }
}

#[test]
fn sigterm_among_checks_leaves_no_results_and_no_history() {
    let node = Node::new().step("a.sh", "").step("b.sh", "");
    node.script("a_check.sh", WAITS);
    node.script("b_check.sh", LEAVES_A_MARK);
    let mut command = in_own_session(&node.run("apply-check"));
    let output = cancelled(&mut command, "a_check.sh", |pid| {
        kill(pid, Signal::SIGTERM).unwrap();
    });
    assert_eq!(output.status.code(), Some(1));
    assert_says(&stdout(&output), &["SUCEEDED: a_check.sh \n"]);
    assert!(!node.has_run("b_check.sh"));
    assert_eq!(files(&node.path("state")), [node.path("state/flags/START")]);
}

#[test]
fn sigterm_lets_an_interrupt_s_command_finish_and_keeps_its_flag() {
    let script = format!("{WAITS}[ \"$1\" = daemon-reload ] || : > \"$0.ran\"\n");
    let node = Node::new().command("systemctl", &script);
    let restart = json!({ "type": "service_restart", "services": ["a"] });
    let mut command = in_own_session(&node.interrupt(&restart));
    let output = cancelled(&mut command, "systemctl", |pid| {
        kill(pid, Signal::SIGTERM).unwrap();
    });
    assert_eq!(output.status.code(), Some(1));
    let notice = "cancelled: interrupt service_restart_1 does not start\n";
    assert_says(&stderr(&output), &[notice]);
    assert!(node.interrupt_flag("service_restart_0").exists());
    assert!(!node.interrupt_flag("service_restart_1").exists());
    assert!(!node.path("bin/systemctl.ran").exists());
}

#[test]
fn sigterm_during_an_interrupt_s_last_command_is_1_and_keeps_its_flag() {
    let node = Node::new().command("reboot", WAITS);
    let mut command = in_own_session(&node.interrupt(&json!({ "type": "node_restart" })));
    let output = cancelled(&mut command, "reboot", |pid| {
        kill(pid, Signal::SIGTERM).unwrap();
    });
    assert_eq!(output.status.code(), Some(1));
    assert!(node.interrupt_flag("node_restart_0").exists());
}
