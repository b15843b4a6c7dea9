//! A rehearsal on a terminal. script(1) of util-linux makes it.

use std::io::Write;
use std::process::{Command, Stdio};

use super::support::skip::try_out;
use super::support::{Node, Skip, assert_says, or_skip, stdout};
use super::{can_have_a_view, rehearse};

/// Runs `rehearse` on a terminal, and types this.
fn on_terminal(node: &Node, arguments: &[&str], typed: &str) -> Result<String, Skip> {
    let script = |command: &str| {
        let mut script = Command::new("timeout");
        script.args(["60", "script", "-qec", command, "/dev/null"]);
        script.env("TERM", "xterm").env_remove("NO_COLOR");
        script
    };
    try_out(
        script("true").stdin(Stdio::null()),
        "script(1) gets no terminal",
    )?;
    let rehearse = rehearse(arguments, &node.path("copy"));
    let words = std::iter::once(rehearse.get_program()).chain(rehearse.get_args());
    let words: Vec<_> = words.map(|word| format!("'{}'", word.display())).collect();
    let command = format!("stty cols 80 rows 20; {}", words.join(" "));
    let mut child = script(&command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    Ok(stdout(&output).replace("\r\n", "\n"))
}

#[test]
fn a_terminal_shows_what_runs_and_its_last_line() {
    or_skip!(can_have_a_view());
    let node = Node::new().step("a.sh", "#!/bin/sh\necho working\nsleep 0.5\n");
    let shown = or_skip!(on_terminal(&node, &["--no-cut"], ""));
    assert_says(
        &shown,
        &["\r\u{1b}[K  … apply ", "a.sh\u{1b}[2m │ working", "✓ apply"],
    );
    // What is redrawn is gone in the end.
    let (_, shown) = shown.split_once('▶').unwrap();
    for line in shown.lines() {
        let (_, last) = line.rsplit_once("\r\u{1b}[K").unwrap_or(("", line));
        assert!(!last.contains('…'), "{shown:?}");
    }
}

#[test]
fn a_shell_opens_in_the_view_at_the_first_failure() {
    or_skip!(can_have_a_view());
    let node = Node::new().step(
        "a.sh",
        "#!/bin/sh\necho half > /etc/rehearse-half\nexit 1\n",
    );
    let typed = "echo \"found $(cat /etc/rehearse-half)\"\nexit\n";
    let shown = or_skip!(on_terminal(&node, &["--shell"], typed));
    assert_says(
        &shown,
        &["a shell in the view", "found half\n", "✗ 1 stage failed"],
    );
    assert!(!std::path::Path::new("/etc/rehearse-half").exists());
}

#[test]
fn a_shell_opens_at_the_end_if_nothing_fails() {
    or_skip!(can_have_a_view());
    let node = Node::new().step("a.sh", "#!/bin/sh\necho all > /etc/rehearse-all\n");
    let typed = "echo \"found $(cat /etc/rehearse-all)\"\nexit\n";
    let shown = or_skip!(on_terminal(&node, &["--shell", "--no-cut"], typed));
    assert_says(&shown, &["found all\n", "✓ every stage succeeded"]);
}
