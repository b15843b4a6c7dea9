//! Unusual values that config.json may have are obeyed exactly, and nothing is written
//! outside the agent's own directories.

mod support;

use std::process::Output;

use serde_json::{Value, json};
use support::{LEAVES_A_MARK, Node, after_banner, assert_says, files, names, stderr, stdout};

#[test]
fn the_longest_allowed_names_work_in_all_files_named_after_them() {
    let version = format!("1.0.0-{}", "v".repeat(249));
    let step = "s".repeat(183);
    let node = Node::new()
        .step_with(
            &step,
            LEAVES_A_MARK,
            &json!({ "arguments": ["x".repeat(300)] }),
        )
        .set("package_name", "n".repeat(243).into())
        .set("package_version", version.into());
    // The step is its own check: a check's name would be longer than allowed.
    let config = node.config();
    let config = config.replace(&format!("{step}_check.sh"), &step);
    node.write_config(config);
    for (mode, says) in [
        ("apply", format!("SUCEEDED: {step} ")),
        ("apply", format!("Skipping {step} ")),
        ("apply-check", format!("SUCEEDED: {step} ")),
        ("uninstall-check", String::new()),
    ] {
        let output = node.run(mode).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{mode}: {}", stderr(&output));
        assert_says(&after_banner(&output), &[&says]);
        assert!(
            !stderr(&output).contains("without a log file"),
            "{}",
            stderr(&output)
        );
    }
    assert!(node.has_run(&step));
}

/// Runs a step with these fields over those of a plain one, by both commands. Asserts
/// that everything new is below `state` and `log`.
#[track_caller]
fn run_both(over: &Value) -> Vec<(Node, Output)> {
    [0, 1]
        .map(|way| {
            let node = Node::new().step_with(
                "a.sh",
                "#!/bin/sh\n: > \"$0.ran\"\nprintf %s \"$@\"\n",
                over,
            );
            let before = files(node.dir.path());
            let output = node.apply_both_ways()[way].output().unwrap();
            for file in files(node.dir.path()) {
                let is_own = file.starts_with(node.path("state"))
                    || file.starts_with(node.path("log"))
                    || file == node.path("copy/skyhook_dir/a.sh.ran");
                assert!(is_own || before.contains(&file), "{file:?}");
            }
            (node, output)
        })
        .into()
}

#[test]
fn an_argument_that_no_process_can_have_fails_the_step_before_it_runs() {
    for (node, output) in run_both(&json!({ "arguments": ["a\0b"] })) {
        assert_eq!(output.status.code(), Some(1));
        assert!(!node.has_run("a.sh"));
        assert_says(&stdout(&output), &["FAILED: a.sh "]);
        assert_says(
            &stderr(&output),
            &["[err]", "cmd: expected no NUL byte in it"],
        );
        // A flag's name depends on the arguments.
        assert!(files(&node.path("state/flags/pkg")).is_empty());
    }
}

#[test]
fn variables_that_no_process_can_have_are_refused_before_anything_runs() {
    for (over, says) in [
        (json!({ "env": { "A": "\0" } }), "expected no NUL in it"),
        (json!({ "env": { "A\0": "" } }), "expected a name without"),
        (json!({ "env": { "PATH=": "" } }), "expected a name without"),
    ] {
        for (node, output) in run_both(&over) {
            assert_eq!(output.status.code(), Some(1));
            assert!(!node.has_run("a.sh"));
            let place = "config.json: modes.apply[0].";
            assert_says(&stderr(&output), &["skyhook-agent: ", place, says]);
            assert!(!stderr(&output).contains('\0'), "{output:?}");
            assert!(files(&node.path("state/flags/pkg")).is_empty());
        }
    }
}

#[test]
fn a_variable_without_a_name_does_no_harm() {
    for (node, output) in run_both(&json!({ "env": { "": "x=y" } })) {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(node.has_run("a.sh"));
    }
}

#[test]
fn arguments_reach_the_step_and_the_verdict_byte_for_byte() {
    let argument = "\u{1b}[31m\r\u{9b}é\u{7f}'\"";
    for (i, (node, output)) in run_both(&json!({ "arguments": [argument] }))
        .into_iter()
        .enumerate()
    {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stderr(&output), "");
        assert!(node.has_run("a.sh"));
        let verdict = format!(" {argument}SUCEEDED: a.sh {argument}\n");
        assert!(stdout(&output).ends_with(&verdict), "{output:?}");
        if i == 0 {
            // The header shows arguments as Python does, which escapes them.
            let header = "apply a.sh ['\\x1b[31m\\r\\x9bé\\x7f\\'\"'] [0] Idempotence.Auto True\n";
            assert!(after_banner(&output).starts_with(header), "{output:?}");
        }
    }
}

#[test]
fn an_unusual_package_name_is_one_directory_below_the_agent_s() {
    for name in [".hidden", "...", "-rf", " ", "~", "\\..\\.."] {
        for way in [0, 1] {
            let node = Node::one_step().set("package_name", name.into());
            let output = node.apply_both_ways()[way].output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            assert_eq!(names(&node.path("log")), [name]);
            if way == 0 {
                assert!(node.path("state/flags").join(name).is_dir());
                assert_eq!(names(&node.path("state/flags")).len(), 2);
            }
            assert!(node.has_run("a.sh"));
        }
    }
}
