//! The options of `run-step` that make it what a node does, or say how it differs.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

use serde_json::json;
use support::{
    LEAVES_A_MARK, Node, Skip, agent, agent_line, assert_says, is_root, names, set_mode, skip,
    stderr, stdout, unstamp, unstamped_success,
};

/// A package whose upgrade has one step, which says what it was given.
fn upgrade() -> Node {
    let node = Node::new().step_with(
        "a.sh",
        "#!/bin/sh\necho \"$* $PREVIOUS_VERSION $CURRENT_VERSION\"\n",
        &json!({ "upgrade_step": true }),
    );
    let config = node.config();
    node.write_config(config.replace("apply", "upgrade"));
    node
}

fn run_step(node: &Node, arguments: &[&str]) -> Command {
    let mut command = node.run_step();
    command.args(arguments);
    command
}

/// The only line on stderr of a run that succeeded.
#[track_caller]
fn warning(output: &Output) -> String {
    let line = stderr(output);
    assert_eq!(output.status.code(), Some(0), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.starts_with("skyhook-agent: warning: "), "{line}");
    line
}

#[test]
fn an_upgrade_is_given_the_versions_as_on_a_node() {
    let node = upgrade();
    let mut command = run_step(&node, &["--mode", "upgrade", "--from", "1.0.0"]);
    let from = unstamped_success(&command.output().unwrap());
    let ran = "1.0.0 1.2.3 1.0.0 1.2.3\nSUCEEDED: a.sh 1.0.0 1.2.3\n";
    assert_eq!(from, ran);

    // The same as the agent's own on a node that has the version in its history.
    fs::create_dir_all(node.path("state/history")).unwrap();
    let history = json!({ "current-version": "1.0.0", "history": [] });
    fs::write(node.path("state/history/pkg.json"), history.to_string()).unwrap();
    let output = node.run("upgrade").output().unwrap();
    assert_says(&unstamp("[out]", &stdout(&output)), &[ran]);
}

#[test]
fn an_upgrade_without_a_version_is_that_of_a_node_without_history_and_says_so() {
    let node = upgrade();
    let output = run_step(&node, &["--mode", "upgrade"]).output().unwrap();
    assert_says(&warning(&output), &["--from VERSION", "unknown"]);
    assert_says(&stdout(&output), &["SUCEEDED: a.sh unknown 1.2.3\n"]);
    let of_agent = stdout(&node.run("upgrade").output().unwrap());
    assert_says(&of_agent, &["SUCEEDED: a.sh unknown 1.2.3\n"]);
}

#[test]
fn a_version_is_refused_where_no_step_gets_it() {
    let node = Node::one_step();
    let output = run_step(&node, &["--from", "1.0.0"]).output().unwrap();
    assert_says(&agent_line(&output, 2), &["--from: ", "upgrade", "apply"]);
    node.assert_untouched();
}

#[test]
fn the_checks_run_behind_the_steps_of_their_mode() {
    let node = Node::new()
        .step("a.sh", "#!/bin/sh\necho a\n")
        .step("b.sh", LEAVES_A_MARK);
    node.script("a_check.sh", "#!/bin/sh\nexit 4\n");
    let output = run_step(&node, &["--check"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    // All checks run, as on a node.
    assert_eq!(
        unstamp("[out]", &stdout(&output)),
        "a\nSUCEEDED: a.sh \nSUCEEDED: b.sh \nFAILED: a_check.sh  4\nSUCEEDED: b_check.sh \n"
    );
    let output = run_step(&node, &["--check", "--step", "b"]).output();
    assert_eq!(
        unstamped_success(&output.unwrap()),
        "SUCEEDED: b.sh \nSUCEEDED: b_check.sh \n"
    );
    node.script("b.sh", "#!/bin/sh\nexit 3\n");
    let output = run_step(&node, &["--check", "--step", "b"])
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "FAILED: b.sh  3\n");

    let mode = ["--check", "--mode", "apply-check"];
    let output = run_step(&node, &mode).output().unwrap();
    assert_says(&agent_line(&output, 2), &["--check: ", "apply-check"]);
}

#[test]
fn a_list_has_the_steps_with_their_resolved_arguments_and_runs_none() {
    let over = json!({ "arguments": ["env:ROLE", "y z"] });
    let node = Node::new()
        .step_with("steps/long.sh", LEAVES_A_MARK, &over)
        .step("b.sh", LEAVES_A_MARK);
    let mut command = run_step(&node, &["--list", "--check"]);
    let output = command.env("ROLE", "it's").output().unwrap();
    assert_eq!(
        stdout(&output),
        "apply:\n  steps-long  steps/long.sh 'it'\\''s' 'y z'\n  b           b.sh\n\
         apply-check:\n  steps-long  steps/long_check.sh\n  b           b_check.sh\n"
    );
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
    node.assert_untouched();

    let output = command.env_remove("ROLE").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "skyhook-agent: steps/long.sh: Expected environment variable did not exist: ROLE\n"
    );
    node.assert_untouched();
}

#[test]
fn steps_read_nothing_unless_they_are_let() {
    let node = Node::new().step("a.sh", "#!/bin/sh\nread -r word\necho \"got $word\"\n");
    fs::write(node.path("input"), "words\n").unwrap();
    for (option, got) in [(None, "got "), (Some("--stdin"), "got words")] {
        let mut command = node.run_step();
        command.args(option);
        command.stdin(Stdio::from(fs::File::open(node.path("input")).unwrap()));
        let output = unstamped_success(&command.output().unwrap());
        assert_eq!(output, format!("{got}\nSUCEEDED: a.sh \n"));
    }
}

#[test]
fn config_json_stands_for_its_package() {
    let node = Node::new().step("a.sh", "#!/bin/sh\npwd -P\n");
    let mut command = agent();
    command.args(["run-step", "--log-dir", "../log", "config.json"]);
    let output = command.current_dir(node.path("copy")).output().unwrap();
    let copy = node.path("copy").canonicalize().unwrap();
    let expected = format!("{}\nSUCEEDED: a.sh \n", copy.display());
    assert_eq!(unstamped_success(&output), expected);
}

#[test]
fn config_files_are_looked_for_as_on_a_node() {
    let node = Node::one_step().set("expected_config_files", json!(["a.conf"]));
    let output = node.run_step().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert_says(
        &said,
        &["--configmaps DIR", "copy/configmaps: a.conf: expected"],
    );
    node.assert_untouched();

    // Not for what uninstalls a package.
    let output = run_step(&node, &["--mode", "uninstall"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_directory_takes_the_place_of_configmaps_while_steps_run() {
    let script = "#!/bin/sh\ncat \"$SKYHOOK_DIR/configmaps/a.conf\"\n";
    let node = Node::new()
        .step("a.sh", script)
        .set("expected_config_files", json!(["a.conf"]));
    fs::create_dir(node.path("maps")).unwrap();
    fs::write(node.path("maps/a.conf"), "value\n").unwrap();
    let maps = node.path("maps");
    let with_maps = || {
        let mut command = node.run_step();
        command.arg("--configmaps").arg(&maps);
        command
    };
    let ran = "value\nSUCEEDED: a.sh \n";
    assert_eq!(unstamped_success(&with_maps().output().unwrap()), ran);
    assert_eq!(names(&node.path("copy")), ["config.json", "skyhook_dir"]);

    // A link that leads there already is used, and stays.
    symlink(&maps, node.path("copy/configmaps")).unwrap();
    assert_eq!(unstamped_success(&with_maps().output().unwrap()), ran);
    assert!(node.path("copy/configmaps").is_symlink());
    fs::remove_file(node.path("copy/configmaps")).unwrap();

    // What the package has there is not touched.
    fs::create_dir(node.path("copy/configmaps")).unwrap();
    let output = with_maps().output().unwrap();
    assert_says(
        &agent_line(&output, 1),
        &["--configmaps", "copy/configmaps: File exists"],
    );
    assert!(node.path("copy/configmaps").is_dir());
    fs::remove_dir(node.path("copy/configmaps")).unwrap();

    let none = ["--configmaps", "no/such/dir"];
    let output = run_step(&node, &none).output().unwrap();
    assert_says(&agent_line(&output, 2), &["--configmaps: ", "no/such/dir"]);
}

#[test]
fn a_root_dir_that_is_not_laid_over_is_said_once() {
    let node = Node::one_step().step("b.sh", LEAVES_A_MARK);
    fs::create_dir(node.path("copy/root_dir")).unwrap();
    let output = node.run_step().output().unwrap();
    assert_says(&warning(&output), &["does not copy the package's root_dir"]);
}

#[test]
fn another_root_is_refused_before_anything_runs_to_who_may_not_enter_it() {
    let node = Node::one_step();
    let mut command = agent();
    if is_root() {
        // The binary's own directory may be closed to others.
        command = Command::new("setpriv");
        command.args(["--bounding-set", "-sys_chroot", "--inh-caps", "-sys_chroot"]);
        command.arg(env!("CARGO_BIN_EXE_skyhook-agent"));
    }
    command.args(["run-step", "--chroot"]).arg(node.dir.path());
    let output = match command.arg("/copy").output() {
        Ok(output) => output,
        Err(_) => skip!(Skip::MissingTool("setpriv".to_owned())),
    };
    assert_says(
        &agent_line(&output, 2),
        &["--chroot ", "root", "CAP_SYS_CHROOT"],
    );
    node.assert_untouched();
}

#[test]
fn a_log_directory_that_may_not_be_written_to_is_said_once_with_its_option() {
    let node = Node::one_step().step("b.sh", LEAVES_A_MARK);
    if is_root() {
        fs::write(node.path("log"), "in the way").unwrap();
    } else {
        fs::create_dir_all(node.package_logs()).unwrap();
        set_mode(&node.package_logs(), 0o555);
    }
    let output = node.run_step().output().unwrap();
    assert_says(
        &warning(&output),
        &["/log", "no log files", "--log-dir DIR"],
    );
    assert!(node.has_run("b.sh"));
}

#[test]
fn a_check_of_any_name_is_a_check() {
    let node = Node::new().step("a.sh", "#!/bin/sh\n");
    node.script("verify.sh", "#!/bin/sh\n");
    node.write_config(node.config().replace("a_check.sh", "verify.sh"));
    let output = node.run_step().output().unwrap();
    assert_eq!(stderr(&output), "");
    // The agent's own line is the contract's.
    let output = node.run("apply").output().unwrap();
    assert_says(&stderr(&output), &["a_check.sh doesn't exist"]);
}
