//! What is found in a config.json.

use super::support::{Node, assert_says, golden, stdout};
use super::{PLAIN, briefs, found, json_of, plain_with, validate, validate_in};

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
        let name = case["config"]["package_name"].as_str().unwrap_or_default();
        let output = validate_in(&node, &["--name", name, "copy"]);
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
fn a_step_after_an_interrupt_is_skipped_if_an_upgrade_sets_its_flag() {
    let step = &PLAIN[PLAIN.find("      {").unwrap()..PLAIN.find("\n    ],").unwrap()];
    let step = step.replace("[0]", "[2]");
    let check = step.replace("a.sh", "a_check.sh");
    let node = plain_with(
        "    \"apply-check\"",
        &format!(
            "\"upgrade\": [{step}], \"upgrade-check\": [{check}],\n\
             \"post-interrupt\": [{step}], \"post-interrupt-check\": [{check}],\n\
             \"apply-check\""
        ),
    );
    let document = json_of(&node, &[]);
    let message = "this step is skipped, since modes.upgrade[0] sets its flag";
    let findings = document["findings"].as_array().unwrap();
    let of = |code| {
        findings
            .iter()
            .filter(move |finding| finding["code"] == code)
    };
    let flags: Vec<_> = of("same-flag").map(|finding| &finding["message"]).collect();
    assert_eq!(flags, [message]);
}

#[test]
fn each_warning_about_config_json_has_its_line() {
    let two = |first: &str, second: &str| format!("{first},\n{second}");
    let step = &PLAIN[PLAIN.find("      {").unwrap()..PLAIN.find("\n    ],").unwrap()];
    let b = step.replace("\"a\"", "\"b\"");
    for (text, replacement, expected) in [
        ("{\n", "{\n  \"$schema\": \"config.schema.json\",\n", vec![]),
        (
            "{\n",
            "{ \"packge_name\": 1,\n",
            vec!["ignored-key 1:3 packge_name"],
        ),
        (
            "\"schema_version\"",
            "\"package_name\": \"x\", \"schema_version\"",
            vec!["repeated-key 2:3 package_name"],
        ),
        (
            "\"env\": {}",
            "\"env\": {\"A\": \"1\", \"A\": \"2\"}",
            vec!["repeated-key 10:16 modes.apply[0].env.A"],
        ),
        ("\"pkg\"", "\"pkg2\"", vec!["other-name 3:19 package_name"]),
        (
            step,
            &two(step, &step.replace("[0]", "[1]")),
            vec!["same-name 11:16 modes.apply[1].name"],
        ),
        (
            step,
            &two(step, &b),
            vec!["same-flag 11:29 modes.apply[1].path"],
        ),
        (
            step,
            &two(step, &b.replace("a.sh", "./a.sh")),
            vec!["same-flag 11:29 modes.apply[1].path"],
        ),
        (
            step,
            &two(step, &b.replace("e\": false", "e\": true")),
            vec![],
        ),
        (
            step,
            &two(step, &b.replace("nts\": []", "nts\": [\"x\"]")),
            vec![],
        ),
        (
            "    \"apply-check\"",
            &format!(
                "    \"post-interrupt\": [\n{step}\n],\n    \"post-interrupt-check\": [\n{}\n],\n    \"apply-check\"",
                step.replace("a.sh", "a_check.sh"),
            ),
            vec!["same-flag 13:29 modes.post-interrupt[0].path"],
        ),
        // Config runs all its steps each time, and sets flags all the same.
        (
            "    \"apply-check\"",
            &format!(
                "    \"config\": [\n{a}\n],\n    \"config-check\": [\n{check}\n],\n    \
                 \"post-interrupt\": [\n{a}\n],\n    \"post-interrupt-check\": [\n{check}\n],\n    \
                 \"apply-check\"",
                a = step.replace("[0]", "[2]"),
                check = step.replace("a.sh", "a_check.sh"),
            ),
            vec!["same-flag 23:29 modes.post-interrupt[0].path"],
        ),
        (
            "    \"apply-check\"",
            &format!(
                "    \"config\": [\n{}\n],\n    \"config-check\": [\n{step}\n],\n    \"apply-check\"",
                two(&step.replace("[0]", "[2]"), &b.replace("[0]", "[2]"))
            ),
            vec!["same-check 20:5 modes.config-check"],
        ),
        (
            "a_check.sh",
            "a.sh",
            vec![
                "same-check 12:5 modes.apply-check",
                "unused-file null:null ",
            ],
        ),
        (
            "    \"apply-check\"",
            &format!("    \"config-check\": [\n{step}\n],\n    \"apply-check\""),
            vec!["lone-check 12:5 modes.config-check"],
        ),
        (
            "    \"apply-check\"",
            &format!(
                "    \"config\": [],\n    \"config-check\": [\n{step}\n],\n    \"apply-check\""
            ),
            vec![],
        ),
        (
            "    \"apply-check\"",
            &format!("    \"post-interrupt-check\": [\n{step}\n],\n    \"apply-check\""),
            vec![],
        ),
        (
            "\"on_host\": true",
            "\"on_host\": false",
            vec!["on-host 9:19 modes.apply[0].on_host"],
        ),
        (
            "[0]",
            "[0, 255, 256, -15, -64, -65, 1e9]",
            vec![
                "return-code 8:78 modes.apply[0].returncodes[2]",
                "return-code 8:93 modes.apply[0].returncodes[5]",
                "return-code 8:98 modes.apply[0].returncodes[6]",
            ],
        ),
        (
            "nts\": []",
            "nts\": [\"a\\u0000\"]",
            vec!["nul-byte 8:51 modes.apply[0].arguments[0]"],
        ),
        (
            "\"arguments\": []",
            "\"arguments\": [\"env:A\", \"--b=env:B\"]",
            vec!["env-in-argument 8:60 modes.apply[0].arguments[1]"],
        ),
        (
            "\"arguments\": []",
            "\"arguments\": [\"--token\", \"abc\", \"--password=x\", \"env:TOKEN\", \"--token\", \"env:T\"]",
            vec![
                "secret 8:62 modes.apply[0].arguments[1]",
                "secret 8:69 modes.apply[0].arguments[2]",
            ],
        ),
        (
            "\"env\": {}",
            "\"env\": {\"DB_PASSWORD\": \"hunter2\", \"TOKEN_FILE\": \"x\"}",
            vec!["secret 10:31 modes.apply[0].env.DB_PASSWORD"],
        ),
    ] {
        let node = plain_with(text, replacement);
        assert_eq!(found(&node, &[]), expected, "{}", node.config());
    }
}

fn found_codes(node: &Node) -> Vec<String> {
    let document = json_of(node, &[]);
    let findings = document["findings"].as_array().unwrap();
    let codes = findings.iter().map(|one| one["code"].as_str().unwrap());
    codes.map(str::to_owned).collect()
}

#[test]
fn of_very_many_findings_the_first_are_listed_and_the_rest_is_counted() {
    let keys: String = (0..20_000).map(|i| format!("  \"key{i}\": 0,\n")).collect();
    let node = plain_with("{\n", &format!("{{\n{keys}"));
    let found = found(&node, &[]);
    assert_eq!(found.len(), 101);
    assert_eq!(found[0], "ignored-key 2:3 key0");
    assert_eq!(found[100], "too-many null:null ");
    let text = stdout(&validate(&node, &[]));
    assert_says(&text, &["19900 more warnings are not listed"]);

    let comments = "/**/ ".repeat(20_000);
    let node = plain_with("{\n", &format!("{{ {comments}\"big\": 1e999,\n"));
    let found = found_codes(&node);
    assert_eq!(found.len(), 102);
    assert!(found.contains(&"syntax".to_owned()), "{found:?}");
    assert_eq!(found[101], "too-many");
}

#[test]
fn each_error_has_its_line_and_the_last_of_two_equal_keys_counts() {
    for (text, replacement, expected) in [
        ("\"v1\"", "\"v2\"", "schema-version 2:21 schema_version"),
        (
            "\"apply-check\"",
            "\"aply-check\"",
            "unknown-mode 12:5 modes.aply-check",
        ),
        ("\"env\"", "\"evn\"", "unknown-key 10:8 modes.apply[0].evn"),
        (
            ", \"returncodes\": [0]",
            "",
            "missing-value 8:7 modes.apply[0].returncodes",
        ),
        (
            "\"modes\": {",
            "\"modes\": {}, \"x\": {",
            "no-step 6:12 modes",
        ),
        (
            "{}}",
            "{},\n\"name\": \"\"}",
            "step-name 11:9 modes.apply[0].name",
        ),
        ("  ],", "  ]],", "syntax 11:6 "),
        ("{\n", "{\n'", "syntax 2:1 "),
    ] {
        let node = plain_with(text, replacement);
        let found = found(&node, &[]);
        assert!(found.iter().any(|found| found == expected), "{found:?}");
    }
    let node = plain_with("\"env\"", "\"evn\"");
    assert_says(
        &stdout(&validate(&node, &[])),
        &["= help: did you mean env?\n"],
    );
    let node = plain_with("\"apply-check\"", "\"aply-check\"");
    assert_says(
        &stdout(&validate(&node, &[])),
        &["= help: did you mean apply-check?\n"],
    );
}

#[test]
fn a_misspelled_key_is_one_finding_that_names_the_right_one() {
    let node = plain_with("\"returncodes\"", "\"returncode\"");
    let steps = found(&node, &[]);
    assert_eq!(steps, ["unknown-key 8:54 modes.apply[0].returncode"]);

    // A key of the document that is not known is ignored, so one is missing.
    let node = plain_with("\"package_name\"", "\"package-name\"");
    let text = stdout(&validate(&node, &[]));
    let help = "= help: is package-name meant to be it? Then correct that key\n";
    assert_says(&text, &["missing-value", help]);
}
