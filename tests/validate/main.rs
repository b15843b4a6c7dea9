//! `skyhook-agent validate`, through the real binary.

#[path = "../support/mod.rs"]
mod support;

mod config;
mod files;
mod forms;

use std::process::Output;

use serde_json::Value;
use support::{Node, agent, stderr};

/// Runs validate on the package `copy` of a node, with these options.
fn validate(node: &Node, options: &[&str]) -> Output {
    let options = [&["--name", "pkg"], options, &["copy"]].concat();
    validate_in(node, &options)
}

/// Runs validate in a node's directory.
fn validate_in(node: &Node, words: &[&str]) -> Output {
    let mut command = agent();
    command.arg("validate").args(words);
    command.current_dir(node.dir.path()).output().unwrap()
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

#[track_caller]
fn briefs(document: &Value) -> Vec<String> {
    let findings = document["findings"].as_array().unwrap();
    let count = |severity: &str| {
        findings
            .iter()
            .filter(|one| one["severity"] == severity)
            .count()
    };
    assert_eq!(document["errors"], count("error"));
    assert_eq!(document["warnings"], count("warning"));
    for finding in findings {
        assert_ne!(finding["help"], "", "{finding}");
        assert_ne!(finding["message"], "", "{finding}");
    }
    findings.iter().map(brief).collect()
}

/// What is found in a package, in a few words each.
#[track_caller]
fn found(node: &Node, options: &[&str]) -> Vec<String> {
    briefs(&json_of(node, options))
}

/// A package whose config.json is [`PLAIN`] with a text replaced.
fn plain_with(text: &str, replacement: &str) -> Node {
    let node = Node::one_step();
    assert!(PLAIN.contains(text), "{text}");
    node.write_config(PLAIN.replacen(text, replacement, 1));
    node
}

/// A package without problems, whose lines are known: the step is in line 8, and its check
/// in line 13.
const PLAIN: &str = r#"{
  "schema_version": "v1",
  "package_name": "pkg",
  "package_version": "1.2.3",
  "expected_config_files": [],
  "modes": {
    "apply": [
      {"name": "a", "path": "a.sh", "arguments": [], "returncodes": [0],
       "on_host": true, "idempotence": false, "upgrade_step": false,
       "env": {}}
    ],
    "apply-check": [
      {"name": "a", "path": "a_check.sh", "arguments": [], "returncodes": [0],
       "on_host": true, "idempotence": false, "upgrade_step": false,
       "env": {}}
    ]
  }
}
"#;
