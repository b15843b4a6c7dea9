//! What `run-step` shows to a person: on a terminal, or with `--pretty`.

mod support;

use std::fs::OpenOptions;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use skyhook_agent::output::Palette;
use skyhook_agent::output::pretty::View;
use support::skip::try_out;
use support::{Fixture, Node, assert_says, or_skip, stderr, stdout, unstamp};

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
    // Of a stream that is redirected nothing is taken away.
    for redirected in ["2> /dev/null", "| cat"] {
        let shown = or_skip!(on_terminal(&node, redirected));
        assert_eq!(unstamp("[out]", &shown), "hello\nSUCEEDED: a.sh \n");
    }
}

#[test]
fn a_step_that_says_nothing_is_seen_to_run() {
    let mut fixture = Fixture::new();
    fixture.options.silence_notice = Some(Duration::from_millis(100));
    // Long enough for the notice to come more than once.
    let pause = |fixture: &mut Fixture, fifo: &str| {
        let fifo = fixture.fifo(fifo);
        let script = ["out a\n", &format!("await {fifo}"), "out b\n"];
        let writer = std::thread::spawn(move || {
            let writer = OpenOptions::new().write(true).open(fifo).unwrap();
            std::thread::sleep(Duration::from_millis(450));
            drop(writer);
        });
        let shown = fixture.tee(&script).stdout;
        writer.join().unwrap();
        shown
    };
    let plain = pause(&mut fixture, "first");
    assert_eq!(unstamp("[out]", &plain), "a\nb\n");

    fixture.console.view = Some(View::new(Palette::PLAIN, None));
    let shown = pause(&mut fixture, "second");
    let shown = shown.strip_prefix(&plain).unwrap();
    assert_says(shown, &[" │ a\n         … 0.1 s\n         … 0.2 s\n"]);
}

#[test]
fn a_step_that_is_out_of_time_is_ended_and_has_failed() {
    // Whatever its return codes are.
    let over = json!({ "returncodes": [0, -15] });
    for script in [
        "#!/bin/sh\necho begun\nexec sleep 60\n",
        // The output is held open by another process of the group.
        "#!/bin/sh\necho begun\nsleep 60 &\nexit 0\n",
    ] {
        let node = Node::new().step_with("a.sh", script, &over);
        let mut command = node.run_step();
        let begun = Instant::now();
        let output = command.args(["--timeout", "1s"]).output().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let shown = unstamp("[out]", &stdout(&output));
        assert_says(&shown, &["begun\nFAILED: a.sh  "]);
        assert_says(
            &stderr(&output),
            &["a.sh has not ended within 1s; its group gets SIGTERM"],
        );
        assert_eq!(stderr(&output).lines().count(), 1);
    }
    let node = Node::new().step("a.sh", "#!/bin/sh\nexec sleep 60\n");
    let output = pretty(&node, &["--timeout", "1s"]);
    assert_says(&stdout(&output), &["✗ a out of time after 1."]);
}

#[test]
fn a_step_that_ignores_sigterm_is_killed() {
    let node = Node::new().step("a.sh", "#!/bin/sh\ntrap '' TERM\nsleep 60\nsleep 60\n");
    let mut command = node.run_step();
    let output = command.args(["--timeout", "1s"]).output().unwrap();
    assert_eq!(stdout(&output), "FAILED: a.sh  -9\n");
    assert_says(
        &stderr(&output),
        &["SIGTERM", "is still there 5s later; its group gets SIGKILL"],
    );
}

#[test]
fn a_step_that_ends_in_time_is_left_alone() {
    let node = Node::new().step("a.sh", "#!/bin/sh\necho a\n");
    let output = pretty(&node, &["--timeout", "1m"]);
    assert_says(&stdout(&output), &["✓ a "]);
    assert_eq!(output.status.code(), Some(0));
    let output = pretty(&node, &["--timeout", "soon"]);
    assert_eq!(output.status.code(), Some(2));
    assert_says(&stderr(&output), &["--timeout", "90s, 5m"]);
}
