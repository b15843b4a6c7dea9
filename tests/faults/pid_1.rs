//! The agent as PID 1, which becomes the parent of orphans.

use std::process::{Command, Output};

use crate::strace::traced;
use crate::support::skip::try_out;
use crate::support::{
    LEAVES_A_MARK, Node, Skip, after_banner, assert_says, or_skip, stderr, stdout, unstamp, wrapped,
};

/// An apply as PID 1, not started yet.
fn as_pid_1(node: &Node) -> Result<Command, Skip> {
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc"];
    let mut tried = wrapped(&unshare, &Command::new("true"));
    try_out(&mut tried, "this user may not create a PID namespace")?;
    Ok(wrapped(&unshare, &node.run("apply")))
}

fn apply_as_pid_1(node: &Node) -> Result<Output, Skip> {
    as_pid_1(node).map(|mut command| command.output().unwrap())
}

/// Leaves 200 processes behind, waits until all have ended, and then until none of
/// them is a zombie.
const LEAVES_ORPHANS: &str = "#!/bin/sh
i=0
while [ $i -lt 200 ]; do
    i=$((i + 1))
    (sh -c 'echo >> \"$0.orphans\"' \"$0\" &)
done
tries=0
until [ \"$(wc -l < \"$0.orphans\")\" = 200 ] && ! grep -q '^[0-9]* ([^)]*) Z 1 ' /proc/[0-9]*/stat
do
    tries=$((tries + 1))
    [ $tries -lt 3000 ] || exit 99
done
exit 7
";

#[test]
fn pid_1_reaps_orphans_and_keeps_the_step_s_own_code() {
    let node = Node::new().step("a.sh", LEAVES_ORPHANS);
    let output = or_skip!(apply_as_pid_1(&node));
    assert_says(&stdout(&output), &["FAILED: a.sh  7\n"]);
    assert_eq!(output.status.code(), Some(1));
}

/// A step has ended, but its output is still open. While the agent waits, it must
/// reap orphans, however many there are.
#[test]
fn pid_1_reaps_orphans_also_while_it_waits_for_output_to_end() {
    // The process that the step leaves behind holds the output and makes orphans.
    // When the step is gone, it says whether any of them is still a zombie.
    let node = Node::new().step(
        "a.sh",
        "#!/bin/sh
step=$$
(
    while [ -e /proc/$step ]; do :; done
    for i in 1 2 3 4 5 6 7 8 9 10; do (true &); done
    tries=0
    while grep -q '^[0-9]* ([^)]*) Z 1 ' /proc/[0-9]*/stat; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { echo zombies; exit; }
    done
    echo none left
) &
exit 7
",
    );
    let output = or_skip!(apply_as_pid_1(&node));
    assert_eq!(
        unstamp("[out]", &after_banner(&output)).lines().last(),
        Some("FAILED: a.sh  7")
    );
    assert_says(&stdout(&output), &["none left"]);
}

/// Without a pidfd, SIGCHLD is the first to tell of the step's end. It must not be
/// reaped as an orphan.
#[test]
fn pid_1_without_pidfd_open_keeps_the_step_s_own_code() {
    let node = Node::new().step("a.sh", "#!/bin/sh\necho words\nexit 7\n");
    let refused = "inject=pidfd_open:error=ENOSYS";
    let run = or_skip!(traced(
        &["-f", "-e", "trace=pidfd_open", "-e", refused],
        &or_skip!(as_pid_1(&node))
    ));
    assert_eq!(run.injected(), 1, "{:#?}", run.trace);
    let shown = unstamp("[out]", &after_banner(&run.output));
    assert!(shown.ends_with("words\nFAILED: a.sh  7\n"), "{shown}");
    assert_eq!(stderr(&run.output), "");
}

#[test]
fn pid_1_reports_the_signal_that_ended_its_step() {
    let script =
        "#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8 9; do (true &); done\necho words\nkill -KILL $$\n";
    let output = or_skip!(apply_as_pid_1(&Node::new().step("a.sh", script)));
    let shown = unstamp("[out]", &after_banner(&output));
    assert!(shown.ends_with("words\nFAILED: a.sh  -9\n"), "{shown}");
    assert_eq!(output.status.code(), Some(1));
}

/// A stop and an exit of a child both send SIGCHLD to PID 1.
#[test]
fn pid_1_does_not_take_a_stopped_step_for_an_ended_one() {
    let node = Node::new().step(
        "a.sh",
        "#!/bin/sh
echo before
(
    until grep -q '^[0-9]* ([^)]*) T 1 ' /proc/$$/stat; do :; done
    kill -CONT $$
) &
kill -STOP $$
wait
echo after
exit 7
",
    );
    let output = or_skip!(apply_as_pid_1(&node));
    let shown = unstamp("[out]", &after_banner(&output));
    assert!(
        shown.ends_with("before\nafter\nFAILED: a.sh  7\n"),
        "{shown}"
    );
    assert_eq!(output.status.code(), Some(1));
}

/// The kernel discards signals that PID 1 has not asked for.
#[test]
fn sigterm_reaches_pid_1() {
    let node = Node::new()
        .step("a.sh", "#!/bin/sh\nkill -TERM 1\necho words\n")
        .step("b.sh", LEAVES_A_MARK);
    let output = or_skip!(apply_as_pid_1(&node));
    let shown = unstamp("[out]", &after_banner(&output));
    assert!(shown.ends_with("words\nSUCEEDED: a.sh \n"), "{shown}");
    assert_says(&stderr(&output), &["cancelled: b.sh does not start\n"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(node.flag("a.sh").exists() && !node.has_run("b.sh"));
}
