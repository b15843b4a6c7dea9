//! What `run-step` shows to a person: on a terminal, or with `--pretty`.

mod support;

use std::process::{Command, Output, Stdio};

use serde_json::json;
use support::skip::try_out;
use support::{Node, assert_says, or_skip, stderr, stdout, unstamp};

/// Writes to both streams, parts of a line, and with `\r`.
const CHATTY: &str = "#!/bin/sh
echo \"hello\"
printf 'one '
sleep 0.05
printf 'line\\n'
printf '10%%\\r20%%\\r'
sleep 0.05
printf '30%%\\n'
echo oops >&2
printf '\\033[2Jcleared\\a\\n'
";

fn pretty(node: &Node, arguments: &[&str]) -> Output {
    let mut command = node.run_step();
    command
        .args(["--pretty", "--color", "never"])
        .args(arguments);
    command.output().unwrap()
}

/// What was shown, with `TIME` in place of each time of a line, and `N s` in place of
/// what a step took.
fn timeless(shown: &str) -> String {
    let mut timeless = String::new();
    for line in shown.lines() {
        let is_stamped = line.get(..8).is_some_and(|time| {
            time.split(':')
                .all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()))
        });
        let line = match line.get(8..) {
            Some(rest) if is_stamped => format!("TIME{rest}"),
            _ => line.to_owned(),
        };
        match line
            .strip_suffix(" s")
            .and_then(|line| line.rsplit_once(' '))
        {
            Some((text, _)) => timeless.push_str(&format!("{text} N s\n")),
            None => timeless.push_str(&format!("{line}\n")),
        }
    }
    timeless
}

#[test]
fn a_run_has_headings_lines_with_times_results_and_totals() {
    let over = json!({ "arguments": ["x", "y z"] });
    let node = Node::new()
        .step_with("a.sh", CHATTY, &over)
        .step("b.sh", "#!/bin/sh\nprintf 'no end'\nexit 7\n")
        .step("c.sh", "#!/bin/sh\n");
    let output = pretty(&node, &[]);
    assert_eq!(output.status.code(), Some(1));
    let logs = node.package_logs();
    // The streams come by two pipes: where a line of stderr comes is not certain.
    let shown = timeless(&stdout(&output));
    assert_says(&shown, &["TIME ! oops\n"]);
    assert_eq!(
        shown.replace("TIME ! oops\n", ""),
        format!(
            "▶ a  a.sh x 'y z'  apply 1/3\n\
             TIME │ hello\n\
             TIME │ one line\n\
             TIME │ 30%\n\
             TIME │ cleared\\u{{7}}\n\
             ✓ a N s\n\
             ▶ b  b.sh  apply 2/3\n\
             TIME │ no end\n\
             ✗ b exit code 7 after N s\n\
             \n\
             ✗ 1 of 3 steps succeeded, 1 failed, 1 did not run in N s\n  \
             logs: {}\n",
            logs.display()
        )
    );
    assert_eq!(stderr(&output), "");
}

#[test]
fn log_files_have_the_contract_s_bytes() {
    let node = Node::new().step("a.sh", CHATTY);
    let output = pretty(&node, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        unstamp("[out]", &node.log("a.sh", ".log")),
        "hello\none line\n10%\r20%\r30%\n\u{1b}[2Jcleared\u{7}\n"
    );
    assert_eq!(unstamp("[err]", &node.log("a.sh", ".log.err")), "oops\n");
}

#[test]
fn a_step_that_does_not_run_says_why() {
    let over = json!({ "arguments": ["env:NO_SUCH_VARIABLE"] });
    let node = Node::new().step_with("a.sh", "#!/bin/sh\n", &over);
    let output = pretty(&node, &[]);
    assert_eq!(
        timeless(&stdout(&output)),
        "▶ a  a.sh env:NO_SUCH_VARIABLE  apply 1/1\n\
         a.sh: Expected environment variable did not exist: NO_SUCH_VARIABLE\n\
         ✗ a did not run\n\n\
         ✗ 0 of 1 step succeeded, 1 failed in N s\n"
            .replace(
                "in N s\n",
                &format!("in N s\n  logs: {}\n", node.package_logs().display())
            )
    );
    node.assert_untouched();
}

#[test]
fn a_signal_that_ends_a_step_is_named() {
    let node = Node::new().step("a.sh", "#!/bin/sh\nkill -KILL $$\n");
    assert_says(
        &timeless(&stdout(&pretty(&node, &[]))),
        &["✗ a ended by signal 9 after N s\n"],
    );
}

#[test]
fn colours_are_as_asked_for() {
    let node = Node::new().step("a.sh", "#!/bin/sh\necho hello\n");
    let shown = |color: &str| {
        let mut command = node.run_step();
        command.args(["--pretty", "--color", color]);
        stdout(&command.output().unwrap())
    };
    assert_says(&shown("always"), &["\u{1b}[32m✓ a\u{1b}[0m"]);
    // No terminal.
    assert!(!shown("auto").contains('\u{1b}'));
    assert!(!shown("never").contains('\u{1b}'));
}

/// Runs `run-step` with a terminal for all three streams. script(1) of util-linux makes
/// it.
fn on_terminal(node: &Node, arguments: &str) -> Result<String, support::Skip> {
    let script = |command: &str| {
        let mut script = Command::new("timeout");
        script.args(["20", "script", "-qec", command, "/dev/null"]);
        script.env("TERM", "xterm").env_remove("NO_COLOR");
        script.stdin(Stdio::null());
        script
    };
    try_out(&mut script("true"), "script(1) gets no terminal")?;
    let run_step = node.run_step();
    let words = std::iter::once(run_step.get_program()).chain(run_step.get_args());
    let words: Vec<_> = words.map(|word| format!("'{}'", word.display())).collect();
    let command = format!("stty cols 60 rows 20; {} {arguments}", words.join(" "));
    let output = script(&command).output().unwrap();
    // The terminal's own.
    Ok(stdout(&output).replace("\r\n", "\n"))
}

#[test]
fn a_terminal_shows_a_live_line_that_nothing_tears() {
    let script = "#!/bin/sh
printf '10%%'; sleep 0.2
printf '\\r20%%'; sleep 0.2
echo oops >&2; sleep 0.2
printf '\\rdone\\n'
";
    let node = Node::new().step("a.sh", script);
    let shown = or_skip!(on_terminal(&node, "--color never"));
    let mut lines = Vec::new();
    for line in shown.lines() {
        // As the terminal has it in the end.
        let (_, last) = line.rsplit_once("\r\u{1b}[K").unwrap_or(("", line));
        lines.push(timeless(last).trim_end().to_owned());
    }
    assert_eq!(
        &lines[..4],
        [
            "▶ a  a.sh  apply 1/1",
            "TIME ! oops",
            "TIME │ done",
            "✓ a N s"
        ],
        "{shown:?}"
    );
    for drawn in ["│ 10%\r\u{1b}[K", "│ 20%\r\u{1b}[K"] {
        assert_says(&shown, &[drawn]);
    }
}

#[test]
fn plain_is_the_contract_s_bytes_on_a_terminal_too() {
    let node = Node::new().step("a.sh", "#!/bin/sh\necho hello\n");
    let shown = or_skip!(on_terminal(&node, "--plain"));
    assert_eq!(unstamp("[out]", &shown), "hello\nSUCEEDED: a.sh \n");
    let shown = or_skip!(on_terminal(&node, ""));
    assert_says(&shown, &["\u{1b}[32m✓ a\u{1b}[0m"]);
    assert!(!shown.contains("SUCEEDED"), "{shown}");
}
