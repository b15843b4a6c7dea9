//! Calls that the kernel refuses, or does not have. See "Kernel" in
//! docs/operations.md for those that the agent does without.

use std::fs;
use std::process::{Command, Output};

use serde_json::json;

use crate::notices::notices;
use crate::strace::{Traced, traced};
use crate::support::node::{LEAVES_A_MARK, Node, behind_banner, files, with_mounts};
use crate::support::{after, assert_says, log_in, names, skipped, stderr, stdout, unstamp};

/// A node with a step that leaves a mark and one behind it, and a folder for
/// control files.
fn node() -> Node {
    let node = Node::new()
        .step("a.sh", LEAVES_A_MARK)
        .step("b.sh", LEAVES_A_MARK);
    fs::create_dir(node.path("tmp")).unwrap();
    node
}

fn apply(node: &Node) -> Command {
    let mut command = node.run("apply");
    command.env("TMPDIR", node.path("tmp"));
    command
}

/// The run has ended with this one line, and nothing is half done: no step has
/// run, no flag but the run's own is set, and no control file is left.
#[track_caller]
fn assert_refused(node: &Node, output: &Output, line: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(stderr(output), format!("skyhook-agent: {line}\n"));
    assert!(!node.has_run("a.sh") && !node.has_run("b.sh"));
    assert!(names(&node.path("tmp")).is_empty());
    let flags = files(&node.path("state"));
    assert!(
        flags.iter().all(|flag| flag.ends_with("START")),
        "{flags:?}"
    );
}

/// Runs `command` with `calls` refused: `CALL[,CALL]:error=ERROR[:when=WHICH]`.
fn refused(calls: &str, options: &[&str], command: &Command) -> Option<Traced> {
    let (names, _) = calls.split_once(':').unwrap();
    let (only, inject) = (format!("trace={names}"), format!("inject={calls}"));
    traced(&[options, &["-e", &only, "-e", &inject]].concat(), command)
}

/// The same, making sure that they were.
fn with_refused(calls: &str, options: &[&str], command: &Command) -> Option<Traced> {
    let run = refused(calls, options, command)?;
    assert!(run.injected() > 0, "{calls}: {:#?}", run.trace);
    Some(run)
}

#[test]
fn without_the_newer_calls_a_run_is_the_same() {
    const NAME: &str = "without_the_newer_calls_a_run_is_the_same";
    for calls in [
        "pidfd_open:error=ENOSYS",
        "pidfd_open:error=EPERM",
        "pidfd_open:error=EMFILE",
        // Of the pidfd, which is the fourth to be watched.
        "epoll_ctl:error=ENOSPC:when=4",
        "openat2:error=ENOSYS",
        "openat2:error=EPERM",
        "close_range:error=ENOSYS",
        "close_range:error=EINVAL",
        "close_range:error=EPERM",
    ] {
        let script = "#!/bin/sh\necho out\necho err >&2\nls /proc/self/fd\nexit 3\n";
        let node = Node::new()
            .step_with("steps/a.sh", script, &json!({ "returncodes": [3] }))
            .step("b.sh", "#!/bin/sh\nkill -TERM $$\n");
        // One that the step must not get.
        let command = after("exec 7< /dev/null", &node.run("apply"));
        let Some(run) = with_refused(calls, &["-f"], &command) else {
            return skipped(NAME, "may not trace");
        };
        let output = run.output;
        assert_eq!(output.status.code(), Some(1), "{calls}");
        let logs = node.path("log/pkg/1.2.3");
        let log = log_in(&logs.join("steps"), "a.sh", ".log");
        // The fourth is the folder that ls reads.
        assert_eq!(unstamp("[out]", &log), "out\n0\n1\n2\n3\n", "{calls}");
        assert_eq!(
            behind_banner(&output),
            format!(
                "apply steps/a.sh [] [3] Idempotence.Auto True\n{log}SUCEEDED: steps/a.sh \n\
                 apply b.sh [] [0] Idempotence.Auto True\nFAILED: b.sh  -15\n"
            ),
            "{calls}"
        );
        let err_log = log_in(&logs.join("steps"), "a.sh", ".log.err");
        assert_eq!(unstamp("[err]", &err_log), "err\n", "{calls}");
        assert_eq!(stderr(&output), err_log, "{calls}");
        let flags = files(&node.path("state/flags/pkg/1.2.3"));
        assert_eq!(flags.len(), 1, "{calls}: {flags:?}");
    }
}

#[test]
fn a_step_that_cannot_be_started_for_want_of_something_is_one_line() {
    const NAME: &str = "a_step_that_cannot_be_started_for_want_of_something_is_one_line";
    let many = "Too many open files (os error 24)";
    let start = "cannot start /proc/self/exe";
    for (calls, line) in [
        (
            "signalfd4:error=EMFILE",
            format!("cannot watch for signals: {many}"),
        ),
        ("epoll_create1:error=EMFILE", format!("{start}: {many}")),
        ("pipe2:error=EMFILE", format!("{start}: {many}")),
        (
            "pipe2:error=ENFILE:when=2",
            format!("{start}: Too many open files in system (os error 23)"),
        ),
        (
            "epoll_ctl:error=ENOSPC",
            format!("{start}: No space left on device (os error 28)"),
        ),
        (
            "epoll_ctl:error=ENOMEM:when=3",
            format!("{start}: Cannot allocate memory (os error 12)"),
        ),
        (
            "?clone,?clone3,?fork,?vfork:error=EAGAIN",
            format!("{start}: Resource temporarily unavailable (os error 11)"),
        ),
    ] {
        let node = node();
        let Some(run) = with_refused(calls, &[], &apply(&node)) else {
            return skipped(NAME, "may not trace");
        };
        assert_refused(&node, &run.output, &line);

        // It was refused, and not done: the next run does it.
        let mut again = apply(&node);
        // A log would wait for its second.
        again.env("SKYHOOK_AGENT_WRITE_LOGS", "false");
        let output = again.output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(node.has_run("a.sh") && node.has_run("b.sh"), "{calls}");
    }
}

/// The next start has to try again.
#[test]
fn an_interrupt_s_command_that_cannot_be_forked_keeps_no_flag() {
    const NAME: &str = "an_interrupt_s_command_that_cannot_be_forked_keeps_no_flag";
    let node = Node::new().command("reboot", LEAVES_A_MARK);
    let interrupt = node.interrupt(&json!({ "type": "node_restart" }));
    let calls = "?clone,?clone3,?fork,?vfork:error=EAGAIN";
    let Some(run) = with_refused(calls, &[], &interrupt) else {
        return skipped(NAME, "may not trace");
    };
    assert_eq!(run.output.status.code(), Some(1));
    assert_says(&notices(&run.output)[0], &["cannot start /proc/self/exe: "]);
    assert!(files(&node.path("state")).is_empty());
    assert!(!node.path("bin/reboot.ran").exists());
}

/// Unwatched it would be left behind; so it is killed, and nobody says that it has
/// succeeded.
#[test]
fn a_step_that_can_be_watched_no_longer_is_killed_and_sets_no_flag() {
    const NAME: &str = "a_step_that_can_be_watched_no_longer_is_killed_and_sets_no_flag";
    // Without the kill the step waits for ever: for its own end of the fifo.
    let node = Node::new()
        .step(
            "a.sh",
            "#!/bin/sh\nmkfifo \"$0.fifo\"\nread -r word < \"$0.fifo\"\n",
        )
        .step("b.sh", LEAVES_A_MARK);
    fs::create_dir(node.path("tmp")).unwrap();
    let Some(run) = with_refused("epoll_wait:error=EIO", &[], &apply(&node)) else {
        return skipped(NAME, "may not trace");
    };
    let program = node.path("copy/skyhook_dir/a.sh");
    let lost = format!(
        "{} was started, but how it went is lost: Input/output error (os error 5)",
        program.display()
    );
    assert_refused(&node, &run.output, &lost);
}

#[test]
fn without_proc_no_step_starts_and_one_line_says_why() {
    let node = node();
    let script = "mount -t tmpfs none /proc && exec \"$@\"";
    let Some(mut command) = with_mounts(script, node.dir.path(), &apply(&node)) else {
        let name = "without_proc_no_step_starts_and_one_line_says_why";
        return skipped(name, "may not mount");
    };
    let line = "cannot start /proc/self/exe: No such file or directory (os error 2)";
    assert_refused(&node, &command.output().unwrap(), line);
}

#[test]
fn a_history_that_cannot_be_locked_is_said_and_stays_as_it_was() {
    const NAME: &str = "a_history_that_cannot_be_locked_is_said_and_stays_as_it_was";
    let node = node();
    let check = node.run("apply-check");
    let Some(run) = with_refused("flock:error=ENOLCK", &[], &check) else {
        return skipped(NAME, "may not trace");
    };
    assert_eq!(run.output.status.code(), Some(1));
    let notices = notices(&run.output);
    assert_says(
        &notices[0],
        &["cannot lock ", "/history", "No locks available"],
    );
    assert_eq!(notices.len(), 1);
    assert!(files(&node.path("state/history")).is_empty());
}

/// A file system of the network may refuse that as well as the lock.
#[test]
fn a_lock_whose_release_is_refused_is_no_reason_to_panic() {
    const NAME: &str = "a_lock_whose_release_is_refused_is_no_reason_to_panic";
    let node = node();
    let check = node.run("apply-check");
    let Some(run) = refused("flock:error=ENOLCK:when=2+", &[], &check) else {
        return skipped(NAME, "may not trace");
    };
    assert_eq!(run.output.status.code(), Some(0), "{:?}", run.output);
    assert_eq!(stderr(&run.output), "");
    assert_says(&node.text("state/history/pkg.json"), &["1.2.3"]);
}

/// The calls that a run does its work by, each with the errors it may well give.
const CALLS: [(&str, &[&str]); 16] = [
    ("openat", &["EMFILE", "EIO"]),
    ("openat2", &["EMFILE", "EIO"]),
    ("write", &["EIO", "ENOSPC"]),
    ("fsync", &["EIO"]),
    ("?renameat,?renameat2", &["ENOSPC", "EIO"]),
    ("mkdirat", &["ENOSPC", "EROFS"]),
    ("?unlink,unlinkat", &["EIO"]),
    ("getdents64", &["EIO"]),
    ("flock", &["ENOLCK"]),
    ("pipe2", &["EMFILE"]),
    ("epoll_create1", &["EMFILE"]),
    ("epoll_ctl", &["ENOSPC"]),
    ("?epoll_wait,?epoll_pwait", &["EINTR", "EIO"]),
    ("signalfd4", &["EMFILE"]),
    ("?clone,?clone3,?fork,?vfork", &["EAGAIN", "ENOMEM"]),
    ("pidfd_open", &["EMFILE"]),
];

#[test]
#[ignore = "takes two minutes: hundreds of runs under strace"]
fn any_call_of_an_apply_that_fails_once_leaves_nothing_half_done() {
    fail_each_call_once(
        "any_call_of_an_apply_that_fails_once_leaves_nothing_half_done",
        "apply",
    );
}

#[test]
#[ignore = "takes two minutes: hundreds of runs under strace"]
fn any_call_of_a_check_that_fails_once_leaves_nothing_half_done() {
    fail_each_call_once(
        "any_call_of_a_check_that_fails_once_leaves_nothing_half_done",
        "apply-check",
    );
}

fn fail_each_call_once(name: &str, mode: &str) {
    for (calls, errors) in CALLS {
        for error in errors {
            for nth in 1.. {
                let node = node();
                let mut command = node.run(mode);
                command.env("TMPDIR", node.path("tmp"));
                let failed = format!("{calls}:error={error}:when={nth}");
                let Some(run) = refused(&failed, &[], &command) else {
                    return skipped(name, "may not trace");
                };
                if run.injected() == 0 {
                    break;
                }
                assert_nothing_half_done(&node, mode, &failed, &run.output);
                // Whatever it was, once it is over all is well. A log would wait for
                // its second.
                command.env("SKYHOOK_AGENT_WRITE_LOGS", "false");
                let output = command.output().unwrap();
                assert_eq!(output.status.code(), Some(0), "{failed}: {output:?}");
                let done = ["a.sh", "b.sh"].map(|step| node.has_run(step));
                assert_eq!(done, [mode == "apply"; 2], "{failed}");
            }
        }
    }
}

#[track_caller]
fn assert_nothing_half_done(node: &Node, mode: &str, failed: &str, output: &Output) {
    let said = stderr(output);
    assert!(!said.contains("panicked"), "{failed}: {said}");
    match output.status.code() {
        // What failed was a log, or something that a run can do without.
        Some(0) => {
            let done = ["a.sh", "b.sh"].map(|step| node.has_run(step) && node.flag(step).exists());
            assert_eq!(done, [mode == "apply"; 2], "{failed}: {said}");
        }
        // The loader could not even start the agent.
        Some(127) => assert!(stdout(output).is_empty(), "{failed}"),
        Some(1) => assert!(!notices(output).is_empty(), "{failed}: {said}"),
        code => panic!("{failed}: {code:?}: {said}"),
    }
    let is_unlink = failed.contains("unlink");
    assert!(is_unlink || names(&node.path("tmp")).is_empty(), "{failed}");
    for path in files(&node.path("state")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(!name.ends_with(".tmp"), "{failed}: {name}");
        if let Some(step) = name.strip_suffix("_W11fWzBd") {
            assert!(node.has_run(step), "{failed}: {name}");
        }
    }
}
