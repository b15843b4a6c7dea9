//! The command `run-step` of the real binary: which steps run, with which result, and
//! what they find.

mod support;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;
use support::{
    LEAVES_A_MARK, Node, Running, Skip, agent, agent_line, assert_says, files, fill_root, is_root,
    log_in, names, skip, stderr, stdout, unstamp, unstamped_success, with_prelude,
};

#[test]
fn no_step_runs_after_one_that_failed() {
    let node = Node::new()
        .step("a.sh", "#!/bin/sh\necho a\n")
        .step("b.sh", "#!/bin/sh\nexit 3\n")
        .step("c.sh", LEAVES_A_MARK);
    let output = node.run_step().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        unstamp("[out]", &stdout(&output)),
        "a\nSUCEEDED: a.sh \nFAILED: b.sh  3\n"
    );
    assert_eq!(stderr(&output), "");
    assert!(!node.has_run("c.sh"));
}

#[test]
fn steps_named_on_the_command_line_run_in_the_order_of_config_json() {
    let node = ["a.sh", "b.sh", "c.sh"]
        .into_iter()
        .fold(Node::new(), |node, path| node.step(path, "#!/bin/sh\n"));
    let mut command = node.run_step();
    let output = command.args(["--step", "c", "--step", "a"]).output();
    assert_eq!(
        unstamped_success(&output.unwrap()),
        "SUCEEDED: a.sh \nSUCEEDED: c.sh \n"
    );
}

#[test]
fn a_mode_without_steps_is_warned_about_and_succeeds() {
    let node = Node::one_step();
    let mut command = node.run_step();
    let output = command.args(["--mode", "config"]).output().unwrap();
    assert_says(
        &agent_line(&output, 0),
        &[
            "skyhook-agent: warning: ",
            "config.json: no steps for mode config",
        ],
    );
    node.assert_untouched();
}

#[test]
fn a_step_ended_by_a_signal_fails_with_the_negated_signal_number() {
    for (signal, code) in [("TERM", "-15"), ("KILL", "-9")] {
        let node = Node::new().step("kill.sh", &format!("#!/bin/sh\nkill -{signal} $$\n"));
        let output = node.run_step().output().unwrap();
        assert_eq!(stdout(&output), format!("FAILED: kill.sh  {code}\n"));
        assert_eq!(stderr(&output), "");
        assert_eq!(output.status.code(), Some(1));
    }
    let script = "#!/bin/sh\necho words\nkill -TERM $$\n";
    let output = Node::new().step("kill.sh", script).run_step().output();
    let stdout = stdout(&output.unwrap());
    assert!(stdout.ends_with(" FAILED: kill.sh  -15\n"), "{stdout}");
    assert_eq!(unstamp("[out]", &stdout), "words\nFAILED: kill.sh  -15\n");
}

#[test]
fn a_code_in_returncodes_is_success() {
    for (end, codes) in [("exit 42", json!([0, 42])), ("kill -TERM $$", json!([-15]))] {
        let node = Node::new().step_with(
            "a.sh",
            &format!("#!/bin/sh\n{end}\n"),
            &json!({ "returncodes": codes, "arguments": ["x", "y z"] }),
        );
        let output = node.run_step().output().unwrap();
        assert_eq!(unstamped_success(&output), "SUCEEDED: a.sh x y z\n");
    }
}

#[test]
fn a_step_that_cannot_start_fails_with_1_and_its_stderr_says_why() {
    for (node, why) in [
        (Node::new().step("a.sh", "echo no shell\n"), "#!"),
        (Node::new().step("a.sh", "#!/no/such/sh\n"), "interpreter"),
    ] {
        let output = node.run_step().output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stdout(&output), "FAILED: a.sh  1\n");
        let shown = stderr(&output);
        assert_eq!(shown, node.log("a.sh", ".log.err"));
        let line = unstamp("[err]", &shown);
        assert_eq!(line.lines().count(), 1, "{line}");
        assert_says(
            &line,
            &["skyhook-agent: cannot ", "skyhook_dir/a.sh: ", why],
        );
    }
}

/// The code of a step that never ran is chroot-exec's, which `returncodes` may hold.
#[test]
fn a_step_that_cannot_start_fails_whatever_its_returncodes_are() {
    let any_code = json!({ "returncodes": (0..256).collect::<Vec<i64>>() });
    let script = "#!/no/such/sh\n";
    let node = Node::new().step_with("a.sh", script, &any_code);
    let output = node.run_step().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "FAILED: a.sh  1\n");
    let output = node.run("apply").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let flags = files(&node.path("state/flags/pkg"));
    assert!(flags.is_empty(), "{flags:?}");

    // A refused chroot: only root may.
    let node = Node::new().step_with("a.sh", "#!/bin/sh\n", &any_code);
    if is_root() {
        fs::remove_file(node.path("copy/skyhook_dir/a.sh")).unwrap();
        fs::create_dir(node.path("copy/skyhook_dir/a.sh")).unwrap();
    }
    let mut command = node.in_own_root("apply");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_says(&stdout(&output), &["FAILED: a.sh  1\n"]);
}

#[test]
fn an_ignored_sigchld_does_not_lose_the_exit_code() {
    let node = Node::new().step("a.sh", "#!/bin/sh\nexit 3\n");
    // Not with trap: some shells never ignore this signal.
    let ignoring = "exec env --ignore-signal=CHLD \"$@\"";
    let output = with_prelude(ignoring, &node.run_step()).output().unwrap();
    assert_eq!(stdout(&output), "FAILED: a.sh  3\n");
    assert_eq!(stderr(&output), "");
}

#[test]
fn the_drain_timeout_ends_the_wait_for_held_output() {
    let node = Node::new().step_with(
        "a.sh",
        "#!/bin/sh\nexec 3< \"$1\"\necho words\ncat <&3 &\n",
        &json!({ "arguments": ["env:FIFO"] }),
    );
    let fifo = node.path("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let writer = OpenOptions::new().read(true).write(true).open(&fifo);

    let mut command = node.run_step();
    command.env("SKYHOOK_AGENT_DRAIN_TIMEOUT", "0");
    command.env("FIFO", &fifo);
    let mut run = Running::start(&mut command);
    let notice = run.wait_for_notice();
    // The process that was left behind ends only now.
    drop(writer.unwrap());
    assert_says(&notice, &["a.sh has ended", "lost"]);
    let output = run.finish();
    assert_eq!(
        unstamp("[out]", &stdout(&output)),
        format!("words\nSUCEEDED: a.sh {}\n", fifo.display())
    );
    assert_eq!(output.status.code(), Some(0));
}

// The directories and the control file of a step.

#[test]
fn a_relative_copy_dir_is_made_absolute() {
    let node = Node::new().step(
        "a.sh",
        "#!/bin/sh\necho \"$SKYHOOK_DIR\"\necho \"$STEP_ROOT\"\npwd -P\n",
    );
    let mut command = agent();
    command.args(["run-step", "--log-dir", "log", "copy"]);
    let output = command.current_dir(node.dir.path()).output().unwrap();
    let copy = node.path("copy").canonicalize().unwrap();
    let copy = copy.display();
    let expected = format!("{copy}\n{copy}/skyhook_dir\n{copy}\n");
    assert_eq!(
        unstamped_success(&output),
        format!("{expected}SUCEEDED: a.sh \n")
    );
    assert_eq!(unstamp("[out]", &node.log("a.sh", ".log")), expected);

    // The completion of a shell ends the path with a slash.
    let mut command = agent();
    command.args(["run-step", "--log-dir", "log2", "copy/"]);
    let output = command.current_dir(node.dir.path()).output().unwrap();
    assert_eq!(
        unstamped_success(&output),
        format!("{expected}SUCEEDED: a.sh \n")
    );
}

#[test]
fn steps_run_and_are_logged_inside_another_root() {
    if !is_root() {
        skip!(Skip::NotPossible("only root can chroot"));
    }
    let node = Node::new().step("a.sh", "#!/bin/sh\necho $SKYHOOK_DIR\npwd -P\n");
    let root = node.dir.path();
    fill_root(root);
    let run_step = |copy_dir: &str| {
        let mut command = agent();
        command.args(["run-step", copy_dir, "--chroot"]).arg(root);
        command
    };
    let output = run_step("/copy").output().unwrap();
    assert_eq!(
        unstamped_success(&output),
        "/copy\n/copy\nSUCEEDED: a.sh \n"
    );
    let logs = root.join("var/log/skyhook/pkg/1.2.3");
    let log = log_in(&logs, "a.sh", ".log");
    assert_eq!(stdout(&output), format!("{log}SUCEEDED: a.sh \n"));

    // A link leads where it would lead on the host, never out of the root.
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), root.join("out")).unwrap();
    symlink("/copy/logs", root.join("in")).unwrap();
    let output = run_step("/copy").env("SKYHOOK_LOG_DIR", "/out").output();
    assert_says(&stderr(&output.unwrap()), &["runs without a log file"]);
    assert_eq!(names(outside.path()), [""; 0]);
    fs::create_dir(root.join("copy/logs")).unwrap();
    let output = run_step("/copy").env("SKYHOOK_LOG_DIR", "/in").output();
    unstamped_success(&output.unwrap());
    assert_eq!(names(&root.join("copy/logs")), ["pkg"]);

    // A relative COPY_DIR is relative to the root.
    let output = run_step("copy").env("SKYHOOK_LOG_DIR", "/log").output();
    assert_eq!(
        unstamped_success(&output.unwrap()),
        "/copy\n/copy\nSUCEEDED: a.sh \n"
    );
    assert_eq!(
        unstamp("[out]", &node.log("a.sh", ".log")),
        "/copy\n/copy\n"
    );
}

#[test]
fn the_control_file_is_private_and_removed_afterwards() {
    let script = "#!/bin/sh\nstat -c %a \"$TMPDIR\"/skyhook-agent-*.json\n";
    let node = Node::new().step("a.sh", script).with_temp_dir();
    let output = with_prelude("umask 000", &node.run_step()).output();
    let output = output.unwrap();
    assert_eq!(unstamped_success(&output), "600\nSUCEEDED: a.sh \n");
    assert!(node.left_in_temp_dir().is_empty());
}
