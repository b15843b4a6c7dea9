//! What steps do to their own streams and processes, and what is done to them.

use std::fs;
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::running::{Running, said_and_noticed, stop, wait_for};
use crate::support::node::{LEAVES_A_MARK, Node, behind_banner, files, wrapped};
use crate::support::{assert_says, log_in, names, unstamp};

/// Fails where the agent has left a zombie.
const NO_ZOMBIES: &str = "#!/bin/sh\n! grep -qs \"^[0-9]* ([^)]*) Z $PPID \" /proc/[0-9]*/stat\n";

/// Holds both pipes until the run's stdin ends.
const HOLDS: &str = "exec 3<&0; cat <&3 &";

/// The same with standard error alone.
const HOLDS_STDERR: &str = "exec 3<&0; cat <&3 >/dev/null &";

/// Writes a line at a time until nobody can read it.
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
fn talking(first: &str, last: &str) -> Node {
    let node = Node::new()
        .step("a.sh", &format!("#!/bin/sh\n{first}\n{TALKS}{last}\n"))
        .step("b.sh", LEAVES_A_MARK);
    fs::create_dir(node.path("tmp")).unwrap();
    node
}

/// A run with a folder of its own for control files, in a process group of its own.
fn run(node: &Node, mode: &str) -> Command {
    let mut command = wrapped(&["setsid"], &node.run(mode));
    command.env("TMPDIR", node.path("tmp"));
    command
}

/// What [talks](TALKS) has been logged whole, and shown whole with `verdict` behind
/// it; besides there is at most `babble`. No control file is left.
#[track_caller]
fn assert_whole(node: &Node, output: &Output, verdict: &str, babble: &str) {
    let said = unstamp("[out]", &behind_banner(output));
    let (_, said) = said.split_once("Idempotence.Auto True\n").unwrap();
    let (said, _) = said
        .split_once(verdict)
        .unwrap_or_else(|| panic!("expected {verdict:?} in {output:?}"));
    let (erred, _) = said_and_noticed(output);
    let log = |ending| log_in(&node.path("log/pkg/1.2.3"), "a.sh", ending);
    let log_said = unstamp("[out]", &log(".log"));
    let log_erred = unstamp("[err]", &log(".log.err"));
    assert!(said == log_said, "stdout and its log differ");
    assert!(erred == log_erred, "stderr and its log differ");

    let is_own = |line: &&str| line.ends_with('\n') && !babble.contains(*line);
    let own = |text: &str| -> String { text.split_inclusive('\n').filter(is_own).collect() };
    assert!(own(said) == lines("out"), "stdout is not whole");
    assert!(erred == lines("err"), "stderr is not whole");
    // The last may have been cut short.
    let last = said.split_inclusive('\n').next_back().unwrap_or_default();
    assert!(last.ends_with('\n') || babble.contains(last), "{last:?}");
    assert_eq!(names(&node.path("tmp")), [""; 0]);
}

/// Runs a step that leaves somebody behind who keeps its output open for longer than
/// is waited. Returns who that is.
fn left_behind(leave: &str, babble: &str) -> Pid {
    let node = talking(&format!("{leave}\necho $! > \"$0.pid\""), "exit 3");
    let mut command = run(&node, "apply");
    command.env("SKYHOOK_AGENT_DRAIN_TIMEOUT", "0.05");
    let output = Running::start(&mut command).finish();
    assert_eq!(output.status.code(), Some(1));
    assert_whole(&node, &output, "FAILED: a.sh  3\n", babble);
    let pid = node.text("copy/skyhook_dir/a.sh.pid").trim().to_owned();
    let (_, notices) = said_and_noticed(&output);
    assert_eq!(notices.lines().count(), 1, "{notices}");
    let held = format!("a.sh has ended, but its output is held open by {pid} (");
    assert_says(&notices, &[&held, "); not waiting any longer, "]);
    assert_eq!(files(&node.path("state")), [node.path("state/flags/START")]);
    Pid::from_raw(pid.parse().unwrap())
}

#[test]
fn a_grandchild_that_writes_for_ever_is_cut_off_and_the_step_s_own_is_whole() {
    let writer = left_behind(WRITES, "babble\n");
    // Nobody can read it any more: SIGPIPE.
    wait_for(writer, None);
}

#[test]
fn a_grandchild_that_holds_the_pipes_is_cut_off_and_the_step_s_own_is_whole() {
    left_behind(HOLDS, "");
}

#[test]
fn a_grandchild_that_holds_stderr_alone_is_cut_off_and_the_step_s_own_is_whole() {
    left_behind(HOLDS_STDERR, "");
}

/// A run whose step has ended and has left somebody behind; who that is.
struct Held {
    node: Node,
    run: Running,
    holder: Pid,
}

impl Held {
    fn start(leave: &str) -> Held {
        let node = talking(leave, "echo holder $!");
        let mut run = Running::start(&mut run(&node, "apply"));
        let holder = run.until("holder").parse().unwrap();
        Held {
            node,
            run,
            holder: Pid::from_raw(holder),
        }
    }
}

/// Waits for the notice of ten seconds: all of them at once.
#[test]
fn a_finished_step_s_holder_is_named_and_its_end_is_the_run_s() {
    let [mut writer, mut both, mut stderr, mut cancelled] = [
        Held::start("while echo babble; do sleep 0.1; done &"),
        Held::start(HOLDS),
        Held::start(HOLDS_STDERR),
        Held::start(HOLDS),
    ];
    for held in [&mut writer, &mut both, &mut stderr, &mut cancelled] {
        let ended = "a.sh ended 10s ago, but its output is held open by ";
        let notice = held.run.notice();
        assert_says(&notice, &[ended, "; waiting for that to end"]);
        // Perhaps among others: the one that writes has sleep beside it.
        assert_says(&notice, &[&format!(" {} (", held.holder)]);
    }
    kill(cancelled.run.pid(), Signal::SIGTERM).unwrap();
    assert_says(&cancelled.run.notice(), &["cancelled: ", "a.sh finishes"]);

    for (mut held, babble, is_cancelled) in [
        (writer, "babble\n", false),
        (both, "", false),
        (stderr, "", false),
        (cancelled, "", true),
    ] {
        assert!(held.run.goes_on());
        assert!(!held.node.flag("a.sh").exists());
        kill(held.holder, Signal::SIGKILL).unwrap();
        let output = held.run.finish();
        assert_eq!(output.status.code(), Some(i32::from(is_cancelled)));
        let (_, notices) = said_and_noticed(&output);
        let expected = if is_cancelled { 3 } else { 1 };
        assert_eq!(notices.lines().count(), expected, "{notices}");
        let babble = format!("{babble}holder {}\n", held.holder);
        assert_whole(&held.node, &output, "SUCEEDED: a.sh \n", &babble);
        assert!(held.node.flag("a.sh").exists());
        assert_eq!(held.node.has_run("b.sh"), !is_cancelled);
    }
}

#[test]
fn a_step_that_closes_its_output_is_waited_for_and_its_code_counts() {
    for close in ["exec >&-", "exec 2>&-", "exec >&- 2>&-"] {
        // It says by a file that it is there, for it may have no other way.
        let last = format!("{close}\n: > \"$0.closed\"\nread -r word\n: > \"$0.$word\"\nexit 9");
        let node = talking("", &last);
        let mut run = Running::start(&mut run(&node, "apply"));
        run.until("out line number 5000");
        let script = |name| node.path(&format!("copy/skyhook_dir/a.sh.{name}"));
        while !script("closed").exists() {
            std::thread::yield_now();
        }
        assert!(run.goes_on());
        run.tell("told");
        let output = run.finish();
        assert_eq!(output.status.code(), Some(1));
        assert!(script("told").exists());
        assert_whole(&node, &output, "FAILED: a.sh  9\n", "");
        assert_eq!(said_and_noticed(&output).1, "");
    }
}

#[test]
fn a_step_that_is_killed_failed_with_all_that_it_had_written() {
    // What the kernel sends where memory has run out, and to a program with a bug.
    for (signal, code) in [("KILL", -9), ("SEGV", -11)] {
        let last = format!("ulimit -c 0; kill -{signal} $$");
        let node = talking("", &last);
        let output = run(&node, "apply").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_whole(&node, &output, &format!("FAILED: a.sh  {code}\n"), "");
        assert_eq!(said_and_noticed(&output).1, "");
        assert_eq!(files(&node.path("state")), [node.path("state/flags/START")]);
        assert!(!node.has_run("b.sh"));

        // A check that is killed is one that failed, and the next one runs.
        node.script("a_check.sh", &format!("#!/bin/sh\n{last}\n"));
        node.script("b_check.sh", NO_ZOMBIES);
        let output = run(&node, "apply-check").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let results = node.text("state/flags/check_results");
        assert_eq!(results, "a_check.sh True\nb_check.sh False");
    }
}

/// A run, and the process id of its step, which waits for a word, [talks](TALKS),
/// and waits for another.
fn waiting() -> (Node, Running, Pid) {
    let first = "echo step $$; read -r word; : > \"$0.talks\"";
    let node = talking(first, "read -r word; exit 5");
    let mut run = Running::start(&mut run(&node, "apply"));
    let step = run.until("step").parse().unwrap();
    (node, run, Pid::from_raw(step))
}

#[track_caller]
fn assert_nothing_is_lost(node: &Node, mut run: Running, step: Pid) {
    assert!(run.goes_on(), "a stop is no exit");
    run.tell("end");
    let output = run.finish();
    assert_eq!(output.status.code(), Some(1));
    assert_whole(
        node,
        &output,
        "FAILED: a.sh  5\n",
        &format!("step {step}\n"),
    );
    assert_eq!(said_and_noticed(&output).1, "");
}

#[test]
fn a_step_that_is_stopped_and_goes_on_loses_nothing() {
    let (node, mut run, step) = waiting();
    run.tell("talk");
    for _ in 0..20 {
        stop(step);
        assert!(run.goes_on());
        kill(step, Signal::SIGCONT).unwrap();
    }
    assert_nothing_is_lost(&node, run, step);
}

#[test]
fn an_agent_that_is_stopped_while_its_step_fills_the_pipes_loses_nothing() {
    let (node, mut run, step) = waiting();
    stop(run.pid());
    run.tell("talk");
    while !node.path("copy/skyhook_dir/a.sh.talks").exists() {
        std::thread::yield_now();
    }
    // It sleeps where it cannot write.
    wait_for(step, Some('S'));
    kill(run.pid(), Signal::SIGCONT).unwrap();
    assert_nothing_is_lost(&node, run, step);
}

#[test]
fn a_run_that_is_stopped_with_its_step_and_goes_on_loses_nothing() {
    let (node, mut run, step) = waiting();
    run.tell("talk");
    for _ in 0..20 {
        // Each leads a group.
        for group in [run.pid(), step] {
            killpg(group, Signal::SIGSTOP).unwrap();
        }
        wait_for(run.pid(), Some('T'));
        wait_for(step, Some('T'));
        for group in [run.pid(), step] {
            killpg(group, Signal::SIGCONT).unwrap();
        }
    }
    assert_nothing_is_lost(&node, run, step);
}
