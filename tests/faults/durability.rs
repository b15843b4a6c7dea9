//! Files are on disk before the run goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::notices::notices;
use crate::strace::{can_trace, traced};
use crate::support::node::RESOURCE_ID;
use crate::support::{
    LEAVES_A_MARK, Node, Skip, assert_says, assert_succeeds, files, in_mount_namespace, names,
    or_skip,
};

/// The name of a file of the state until it is whole.
const TEMPORARY: &str = ".skyhook-agent-pkg.new";

/// The system calls by which a run makes its files durable, and what it executes.
fn trace(command: &Command, code: i32) -> Result<Vec<String>, Skip> {
    let calls = "trace=write,fsync,linkat,renameat,unlinkat,mkdirat,execve";
    let run = traced(&["-f", "-e", calls], command)?;
    assert_eq!(run.output.status.code(), Some(code), "{:?}", run.output);
    let is_lock = |line: &String| {
        line.contains("/.skyhook-agent-pkg.")
            && !line.contains(TEMPORARY)
            && line.contains("write(")
    };
    Ok(run
        .trace
        .into_iter()
        .filter(|line| !is_lock(line))
        .collect())
}

/// Finds the first line from `from` on that has all these parts.
#[track_caller]
fn find(trace: &[String], from: usize, parts: &[&str]) -> usize {
    let mut rest = trace.iter().skip(from);
    let found = rest.position(|line| parts.iter().all(|part| line.contains(part)));
    from + found.unwrap_or_else(|| panic!("{parts:?} after {from} in {trace:#?}"))
}

/// Asserts that the next line is a sync of `dir`. Returns its number.
#[track_caller]
fn assert_dir_synced(trace: &[String], after: usize, dir: &Path) -> usize {
    let dir = format!("<{}>)", dir.display());
    assert_says(&trace[after + 1], &["fsync(", &dir, "= 0"]);
    after + 1
}

/// Asserts that `file` was written whole, synced under its temporary name and renamed, or
/// created whole and synced, and that its directory was synced then. Returns the trace's line
/// that completed it.
///
/// It is not enough to sync a file without a name: btrfs brings nothing of it to disk.
#[track_caller]
fn assert_durable(trace: &[String], file: &Path) -> usize {
    let dir = file.parent().unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let place = |name: &str| format!("<{}>, \"{name}\"", dir.display());
    let open = |name: &str| format!("<{}/{name}", dir.display());
    let (linked, renamed) = (place(name) + ", AT_", place(name) + ")");
    let is_named = |line: &String| {
        line.contains("linkat(") && line.contains(&linked)
            || line.contains("renameat(") && line.contains(&renamed)
    };
    let named = trace.iter().position(is_named).unwrap();
    let (written_as, completed) = if trace[named].contains("renameat(") {
        assert_says(&trace[named], &[&place(TEMPORARY)]);
        (open(TEMPORARY), named)
    } else {
        // strace shows it as before, and so no name.
        assert_says(&trace[named + 1], &["fsync(", &open("#"), "= 0"]);
        (open("#"), named + 1)
    };
    assert_says(&trace[named - 1], &["fsync(", &written_as, "= 0"]);
    // In one write; in none if the file is empty.
    let writes = trace[..named - 1].iter().rev();
    let writes = writes.take_while(|line| line.contains("write(") && line.contains(&written_as));
    let is_written = fs::metadata(file).is_ok_and(|file| file.len() > 0);
    assert_eq!(writes.count(), usize::from(is_written), "{trace:#?}");
    assert_dir_synced(trace, completed, dir)
}

#[test]
fn flags_results_and_history_are_durable_before_the_run_goes_on() {
    let node = Node::one_step().step("b.sh", LEAVES_A_MARK);
    let apply = or_skip!(trace(&node.run("apply"), 0));
    assert_durable(&apply, &node.path("state/flags/START"));
    let first = assert_durable(&apply, &node.flag("a.sh"));
    let second = apply
        .iter()
        .rposition(|line| line.contains("/b.sh\""))
        .unwrap();
    assert!(first < second, "{apply:#?}");
    assert_durable(&apply, &node.flag("b.sh"));

    let checked = trace(&node.run("apply-check"), 0).unwrap();
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

/// Otherwise a power cut would bring flags back, and a package that is installed again
/// would skip its steps.
#[test]
fn flags_are_removed_durably_before_the_history_says_uninstalled() {
    let node = Node::one_step();
    assert_succeeds(&node.run("apply").output().unwrap());
    let trace = or_skip!(trace(&node.run("uninstall-check"), 0));
    let flags = node.path("state/flags");
    let place = format!("<{}>, \"pkg\", AT_REMOVEDIR", flags.display());
    let removed = find(&trace, 0, &["unlinkat(", &place]);
    let durable = assert_dir_synced(&trace, removed, &flags);
    let history = find(&trace, 0, &["renameat(", "\"pkg.json\""]);
    assert!(durable < history, "{trace:#?}");
    assert!(!flags.join("pkg").exists());
}

#[test]
fn flags_that_cannot_be_removed_leave_the_history_as_it_was() {
    or_skip!(can_trace());
    let node = Node::one_step();
    assert_succeeds(&node.run("apply").output().unwrap());
    let flag = node.flag("a.sh");
    let options = [
        "-e",
        "trace=unlinkat",
        "-e",
        "inject=unlinkat:error=EIO:when=2",
    ];
    let run = traced(&options, &node.run("uninstall-check")).unwrap();
    assert_eq!(run.output.status.code(), Some(1), "{:?}", run.output);
    let notices = notices(&run.output);
    assert_says(notices.last().unwrap(), &["cannot remove ", "/flags/pkg: "]);
    assert!(flag.exists());
    assert!(!node.path("state/history").exists());
}

#[test]
fn the_flag_of_an_interrupt_that_fails_is_removed_durably() {
    let node = Node::new().command("reboot", "#!/bin/sh\nexit 3\n");
    let trace = or_skip!(trace(
        &node.interrupt(&json!({ "type": "node_restart" })),
        1
    ));
    let flag = node.interrupt_flag("node_restart_0");
    let dir = flag.parent().unwrap();
    let place = format!("<{}>, \"node_restart_0.complete\"", dir.display());
    let removed = find(&trace, 0, &["unlinkat(", &place]);
    assert_dir_synced(&trace, removed, dir);
}

#[test]
fn a_corrupt_history_is_moved_aside_durably() {
    let node = Node::one_step();
    let history = node.path("state/history");
    fs::create_dir_all(&history).unwrap();
    fs::write(history.join("pkg.json"), "{").unwrap();
    let trace = or_skip!(trace(&node.run("apply-check"), 0));
    let moved = find(&trace, 0, &["renameat(", "\"pkg.json.backup\""]);
    assert_dir_synced(&trace, moved, &history);
    assert_durable(&trace, &history.join("pkg.json"));
}

/// Without /proc a file without a name cannot get one.
#[test]
fn without_proc_state_is_written_under_another_name_and_renamed() {
    let node = Node::one_step();
    let script = "mount -t tmpfs none /proc && exec \"$@\"";
    // A killed agent has left it.
    fs::create_dir_all(node.path("state/history")).unwrap();
    fs::write(node.path("state/history/.skyhook-agent-pkg.new"), "half").unwrap();
    for entries in 1..=2 {
        let command = node.run("uninstall-check");
        let mut command = or_skip!(in_mount_namespace(script, node.dir.path(), &command));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let history = node.text("state/history/pkg.json");
        assert_eq!(history.matches("\"time\"").count(), entries, "{history}");
        assert_eq!(names(&node.path("state")), ["flags", "history"]);
        assert_eq!(names(&node.path("state/history")), ["pkg.json"]);
        assert_eq!(names(&node.path("state/flags")), ["START"]);
    }
}

#[test]
fn an_interrupt_s_flag_is_durable_before_its_command_begins() {
    let node = Node::new().command("reboot", "#!/bin/sh\nkill -TERM $$\n");
    let interrupt = node.interrupt(&json!({ "type": "node_restart" }));
    let trace = or_skip!(trace(&interrupt, 0));
    let boot = assert_durable(&trace, &node.boot_note());
    let flag = assert_durable(&trace, &node.interrupt_flag("node_restart_0"));
    let begins = trace.iter().position(|line| line.contains("chroot-exec"));
    // The flag without the note would say that the node has rebooted.
    assert!(boot < flag && flag < begins.unwrap(), "{trace:#?}");
}

/// A kill between the two must not leave the flag alone, which would say that the node
/// has rebooted.
#[test]
fn a_reboot_s_flag_is_durably_gone_before_its_note() {
    for end in ["exit 0", "exit 1"] {
        let node = Node::new().command("reboot", &format!("#!/bin/sh\n{end}\n"));
        let interrupt = node.interrupt(&json!({ "type": "node_restart" }));
        let calls = ["-f", "-e", "trace=unlinkat,fsync"];
        let trace = or_skip!(traced(&calls, &interrupt)).trace;
        let find = |from: usize, parts: [&str; 2]| {
            let mut rest = trace.iter().skip(from);
            let found = rest.position(|line| parts.iter().all(|part| line.contains(part)));
            from + found.unwrap_or_else(|| panic!("{parts:?} after {from} in {trace:#?}"))
        };
        let flag = find(0, ["unlinkat(", "\"node_restart_0.complete\""]);
        let synced = find(flag, ["fsync(", RESOURCE_ID]);
        let note = find(0, ["unlinkat(", "\"node_restart_0.boot\""]);
        assert!(synced < note, "{trace:#?}");
        find(note, ["fsync(", RESOURCE_ID]);
    }
}

/// Runs `command` with its `nth` fsync failing. Returns the notices on stderr, and
/// whether it was a file's fsync, not a directory's. `None` if there are fewer.
fn with_fsync_failing(nth: usize, command: &Command) -> Option<(Vec<String>, bool)> {
    let inject = format!("inject=fsync:error=EIO:when={nth}");
    let run = traced(&["-e", "trace=fsync", "-e", &inject], command).unwrap();
    let failed = run.trace.iter().find(|line| line.ends_with("(INJECTED)"))?;
    assert_eq!(run.output.status.code(), Some(1), "{failed}");
    Some((notices(&run.output), failed.contains(TEMPORARY)))
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
        assert_says(notice, &["cannot ", "/state", ": Input/output error"]);
        let left = files(&node.path("state"));
        let is_temporary = |path: &PathBuf| path.extension().is_some_and(|end| end == "new");
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
        let script = format!("{LEAVES_A_MARK}kill -TERM $$\n");
        let node = Node::new().command("reboot", &script);
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
