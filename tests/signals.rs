//! Signals to a running `run-step`, and the terminal it may share with its steps.

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use support::skip::{Skip, try_out};
use support::{
    LEAVES_A_MARK, Node, Running, WAITS, assert_says, names, or_skip, stderr, stdout, unstamp,
    with_prelude, wrapped,
};

/// A step that waits, and one that leaves a mark.
fn node() -> Node {
    Node::new()
        .step("wait.sh", WAITS)
        .step("mark.sh", LEAVES_A_MARK)
}

/// Starts a run, and waits until its first step waits.
fn start(command: &mut Command) -> Running {
    let mut run = Running::start(command);
    run.wait_for_line("ready");
    run
}

/// Asserts that a signal has cancelled the run, which leaves a step undone.
#[track_caller]
fn assert_cancelled(node: &Node, run: Running, next_notice: &str) {
    assert_finishes(node, run, next_notice, 1);
}

/// Asserts that a run that got a signal lets its step finish with all its output, and
/// starts no other, which `next_notice` says.
#[track_caller]
fn assert_finishes(node: &Node, mut run: Running, next_notice: &str, code: i32) {
    let notice = run.wait_for_notice();
    assert_says(&notice, &["cancelled: ", "wait.sh finishes"]);
    run.send("words");
    let output = run.finish();
    assert_eq!(output.status.code(), Some(code));
    assert_eq!(
        unstamp("[out]", &stdout(&output)),
        "ready\nlast words\nSUCEEDED: wait.sh \n"
    );
    assert_eq!(
        stderr(&output),
        format!("skyhook-agent: {notice}\n{next_notice}")
    );
    assert_eq!(
        unstamp("[out]", &node.log("wait.sh", ".log")),
        "ready\nlast words\n"
    );
    assert!(!node.has_run("mark.sh"));
    assert_eq!(names(&node.package_logs()).len(), 2);
}

const MARK_DOES_NOT_START: &str = "skyhook-agent: cancelled: mark.sh does not start\n";

#[test]
fn sigterm_lets_the_running_step_finish_and_starts_no_other() {
    let node = node();
    let run = start(node.run_step().arg("--stdin"));
    kill(run.pid(), Signal::SIGTERM).unwrap();
    assert_cancelled(&node, run, MARK_DOES_NOT_START);
}

#[test]
fn sigterm_to_the_agent_s_process_group_does_not_reach_the_step() {
    let node = node();
    // In a session of its own, without a terminal.
    let run = start(&mut wrapped(&["setsid"], node.run_step().arg("--stdin")));
    killpg(run.pid(), Signal::SIGTERM).unwrap();
    assert_cancelled(&node, run, MARK_DOES_NOT_START);
}

#[test]
fn sigterm_during_the_last_step_of_run_step_changes_nothing() {
    let node = Node::new().step("wait.sh", WAITS);
    let run = start(node.run_step().arg("--stdin"));
    kill(run.pid(), Signal::SIGTERM).unwrap();
    assert_finishes(&node, run, "", 0);
}

#[test]
fn a_sighup_that_the_agent_was_started_to_ignore_cancels_nothing() {
    let node = node();
    let mut run = start(&mut with_prelude(
        "trap '' HUP",
        node.run_step().arg("--stdin"),
    ));
    kill(run.pid(), Signal::SIGHUP).unwrap();
    run.send("words");
    let output = run.finish();
    assert_eq!(output.status.code(), Some(0));
    let stdout = stdout(&output);
    assert!(stdout.ends_with("SUCEEDED: mark.sh \n"), "{stdout}");
    assert_eq!(stderr(&output), "");
}

/// `run-step` on a terminal, which script(1) of util-linux makes.
fn on_terminal(node: &Node, redirection: &str, arguments: &[&str]) -> Result<Command, Skip> {
    let mut run_step = node.run_step();
    run_step.args(arguments);
    let words = std::iter::once(run_step.get_program()).chain(run_step.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.display())).collect();
    let script = |command: &str| {
        let mut script = Command::new("timeout");
        script.args(["20", "script", "-qec", command, "/dev/null"]);
        script.stdin(Stdio::null());
        script
    };
    try_out(&mut script("true"), "script(1) gets no terminal")?;
    // Some shells stay, and would end by Ctrl-C themselves.
    Ok(script(&format!("exec {}{redirection}", words.join(" "))))
}

/// With a timeout the step has a process group of its own, which the terminal does not know.
#[test]
fn ctrl_c_reaches_the_step_with_and_without_a_timeout() {
    for timeout in [&[][..], &["--timeout", "1h"]] {
        // It says that it is ready when nothing is left to be started.
        let script = "#!/bin/sh\nsleep 60 &\ntrap 'kill $!; exit 3' INT\necho ready\nwait\n";
        let node = Node::new()
            .step("wait.sh", script)
            .step("mark.sh", LEAVES_A_MARK);
        let arguments = [&["--plain"], timeout].concat();
        let begun = Instant::now();
        let mut run = Running::start(&mut or_skip!(on_terminal(&node, "", &arguments)));
        run.wait_for_line("ready");
        run.send("\u{3}");
        let output = run.finish();
        assert!(begun.elapsed() < Duration::from_secs(15), "{output:?}");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let shown = stdout(&output);
        assert_says(
            &shown,
            &["cancelled: ", "wait.sh finishes, nothing further starts"],
        );
        assert_says(&shown, &["FAILED: wait.sh  3\r\n"]);
        assert!(!node.has_run("mark.sh"), "{shown}");
    }
}

/// The kernel would stop a step in a process group of its own when it sets the
/// terminal, as ssh and sudo do, and nothing would report that.
#[test]
fn a_step_may_set_the_terminal() {
    let node = Node::new().step("tty.sh", "#!/bin/sh\nstty sane < /dev/tty && echo set\n");
    // Its stdin is still none.
    let mut run = or_skip!(on_terminal(&node, " < /dev/null", &["--plain"]));
    let output = run.output().unwrap();
    assert_says(&stdout(&output), &[" set", "SUCEEDED: tty.sh"]);
}
