//! What is shown of logs, and in which order.

use std::collections::BTreeSet;

use serde_json::Value;
use skyhook_agent::cli::{self, Request};

use super::support::{
    Node, Skip, agent, assert_says, is_root, set_mode, skip, stderr, stdout, stdout_of_success,
};
use super::{LogDir, log, logs_in, one_run, two_resources};

#[test]
fn both_streams_are_merged_by_the_time_of_each_line() {
    let logs = one_run(
        &[
            ("01.000001", "one"),
            ("03.000000", "three"),
            ("05.500000", "five"),
        ],
        &[("02.000000", "two"), ("04.000000", "four")],
    );
    assert_eq!(
        logs.shown(&["pkg"]),
        "\
-- 2026-05-02 --
-- pkg 1.2.3 a.sh, run 2026-05-02-215100 --
21:51:01.000001 out one
21:51:02.000000 err two
21:51:03.000000 out three
21:51:04.000000 err four
21:51:05.500000 out five
"
    );
}

#[test]
fn a_line_has_the_time_behind_its_newline_and_a_last_line_the_one_in_front() {
    let logs = LogDir::new();
    logs.write(
        "pkg/1.2.3/a.sh-2026-05-02-215100.log",
        "[out]2026-05-02T21:51:01.000000 first\n[out]2026-05-02T21:51:09.000000 last",
    );
    let shown = logs.shown(&[]);
    assert_says(
        &shown,
        &["21:51:09.000000 out first\n", "21:51:09.000000 out last\n"],
    );
}

#[test]
fn lines_of_one_time_come_in_their_order_and_those_of_stdout_first() {
    let logs = one_run(
        &[("01.0", "x")].map(|_| ("01.000000", "b")),
        &[("01.000000", "c"), ("01.000000", "a")],
    );
    assert_says(
        &logs.shown(&[]),
        &["out b\n21:51:01.000000 err c\n21:51:01.000000 err a\n"],
    );
}

#[test]
fn a_clock_that_goes_back_changes_no_order_within_a_log() {
    let logs = one_run(
        &[
            ("50.000000", "one"),
            ("10.000000", "two"),
            ("20.000000", "three"),
        ],
        &[("15.000000", "other")],
    );
    let shown = logs.shown(&["--output", "json"]);
    let texts: Vec<String> = json(&shown).iter().map(text).collect();
    assert_eq!(texts, ["other", "one", "two", "three"]);
}

#[test]
fn the_day_is_shown_once_a_day_and_the_step_where_there_are_several() {
    let logs = LogDir::new();
    let at = |day: &str, text: &str| {
        format!("[out]2026-05-{day}T00:00:00.000000 {text}\n[out]2026-05-{day}T00:00:00.000000 ")
    };
    logs.write(
        "pkg/1.2.3/a.sh-2026-05-02-000000.log",
        at("02", "one") + "\n[out]2026-05-03T00:00:00.000000 ",
    );
    logs.write("pkg/1.2.3/sub/bb.sh-2026-05-03-000000.log", at("03", "two"));
    assert_eq!(
        logs.shown(&[]),
        "\
-- 2026-05-02 --
-- pkg 1.2.3 a.sh, run 2026-05-02-000000 --
00:00:00.000000 a.sh      out one
-- 2026-05-03 --
00:00:00.000000 a.sh      out 
-- pkg 1.2.3 sub/bb.sh, run 2026-05-03-000000 --
00:00:00.000000 sub/bb.sh out two
"
    );
    logs.write("other/0.1.0/a.sh-2026-05-03-000000.log", at("03", "x"));
    logs.write("pkg/1.2.4/a.sh-2026-05-03-000001.log", at("03", "y"));
    let shown = logs.shown(&["--all-runs"]);
    assert_says(
        &shown,
        &[
            "00:00:00.000000 other@0.1.0 a.sh    out x",
            "pkg@1.2.3 sub/bb.sh out two",
            "pkg@1.2.4 a.sh      out y",
        ],
    );
}

#[test]
fn lines_of_two_runs_that_nothing_else_tells_apart_have_headlines_between_them() {
    let logs = one_run(
        &[("01.000000", "one"), ("03.000000", "three")],
        &[("05.000000", "five")],
    );
    let err = log("err", &[("02.000000", "two"), ("04.000000", "four")]);
    logs.write("pkg/1.2.3/a.sh-2026-05-02-215101.log.err", err);
    let (first, second) = (
        "-- pkg 1.2.3 a.sh, run 2026-05-02-215100 --",
        "-- pkg 1.2.3 a.sh, run 2026-05-02-215101 --",
    );
    let expected = format!(
        "\
-- 2026-05-02 --
{first}
21:51:01.000000 out one
{second}
21:51:02.000000 err two
{first}
21:51:03.000000 out three
{second}
21:51:04.000000 err four
{first}
21:51:05.000000 err five
"
    );
    assert_eq!(logs.shown(&["--all-runs"]), expected);
}

/// Five runs of `a.sh` in two versions, and one of `b.sh`. Each says its time.
fn many_runs() -> LogDir {
    let logs = LogDir::new();
    for (version, step, second) in [
        ("1.0.0", "a.sh", "01"),
        ("1.0.0", "a.sh", "02"),
        ("1.1.0", "a.sh", "03"),
        ("1.1.0", "b.sh", "04"),
        ("1.1.0", "a.sh", "05"),
    ] {
        let name = format!("pkg/{version}/{step}-2026-05-02-2151{second}.log");
        logs.write(&name, log("out", &[(&format!("{second}.000000"), second)]));
    }
    logs
}

#[test]
fn of_each_step_as_many_runs_are_shown_as_are_asked_for_the_newest_one_by_default() {
    let logs = many_runs();
    for (words, expected) in [
        (&[][..], &["04", "05"][..]),
        (&["--runs", "2"], &["03", "04", "05"]),
        (&["--all-runs"], &["01", "02", "03", "04", "05"]),
        (&["pkg@1.0.0"], &["02"]),
        (&["pkg@1.0.0", "--all-runs"], &["01", "02"]),
        (&["pkg", "b.sh"], &["04"]),
        (&["pkg", "a", "--runs", "1"], &["05"]),
        (
            &["--since", "2026-05-02T21:51:02"],
            &["02", "03", "04", "05"],
        ),
        (&["--since", "2026-05-02 21:51:03.000001"], &["04", "05"]),
        (&["--since", "2026-05-02", "--runs", "1"], &["04", "05"]),
        (&["--since", "1h"], &[]),
    ] {
        let shown = logs
            .logs(words)
            .args(["--output", "json"])
            .output()
            .unwrap();
        let texts: Vec<String> = json(&stdout(&shown)).iter().map(text).collect();
        assert_eq!(texts, expected, "{words:?}");
    }
}

#[test]
fn only_standard_error_or_lines_that_match_are_shown() {
    let logs = one_run(
        &[("01.000000", "it went well"), ("02.000000", "it failed")],
        &[("03.000000", "failed: 7")],
    );
    let texts = |words: &[&str]| -> Vec<String> {
        let shown = logs.shown(&[words, &["--output", "json"]].concat());
        json(&shown).iter().map(text).collect()
    };
    assert_eq!(texts(&["--stderr-only"]), ["failed: 7"]);
    assert_eq!(texts(&["--grep", "failed"]), ["it failed", "failed: 7"]);
    assert_eq!(texts(&["--grep", "^f.*[0-9]$"]), ["failed: 7"]);
    assert_eq!(texts(&["--grep", "no such"]), [""; 0]);
}

#[test]
fn raw_lines_have_every_byte_of_the_logs() {
    let out = "[out]2026-05-02T21:51:01.000000 \u{1b}[31mone\r\n[out]2026-05-02T21:51:03.000000 ";
    let err = "[err]2026-05-02T21:51:02.000000 two\0";
    let logs = LogDir::new();
    logs.write("pkg/1.2.3/a.sh-2026-05-02-215100.log", out);
    logs.write("pkg/1.2.3/a.sh-2026-05-02-215100.log.err", err);
    // In the order of their times: the line of stdout came at 03.
    let (line, dangling) = out.split_at(out.len() - 32);
    assert_eq!(logs.shown(&["--raw"]), format!("{err}{line}{dangling}"));
    assert_eq!(logs.shown(&["--raw", "--stderr-only"]), err);
    assert_eq!(logs.shown(&["--raw", "--grep", "one"]), line);
}

#[test]
fn a_line_of_json_has_the_documented_fields_and_no_others() {
    let logs = one_run(
        &[("01.000001", "a \"b\" \u{1b}[0m\u{9b}\u{202e}é")],
        &[("02.000000", "c")],
    );
    let shown = logs.shown(&["--output", "json"]);
    assert_eq!(
        shown.lines().next(),
        Some(
            "{\"time\":\"2026-05-02T21:51:01.000001\",\"stream\":\"out\",\"package\":\"pkg\",\
             \"version\":\"1.2.3\",\"step\":\"a.sh\",\"run\":\"2026-05-02-215100\",\
             \"text\":\"a \\\"b\\\" \\u001b[0m\\u009b\\u202eé\"}"
        )
    );
    let lines = json(&shown);
    assert_eq!(lines[0]["text"], "a \"b\" \u{1b}[0m\u{9b}\u{202e}é");
    assert_eq!(lines[1]["stream"], "err");
}

/// As the agent writes the command of an interrupt.
#[test]
fn what_is_not_stamped_is_shown_with_the_time_that_is_known_or_without_one() {
    let logs = LogDir::new();
    logs.write(
        "pkg/1.2.3/interrupts/node_restart_0-2026-05-02-215100.log",
        format!("reboot\n{}", log("out", &[("03.000000", "text")])),
    );
    logs.write(
        "pkg/1.2.3/interrupts/service_restart_0-2026-05-02-215101.log",
        "systemctl x\n",
    );
    let shown = logs.shown(&["pkg"]);
    assert_says(
        &shown,
        &[
            "21:51:03.000000 interrupts/node_restart_0    out reboot\n\
             21:51:03.000000 interrupts/node_restart_0    out text\n",
            "                interrupts/service_restart_0 out systemctl x\n",
        ],
    );
    let shown = logs.shown(&["pkg", "service_restart_0", "--output", "json"]);
    assert_eq!(json(&shown)[0]["time"], Value::Null);
}

/// It leaves the fraction out if it is zero.
#[test]
fn logs_of_the_reference_are_read() {
    let logs = one_run(&[("01", "one"), ("02.000001", "two")], &[("02", "three")]);
    let shown = logs.shown(&[]);
    assert_says(
        &shown,
        &["21:51:01.000000 out one\n21:51:02.000000 err three\n21:51:02.000001 out two\n"],
    );
}

#[test]
fn a_read_that_failed_is_shown_with_its_own_time() {
    let logs = LogDir::new();
    let log = log("out", &[("01.000000", "one")]);
    let failed = "[out]2026-05-02T21:51:07.000000 ERROR reading stream: Input/output error\n";
    logs.write("pkg/1.2.3/a.sh-2026-05-02-215100.log", log + failed);
    assert_says(
        &logs.shown(&[]),
        &["21:51:07.000000 out ERROR reading stream: Input/output error\n"],
    );
}

#[test]
fn the_logs_of_a_real_run_are_shown_with_each_line_once() {
    let script = "#!/bin/sh\necho one\necho two >&2\nprintf three\n";
    let node = Node::one_step().step("b.sh", script);
    node.run("apply").output().unwrap();
    let mut command = agent();
    command.args(["logs", "--output", "json", "--log-dir"]);
    let output = command.arg(node.path("log")).arg("pkg").output().unwrap();
    let lines = json(&stdout_of_success(&output));
    let said: BTreeSet<(String, String)> = lines
        .iter()
        .map(|line| (line["stream"].as_str().unwrap().to_owned(), text(line)))
        .collect();
    let expected = [("err", "two"), ("out", "one"), ("out", "three")];
    assert_eq!(
        said,
        expected
            .map(|(stream, text)| (stream.to_owned(), text.to_owned()))
            .into()
    );
    assert_eq!(lines.len(), 3);
}

#[test]
fn logs_are_looked_for_inside_the_root_and_in_the_directories_of_custom_resources() {
    let root = LogDir::new();
    let name = "pkg/1.2.3/a.sh-2026-05-02-215100.log";
    root.write(&format!("real/{name}"), log("out", &[("01.000000", "one")]));
    root.write(
        &format!("real/my-scr/other/{}", &name[4..]),
        log("out", &[("01.000000", "two")]),
    );
    std::fs::create_dir_all(root.path().join("var/log")).unwrap();
    // Absolute: it means another directory outside the root.
    std::os::unix::fs::symlink("/real", root.path().join("var/log/skyhook")).unwrap();
    let shown = |words: &[&str]| {
        let mut command = agent();
        command
            .args(["logs", "--output", "json", "--root"])
            .arg(root.path())
            .args(words);
        let lines = json(&stdout_of_success(&command.output().unwrap()));
        lines
            .iter()
            .map(|l| format!("{} {}", l["package"], text(l)))
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(&[]), ["\"other\" two", "\"pkg\" one"]);
    assert_eq!(shown(&["--log-dir", "real/my-scr"]), ["\"other\" two"]);
    assert_eq!(
        shown(&["--log-dir", "/real/pkg", "--log-dir", "/real"]).len(),
        2
    );
}

#[test]
fn the_newest_run_of_each_custom_resource_is_shown() {
    let root = two_resources();
    let shown = logs_in(&root, &[]).output().unwrap();
    assert_says(
        &stdout_of_success(&shown),
        &[
            "-- pkg 1.2.3 a.sh in /var/log/skyhook/one, run 2026-05-02-215101 --\n\
             21:51:01.000000 out one\n\
             -- pkg 1.2.3 a.sh in /var/log/skyhook/two, run 2026-05-02-215102 --\n\
             21:51:01.000000 out two\n",
        ],
    );
}

#[test]
fn colours_are_used_only_if_they_are_wanted() {
    let logs = one_run(&[("01.000000", "one")], &[("02.000000", "two")]);
    assert!(!logs.shown(&[]).contains('\u{1b}'));
    assert!(!logs.shown(&["--color", "never"]).contains('\u{1b}'));
    let colored = logs.shown(&["--color", "always"]);
    assert_says(
        &colored,
        &[
            "\u{1b}[36mout\u{1b}[0m one\n",
            "\u{1b}[31merr\u{1b}[0m two\n",
        ],
    );
    let forced = logs.logs(&[]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert_eq!(stdout(&forced), colored);
    let mut refused = logs.logs(&[]);
    let refused = refused.env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1");
    assert!(!stdout(&refused.output().unwrap()).contains('\u{1b}'));
}

#[test]
fn a_node_without_logs_is_no_failure_but_a_name_without_logs_is() {
    let empty = LogDir::new();
    for words in [&[][..], &["--list"], &["--output", "json"]] {
        let output = empty.logs(words).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(stdout(&output), "");
        assert_says(&stderr(&output), &["skyhook-agent: no logs in "]);
    }
    let logs = many_runs();
    for (words, notice) in [
        (&["other"][..], "; packages that have logs: pkg\n"),
        (&["pkg@9.9.9"], "; versions that have logs: 1.0.0, 1.1.0\n"),
        (&["pkg", "c.sh"], "no logs of pkg, step c.sh in "),
        (&["pkg", "c.sh"], "; steps that have logs: a.sh, b.sh\n"),
    ] {
        let output = logs.logs(words).output().unwrap();
        assert_eq!(
            (output.status.code(), &*stdout(&output)),
            (Some(1), ""),
            "{words:?}"
        );
        assert_says(&stderr(&output), &[notice]);
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_shown() {
    let logs = many_runs();
    let file = logs.write("no-directory", "");
    let output = logs.logs(&["--log-dir"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_says(&stdout(&output), &["out 05\n"]);
    let notice = format!(
        "skyhook-agent: cannot open the directory {}: Not a directory",
        file.display()
    );
    assert_says(&stderr(&output), &[&notice]);
}

#[test]
fn a_log_that_may_not_be_read_is_told_and_the_others_are_shown() {
    if is_root() {
        skip!(Skip::NotPossible("root may read every file"));
    }
    let logs = one_run(&[("01.000000", "one")], &[("02.000000", "two")]);
    let err = logs.path().join("pkg/1.2.3/a.sh-2026-05-02-215100.log.err");
    set_mode(&err, 0);
    let output = logs.logs(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_says(&stdout(&output), &["out one\n"]);
    let notice = format!("cannot open the log {}: Permission denied", err.display());
    assert_says(&stderr(&output), &[&notice]);
}

#[test]
fn options_that_contradict_each_other_or_mean_nothing_are_wrong_usage() {
    let logs = many_runs();
    for words in [
        &["--all-runs", "--runs", "1"][..],
        &["--runs", "-1"],
        &["--runs", "0"],
        &["--runs", "0", "--list"],
        &["--raw", "--output", "json"],
        &["--list", "--follow"],
        &["--list", "--raw"],
        &["--since", "yesterday"],
        &["--grep", "("],
        &["--output", "xml"],
        &["pkg", "a.sh", "b.sh"],
    ] {
        let output = logs.logs(words).output().unwrap();
        assert_eq!(
            (output.status.code(), &*stdout(&output)),
            (Some(2), ""),
            "{words:?}"
        );
    }
}

#[test]
fn a_pattern_has_an_escape_for_each_control_character() {
    let logs = one_run(
        &[("01.000000", "a\tb"), ("02.000000", "a b")],
        &[("03.000000", "c")],
    );
    for words in [&["--grep", "a\tb"][..], &["--grep=a\tb"]] {
        let output = logs.logs(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let says = "expected no control character in an argument; \
                    a regular expression can have \\t or \\x1b in its place";
        assert_says(&stderr(&output), &[says]);
    }
    let shown = logs.shown(&["--grep", "a\\tb", "--output", "json"]);
    assert_eq!(json(&shown).iter().map(text).collect::<Vec<_>>(), ["a\tb"]);
    let output = logs.logs(&["--since", "1\tm"]).output().unwrap();
    assert!(stderr(&output).contains("in an argument\n"), "{output:?}");
}

#[test]
fn each_example_of_the_help_is_a_command_line_of_logs() {
    let help = stdout_of_success(&agent().args(["logs", "--help"]).output().unwrap());
    let examples: Vec<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("    skyhook-agent"))
        .collect();
    assert_eq!(examples.len(), 4, "{help}");
    for example in examples {
        let words = ["skyhook-agent"]
            .into_iter()
            .chain(example.split_whitespace());
        let request = cli::parse_from(words.map(Into::into)).unwrap();
        assert!(matches!(request, Request::Logs(_)), "{example}");
    }
}

fn json(lines: &str) -> Vec<Value> {
    let lines = lines.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text(line: &Value) -> String {
    line["text"].as_str().unwrap().to_owned()
}
