//! The output of steps under `run-step`: its reads, its logs, and sinks that fail.

mod support;

use std::fs;
use std::process::Stdio;

use support::{
    Node, agent, assert_says, full_device, pipe_without_reader, stderr, stdout, unstamp,
    unstamped_success, with_prelude,
};

#[test]
fn the_buffer_limit_cuts_reads() {
    let node = Node::new().step("a.sh", "#!/bin/sh\nprintf 'é'\n");
    let mut command = node.run_step();
    command.env("SKYHOOK_AGENT_WRITE_LOGS", "false");
    assert_eq!(
        unstamped_success(&command.output().unwrap()),
        "éSUCEEDED: a.sh \n"
    );
    let cut = command.env("SKYHOOK_AGENT_BUFFER_LIMIT", "1").output();
    assert_eq!(
        unstamped_success(&cut.unwrap()),
        "\u{fffd}\u{fffd}SUCEEDED: a.sh \n"
    );
}

#[test]
fn without_write_logs_there_is_no_file_and_no_directory() {
    let node = Node::new().step("a.sh", "#!/bin/sh\necho words\n");
    let mut command = node.run_step();
    command.env("SKYHOOK_AGENT_WRITE_LOGS", "false");
    assert_eq!(
        unstamped_success(&command.output().unwrap()),
        "words\nSUCEEDED: a.sh \n"
    );
    node.assert_untouched();
}

#[test]
fn the_log_dir_variable_is_the_default_of_the_option() {
    let node = Node::new().step("steps/a.sh", "#!/bin/sh\necho words\n");
    let mut command = agent();
    command.arg("run-step").arg(node.path("copy"));
    command.env("SKYHOOK_LOG_DIR", node.path("log"));
    unstamped_success(&command.output().unwrap());
    assert_eq!(unstamp("[out]", &node.log("steps/a.sh", ".log")), "words\n");
    assert_eq!(node.log("steps/a.sh", ".log.err"), "");
}

// Sinks that fail. Nothing else is lost.

#[test]
fn a_log_dir_that_cannot_be_created_loses_only_the_log() {
    let node = Node::new().step("a.sh", "#!/bin/sh\necho words\n");
    fs::write(node.path("log"), "in the way").unwrap();
    let output = node.run_step().output().unwrap();
    assert_eq!(
        unstamp("[out]", &stdout(&output)),
        "words\nSUCEEDED: a.sh \n"
    );
    assert_eq!(output.status.code(), Some(0));
    let notices = stderr(&output);
    assert_says(&notices, &["/log", "Not a directory"]);
    assert_says(&notices, &["there are no log files", "--log-dir"]);
    assert_eq!(fs::read(node.path("log")).unwrap(), b"in the way");
}

/// A step that writes much more than a pipe holds. While another test starts a
/// process, that process has a copy of the pipe's reading end for a moment; only a
/// full pipe makes the agent wait until the copy is closed.
fn chatty(redirect: &str) -> Node {
    let script = format!("#!/bin/sh\nyes words | head -n 40000 {redirect}\n");
    Node::new().step("a.sh", &script)
}

#[test]
fn a_step_finishes_with_a_complete_log_although_stdout_has_no_reader() {
    let node = chatty("");
    let mut command = node.run_step();
    let run = command
        .stdout(pipe_without_reader())
        .stderr(Stdio::piped())
        .spawn();
    let output = run.unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let log = unstamp("[out]", &node.log("a.sh", ".log"));
    assert!(log == "words\n".repeat(40_000), "{} bytes", log.len());
    let notices = stderr(&output);
    assert_says(&notices, &["cannot write to stdout: Broken pipe"]);
    assert_says(&notices, &["bytes lost on stdout"]);
    assert!(!notices.contains("panicked"), "{notices}");
}

#[test]
fn a_step_finishes_with_a_complete_log_although_stderr_has_no_reader() {
    let node = chatty(">&2");
    let mut command = node.run_step();
    let run = command
        .stderr(pipe_without_reader())
        .stdout(Stdio::piped())
        .spawn();
    let output = run.unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let stdout = stdout(&output);
    let loss = stdout.strip_prefix("SUCEEDED: a.sh \nskyhook-agent: ");
    assert!(
        loss.unwrap().ends_with(" bytes lost on stderr\n"),
        "{stdout}"
    );
    let log = unstamp("[err]", &node.log("a.sh", ".log.err"));
    assert!(log == "words\n".repeat(40_000), "{} bytes", log.len());
}

#[test]
fn what_stdout_lost_is_reported_once_at_the_end() {
    let mut node = Node::new();
    for step in ["a.sh", "b.sh", "c.sh"] {
        node = node.step(step, "#!/bin/sh\necho hello\n");
    }
    let mut command = node.run_step();
    let output = command.stdout(full_device()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let notices = stderr(&output);
    assert_eq!(notices.matches("cannot write to stdout: ").count(), 1);
    assert_eq!(notices.matches(" bytes lost on stdout\n").count(), 1);
    assert_eq!(notices.lines().count(), 2, "{notices}");
}

/// The other way round.
#[test]
fn what_stderr_lost_is_reported_once_at_the_end_on_stdout_with_its_bytes() {
    let node = Node::new().step("a.sh", "#!/bin/sh\necho hello >&2\necho out\n");
    let mut command = node.run_step();
    let output = command.stderr(full_device()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let log = node.log("a.sh", ".log.err");
    let notice = "skyhook-agent: cannot write to stderr: No space left on device (os error 28); \
                  nothing more goes there, everything else goes on\n";
    let lost = log.len() + notice.len();
    assert_eq!(
        unstamp("[out]", &stdout(&output)),
        format!("out\nSUCEEDED: a.sh \nskyhook-agent: {lost} bytes lost on stderr\n")
    );
}

/// By default, SIGXFSZ ends a process that writes past its limit of file size.
#[test]
fn a_limit_of_file_size_loses_only_the_log() {
    let node = Node::new().step(
        "a.sh",
        "#!/bin/sh\nyes words | head -n 4000\necho done >&2\n",
    );
    // 8 blocks of 512 bytes.
    let output = with_prelude("ulimit -f 8", &node.run_step())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = stdout(&output);
    let expected = format!("{}SUCEEDED: a.sh \n", "words\n".repeat(4000));
    assert!(
        unstamp("[out]", &shown) == expected,
        "{} bytes",
        shown.len()
    );
    let notices = stderr(&output);
    assert_says(
        &notices,
        &["a.sh-", ".log: File too large", " bytes lost on "],
    );
    assert_says(&unstamp("[err]", &notices), &["done\n"]);
}
