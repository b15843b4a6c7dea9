//! What is on disk before the run goes on.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::strace::traced;
use crate::support::node::{LEAVES_A_MARK, Node};
use crate::support::{assert_says, skipped};

/// The system calls of a run that make its files durable, and what it executes;
/// `None` where nobody may trace.
fn trace(command: &Command) -> Option<Vec<String>> {
    let calls = "trace=write,fsync,rename,renameat,renameat2,mkdirat,execve";
    let run = traced(&["-f", "-e", calls], command)?;
    assert_eq!(run.output.status.code(), Some(0), "{:?}", run.output);
    Some(run.trace)
}

/// Asserts that `file` was written whole under another name, that name's file
/// synced, renamed, and then the folder synced. Returns where that was done.
fn assert_durable(trace: &[String], file: &Path) -> usize {
    let folder = file.parent().unwrap().to_str().unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let find = |from: usize, parts: &[&str]| {
        let mut rest = trace.iter().skip(from);
        let found = rest.position(|line| parts.iter().all(|part| line.contains(part)));
        from + found.unwrap_or_else(|| panic!("{parts:?} behind {from} in {trace:#?}"))
    };
    let renamed = find(0, &["rename", &format!(", \"{name}\"")]);
    let temporary = trace[renamed].split('"').nth(1).unwrap();
    let temporary = format!("<{folder}/{temporary}>");
    let synced = find(0, &["fsync(", &temporary]);
    let write = |line: &&String| line.contains("write(") && line.contains(&temporary);
    // At once, or not at all where there is nothing to write.
    let writes = usize::from(fs::metadata(file).unwrap().len() > 0);
    assert_eq!(trace[..synced].iter().filter(write).count(), writes);
    assert_eq!(trace.iter().filter(write).count(), writes, "{trace:#?}");
    assert!(synced < renamed, "{trace:#?}");
    let durable = find(renamed, &["fsync("]);
    assert_says(&trace[durable], &[&format!("<{folder}>)"), "= 0"]);
    durable
}

#[test]
fn flags_results_and_history_are_durable_before_the_run_goes_on() {
    const NAME: &str = "flags_results_and_history_are_durable_before_the_run_goes_on";
    let node = Node::new()
        .step("a.sh", LEAVES_A_MARK)
        .step("b.sh", LEAVES_A_MARK);
    let Some(apply) = trace(&node.run("apply")) else {
        return skipped(NAME, "may not trace");
    };
    assert_durable(&apply, &node.path("state/flags/START"));
    let first = assert_durable(&apply, &node.flag("a.sh"));
    let second = apply
        .iter()
        .rposition(|line| line.contains("/b.sh\""))
        .unwrap();
    assert!(first < second, "{apply:#?}");
    assert_durable(&apply, &node.flag("b.sh"));

    let checked = trace(&node.run("apply-check")).unwrap();
    assert_durable(&checked, &node.path("state/flags/check_results"));
    assert_durable(&checked, &node.path("state/flags/apply-check_ALL_CHECKED"));
    assert_durable(&checked, &node.path("state/history/pkg.json"));

    // And so is the way to them: each new folder's name, before anything is in it.
    for (i, line) in apply.iter().enumerate() {
        if let Some((_, made)) = line.split_once("mkdirat(") {
            let (_, above) = made.split_once('<').unwrap();
            let (above, _) = above.split_once('>').unwrap();
            assert_says(&apply[i + 1], &["fsync(", &format!("<{above}>)")]);
        }
    }
    let made = apply
        .iter()
        .filter(|line| line.contains("mkdirat("))
        .count();
    assert!(made >= 4, "{apply:#?}");
}

#[test]
fn an_interrupt_s_flag_is_durable_before_its_command_begins() {
    const NAME: &str = "an_interrupt_s_flag_is_durable_before_its_command_begins";
    let node = Node::new().command("reboot", "#!/bin/sh\n");
    let interrupt = node.interrupt(&json!({ "type": "node_restart" }));
    let Some(trace) = trace(&interrupt) else {
        return skipped(NAME, "may not trace");
    };
    let durable = assert_durable(&trace, &node.interrupt_flag("node_restart_0"));
    let begins = trace.iter().position(|line| line.contains("chroot-exec"));
    assert!(durable < begins.unwrap(), "{trace:#?}");
}
