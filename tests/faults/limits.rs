//! Limits of the process: descriptors, processes, memory.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::notices::notices;
use crate::support::node::{LEAVES_A_MARK, Node, behind_banner, files, wrapped};
use crate::support::{
    after, agent, is_root, log_in, names, set_mode, skipped, stderr, stdout, unstamp,
};

/// A step that speaks and leaves a mark, and a folder for control files.
fn node() -> Node {
    let node = Node::new().step(
        "a.sh",
        "#!/bin/sh\necho out\necho err >&2\n: > \"$0.ran\"\n",
    );
    fs::create_dir(node.path("tmp")).unwrap();
    node
}

fn apply(node: &Node) -> Command {
    let mut command = node.run("apply");
    command.env("TMPDIR", node.path("tmp")).stdin(Stdio::null());
    command
}

/// The flag of the step, and only that of a run before it.
#[track_caller]
fn assert_has_not_begun(node: &Node, limit: &str) {
    assert!(!node.has_run("a.sh"), "{limit}");
    let flags = files(&node.path("state"));
    let only_start = flags.iter().all(|flag| flag.ends_with("flags/START"));
    assert!(only_start, "{limit}: {flags:?}");
}

/// Everything is done, and no sink has missed a byte.
#[track_caller]
fn assert_all_done(node: &Node, output: &Output, limit: &str) {
    let shown = unstamp("[out]", &behind_banner(output));
    assert!(
        shown.ends_with("out\nSUCEEDED: a.sh \n"),
        "{limit}: {shown}"
    );
    let log = |ending| log_in(&node.path("log/pkg/1.2.3"), "a.sh", ending);
    assert_eq!(unstamp("[out]", &log(".log")), "out\n", "{limit}");
    assert_eq!(log(".log.err"), stderr(output), "{limit}");
    assert_eq!(unstamp("[err]", &stderr(output)), "err\n", "{limit}");
    assert!(
        node.has_run("a.sh") && node.flag("a.sh").exists(),
        "{limit}"
    );
}

#[test]
fn with_any_number_of_descriptors_a_run_does_everything_or_says_why_not() {
    let mut refused = 0;
    for most in 3.. {
        let node = node();
        let limit = format!("ulimit -n {most}");
        let output = after(&limit, &apply(&node)).output().unwrap();
        assert!(names(&node.path("tmp")).is_empty(), "{limit}");
        let notices = notices(&output);
        match (output.status.code(), &notices[..]) {
            (Some(0), []) => {
                assert_all_done(&node, &output, &limit);
                break;
            }
            // Without a log that could not be had.
            (Some(0), [notice]) => {
                assert!(notice.ends_with("a.sh runs without a log file"), "{notice}");
                assert!(
                    node.has_run("a.sh") && node.flag("a.sh").exists(),
                    "{limit}"
                );
            }
            // The loader, which has not even started the agent.
            (Some(127), []) if stdout(&output).is_empty() => assert_has_not_begun(&node, &limit),
            // The loader of the step.
            (Some(1), []) => {
                let said = stdout(&output);
                assert!(said.contains("FAILED: a.sh "), "{limit}: {said}");
                assert!(!node.flag("a.sh").exists(), "{limit}");
            }
            (Some(1), [notice]) => {
                assert!(notice.starts_with("cannot "), "{limit}: {notice}");
                assert!(notice.contains("Too many open files"), "{limit}: {notice}");
                assert_has_not_begun(&node, &limit);
                refused += 1;
            }
            other => panic!("{limit}: {other:?}: {}", stderr(&output)),
        }
        assert!(most < 64, "more than any run needs");
    }
    assert!(refused > 3, "{refused}");
}

/// `command` as somebody who may have no further process; root, who has no such
/// limit, becomes a user that has none yet. `None` where that may not be.
fn without_processes(command: &Command) -> Option<Command> {
    // The shells have it by different letters.
    let limit = "ulimit -p 1 2> /dev/null || ulimit -u 1 || exit 96; exec \"$@\"";
    let limited = wrapped(&["/bin/sh", "-c", limit, "sh"], command);
    if !is_root() {
        return Some(limited);
    }
    // Whoever has this id, it is nobody who runs something.
    let user = 1_200_000_000 + std::process::id();
    let [user, group] = ["--reuid", "--regid"].map(|option| format!("{option}={user}"));
    let words = ["setpriv", &user, &group, "--clear-groups"];
    let may_run = wrapped(&words, agent().arg("--version")).output();
    let may_run = may_run.is_ok_and(|output| output.status.success());
    may_run.then(|| wrapped(&words, &limited))
}

#[test]
fn without_a_process_left_no_step_starts_and_one_line_says_why() {
    const NAME: &str = "without_a_process_left_no_step_starts_and_one_line_says_why";
    let node = node().command("reboot", LEAVES_A_MARK);
    let mut interrupt = node.interrupt(&json!({ "type": "node_restart" }));
    interrupt.env("TMPDIR", node.path("tmp"));
    for folder in ["", "tmp", "copy", "copy/skyhook_dir"] {
        set_mode(&node.path(folder), 0o777);
    }
    for command in [apply(&node), interrupt] {
        let Some(mut limited) = without_processes(&command) else {
            return skipped(NAME, "may not become a user who may run the agent");
        };
        let output = limited.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(
            stderr(&output),
            "skyhook-agent: cannot start /proc/self/exe: \
             Resource temporarily unavailable (os error 11)\n"
        );
        assert_has_not_begun(&node, "an interrupt keeps no flag either");
        assert!(!node.path("bin/reboot.ran").exists());
        assert!(names(&node.path("tmp")).is_empty());
    }
}

/// The buffer is the one thing whose size a variable decides.
#[test]
fn a_buffer_without_memory_for_it_starts_nothing_and_is_said() {
    // With so little as a run with the usual buffer needs, there is no room for
    // one of a megabyte, which is what the largest limit gives.
    let most_is_enough = |kilobytes: u32| {
        let node = node();
        let limit = format!("ulimit -v {kilobytes}");
        let enough = after(&limit, &apply(&node)).output().unwrap();
        if enough.status.code() != Some(0) {
            return false;
        }
        assert_all_done(&node, &enough, &limit);

        let node = self::node();
        let mut large = apply(&node);
        large.env("SKYHOOK_AGENT_BUFFER_LIMIT", usize::MAX.to_string());
        let output = after(&limit, &large).output().unwrap();
        assert_eq!(output.status.signal(), None, "{limit}: {output:?}");
        assert_eq!(output.status.code(), Some(1), "{limit}: {output:?}");
        let line = "skyhook-agent: cannot start /proc/self/exe: out of memory\n";
        assert_eq!(stderr(&output), line, "{limit}");
        assert_has_not_begun(&node, &limit);
        assert!(names(&node.path("tmp")).is_empty());
        true
    };
    // More than the agent has, but a machine may need more to load it.
    let found = (2..1024).map(|n| n * 128).find(|it| most_is_enough(*it));
    assert!(found.is_some());
}
