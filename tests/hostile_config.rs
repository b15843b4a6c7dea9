//! A config.json with extreme or malicious content is refused in plain lines, and the
//! run does nothing else.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::stat::Mode;
use serde_json::{Value, json};
use support::{
    LEAVES_A_MARK, Node, assert_says, files, names, stderr, stdout, stdout_of_success, with_prelude,
};

/// The lines of a run that refused config.json. Asserts that each names the file, and
/// that the run has done nothing.
#[track_caller]
fn refusal(node: &Node, command: &mut Command) -> Vec<String> {
    let before = files(node.dir.path());
    let output = command.output().unwrap();
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(!stdout(&output).contains("a.sh"), "{output:?}");
    assert_eq!(files(node.dir.path()), before);
    assert_eq!(names(node.dir.path()), ["copy"]);
    assert!(stderr.ends_with('\n'));
    let lines = stderr.lines().map(|line| {
        assert!(line.starts_with("skyhook-agent: "), "{line:?}");
        assert_says(line, &["/copy/config.json: "]);
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.len() < 1000, "{line:?}");
        line.to_owned()
    });
    lines.collect()
}

/// Asserts that both commands refuse this text in one line, which says so.
#[track_caller]
fn assert_refused(text: &[u8], says: &str) {
    let node = Node::one_step();
    node.write_config(text);
    for mut command in node.apply_both_ways() {
        let lines = refusal(&node, &mut command);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_says(&lines[0], &[says]);
    }
}

/// The same of a valid config.json in which one text is replaced by another.
#[track_caller]
fn assert_refused_with(find: &str, replace: &[u8], says: &str) {
    let config = Node::one_step().config();
    let (before, after) = config.split_once(find).unwrap();
    let text = [before.as_bytes(), replace, after.as_bytes()].concat();
    assert_refused(&text, says);
}

#[test]
fn deep_nesting_is_refused_without_a_stack_overflow() {
    for open in ["[", "{\"a\":"] {
        let text = open.repeat(100_000);
        assert_refused(text.as_bytes(), "expected JSON: recursion limit exceeded");
    }
}

#[test]
fn a_config_larger_than_1_mib_is_refused_unread() {
    let node = Node::one_step();
    let config = node.path("copy/config.json");
    // First a valid config with too many spaces, and then 1 GiB of zeros.
    let text = [node.config(), " ".repeat(1 << 20)].concat();
    node.write_config(text);
    for is_huge in [false, true] {
        if is_huge {
            File::create(&config).unwrap().set_len(1 << 30).unwrap();
        }
        for command in node.apply_both_ways() {
            let lines = refusal(&node, &mut with_prelude("ulimit -v 200000", &command));
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert_says(
                &lines[0],
                &["cannot read /", "expected at most 1048576 bytes"],
            );
        }
    }
}

#[test]
fn the_largest_config_full_of_problems_takes_little_memory_and_few_lines() {
    let config = Node::one_step().config();
    let most = vec!["1"; (1 << 19) - config.len()].join(",");
    let node = Node::one_step();
    let text = config.replace(
        "\"expected_config_files\":[]",
        &format!("\"expected_config_files\":[{most}]"),
    );
    assert!(text.len() > 1_000_000);
    node.write_config(text);
    for command in node.apply_both_ways() {
        let lines = refusal(&node, &mut with_prelude("ulimit -v 300000", &command));
        assert_eq!(lines.len(), 101);
        assert_says(
            &lines[0],
            &["expected_config_files[0]: expected a string, got 1"],
        );
        assert_says(&lines[100], &["more values are not as expected"]);
    }
}

#[test]
fn a_long_value_is_shown_in_part() {
    let long = format!("\"{}\"", "1.".repeat(100_000));
    assert_refused_with("\"1.2.3\"", long.as_bytes(), "such as 1.2.3, got \"1.1.1.");
}

/// A package whose check is listed so many times.
fn node_with_checks(count: usize) -> Node {
    let node = Node::one_step();
    let mut config: Value = serde_json::from_str(&node.config()).unwrap();
    let check = config["modes"]["apply-check"][0].clone();
    config["modes"]["apply-check"] = vec![check; count].into();
    node.write_config(config.to_string());
    node
}

#[test]
fn a_mode_may_have_a_thousand_steps() {
    let node = node_with_checks(1000);
    for mut command in node.apply_both_ways() {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    assert!(node.has_run("a.sh"));
}

#[test]
fn all_of_hundreds_of_steps_run() {
    let node = node_with_checks(200);
    let mut checks = node.run("apply-check");
    // This is not about logs, which would take most of the time.
    let output = checks.env("SKYHOOK_AGENT_WRITE_LOGS", "false").output();
    let verdicts = stdout_of_success(&output.unwrap());
    assert_eq!(verdicts.matches("SUCEEDED: a_check.sh \n").count(), 200);
}

#[test]
fn text_that_is_not_utf_8_json_is_refused_by_line_and_column() {
    let config = Node::one_step().config();
    let utf_16: Vec<u8> = config.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_refused(&utf_16, "expected JSON: ");
    assert_refused(
        &[b"\xef\xbb\xbf", config.as_bytes()].concat(),
        "at line 1 column 1",
    );
    assert_refused(b"\0", "at line 1 column 1");
    for name in [
        &b"\"\xff\""[..],
        b"\"\xed\xa0\x80\"",
        b"\"\0\"",
        b"\"\n\"",
        b"\"\\ud800\"",
        b"\"\\udc00\\ud800\"",
        b"\"\\x1b\"",
    ] {
        assert_refused_with("\"pkg\"", name, "config.json: expected JSON: ");
    }
}

#[test]
fn numbers_that_cannot_be_exit_codes_are_refused() {
    let code = "\"returncodes\":[0]";
    for (number, says) in [
        ("1e999", "expected JSON: number out of range"),
        (
            "1e99",
            "modes.apply[0].returncodes[0]: expected an integer of 64 bits",
        ),
        (
            "9223372036854775808",
            "expected an integer of 64 bits, got 9223372036854775808",
        ),
        ("-9223372036854775809", "expected an integer of 64 bits"),
        ("0.5", "expected an integer of 64 bits, got 0.5"),
        ("01", "expected JSON: "),
        ("+1", "expected JSON: "),
        ("NaN", "expected JSON: "),
    ] {
        let codes = format!("\"returncodes\":[{number}]");
        // The steps of apply-check come before it.
        let config = Node::one_step().config();
        let at = config.find("\"apply\":").unwrap();
        let rest = config[at..].replacen(code, &codes, 1);
        assert_ne!(rest, config[at..]);
        assert_refused(format!("{}{rest}", &config[..at]).as_bytes(), says);
    }
}

#[test]
fn names_too_long_for_file_names_are_refused() {
    let text = |value: String| json!(value).to_string().into_bytes();
    let name = text("n".repeat(244));
    let says = "package_name: expected at most 243 bytes, got 244";
    assert_refused_with("\"pkg\"", &name, says);
    let version = text(format!("1.0.0-{}", "v".repeat(250)));
    let says = "package_version: expected at most 255 bytes, got 256";
    assert_refused_with("\"1.2.3\"", &version, says);

    let node = Node::new().step(&"s".repeat(184), LEAVES_A_MARK);
    for mut command in node.apply_both_ways() {
        let lines = refusal(&node, &mut command);
        let says = "modes.apply[0].path: expected at most 183 bytes, got 184";
        assert_says(&lines[0], &[says]);
    }
}

#[test]
fn a_refusal_escapes_control_characters_in_what_it_quotes() {
    for (find, replace, says) in [
        (
            "pkg",
            "/\\u001b[2J\\n\\u009b1m\\u007f",
            "package_name: expected",
        ),
        ("\"on_host\"", "\"\\u001b]0;x\\u0007\\r\\n\"", "unknown key"),
        ("\"apply-check\"", "\"\\n\\u001bc\"", "unknown mode"),
        ("a_check.sh", "\\u001b[2J\\u0085", "no control characters"),
        ("\"pkg\"", "\"a\\n\\u001b[2J\"", "no control characters"),
        (
            "_files\":[",
            "_files\":[\"\\u001b[2J\\n\"",
            "no control characters",
        ),
    ] {
        let node = Node::one_step();
        let config = node.config().replacen(find, replace, 1);
        node.write_config(config);
        for mut command in node.apply_both_ways() {
            let lines = refusal(&node, &mut command);
            assert!(lines.iter().any(|line| line.contains(says)), "{lines:?}");
        }
    }
}

#[test]
fn a_config_that_is_not_a_regular_file_is_refused_unread() {
    let node = Node::one_step();
    let file = node.path("copy/config.json");
    let create: [&dyn Fn(); 3] = [
        &|| fs::create_dir(&file).unwrap(),
        &|| nix::unistd::mkfifo(&file, Mode::S_IRWXU).unwrap(),
        &|| symlink("/dev/zero", &file).unwrap(),
    ];
    for create in create {
        fs::remove_file(&file)
            .or_else(|_| fs::remove_dir(&file))
            .unwrap();
        create();
        for mut command in node.apply_both_ways() {
            let lines = refusal(&node, &mut command);
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert_says(
                &lines[0],
                &["cannot read /", "/copy/config.json: expected a file"],
            );
        }
    }
}

#[test]
fn a_config_that_is_a_link_out_of_the_root_is_not_read() {
    let (node, outside) = (Node::one_step(), tempfile::tempdir().unwrap());
    let config = outside.path().join("config.json");
    fs::rename(node.path("copy/config.json"), &config).unwrap();
    let relative: PathBuf = ["../../../../../../..", &config.to_str().unwrap()[1..]]
        .iter()
        .collect();
    for target in [&config, &relative] {
        symlink(target, node.path("copy/config.json")).unwrap();
        let lines = refusal(&node, &mut node.in_own_root("apply"));
        assert_says(&lines[0], &["/copy/config.json: No such file"]);
        fs::remove_file(node.path("copy/config.json")).unwrap();
    }
}

/// A name beside which its flags would be; and paths that lead out, or would forge a line
/// of check_results.
#[test]
fn what_would_forge_or_leave_the_agent_s_places_is_refused_before_anything_runs() {
    for (find, replace, says) in [
        ("\"pkg\"", "\"START\"", "package_name: expected a name that"),
        ("\"pkg\"", "\"check_results\"", "package_name: expected"),
        ("\"pkg\"", "\"x_ALL_CHECKED\"", "package_name: expected"),
        (
            "_files\":[",
            "_files\":[\"../config.json\"",
            "expected_config_files[0]: expected a file inside configmaps",
        ),
        (
            "_files\":[",
            "_files\":[\"/etc/passwd\"",
            "expected_config_files[0]: expected a file inside configmaps",
        ),
    ] {
        assert_refused_with(find, replace.as_bytes(), says);
    }
    // The file is there.
    let node = Node::new().step("a\nb.sh False", LEAVES_A_MARK);
    for mut command in node.apply_both_ways() {
        let lines = refusal(&node, &mut command);
        let says = "modes.apply[0].path: expected no control characters, got \"a\\nb.sh";
        assert_says(&lines[0], &[says]);
    }
}
