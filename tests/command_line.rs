//! The command line of the real binary: help, version, and wrong usage.

mod support;

use std::process::Stdio;

use support::{agent, assert_says, pipe_without_reader, stderr, stdout, stdout_of_success};

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
fn the_version_is_that_of_the_crate() {
    let output = agent().arg("--version").output().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        stdout_of_success(&output),
        format!("skyhook-agent {version}\n")
    );
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
