//! Steps that end, hold their output, or stop; alone and with their processes.

use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::support::running::{stop, wait_for_state, wait_until};
use crate::support::{
    LEAVES_A_MARK, Node, Running, after_banner, assert_says, files, steps_and_agent_stderr,
    unstamp, wrapped,
};

/// Fails if the agent has a zombie.
const NO_ZOMBIES: &str = "#!/bin/sh\n! grep -qs \"^[0-9]* ([^)]*) Z $PPID \" /proc/[0-9]*/stat\n";

/// Holds both pipes until the run's stdin ends.
const HOLDS: &str = "exec 3<&0; cat <&3 &";

/// The same with standard error alone.
const HOLDS_STDERR: &str = "exec 3<&0; cat <&3 >/dev/null &";

/// Writes a line at a time until there is no reader.
const WRITES: &str = "while :; do echo babble; done &";

/// Lines on both streams, more than their pipes can hold.
const TALKS: &str = "i=0; while [ $i -lt 5000 ]; do
    i=$((i + 1)); echo \"out line number $i\"; echo \"err line number $i\" >&2
done\n";

fn lines(stream: &str) -> String {
    let line = |i| format!("{stream} line number {i}\n");
    (1..=5000).map(line).collect()
}

/// A step that does `first`, [talks](TALKS), and then does `last`; and the next.
fn talking_node(first: &str, last: &str) -> Node {
    Node::new()
        .step("a.sh", &format!("#!/bin/sh\n{first}\n{TALKS}{last}\n"))
        .step("b.sh", LEAVES_A_MARK)
        .with_temp_dir()
}

/// A run in a process group of its own.
fn run(node: &Node, mode: &str) -> Command {
    wrapped(&["setsid"], &node.run(mode))
}

/// Asserts that the lines of [`TALKS`] are whole in the logs and on the console, and
/// that `verdict` follows them there. Other lines may only be from `others`. No
/// control file is left.
#[track_caller]
fn assert_whole(node: &Node, output: &Output, verdict: &str, others: &str) {
    let shown = unstamp("[out]", &after_banner(output));
    let (_, shown) = shown.split_once("Idempotence.Auto True\n").unwrap();
    let (shown, _) = shown
        .split_once(verdict)
        .unwrap_or_else(|| panic!("expected {verdict:?} in {output:?}"));
    let (shown_err, _) = steps_and_agent_stderr(output);
    let log = unstamp("[out]", &node.log("a.sh", ".log"));
    let err_log = unstamp("[err]", &node.log("a.sh", ".log.err"));
    assert!(shown == log, "stdout and its log differ");
    assert!(shown_err == err_log, "stderr and its log differ");

    let is_own = |line: &&str| line.ends_with('\n') && !others.contains(*line);
    let own = |text: &str| -> String { text.split_inclusive('\n').filter(is_own).collect() };
    assert!(own(shown) == lines("out"), "stdout is not whole");
    assert!(shown_err == lines("err"), "stderr is not whole");
    // The last line may have been cut.
    let last = shown.split_inclusive('\n').next_back().unwrap_or_default();
    assert!(last.ends_with('\n') || others.contains(last), "{last:?}");
    assert_eq!(node.left_in_temp_dir(), [""; 0]);
}

/// Runs a step that leaves a process behind, which keeps the output open for longer
/// than the agent waits. Returns that process.
fn run_with_holder(leave: &str, others: &str) -> Pid {
    let node = talking_node(&format!("{leave}\necho $! > \"$0.pid\""), "exit 3");
    let mut command = run(&node, "apply");
    command.env("SKYHOOK_AGENT_DRAIN_TIMEOUT", "0.05");
    let output = Running::start(&mut command).finish();
    assert_eq!(output.status.code(), Some(1));
    assert_whole(&node, &output, "FAILED: a.sh  3\n", others);
    let pid = node.text("copy/skyhook_dir/a.sh.pid").trim().to_owned();
    let (_, notices) = steps_and_agent_stderr(&output);
    assert_eq!(notices.lines().count(), 1, "{notices}");
    let held = format!("a.sh has ended, but its output is held open by {pid} (");
    assert_says(&notices, &[&held, "); not waiting any longer, "]);
    assert_eq!(files(&node.path("state")), [node.path("state/flags/START")]);
    Pid::from_raw(pid.parse().unwrap())
}

#[test]
fn a_grandchild_that_writes_without_end_is_cut_off_and_the_step_s_output_is_whole() {
    let writer = run_with_holder(WRITES, "babble\n");
    // Without a reader it ends by SIGPIPE.
    wait_for_state(writer, None);
}

#[test]
fn a_grandchild_that_holds_both_pipes_is_cut_off_and_the_step_s_output_is_whole() {
    run_with_holder(HOLDS, "");
}

#[test]
fn a_grandchild_that_holds_only_stderr_is_cut_off_and_the_step_s_output_is_whole() {
    run_with_holder(HOLDS_STDERR, "");
}

/// A run whose step has ended and has left a process behind, which holds the output.
struct Held {
    node: Node,
    run: Running,
    holder: Pid,
}

impl Held {
    fn start(leave: &str) -> Held {
        let node = talking_node(leave, "echo holder $!");
        let mut run = Running::start(&mut run(&node, "apply"));
        let holder = run.wait_for_line("holder").parse().unwrap();
        Held {
            node,
            run,
            holder: Pid::from_raw(holder),
        }
    }
}

/// The notice comes after ten seconds. All four runs wait at the same time.
#[test]
fn the_holder_of_a_finished_step_s_output_is_named_and_waited_for() {
    let [mut writer, mut both, mut stderr, mut cancelled] = [
        Held::start("while echo babble; do sleep 0.1; done &"),
        Held::start(HOLDS),
        Held::start(HOLDS_STDERR),
        Held::start(HOLDS),
    ];
    for held in [&mut writer, &mut both, &mut stderr, &mut cancelled] {
        let ended = "a.sh ended 10s ago, but its output is held open by ";
        let notice = held.run.wait_for_notice();
        assert_says(&notice, &[ended, "; waiting for that to end"]);
        // Others may be named too: the one that writes also starts sleep.
        assert_says(&notice, &[&format!(" {} (", held.holder)]);
    }
    kill(cancelled.run.pid(), Signal::SIGTERM).unwrap();
    assert_says(
        &cancelled.run.wait_for_notice(),
        &["cancelled: ", "a.sh finishes"],
    );

    for (mut held, others, is_cancelled) in [
        (writer, "babble\n", false),
        (both, "", false),
        (stderr, "", false),
        (cancelled, "", true),
    ] {
        assert!(held.run.has_not_ended());
        assert!(!held.node.flag("a.sh").exists());
        kill(held.holder, Signal::SIGKILL).unwrap();
        let output = held.run.finish();
        assert_eq!(output.status.code(), Some(i32::from(is_cancelled)));
        let (_, notices) = steps_and_agent_stderr(&output);
        let expected = if is_cancelled { 3 } else { 1 };
        assert_eq!(notices.lines().count(), expected, "{notices}");
        let others = format!("{others}holder {}\n", held.holder);
        assert_whole(&held.node, &output, "SUCEEDED: a.sh \n", &others);
        assert!(held.node.flag("a.sh").exists());
        assert_eq!(held.node.has_run("b.sh"), !is_cancelled);
    }
}

#[test]
fn a_step_that_closes_its_output_is_waited_for_and_its_code_counts() {
    for close in ["exec >&-", "exec 2>&-", "exec >&- 2>&-"] {
        // The step creates a file when its streams are closed.
        let last = format!("{close}\n: > \"$0.closed\"\nread -r word\n: > \"$0.$word\"\nexit 9");
        let node = talking_node("", &last);
        let mut run = Running::start(&mut run(&node, "apply"));
        run.wait_for_line("out line number 5000");
        let script = |name| node.path(&format!("copy/skyhook_dir/a.sh.{name}"));
        wait_until("the step to close its output", || script("closed").exists());
        assert!(run.has_not_ended());
        run.send("told");
        let output = run.finish();
        assert_eq!(output.status.code(), Some(1));
        assert!(script("told").exists());
        assert_whole(&node, &output, "FAILED: a.sh  9\n", "");
        assert_eq!(steps_and_agent_stderr(&output).1, "");
    }
}

#[test]
fn a_step_that_is_killed_has_failed_and_its_output_is_whole() {
    // The kernel sends KILL when memory runs out, and SEGV to a program with a bug.
    for (signal, code) in [("KILL", -9), ("SEGV", -11)] {
        let last = format!("ulimit -c 0; kill -{signal} $$");
        let node = talking_node("", &last);
        let output = run(&node, "apply").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_whole(&node, &output, &format!("FAILED: a.sh  {code}\n"), "");
        assert_eq!(steps_and_agent_stderr(&output).1, "");
        assert_eq!(files(&node.path("state")), [node.path("state/flags/START")]);
        assert!(!node.has_run("b.sh"));

        // A check that is killed has failed, and the next one runs.
        node.script("a_check.sh", &format!("#!/bin/sh\n{last}\n"));
        node.script("b_check.sh", NO_ZOMBIES);
        let output = run(&node, "apply-check").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let results = node.text("state/flags/check_results");
        assert_eq!(results, "a_check.sh True\nb_check.sh False");
    }
}

/// A run, and its step's process, which reads a line, [talks](TALKS), and reads
/// another.
fn waiting_run() -> (Node, Running, Pid) {
    let first = "echo step $$; read -r word; : > \"$0.talks\"";
    let node = talking_node(first, "read -r word; exit 5");
    let mut run = Running::start(&mut run(&node, "apply"));
    let step = run.wait_for_line("step").parse().unwrap();
    (node, run, Pid::from_raw(step))
}

#[track_caller]
fn assert_run_loses_nothing(node: &Node, mut run: Running, step: Pid) {
    assert!(run.has_not_ended(), "a stop is no exit");
    run.send("end");
    let output = run.finish();
    assert_eq!(output.status.code(), Some(1));
    assert_whole(
        node,
        &output,
        "FAILED: a.sh  5\n",
        &format!("step {step}\n"),
    );
    assert_eq!(steps_and_agent_stderr(&output).1, "");
}

#[test]
fn a_step_that_is_stopped_and_goes_on_loses_nothing() {
    let (node, mut run, step) = waiting_run();
    run.send("talk");
    for _ in 0..20 {
        stop(step);
        assert!(run.has_not_ended());
        kill(step, Signal::SIGCONT).unwrap();
    }
    assert_run_loses_nothing(&node, run, step);
}

#[test]
fn an_agent_that_is_stopped_while_its_step_fills_the_pipes_loses_nothing() {
    let (node, mut run, step) = waiting_run();
    stop(run.pid());
    run.send("talk");
    let talks = node.path("copy/skyhook_dir/a.sh.talks");
    wait_until("the step to read its line", || talks.exists());
    // It sleeps when it cannot write.
    wait_for_state(step, Some('S'));
    kill(run.pid(), Signal::SIGCONT).unwrap();
    assert_run_loses_nothing(&node, run, step);
}

#[test]
fn a_run_that_is_stopped_with_its_step_and_goes_on_loses_nothing() {
    let (node, mut run, step) = waiting_run();
    run.send("talk");
    for _ in 0..20 {
        // Each leads a process group.
        for group in [run.pid(), step] {
            killpg(group, Signal::SIGSTOP).unwrap();
        }
        wait_for_state(run.pid(), Some('T'));
        wait_for_state(step, Some('T'));
        for group in [run.pid(), step] {
            killpg(group, Signal::SIGCONT).unwrap();
        }
    }
    assert_run_loses_nothing(&node, run, step);
}
