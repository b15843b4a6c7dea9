//! config.json as nobody in their right mind would write it: it is refused in plain
//! lines, or done to the letter, and nothing is written where it should not be.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};

use nix::sys::stat::Mode;
use serde_json::{Value, json};
use support::node::{LEAVES_A_MARK, Node, behind_banner, files, marking};
use support::{after, agent, assert_says, names, stderr, stdout};

/// Both ways to run a package's steps, state and logs beside the package.
fn both(node: &Node) -> [Command; 2] {
    let mut run_step = agent();
    run_step.arg("run-step").arg("--log-dir");
    run_step.arg(node.path("log")).arg(node.path("copy"));
    [node.run("apply"), run_step]
}

/// The lines of a run that refused config.json, each naming it, and had done nothing.
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

/// Both ways refuse this text, in one line that says so.
#[track_caller]
fn assert_refused(text: &[u8], says: &str) {
    let node = marking();
    fs::write(node.path("copy/config.json"), text).unwrap();
    for mut command in both(&node) {
        let lines = refusal(&node, &mut command);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_says(&lines[0], &[says]);
    }
}

/// The same of a valid config.json in which one text stands for another.
#[track_caller]
fn assert_refused_with(find: &str, replace: &[u8], says: &str) {
    let config = marking().text("copy/config.json");
    let (before, behind) = config.split_once(find).unwrap();
    let text = [before.as_bytes(), replace, behind.as_bytes()].concat();
    assert_refused(&text, says);
}

#[test]
fn nesting_of_any_depth_is_refused_without_a_stack_overflow() {
    for open in ["[", "{\"a\":"] {
        let text = open.repeat(100_000);
        assert_refused(text.as_bytes(), "expected JSON: recursion limit exceeded");
    }
}

#[test]
fn a_file_larger_than_any_config_is_refused_unread() {
    let node = marking();
    let config = node.path("copy/config.json");
    // Valid but for its size, and then a GiB of nothing.
    let text = [node.text("copy/config.json"), " ".repeat(1 << 20)].concat();
    fs::write(&config, text).unwrap();
    for is_huge in [false, true] {
        if is_huge {
            File::create(&config).unwrap().set_len(1 << 30).unwrap();
        }
        for command in both(&node) {
            let lines = refusal(&node, &mut after("ulimit -v 200000", &command));
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert_says(
                &lines[0],
                &["cannot read /", "expected at most 1048576 bytes"],
            );
        }
    }
}

#[test]
fn the_largest_config_with_the_most_problems_costs_little_memory_and_few_lines() {
    let config = marking().text("copy/config.json");
    let most = vec!["1"; (1 << 19) - config.len()].join(",");
    let node = marking();
    let text = config.replace(
        "\"expected_config_files\":[]",
        &format!("\"expected_config_files\":[{most}]"),
    );
    assert!(text.len() > 1_000_000);
    fs::write(node.path("copy/config.json"), text).unwrap();
    for command in both(&node) {
        let lines = refusal(&node, &mut after("ulimit -v 300000", &command));
        assert_eq!(lines.len(), 101);
        assert_says(
            &lines[0],
            &["expected_config_files[0]: expected a string, got 1"],
        );
        assert_says(&lines[100], &["more values are not as expected"]);
    }
}

#[test]
fn a_value_too_long_to_be_read_is_shown_in_part() {
    let long = format!("\"{}\"", "1.".repeat(100_000));
    assert_refused_with("\"1.2.3\"", long.as_bytes(), "such as 1.2.3, got \"1.1.1.");
}

#[test]
fn a_thousand_steps_are_a_thousand_steps() {
    let node = marking();
    let mut config: Value = serde_json::from_str(&node.text("copy/config.json")).unwrap();
    let step = config["modes"]["apply-check"][0].clone();
    config["modes"]["apply-check"] = vec![step; 1000].into();
    fs::write(node.path("copy/config.json"), config.to_string()).unwrap();
    for mut command in both(&node) {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    assert!(node.has_run("a.sh"));
}

#[test]
fn text_that_is_no_utf_8_json_is_refused_by_line_and_column() {
    let config = marking().text("copy/config.json");
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
fn numbers_that_are_no_exit_codes_are_refused() {
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
        // The check's steps stand in front.
        let config = marking().text("copy/config.json");
        let at = config.find("\"apply\":").unwrap();
        let rest = config[at..].replacen(code, &codes, 1);
        assert_ne!(rest, config[at..]);
        assert_refused(format!("{}{rest}", &config[..at]).as_bytes(), says);
    }
}

#[test]
fn names_too_long_for_the_files_made_of_them_are_refused() {
    let text = |value: String| json!(value).to_string().into_bytes();
    let name = text("n".repeat(244));
    let says = "package_name: expected at most 243 bytes, got 244";
    assert_refused_with("\"pkg\"", &name, says);
    let version = text(format!("1.0.0-{}", "v".repeat(250)));
    let says = "package_version: expected at most 255 bytes, got 256";
    assert_refused_with("\"1.2.3\"", &version, says);

    let node = Node::new().step(&"s".repeat(184), LEAVES_A_MARK);
    for mut command in both(&node) {
        let lines = refusal(&node, &mut command);
        let says = "modes.apply[0].path: expected at most 183 bytes, got 184";
        assert_says(&lines[0], &[says]);
    }
}

#[test]
fn the_longest_names_are_good_for_all_that_is_made_of_them() {
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
    // It is its own check, whose name would be longer.
    let config = node.text("copy/config.json");
    let config = config.replace(&format!("{step}_check.sh"), &step);
    fs::write(node.path("copy/config.json"), config).unwrap();
    for mode in ["apply", "apply", "apply-check", "uninstall-check"] {
        let output = node.run(mode).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{mode}: {}", stderr(&output));
        assert!(
            !stderr(&output).contains("without a log file"),
            "{}",
            stderr(&output)
        );
    }
    assert!(node.has_run(&step));
}

#[test]
fn what_a_refusal_quotes_cannot_talk_to_the_terminal() {
    for (find, replace, says) in [
        (
            "pkg",
            "/\\u001b[2J\\n\\u009b1m\\u007f",
            "package_name: expected",
        ),
        ("\"on_host\"", "\"\\u001b]0;x\\u0007\\r\\n\"", "unknown key"),
        ("\"apply-check\"", "\"\\n\\u001bc\"", "unknown mode"),
        ("a_check.sh", "\\u001b[2J\\u0085", "which has no"),
    ] {
        let node = marking();
        let config = node.text("copy/config.json").replacen(find, replace, 1);
        fs::write(node.path("copy/config.json"), config).unwrap();
        for mut command in both(&node) {
            let lines = refusal(&node, &mut command);
            assert!(lines.iter().any(|line| line.contains(says)), "{lines:?}");
        }
    }
}

#[test]
fn what_is_no_file_is_not_read() {
    let node = marking();
    let file = node.path("copy/config.json");
    let put: [&dyn Fn(); 3] = [
        &|| fs::create_dir(&file).unwrap(),
        &|| nix::unistd::mkfifo(&file, Mode::S_IRWXU).unwrap(),
        &|| symlink("/dev/zero", &file).unwrap(),
    ];
    for put in put {
        fs::remove_file(&file)
            .or_else(|_| fs::remove_dir(&file))
            .unwrap();
        put();
        for mut command in both(&node) {
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
fn a_link_out_of_the_root_is_no_config() {
    let (node, outside) = (marking(), tempfile::tempdir().unwrap());
    let config = outside.path().join("config.json");
    fs::rename(node.path("copy/config.json"), &config).unwrap();
    let climbing: PathBuf = ["../../../../../../..", &config.to_str().unwrap()[1..]]
        .iter()
        .collect();
    for target in [&config, &climbing] {
        symlink(target, node.path("copy/config.json")).unwrap();
        let lines = refusal(&node, &mut node.in_own_root("apply"));
        assert_says(&lines[0], &["/copy/config.json: No such file"]);
        fs::remove_file(node.path("copy/config.json")).unwrap();
    }
}

/// A step with this config over a plain one's, run both ways. All that is new lies
/// below `state` and `log`.
#[track_caller]
fn run(over: &Value) -> Vec<(Node, Output)> {
    [0, 1]
        .map(|way| {
            let node = Node::new().step_with(
                "a.sh",
                "#!/bin/sh\n: > \"$0.ran\"\nprintf %s \"$@\"\n",
                over,
            );
            let before = files(node.dir.path());
            let output = both(&node)[way].output().unwrap();
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
fn what_no_process_can_be_given_fails_the_step_before_it_runs() {
    for (over, says) in [
        (
            json!({ "arguments": ["a\0b"] }),
            "cmd: expected no NUL byte in it",
        ),
        (
            json!({ "env": { "A": "\0" } }),
            "env: expected no NUL byte in it",
        ),
        (
            json!({ "env": { "A\0": "" } }),
            "env: expected no NUL byte in it",
        ),
        (
            json!({ "env": { "PATH=": "" } }),
            "env: expected no = in a name",
        ),
    ] {
        for (node, output) in run(&over) {
            assert_eq!(output.status.code(), Some(1));
            assert!(!node.has_run("a.sh"));
            assert_says(&stdout(&output), &["FAILED: a.sh "]);
            assert_says(&stderr(&output), &["[err]", "skyhook-agent: ", says]);
            assert!(!node.flag("a.sh").exists());
        }
    }
}

#[test]
fn arguments_reach_the_step_and_the_verdict_byte_for_byte() {
    let argument = "\u{1b}[31m\r\u{9b}é\u{7f}'\"";
    for (i, (node, output)) in run(&json!({ "arguments": [argument] }))
        .into_iter()
        .enumerate()
    {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stderr(&output), "");
        assert!(node.has_run("a.sh"));
        let verdict = format!(" {argument}SUCEEDED: a.sh {argument}\n");
        assert!(stdout(&output).ends_with(&verdict), "{output:?}");
        if i == 0 {
            // The header is Python's, which escapes.
            let header = "apply a.sh ['\\x1b[31m\\r\\x9bé\\x7f\\'\"'] [0] Idempotence.Auto True\n";
            assert!(behind_banner(&output).starts_with(header), "{output:?}");
        }
    }
}

#[test]
fn a_package_s_odd_name_is_one_folder_below_the_agent_s() {
    for name in [
        ".hidden",
        "...",
        "-rf",
        "a\n\u{1b}[2J",
        " ",
        "~",
        "\\..\\..",
    ] {
        for way in [0, 1] {
            let node = marking().set("package_name", name.into());
            let output = both(&node)[way].output().unwrap();
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

#[test]
fn a_step_that_cannot_start_cannot_talk_to_the_terminal_through_its_name() {
    let path = "a\u{1b}[2J\n.sh";
    let node = Node::new().step(path, "no interpreter\n");
    for mut command in both(&node) {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let stderr = stderr(&output);
        assert_says(&stderr, &["cannot run /", "/a\\u{1b}[2J\\n.sh: "]);
        assert!(!stderr.contains('\u{1b}'), "{stderr:?}");
    }
}
