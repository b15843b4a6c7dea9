//! `run-step` refuses what it cannot use, before anything runs.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use serde_json::json;
use support::{LEAVES_A_MARK, Node, agent, agent_line, assert_says, names, stderr, stdout};

#[test]
fn an_unknown_step_is_refused_with_the_names_of_known_ones() {
    let node = Node::one_step().step("other.sh", LEAVES_A_MARK);
    let mut command = node.run_step();
    let output = command.args(["--step", "a", "--step", "no"]).output();
    assert_says(
        &agent_line(&output.unwrap(), 2),
        &["--step no: ", "apply", "config.json", "a, other"],
    );

    let mut command = node.run_step();
    let output = command.args(["--mode", "upgrade", "--step", "a"]).output();
    assert_says(
        &agent_line(&output.unwrap(), 2),
        &["--step a: ", "upgrade", "config.json", "none"],
    );
    node.assert_untouched();
}

#[test]
fn an_unknown_mode_is_refused_with_the_names_of_known_ones() {
    let node = Node::one_step();
    let mut command = node.run_step();
    let output = command.args(["--mode", "aply"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_says(
        &stderr(&output),
        &["'aply'", "--mode", "apply, apply-check", "uninstall-check"],
    );
    node.assert_untouched();
}

#[test]
fn a_step_is_not_run_if_it_would_have_no_time() {
    let node = Node::one_step();
    for timeout in ["0s", "0h0m", "1", "soon"] {
        let mut command = node.run_step();
        let output = command.args(["--timeout", timeout]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_says(&stderr(&output), &["expected a duration of 1s or more"]);
        node.assert_untouched();
    }
}

#[test]
fn an_unusable_environment_variable_is_refused_before_anything_runs() {
    for (name, values) in [
        ("SKYHOOK_AGENT_BUFFER_LIMIT", ["abc", "0", "-5", ""]),
        ("SKYHOOK_AGENT_DRAIN_TIMEOUT", ["soon", "NaN", "-1", ""]),
    ] {
        for value in values {
            let node = Node::one_step();
            let output = node.run_step().env(name, value).output().unwrap();
            assert_says(
                &agent_line(&output, 2),
                &[&format!("{name}: expected "), &format!("got {value:?}")],
            );
            node.assert_untouched();
        }
    }
}

#[test]
fn an_env_argument_whose_variable_is_not_utf_8_fails_the_step() {
    let over = json!({ "arguments": ["env:RAW"] });
    let node = Node::new().step_with("a.sh", LEAVES_A_MARK, &over);
    let mut command = node.run_step();
    let output = command.env("RAW", OsStr::from_bytes(b"\xff")).output();
    let output = output.unwrap();
    assert_eq!(
        stdout(&output),
        "a.sh: Expected environment variable to be UTF-8: RAW\n"
    );
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(1));
    node.assert_untouched();
}

#[test]
fn a_copy_dir_that_is_not_utf_8_is_refused() {
    let copy_dir = OsStr::from_bytes(b"/tmp/\xff");
    let output = agent().arg("run-step").arg(copy_dir).output().unwrap();
    assert_says(&agent_line(&output, 2), &["COPY_DIR: expected UTF-8"]);
}

#[test]
fn a_missing_package_is_named() {
    let node = Node::new();
    fs::remove_dir_all(node.path("copy")).unwrap();
    let line = agent_line(&node.run_step().output().unwrap(), 1);
    assert_says(&line, &["/copy/config.json: No such file"]);
    assert!(names(node.dir.path()).is_empty());

    let node = Node::one_step();
    fs::remove_file(node.path("copy/config.json")).unwrap();
    let line = agent_line(&node.run_step().output().unwrap(), 1);
    assert_says(&line, &["/copy/config.json: No such file"]);
    assert_eq!(names(node.dir.path()), ["copy"]);
}

#[test]
fn an_unusable_config_is_refused_with_the_place_of_the_error() {
    let node = Node::one_step();
    let config = node.config();
    for (find, replace, place) in [
        (&*config, "", "line 1 column 0"),
        (":", "", "expected JSON: expected `:` at line 1 column"),
        ("v1", "v2", "schema_version: expected"),
        ("pkg", "../pkg", "package_name: expected"),
        ("1.2.3", "..", "package_version: expected"),
        (
            "\"a.sh\"",
            "\"../../a.sh\"",
            "modes.apply[0].path: expected",
        ),
        (
            "\"a.sh\"",
            "\"no.sh\"",
            "modes.apply[0].path: expected a file inside skyhook_dir, which has no \"no.sh\"",
        ),
    ] {
        let unusable = config.replace(find, replace);
        assert_ne!(unusable, config);
        node.write_config(unusable);
        let line = agent_line(&node.run_step().output().unwrap(), 1);
        assert_says(&line, &["/copy/config.json: ", place]);
        node.assert_untouched();
    }
}

#[test]
fn all_errors_of_a_config_are_listed_at_once() {
    let node = Node::one_step();
    let config = node.config();
    let config = config.replace("1.2.3", "1.2");
    node.write_config(config.replacen("\"on_host\"", "\"on_hots\"", 1));
    let output = node.run_step().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_says(
        &stderr(&output),
        &[
            "/copy/config.json: package_version: expected a semantic version",
            "modes.apply[0].on_host: expected a value, got none",
            "modes.apply[0].on_hots: unknown key, expected one of name, ",
        ],
    );
    node.assert_untouched();
}
