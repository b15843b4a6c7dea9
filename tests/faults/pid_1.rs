//! Orphans under an agent that is PID 1.

use std::process::Command;

use crate::support::node::{Node, behind_banner, wrapped};
use crate::support::{assert_says, skipped, stdout, unstamp};

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
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc"];
    let may = wrapped(&unshare, &Command::new("true")).output();
    if !may.is_ok_and(|output| output.status.success()) {
        return skipped(NAME, "may not make a process namespace");
    }
    let node = Node::new().step("a.sh", LEAVES_ORPHANS);
    let output = wrapped(&unshare, &node.run("apply")).output().unwrap();
    assert_says(&stdout(&output), &["FAILED: a.sh  7\n"]);
    assert_eq!(output.status.code(), Some(1));
}

/// A step has ended, but its output has not: until then it must not stand in
/// front of the orphans, of which there may be any number.
#[test]
fn pid_1_reaps_orphans_also_while_it_waits_for_output_to_end() {
    const NAME: &str = "pid_1_reaps_orphans_also_while_it_waits_for_output_to_end";
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc"];
    let may = wrapped(&unshare, &Command::new("true")).output();
    if !may.is_ok_and(|output| output.status.success()) {
        return skipped(NAME, "may not make a process namespace");
    }
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
    let output = wrapped(&unshare, &node.run("apply")).output().unwrap();
    assert_eq!(
        unstamp("[out]", &behind_banner(&output)).lines().last(),
        Some("FAILED: a.sh  7")
    );
    assert_says(&stdout(&output), &["none left"]);
}
