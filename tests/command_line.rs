//! The command line of the real binary: help, version, and wrong usage.

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use support::{Node, agent, assert_says, pipe_without_reader, stderr, stdout, stdout_of_success};

#[test]
fn help_lists_commands_variables_and_exit_codes() {
    for argument in ["-h", "--help"] {
        let help = stdout_of_success(&agent().arg(argument).output().unwrap());
        assert_says(&help, &["run-step", "Environment:", "Exit codes:"]);
        assert!(!help.contains("chroot-exec"), "{help}");

        let help = stdout_of_success(&agent().args(["run-step", argument]).output().unwrap());
        assert_says(
            &help,
            &["--mode", "--step", "--chroot", "--log-dir", "COPY_DIR"],
        );
        assert_says(&help, &["Exit codes:", "apply-check"]);
        for variable in [
            "SKYHOOK_AGENT_BUFFER_LIMIT",
            "SKYHOOK_AGENT_DRAIN_TIMEOUT",
            "SKYHOOK_AGENT_WRITE_LOGS",
            "SKYHOOK_LOG_DIR",
        ] {
            assert_says(&help, &[variable]);
        }
    }
}

#[test]
fn help_is_help_everywhere() {
    let help = |words: &[&str]| stdout_of_success(&agent().args(words).output().unwrap());
    let (short, long) = (help(&["-h"]), help(&["--help"]));
    for words in [
        &["apply", "--help"][..],
        &["apply-check", "/", "/copy", "--help"],
        &["interrupt", "--help"],
        &["interrupt", "/", "--help", "ew=="],
        &["mode-to-come", "--help"],
        &["help"],
        &["help", "apply"],
        &["help", "interrupt"],
    ] {
        assert_eq!(help(words), long, "{words:?}");
    }
    for words in [
        &["apply", "-h"][..],
        &["interrupt", "-h"],
        &["mode-to-come", "/", "-h"],
    ] {
        assert_eq!(help(words), short, "{words:?}");
    }
    let of_run_step = help(&["run-step", "--help"]);
    assert_eq!(help(&["help", "run-step"]), of_run_step);
    assert_eq!(help(&["run-step", "copy", "--help"]), of_run_step);
}

/// And of the source, if the build was told its commit.
#[test]
fn the_version_is_that_of_the_crate() {
    let output = agent().arg("--version").output().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let commit = option_env!("SKYHOOK_AGENT_COMMIT").filter(|commit| !commit.is_empty());
    let commit = commit.map_or(String::new(), |commit| format!(" ({commit})"));
    assert_eq!(
        stdout_of_success(&output),
        format!("skyhook-agent {version}{commit}\n")
    );
}

/// Typed by a person, in whatever form.
#[test]
fn a_near_miss_of_a_command_or_mode_is_refused_with_the_right_one_named() {
    let node = Node::one_step();
    let copy = node.path("copy");
    let copy = copy.to_str().unwrap();
    for (words, name) in [
        (&["aply"][..], "apply"),
        (&["aply", copy], "apply"),
        (&["aply", "/", copy], "apply"),
        (&["aply", "/", copy, "more"], "apply"),
        (&["aply", "--help"], "apply"),
        (&["aply-check", "/", copy], "apply-check"),
        (&["Apply", "/", copy], "apply"),
        (&["post_interrupt", "/", copy], "post-interrupt"),
        (&["intterupt", "/", copy, "ew=="], "interrupt"),
        (&["unistall", "/", "relative"], "uninstall"),
        (&["run-steps", copy], "run-step"),
        (&["run-steps", "--step", "a", copy], "run-step"),
        (&["runstep", "/", copy], "run-step"),
        (&["help", "aply"], "apply"),
        (&["help", "run-steps"], "run-step"),
    ] {
        let output = node.agent(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert_eq!(stdout(&output), "", "{words:?}");
        let hint = format!("; did you mean {name}?\n");
        assert_says(&stderr(&output), &["error: ", &hint, "Usage: "]);
        node.assert_untouched();
    }
}

#[test]
fn a_word_that_is_no_command_is_not_taken_for_a_path() {
    for words in [&["frobnicate", "copy"][..], &["frobnicate"]] {
        let output = agent().args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert_says(
            &stderr(&output),
            &["error: frobnicate: expected a command, or MODE "],
        );
    }
    let output = agent().args(["apply"]).output().unwrap();
    assert_says(
        &stderr(&output),
        &["error: apply: expected [ROOT_MOUNT] COPY_DIR\n"],
    );
}

/// In every form, so that no argument forges a line or moves the cursor.
#[test]
fn words_with_control_characters_are_wrong_usage_and_shown_escaped() {
    let node = Node::one_step();
    let copy = node.path("copy");
    let copy = copy.to_str().unwrap();
    for (bad, shown) in [
        ("a\u{1b}[2J", "a\\u{1b}[2J"),
        ("/a\nb", "/a\\nb"),
        ("/\u{9b}2J", "/\\u{9b}2J"),
        ("/a\u{202e}b", "/a\\u{202e}b"),
        ("--no-such\r", "--no-such\\r"),
    ] {
        for words in [
            &[bad][..],
            &[bad, "/", copy],
            &["apply", bad, copy],
            &["apply", "/", bad],
            &["interrupt", "/", bad, "ew=="],
            &["interrupt", "/", copy, bad],
            &["run-step", bad],
            &["run-step", "--chroot", bad, copy],
            &["run-step", "--step", bad, copy],
            &["help", bad],
            &["bogus", "/", bad],
        ] {
            let output = node.agent(words).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{words:?}");
            let expected = format!("error: {shown}: expected no control character");
            assert_says(&stderr(&output), &[&expected]);
            assert!(!stderr(&output).contains(['\u{1b}', '\r', '\u{9b}', '\u{202e}']));
            node.assert_untouched();
        }
    }
}

/// Bytes that are no UTF-8, as C1 characters of one byte are, do not reach the terminal.
#[test]
fn words_that_are_not_utf_8_are_not_shown_as_they_are() {
    let word = OsStr::from_bytes(b"--\x9b2J\xff");
    for first in ["run-step", "help", "apply", "bogus"] {
        let output = agent().arg(first).arg("/").arg(word).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{first}");
        assert!(!output.stderr.contains(&0x9b), "{output:?}");
    }
}

/// The name that a program was started by can be anything.
#[test]
fn the_program_s_name_is_its_own() {
    let mut command = agent();
    let output = command.arg0("a\u{1b}[2J").arg("run-step").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_says(&stderr(&output), &["Usage: skyhook-agent run-step"]);
    assert!(!stderr(&output).contains('\u{1b}'));
}

#[test]
fn wrong_usage_ends_with_2_and_the_usage_on_stderr() {
    for arguments in [
        &[][..],
        &["run-step"],
        &["run-steps", "copy"],
        &["run-step", "copy", "--no-such-option"],
        &["run-step", ""],
        &["chroot-exec", "control.json"],
    ] {
        let output = agent().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "");
        assert_says(&stderr(&output), &["--help"]);
    }
}

#[test]
fn help_without_a_reader_succeeds_silently() {
    let mut command = agent();
    let run = command
        .arg("--help")
        .stdout(pipe_without_reader())
        .stderr(Stdio::piped())
        .spawn();
    let output = run.unwrap().wait_with_output().unwrap();
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
}
