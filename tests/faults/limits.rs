//! Limits of a process: descriptors, processes, memory.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::notices::notices;
use crate::support::skip::try_out;
use crate::support::{
    LEAVES_A_MARK, Node, Skip, after_banner, agent, is_root, or_skip, set_mode, stderr, stdout,
    unstamp, with_prelude, wrapped,
};

/// A step that writes to both streams and leaves a mark.
fn node() -> Node {
    let script = "#!/bin/sh\necho out\necho err >&2\n: > \"$0.ran\"\n";
    Node::new().step("a.sh", script).with_temp_dir()
}

fn apply(node: &Node) -> Command {
    let mut command = node.run("apply");
    command.stdin(Stdio::null());
    command
}

/// Asserts that everything is done, and that no sink has missed a byte.
#[track_caller]
fn assert_all_done(node: &Node, output: &Output, limit: &str) {
    let shown = unstamp("[out]", &after_banner(output));
    assert!(
        shown.ends_with("out\nSUCEEDED: a.sh \n"),
        "{limit}: {shown}"
    );
    let log = |ending| node.log("a.sh", ending);
    assert_eq!(unstamp("[out]", &log(".log")), "out\n", "{limit}");
    assert_eq!(log(".log.err"), stderr(output), "{limit}");
    assert_eq!(unstamp("[err]", &stderr(output)), "err\n", "{limit}");
    assert!(
        node.has_run("a.sh") && node.flag("a.sh").exists(),
        "{limit}"
    );
}

#[test]
fn a_run_short_of_descriptors_does_everything_or_says_why_not() {
    let mut refused = 0;
    for most in 3.. {
        let node = node();
        let limit = format!("ulimit -n {most}");
        let output = with_prelude(&limit, &apply(&node)).output().unwrap();
        assert!(node.left_in_temp_dir().is_empty(), "{limit}");
        let notices = notices(&output);
        match (output.status.code(), &notices[..]) {
            (Some(0), []) => {
                assert_all_done(&node, &output, &limit);
                break;
            }
            // The run could not open its log.
            (Some(0), [notice]) => {
                assert!(notice.ends_with("a.sh runs without a log file"), "{notice}");
                assert!(
                    node.has_run("a.sh") && node.flag("a.sh").exists(),
                    "{limit}"
                );
            }
            // The dynamic loader could not start the agent.
            (Some(127), []) if stdout(&output).is_empty() => node.assert_nothing_done(),
            // The dynamic loader could not start the step.
            (Some(1), []) => {
                let printed = stdout(&output);
                assert!(printed.contains("FAILED: a.sh "), "{limit}: {printed}");
                assert!(!node.flag("a.sh").exists(), "{limit}");
            }
            // The last notice says why the run has ended; one before it, that the step
            // would have run without its log.
            (Some(1), [.., notice]) if notices.len() <= 2 => {
                assert!(notice.starts_with("cannot "), "{limit}: {notice}");
                assert!(notice.contains("Too many open files"), "{limit}: {notice}");
                node.assert_nothing_done();
                refused += 1;
            }
            other => panic!("{limit}: {other:?}: {}", stderr(&output)),
        }
        assert!(most < 64, "more than any run needs");
    }
    assert!(refused > 3, "{refused}");
}

/// Runs `command` as a user who may have no further process. The limit does not
/// apply to root, who becomes a user without any process.
fn without_processes(command: &Command) -> Result<Command, Skip> {
    // Shells have different letters for this limit.
    let limit = "ulimit -p 1 2> /dev/null || ulimit -u 1 || exit 96; exec \"$@\"";
    let limited = wrapped(&["/bin/sh", "-c", limit, "sh"], command);
    if !is_root() {
        return Ok(limited);
    }
    // An id that no process of this machine has.
    let user = 1_200_000_000 + std::process::id();
    let [user, group] = ["--reuid", "--regid"].map(|option| format!("{option}={user}"));
    let words = ["setpriv", &user, &group, "--clear-groups"];
    try_out(
        &mut wrapped(&words, agent().arg("--version")),
        "this user may not become one who may run the agent",
    )?;
    Ok(wrapped(&words, &limited))
}

#[test]
fn a_user_without_processes_left_starts_no_step_and_one_line_says_why() {
    let node = node().command("reboot", LEAVES_A_MARK);
    let interrupt = node.interrupt(&json!({ "type": "node_restart" }));
    for dir in ["", "tmp", "copy", "copy/skyhook_dir"] {
        set_mode(&node.path(dir), 0o777);
    }
    for command in [apply(&node), interrupt] {
        let mut limited = or_skip!(without_processes(&command));
        let output = limited.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(
            stderr(&output),
            "skyhook-agent: cannot start /proc/self/exe: \
             Resource temporarily unavailable (os error 11)\n"
        );
        // The interrupt keeps no flag either.
        node.assert_nothing_done();
        assert!(node.left_in_temp_dir().is_empty());
    }
}

/// Only the buffer's size is decided by a variable.
#[test]
fn a_buffer_too_large_for_memory_starts_nothing_and_is_reported() {
    // A limit at which a run with the usual buffer just fits has no room for the
    // largest buffer, which is 1 MiB.
    let most_is_enough = |kilobytes: u32| {
        let node = node();
        let limit = format!("ulimit -v {kilobytes}");
        let enough = with_prelude(&limit, &apply(&node)).output().unwrap();
        if enough.status.code() != Some(0) {
            return false;
        }
        assert_all_done(&node, &enough, &limit);

        let node = self::node();
        let mut large = apply(&node);
        large.env("SKYHOOK_AGENT_BUFFER_LIMIT", usize::MAX.to_string());
        let output = with_prelude(&limit, &large).output().unwrap();
        assert_eq!(output.status.signal(), None, "{limit}: {output:?}");
        assert_eq!(output.status.code(), Some(1), "{limit}: {output:?}");
        let line = "skyhook-agent: cannot start /proc/self/exe: out of memory\n";
        assert_eq!(stderr(&output), line, "{limit}");
        node.assert_nothing_done();
        assert!(node.left_in_temp_dir().is_empty());
        true
    };
    // How much is enough depends on the machine: its loader and its libraries.
    let found = (2..1024).map(|n| n * 128).find(|it| most_is_enough(*it));
    assert!(found.is_some());
}
