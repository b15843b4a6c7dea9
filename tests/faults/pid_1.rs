//! The agent as PID 1, and orphans under it.

use std::process::{Command, Output};

use crate::support::node::{LEAVES_A_MARK, Node, behind_banner, wrapped};
use crate::support::{assert_says, skipped, stderr, stdout, unstamp};

/// Runs apply as PID 1; `None` where that may not be, which is said.
fn as_pid_1(test: &str, node: &Node) -> Option<Output> {
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc"];
    let may = wrapped(&unshare, &Command::new("true")).output();
    if !may.is_ok_and(|output| output.status.success()) {
        skipped(test, "may not make a process namespace");
        return None;
    }
    Some(wrapped(&unshare, &node.run("apply")).output().unwrap())
}

/// Leaves 200 processes behind that end beside it, waits until all have, and then
/// until none of them is a zombie.
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
    const NAME: &str = "pid_1_reaps_orphans_and_keeps_the_step_s_own_code";
    let node = Node::new().step("a.sh", LEAVES_ORPHANS);
    let Some(output) = as_pid_1(NAME, &node) else {
        return;
    };
    assert_says(&stdout(&output), &["FAILED: a.sh  7\n"]);
    assert_eq!(output.status.code(), Some(1));
}

/// A step has ended, but its output has not: until then it must not stand in
/// front of the orphans, of which there may be any number.
#[test]
fn pid_1_reaps_orphans_also_while_it_waits_for_output_to_end() {
    const NAME: &str = "pid_1_reaps_orphans_also_while_it_waits_for_output_to_end";
    // What it leaves behind holds the output, has orphans, and says what became of
    // them once the step itself is gone.
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
    let Some(output) = as_pid_1(NAME, &node) else {
        return;
    };
    assert_eq!(
        unstamp("[out]", &behind_banner(&output)).lines().last(),
        Some("FAILED: a.sh  7")
    );
    assert_says(&stdout(&output), &["none left"]);
}

#[test]
fn pid_1_knows_the_signal_that_ended_its_step() {
    const NAME: &str = "pid_1_knows_the_signal_that_ended_its_step";
    let script =
        "#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8 9; do (true &); done\necho words\nkill -KILL $$\n";
    let Some(output) = as_pid_1(NAME, &Node::new().step("a.sh", script)) else {
        return;
    };
    let said = unstamp("[out]", &behind_banner(&output));
    assert!(said.ends_with("words\nFAILED: a.sh  -9\n"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

/// A stop is told to PID 1 by the same signal as an end.
#[test]
fn pid_1_does_not_take_a_stop_for_an_end() {
    const NAME: &str = "pid_1_does_not_take_a_stop_for_an_end";
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
    let Some(output) = as_pid_1(NAME, &node) else {
        return;
    };
    let said = unstamp("[out]", &behind_banner(&output));
    assert!(said.ends_with("before\nafter\nFAILED: a.sh  7\n"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

/// The kernel throws away what PID 1 has not asked for.
#[test]
fn sigterm_reaches_pid_1() {
    const NAME: &str = "sigterm_reaches_pid_1";
    let node = Node::new()
        .step("a.sh", "#!/bin/sh\nkill -TERM 1\necho words\n")
        .step("b.sh", LEAVES_A_MARK);
    let Some(output) = as_pid_1(NAME, &node) else {
        return;
    };
    let said = unstamp("[out]", &behind_banner(&output));
    assert!(said.ends_with("words\nSUCEEDED: a.sh \n"), "{said}");
    assert_says(&stderr(&output), &["cancelled: b.sh does not start\n"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(node.flag("a.sh").exists() && !node.has_run("b.sh"));
}
