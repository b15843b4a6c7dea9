//! `skyhook-agent validate`, through the real binary.

mod support;

use std::process::Output;

use serde_json::{Value, json};
use support::{Node, agent, golden, stderr, stdout, stdout_of_success};

/// Runs validate on the package of a node, with these options.
fn validate(node: &Node, options: &[&str]) -> Output {
    let mut command = agent();
    command.arg("validate").args(options);
    command.arg("copy").current_dir(node.dir.path());
    command.output().unwrap()
}

/// Runs it with `--output json`.
#[track_caller]
fn json_of(node: &Node, options: &[&str]) -> Value {
    let options = [&["--output", "json"], options].concat();
    let output = validate(node, &options);
    assert_eq!(stderr(&output), "");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A finding in a few words: `code line:column place`.
fn brief(finding: &Value) -> String {
    let text = |key: &str| finding[key].as_str().unwrap();
    let (line, column) = (&finding["line"], &finding["column"]);
    format!("{} {line}:{column} {}", text("code"), text("place"))
}

fn briefs(document: &Value) -> Vec<String> {
    let findings = document["findings"].as_array().unwrap();
    findings.iter().map(brief).collect()
}

#[test]
fn a_package_without_problems_is_said_to_have_none() {
    let output = validate(&Node::one_step(), &[]);
    let expected = "1 package: no errors, no warnings\n";
    assert_eq!(stdout_of_success(&output), expected);
}

#[test]
fn each_problem_is_shown_with_its_line() {
    let node = Node::one_step();
    node.write_config(CONFIG);
    let output = validate(&node, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "");
    assert_eq!(stdout(&output), SHOWN);
}

const CONFIG: &str = r#"{
  "schema_version": "v1",
  "package_name": "pkg",
  "package_version": "v1.2.3", // no JSON
  "expected_config_files": [],
  "modes": {
    "apply": [
      {"name": "grüße", "path": "b.sh", "arguments": [], "on_host": true,
       "idempotence": false, "upgrade_step": false},
    ]
  }
}
"#;

const SHOWN: &str = r#"error[package-version]: expected a semantic version such as 1.2.3, got "v1.2.3"
 --> copy/config.json:4:22 (package_version)
  |
4 |   "package_version": "v1.2.3", // no JSON
  |                      ^^^^^^^^

error[comment]: expected JSON, which has no comments
 --> copy/config.json:4:32
  |
4 |   "package_version": "v1.2.3", // no JSON
  |                                ^^^^^^^^^^

error[no-check-step]: expected a step in apply-check, to check apply
 --> copy/config.json:6:12 (modes)
  |
6 |   "modes": {
  |            ^

error[missing-value]: expected a value, got none
 --> copy/config.json:8:7 (modes.apply[0].returncodes)
  |
8 |       {"name": "grüße", "path": "b.sh", "arguments": [], "on_host": true,
  |       ^

error[step-name]: expected letters, digits, _, - and ., got "grüße"
 --> copy/config.json:8:16 (modes.apply[0].name)
  |
8 |       {"name": "grüße", "path": "b.sh", "arguments": [], "on_host": true,
  |                ^^^^^^^

error[no-file]: expected a file inside skyhook_dir, which has no "b.sh"
 --> copy/config.json:8:33 (modes.apply[0].path)
  |
8 |       {"name": "grüße", "path": "b.sh", "arguments": [], "on_host": true,
  |                                 ^^^^^^

error[trailing-comma]: expected no comma behind the last value
 --> copy/config.json:9:52
  |
9 |        "idempotence": false, "upgrade_step": false},
  |                                                    ^

1 package: 7 errors, no warnings
"#;

#[test]
fn json_is_one_document_with_the_documented_fields() {
    let node = Node::one_step();
    node.write_config(node.config().replace("1.2.3", "1.2"));
    let column = node.config().find("\"1.2\"").unwrap() + 1;
    assert_eq!(
        json_of(&node, &[]),
        json!({
            "schema": 1,
            "findings": [{
                "severity": "error", "code": "package-version", "file": "copy/config.json",
                "line": 1, "column": column, "place": "package_version",
                "message": "expected a semantic version such as 1.2.3, got \"1.2\"",
                "help": "",
            }],
            "errors": 1, "warnings": 0,
        })
    );
}

#[test]
fn what_is_no_json_is_said_in_words_and_the_rest_is_read_all_the_same() {
    let node = Node::one_step();
    let config = node.config().replace("1.2.3", "1.2");
    let text = format!(
        "\u{feff}/* a\nb */\n{},\n}} # c",
        config.trim_end_matches('}')
    );
    node.write_config(text.trim_end_matches(" # c"));
    let document = json_of(&node, &[]);
    let column = config.find("\"1.2\"").unwrap() + 1;
    let found = briefs(&document);
    assert_eq!(found[0], "byte-order-mark 1:1 ");
    assert_eq!(found[1], "comment 1:2 ");
    assert_eq!(
        found[2],
        format!("package-version 3:{column} package_version")
    );
}

/// They are one rule: this checks that both ask it.
#[test]
fn the_verdict_is_that_of_the_agent_on_every_golden() {
    for case in golden("configs.json") {
        let node = Node::new();
        for file in case["files"].as_array().unwrap() {
            node.script(file.as_str().unwrap(), "#!/bin/sh\n");
        }
        node.write_config(case["config"].to_string());
        let output = validate(&node, &[]);
        let code = if case["ok"] == true { 0 } else { 1 };
        assert_eq!(
            output.status.code(),
            Some(code),
            "{}: {output:?}",
            case["name"]
        );
    }
}

#[test]
fn what_is_no_package_is_wrong_usage() {
    for path in ["", "/no/such/package"] {
        let output = agent().args(["validate", path]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{path}");
        assert_eq!(stdout(&output), "");
    }
}
