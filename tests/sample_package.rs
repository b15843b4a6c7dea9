//! The sample package of the README, as the real binary runs it.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{agent, assert_says, log_in, names, stderr, stdout, unstamp, unstamped_success};
use tempfile::TempDir;

/// The sample package without its pauses, and its run with logs in `logs` beside it.
fn sample() -> (TempDir, Command) {
    let dir = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-R")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tune-node"))
        .arg(dir.path())
        .status();
    assert!(copied.unwrap().success());
    let config = dir.path().join("tune-node/config.json");
    let without_pauses = fs::read_to_string(&config).unwrap().replace("0.1", "0");
    fs::write(config, without_pauses).unwrap();

    let mut command = agent();
    command
        .args(["run-step", "--log-dir", "logs", "tune-node"])
        .current_dir(dir.path())
        .env_remove("NODE_ROLE");
    (dir, command)
}

#[test]
fn the_sample_package_s_logs_hold_what_the_console_shows() {
    let (dir, mut command) = sample();
    let output = command.env("NODE_ROLE", "training").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (stdout, stderr) = (stdout(&output), stderr(&output));

    assert!(stdout.lines().all(|line| line.starts_with("[out]")));
    assert!(stderr.lines().all(|line| line.starts_with("[err]")));
    let logs = dir.path().join("logs/tune-node/1.0.0");
    let [survey, role, warm_up] =
        ["survey.sh", "role.sh", "warm_up.sh"].map(|step| log_in(&logs, step, ".log"));
    assert_eq!(
        stdout,
        format!(
            "{survey}SUCEEDED: survey.sh \n\
             {role}SUCEEDED: role.sh --role training\n\
             {warm_up}SUCEEDED: warm_up.sh 5\n"
        )
    );
    assert_eq!(stderr, log_in(&logs, "survey.sh", ".log.err"));
    assert_eq!(log_in(&logs, "role.sh", ".log.err"), "");
    assert_eq!(names(&logs).len(), 6);

    assert_eq!(
        unstamp("[out]", &warm_up),
        "GPU 0   41 °C\nGPU 1   44 °C\nGPU 2   47 °C\nGPU 3   50 °C\nGPU 4   53 °C\n\
         settling ··· ✓\n"
    );
    assert_says(&unstamp("[err]", &stderr), &["⚠ this is a sample"]);
}

#[test]
fn the_sample_package_s_checks_succeed() {
    let (_dir, mut command) = sample();
    command.args(["--mode", "apply-check"]);
    let printed = unstamped_success(&command.env("NODE_ROLE", "inference").output().unwrap());
    let verdicts = printed
        .lines()
        .filter(|line| line.starts_with("SUCEEDED: "));
    assert_eq!(verdicts.count(), 3, "{printed}");
}

#[test]
fn the_sample_package_stops_at_a_missing_variable() {
    let (dir, mut command) = sample();
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stdout = stdout(&output);
    assert!(
        stdout.ends_with(
            " SUCEEDED: survey.sh \n\
             role.sh: Expected environment variable did not exist: NODE_ROLE\n"
        ),
        "{stdout}"
    );
    assert_eq!(names(&dir.path().join("logs/tune-node/1.0.0")).len(), 2);
}
