//! Files are on disk before the run goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::notices::notices;
use crate::strace::{can_trace, traced};
use crate::support::{LEAVES_A_MARK, Node, Skip, assert_says, files, or_skip};

/// The system calls by which a run makes its files durable, and what it executes.
fn trace(command: &Command) -> Result<Vec<String>, Skip> {
    let calls = "trace=write,fsync,rename,renameat,renameat2,mkdirat,execve";
    let run = traced(&["-f", "-e", calls], command)?;
    assert_eq!(run.output.status.code(), Some(0), "{:?}", run.output);
    Ok(run.trace)
}

/// Asserts that `file` was written whole under another name, synced and renamed, and
/// that its directory was synced then. Returns the trace's line that completed it.
fn assert_durable(trace: &[String], file: &Path) -> usize {
    let dir = file.parent().unwrap().to_str().unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let find = |from: usize, parts: &[&str]| {
        let mut rest = trace.iter().skip(from);
        let found = rest.position(|line| parts.iter().all(|part| line.contains(part)));
        from + found.unwrap_or_else(|| panic!("{parts:?} after {from} in {trace:#?}"))
    };
    let renamed = find(0, &["rename", &format!(", \"{name}\"")]);
    let temporary = trace[renamed].split('"').nth(1).unwrap();
    assert_ne!(temporary, name, "written in place: {trace:#?}");
    let temporary = format!("<{dir}/{temporary}>");
    let synced = find(0, &["fsync(", &temporary]);
    let write = |line: &&String| line.contains("write(") && line.contains(&temporary);
    // In one write; in none if the file is empty.
    let writes = usize::from(fs::metadata(file).unwrap().len() > 0);
    assert_eq!(trace[..synced].iter().filter(write).count(), writes);
    assert_eq!(trace.iter().filter(write).count(), writes, "{trace:#?}");
    assert!(synced < renamed, "{trace:#?}");
    let durable = find(renamed, &["fsync("]);
    assert_says(&trace[durable], &[&format!("<{dir}>)"), "= 0"]);
    durable
}

#[test]
fn flags_results_and_history_are_durable_before_the_run_goes_on() {
    let node = Node::one_step().step("b.sh", LEAVES_A_MARK);
    let apply = or_skip!(trace(&node.run("apply")));
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

    // The name of each new directory of the state is on disk before anything is in it.
    // The directories of logs need not be.
    for (i, line) in apply.iter().enumerate() {
        if let Some((_, made)) = line.split_once("mkdirat(") {
            let (_, above) = made.split_once('<').unwrap();
            let (above, rest) = above.split_once('>').unwrap();
            if format!("{above}{rest}").contains("/log") || rest.contains("\"log\"") {
                continue;
            }
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
    let node = Node::new().command("reboot", "#!/bin/sh\n");
    let interrupt = node.interrupt(&json!({ "type": "node_restart" }));
    let trace = or_skip!(trace(&interrupt));
    let durable = assert_durable(&trace, &node.interrupt_flag("node_restart_0"));
    let begins = trace.iter().position(|line| line.contains("chroot-exec"));
    assert!(durable < begins.unwrap(), "{trace:#?}");
}

/// Runs `command` with its `nth` fsync failing. Returns the notices on stderr, and
/// whether it was a file's fsync, not a directory's. `None` if there are fewer.
fn with_fsync_failing(nth: usize, command: &Command) -> Option<(Vec<String>, bool)> {
    let inject = format!("inject=fsync:error=EIO:when={nth}");
    let run = traced(&["-e", "trace=fsync", "-e", &inject], command).unwrap();
    let failed = run.trace.iter().find(|line| line.ends_with("(INJECTED)"))?;
    assert_eq!(run.output.status.code(), Some(1), "{failed}");
    Some((notices(&run.output), failed.contains(".tmp>")))
}

/// If something cannot be made durable, its flag is not set and the run ends.
#[test]
fn each_fsync_that_fails_ends_the_run_and_is_reported() {
    or_skip!(can_trace());
    let mut files_failed = 0;
    for nth in 1.. {
        let node = Node::one_step().step("b.sh", LEAVES_A_MARK);
        let mut command = node.run("apply");
        // Without logs: if a log's directory cannot be made durable, only the log is lost.
        command.env("SKYHOOK_AGENT_WRITE_LOGS", "false");
        let Some((notices, of_a_file)) = with_fsync_failing(nth, &command) else {
            break;
        };
        let [notice] = &notices[..] else {
            panic!("{nth}: {notices:?}");
        };
        assert_says(notice, &["cannot ", "/state/", ": Input/output error"]);
        let left = files(&node.path("state"));
        let is_temporary = |path: &PathBuf| path.extension().is_some_and(|end| end == "tmp");
        assert!(!left.iter().any(is_temporary), "{nth}: {left:?}");
        let [(a_ran, a_flag), (b_ran, b_flag)] =
            ["a.sh", "b.sh"].map(|step| (node.has_run(step), node.flag(step).exists()));
        assert!(a_ran || !a_flag && !b_ran, "{nth}");
        assert!(a_flag || !b_ran, "{nth}: what follows waits for the flag");
        assert!(b_ran || !b_flag, "{nth}");
        if of_a_file {
            files_failed += 1;
            let started = node.path("state/flags/START").exists();
            assert_eq!(
                (started, a_flag, b_flag),
                (files_failed > 1, files_failed > 2, false),
                "{nth}"
            );
        }
        // The disk works again.
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{nth}: {output:?}");
        assert!(node.flag("a.sh").exists() && node.flag("b.sh").exists());
    }
    assert_eq!(files_failed, 3, "START and two flags");
}

#[test]
fn an_interrupt_whose_flag_cannot_be_made_durable_does_not_begin() {
    or_skip!(can_trace());
    let mut failed = 0;
    for nth in 1.. {
        let node = Node::new().command("reboot", LEAVES_A_MARK);
        let mut command = node.interrupt(&json!({ "type": "node_restart" }));
        command.env("SKYHOOK_AGENT_WRITE_LOGS", "false");
        let Some((notices, _)) = with_fsync_failing(nth, &command) else {
            assert!(node.command_has_run("reboot"));
            break;
        };
        assert_eq!(notices.len(), 1, "{nth}: {notices:?}");
        assert_says(&notices[0], &["cannot ", ": Input/output error"]);
        assert!(!node.command_has_run("reboot"), "{nth}");
        assert!(files(&node.path("state")).is_empty(), "{nth}");
        failed += 1;
    }
    assert!(failed > 3, "directories, the flag, and its name: {failed}");
}
