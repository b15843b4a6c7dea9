//! System calls that the kernel refuses or does not have. "Kernel" in
//! docs/operations.md lists those that the agent can do without.

use std::process::{Command, Output};

use serde_json::json;

use crate::notices::notices;
use crate::strace::{Traced, traced};
use crate::support::node::PLAIN_MARKER;
use crate::support::{
    LEAVES_A_MARK, Node, Skip, after_banner, assert_says, files, in_mount_namespace, or_skip,
    stderr, stdout, unstamp, with_prelude,
};

/// A node with two steps that leave marks.
fn node() -> Node {
    Node::one_step().step("b.sh", LEAVES_A_MARK).with_temp_dir()
}

/// Asserts that the run ended with this one line, and that nothing is half done.
#[track_caller]
fn assert_refused(node: &Node, output: &Output, line: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(stderr(output), format!("skyhook-agent: {line}\n"));
    assert!(node.left_in_temp_dir().is_empty());
    node.assert_nothing_done();
}

/// Runs `command` with `calls` refused: `CALL[,CALL]:error=ERROR[:when=WHICH]`.
fn refused(calls: &str, options: &[&str], command: &Command) -> Result<Traced, Skip> {
    let (names, _) = calls.split_once(':').unwrap();
    let (only, inject) = (format!("trace={names}"), format!("inject={calls}"));
    traced(&[options, &["-e", &only, "-e", &inject]].concat(), command)
}

/// The same; asserts that a call was refused.
fn with_refused(calls: &str, options: &[&str], command: &Command) -> Result<Traced, Skip> {
    let run = refused(calls, options, command)?;
    assert!(run.injected() > 0, "{calls}: {:#?}", run.trace);
    Ok(run)
}

#[test]
fn a_run_without_newer_system_calls_is_the_same() {
    for calls in [
        "pidfd_open:error=ENOSYS",
        "pidfd_open:error=EPERM",
        "pidfd_open:error=EMFILE",
        // For the pidfd, the fourth descriptor that the loop watches.
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
        // The step must not inherit this descriptor.
        let command = with_prelude("exec 7< /dev/null", &node.run("apply"));
        let run = or_skip!(with_refused(calls, &["-f"], &command));
        let output = run.output;
        assert_eq!(output.status.code(), Some(1), "{calls}");
        let log = node.log("steps/a.sh", ".log");
        // 3 is the directory that ls lists.
        assert_eq!(unstamp("[out]", &log), "out\n0\n1\n2\n3\n", "{calls}");
        assert_eq!(
            after_banner(&output),
            format!(
                "apply steps/a.sh [] [3] Idempotence.Auto True\n{log}SUCEEDED: steps/a.sh \n\
                 apply b.sh [] [0] Idempotence.Auto True\nFAILED: b.sh  -15\n"
            ),
            "{calls}"
        );
        let err_log = node.log("steps/a.sh", ".log.err");
        assert_eq!(unstamp("[err]", &err_log), "err\n", "{calls}");
        assert_eq!(stderr(&output), err_log, "{calls}");
        let flags = files(&node.path("state/flags/pkg/1.2.3"));
        assert_eq!(flags.len(), 1, "{calls}: {flags:?}");
    }
}

#[test]
fn a_step_that_cannot_start_for_lack_of_resources_is_reported_in_one_line() {
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
        let run = or_skip!(with_refused(calls, &[], &node.run("apply")));
        assert_refused(&node, &run.output, &line);

        // Nothing of it was done, so the next run does it.
        let output = node.run("apply").output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(node.has_run("a.sh") && node.has_run("b.sh"), "{calls}");
    }
}

/// Without a flag, the next start tries again.
#[test]
fn an_interrupt_s_command_that_cannot_be_forked_keeps_no_flag() {
    let node = Node::new().command("reboot", LEAVES_A_MARK);
    let interrupt = node.interrupt(&json!({ "type": "node_restart" }));
    let calls = "?clone,?clone3,?fork,?vfork:error=EAGAIN";
    let run = or_skip!(with_refused(calls, &[], &interrupt));
    assert_eq!(run.output.status.code(), Some(1));
    assert_says(&notices(&run.output)[0], &["cannot start /proc/self/exe: "]);
    assert!(files(&node.path("state")).is_empty());
    assert!(!node.command_has_run("reboot"));
}

/// If the agent cannot watch a step, it kills the step and does not report success.
#[test]
fn a_step_that_can_no_longer_be_watched_is_killed_and_sets_no_flag() {
    // The step opens a fifo without a writer, so that only the kill ends it. arm64 has no
    // epoll_wait.
    let node = Node::new()
        .step(
            "a.sh",
            "#!/bin/sh\nmkfifo \"$0.fifo\"\nread -r word < \"$0.fifo\"\n",
        )
        .step("b.sh", LEAVES_A_MARK)
        .with_temp_dir();
    let run = or_skip!(with_refused(
        "?epoll_wait,epoll_pwait:error=EIO",
        &[],
        &node.run("apply")
    ));
    let program = node.path("copy/skyhook_dir/a.sh");
    let lost = format!(
        "{} was started, but how it went is lost: Input/output error (os error 5)",
        program.display()
    );
    assert_refused(&node, &run.output, &lost);
}

/// The stream of which nothing more can be read says so.
#[test]
fn a_pipe_that_cannot_be_read_is_said_in_its_stream() {
    let node = Node::new().step("a.sh", "#!/bin/sh\nexit 0\n");
    let run = or_skip!(traced(&["-e", "trace=read"], &node.run("apply")));
    let of_a_pipe = |line: &String| line.contains("<pipe:[");
    let nth = 1 + run.trace.iter().position(of_a_pipe).unwrap();

    let node = Node::new().step("a.sh", "#!/bin/sh\nexit 0\n");
    let refuse = format!("read:error=EIO:when={nth}");
    let run = or_skip!(with_refused(&refuse, &[], &node.run("apply")));
    let all = stdout(&run.output) + &stderr(&run.output);
    assert_says(&all, &["ERROR reading stream: Input/output error"]);
}

/// The agent that has created the state's directory removes it, if it has nothing to do.
#[test]
fn a_state_directory_that_vanishes_under_a_lock_is_created_again() {
    let node = node();
    let lock = ["-P", ".skyhook-agent-pkg.run"];
    let vanishes = "openat:error=ENOENT:when=1..4";
    let run = or_skip!(with_refused(vanishes, &lock, &node.run("apply")));
    assert_eq!(run.output.status.code(), Some(0), "{:?}", run.output);
    assert!(node.has_run("a.sh") && node.has_run("b.sh"));
}

#[test]
fn without_proc_no_step_starts_and_one_line_says_why() {
    let node = node();
    let script = "mount -t tmpfs none /proc && exec \"$@\"";
    let mut command = or_skip!(in_mount_namespace(
        script,
        node.dir.path(),
        &node.run("apply")
    ));
    let line = "cannot start /proc/self/exe: No such file or directory (os error 2)";
    assert_refused(&node, &command.output().unwrap(), line);
}

#[test]
fn a_package_that_cannot_be_locked_is_reported_and_nothing_is_done() {
    let node = node();
    for (nth, lock) in [(1, "run"), (2, "state")] {
        let refuse = format!("flock:error=ENOLCK:when={nth}");
        let run = or_skip!(with_refused(&refuse, &[], &node.run("apply-check")));
        assert_eq!(run.output.status.code(), Some(1));
        let notices = notices(&run.output);
        let file = format!("/state/.skyhook-agent-pkg.{lock}: ");
        assert_says(&notices[0], &["cannot lock ", &file, "No locks available"]);
        assert_eq!(notices.len(), 1);
        assert!(files(&node.path("state/flags")).is_empty());
    }
}

/// The system calls that a run needs, each with errors that it may give.
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
    or_skip!(fail_each_call_once("apply"));
}

#[test]
#[ignore = "takes two minutes: hundreds of runs under strace"]
fn any_call_of_a_check_that_fails_once_leaves_nothing_half_done() {
    or_skip!(fail_each_call_once("apply-check"));
}

fn fail_each_call_once(mode: &str) -> Result<(), Skip> {
    for (calls, errors) in CALLS {
        for error in errors {
            for nth in 1.. {
                let node = node();
                let mut command = node.run(mode);
                let failed = format!("{calls}:error={error}:when={nth}");
                let run = refused(&failed, &[], &command)?;
                if run.injected() == 0 {
                    break;
                }
                assert_nothing_half_done(&node, mode, &failed, &run.output);
                // The next run does what is left.
                let output = command.output().unwrap();
                assert_eq!(output.status.code(), Some(0), "{failed}: {output:?}");
                let done = ["a.sh", "b.sh"].map(|step| node.has_run(step));
                assert_eq!(done, [mode == "apply"; 2], "{failed}");
            }
        }
    }
    Ok(())
}

#[track_caller]
fn assert_nothing_half_done(node: &Node, mode: &str, failed: &str, output: &Output) {
    let printed = stderr(output);
    assert!(!printed.contains("panicked"), "{failed}: {printed}");
    match output.status.code() {
        // Something failed that a run can do without, such as a log.
        Some(0) => {
            let done = ["a.sh", "b.sh"].map(|step| node.has_run(step) && node.flag(step).exists());
            assert_eq!(done, [mode == "apply"; 2], "{failed}: {printed}");
        }
        // The dynamic loader could not start the agent.
        Some(127) => assert!(stdout(output).is_empty(), "{failed}"),
        Some(1) => assert!(!notices(output).is_empty(), "{failed}: {printed}"),
        code => panic!("{failed}: {code:?}: {printed}"),
    }
    let is_unlink = failed.contains("unlink");
    assert!(is_unlink || node.left_in_temp_dir().is_empty(), "{failed}");
    for path in files(&node.path("state")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(!name.ends_with(".new"), "{failed}: {name}");
        if let Some(step) = name.strip_suffix(PLAIN_MARKER) {
            assert!(node.has_run(step), "{failed}: {name}");
        }
    }
}
