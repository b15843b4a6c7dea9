//! The command line, and the forms of the answer.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use super::support::{
    Node, agent, assert_says, pipe_without_reader, stderr, stdout, stdout_of_success,
};
use super::{json_of, plain_with, validate, validate_in};

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
  = help: write MAJOR.MINOR.PATCH, without a v in front

error[comment]: expected JSON, which has no comments, got one
 --> copy/config.json:4:32
  |
4 |   "package_version": "v1.2.3", // no JSON
  |                                ^^^^^^^^^^
  = help: remove it; a README has space for explanations

error[no-check-step]: expected a step in apply-check, to check apply
 --> copy/config.json:6:12 (modes)
  |
6 |   "modes": {
  |            ^
  = help: add a step that succeeds only if the mode's steps did their work

error[missing-value]: expected a value, got none
 --> copy/config.json:8:7 (modes.apply[0].returncodes)
  |
8 |       {"name": "grüße", "path": "b.sh", "arguments": [], "on_host": true,
  |       ^
  = help: add the key; it has no default

error[step-name]: expected letters, digits, _, - and ., got "grüße"
 --> copy/config.json:8:16 (modes.apply[0].name)
  |
8 |       {"name": "grüße", "path": "b.sh", "arguments": [], "on_host": true,
  |                ^^^^^^^
  = help: use the characters that are listed

error[no-file]: expected a file inside skyhook_dir, which has no "b.sh"
 --> copy/config.json:8:33 (modes.apply[0].path)
  |
8 |       {"name": "grüße", "path": "b.sh", "arguments": [], "on_host": true,
  |                                 ^^^^^^
  = help: did you mean a.sh?

error[trailing-comma]: expected no comma after the last value, got one
 --> copy/config.json:9:52
  |
9 |        "idempotence": false, "upgrade_step": false},
  |                                                    ^
  = help: remove the comma

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
                "help": "write MAJOR.MINOR.PATCH, without a v in front",
            }],
            "errors": 1, "warnings": 0,
        })
    );
}

#[test]
fn what_is_no_package_is_wrong_usage() {
    for path in ["", "/no/such/package"] {
        let output = agent().args(["validate", path]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{path}");
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn config_json_names_its_package_and_several_are_looked_at() {
    let node = Node::one_step();
    let output = validate_in(&node, &["--name", "pkg", "copy/config.json", "./copy"]);
    let expected = "2 packages: no errors, no warnings\n";
    assert_eq!(stdout_of_success(&output), expected);

    let mut command = agent();
    command.args(["validate", "--output=json", "--name=other", "."]);
    let output = command.current_dir(node.path("copy")).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["findings"][0]["file"], "config.json");
}

#[test]
fn a_package_without_config_json_is_an_error_and_the_others_are_looked_at() {
    let node = Node::one_step();
    fs::create_dir(node.path("empty")).unwrap();
    let output = validate_in(&node, &["--name", "pkg", "empty", "copy"]);
    assert_eq!(output.status.code(), Some(1));
    let says = [
        "error[unreadable]: cannot read ",
        "--> empty/config.json\n",
        "2 packages: 1 error",
    ];
    assert_says(&stdout(&output), &says);
}

#[test]
fn the_name_of_the_directory_counts_if_no_name_is_given() {
    let node = Node::one_step();
    for (dir, is_right) in [("pkg", true), ("pkg-1.2.3", true), ("package", false)] {
        fs::rename(node.path("copy"), node.path(dir)).unwrap();
        let output = validate_in(&node, &["--deny-warnings", dir]);
        assert_eq!(output.status.success(), is_right, "{dir}");
        fs::rename(node.path(dir), node.path("copy")).unwrap();
    }
    let output = validate(&node, &["--deny-warnings"]);
    stdout_of_success(&output);
}

#[test]
fn warnings_fail_if_they_are_denied() {
    let node = plain_with("\"on_host\": true", "\"on_host\": false");
    assert_eq!(validate(&node, &[]).status.code(), Some(0));
    let output = validate(&node, &["--deny-warnings"]);
    assert_eq!(output.status.code(), Some(1));
    assert_says(&stdout(&output), &["1 package: no errors, 1 warning\n"]);
}

#[test]
fn github_takes_findings_as_annotations() {
    let node = plain_with("\"on_host\": true", "\"on_host\": false");
    fs::rename(node.path("copy"), node.path("a,b")).unwrap();
    let output = validate_in(
        &node,
        &["--output", "github", "--name", "100%\u{e4}", "a,b"],
    );
    let expected = "\
::warning file=a%2Cb/config.json,line=3,col=19,title=skyhook-agent other-name::package_name: \
the operator's name of the package is \"100%25\u{e4}\"%0A\
the operator's name decides where state and logs go: use one name
::warning file=a%2Cb/config.json,line=9,col=19,title=skyhook-agent on-host::modes.apply[0].on_host: \
the agent ignores this: the step runs on the host%0Awrite true
1 package: no errors, 2 warnings
";
    assert_eq!(stdout_of_success(&output), expected);
}

#[test]
fn a_code_is_explained_as_in_the_documents() {
    let document = include_str!("../../docs/packages.md");
    let output = agent()
        .args(["validate", "--explain", "same-flag"])
        .output()
        .unwrap();
    let explanation = stdout_of_success(&output);
    assert!(document.contains(&format!("### `same-flag`\n\n{explanation}\n")));
    for (word, answer) in [
        ("same-flags", "did you mean same-flag?"),
        ("SAME_FLAG", "did you mean same-flag?"),
        ("x", "expected a code that validate prints, such as no-file"),
    ] {
        let output = agent()
            .args(["validate", "--explain", word])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let expected = format!("error: invalid value '{word}' for '--explain <CODE>': {answer}\n");
        let said = stderr(&output);
        assert!(said.starts_with(&expected), "{said}");
        // No list of all the codes.
        assert!(said.lines().count() <= 4, "{said}");
    }
}

#[test]
fn colours_are_used_if_they_are_wanted_and_control_characters_never() {
    let node = plain_with("\"pkg\"", "\"p\u{9b}2J\u{202e}\"");
    let hostile = node.config().replace("a.sh", "\\u001b[2J");
    node.write_config(hostile);
    let plain = stdout(&validate(&node, &[]));
    assert!(!plain.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{plain}");
    assert_says(
        &plain,
        &["3 |   \"package_name\": \"p\\u{9b}2J\\u{202e}\",\n"],
    );
    let colored = validate(&node, &["--color", "always"]);
    let colored = stdout(&colored);
    assert_says(&colored, &["\u{1b}[1m\u{1b}[31merror[control-character]"]);
    assert_eq!(without_styles(&colored), plain);
}

/// A text without the codes that set colours.
fn without_styles(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').unwrap().1)
}

#[test]
fn of_a_long_line_the_part_in_question_is_shown() {
    let node = Node::one_step();
    let long = "x".repeat(500);
    node.write_config(
        node.config()
            .replace("\"arguments\":[]", &format!("\"arguments\":[\"{long}\",1]")),
    );
    let output = stdout(&validate(&node, &[]));
    for line in output.lines().filter(|line| !line.starts_with("error")) {
        assert!(line.chars().count() < 120, "{line}");
    }
    let lines: Vec<&str> = output.lines().collect();
    let caret = lines[4].find('^').unwrap();
    let shown = lines[3].chars().nth(lines[4][..caret].chars().count());
    assert_eq!(shown, Some('1'), "{output}");
}

#[test]
fn a_reader_who_leaves_is_no_failure() {
    let node = Node::one_step();
    let mut command = agent();
    command
        .args(["validate", "copy"])
        .current_dir(node.dir.path());
    let run = command
        .stdout(pipe_without_reader())
        .stderr(Stdio::piped())
        .spawn();
    let output = run.unwrap().wait_with_output().unwrap();
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn options_that_cannot_be_used_are_wrong_usage() {
    let node = Node::one_step();
    for words in [
        &["--base", "nowhere", "copy"][..],
        &["--configmaps", "nowhere", "copy"],
        &["--output", "xml", "copy"],
        &["--explain", "no-file", "copy"],
        &[],
    ] {
        let output = validate_in(&node, words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert_eq!(stdout(&output), "", "{words:?}");
    }
}
