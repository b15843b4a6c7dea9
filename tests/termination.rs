//! The reason of a failure in the file that Kubernetes shows (contract §12).

mod support;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use serde_json::json;
use support::{
    LEAVES_A_MARK, Node, agent, assert_says, is_root, set_mode, stderr, unstamp, with_prelude,
};

/// Where the runs of a node leave their reason. The kubelet makes the file.
fn file(node: &Node) -> PathBuf {
    let file = node.path("reason");
    fs::write(&file, "").unwrap();
    file
}

/// Runs a command, which has to fail. Returns the reason that it leaves.
#[track_caller]
fn reason(node: &Node, command: &mut Command) -> (Output, String) {
    let file = file(node);
    let command = command.env("SKYHOOK_AGENT_TERMINATION_LOG", &file);
    let output = command.output().unwrap();
    assert_ne!(output.status.code(), Some(0), "{output:?}");
    let reason = fs::read_to_string(&file).unwrap();
    assert!(reason.len() <= 3072, "{}", reason.len());
    assert!(reason.ends_with('\n'), "{reason:?}");
    (output, reason)
}

#[test]
fn a_failed_step_leaves_its_code_and_its_last_lines_stamped_as_in_its_logs() {
    let script = "#!/bin/sh\necho one\necho two >&2\nprintf three\nexit 3\n";
    // Without log files too.
    for write_logs in ["true", "false"] {
        let node = Node::new()
            .step("a.sh", "#!/bin/sh\necho before\n")
            .step("b.sh", script);
        let mut run = node.run("apply");
        run.env("SKYHOOK_AGENT_WRITE_LOGS", write_logs);
        let (_, reason) = reason(&node, &mut run);
        let (headline, lines) = reason.split_once('\n').unwrap();
        assert_eq!(headline, "apply pkg 1.2.3: b.sh failed with code 3");
        if write_logs == "true" {
            let logs = node.log("b.sh", ".log") + &node.log("b.sh", ".log.err");
            assert!(
                lines.lines().all(|line| logs.contains(line)),
                "{lines}\n{logs}"
            );
        }
        let mut said: Vec<String> = unstamp("[err]", &unstamp("[out]", lines))
            .lines()
            .map(str::to_owned)
            .collect();
        said.sort();
        assert_eq!(said, ["one", "three", "two"], "{lines}");
    }
}

#[test]
fn of_much_output_the_last_whole_lines_are_left() {
    for to in ["", ">&2"] {
        let script = format!("#!/bin/sh\nexec {to}\nseq 100000\necho last\nexit 7\n");
        let node = Node::new().step("a.sh", &script);
        let (_, reason) = reason(&node, &mut node.run("apply"));
        assert!(reason.len() > 2900, "{}", reason.len());
        let (_, lines) = reason.split_once('\n').unwrap();
        let said = unstamp("[err]", &unstamp("[out]", lines));
        assert!(said.ends_with("\n99999\n100000\nlast\n"), "{said}");
        let label = if to.is_empty() { "[out]2" } else { "[err]2" };
        assert!(lines.lines().all(|line| line.starts_with(label)), "{lines}");
    }
}

/// The disk is full, for example.
#[test]
fn of_a_reason_that_does_not_fit_whole_lines_are_left() {
    let node = Node::new().step("a.sh", "#!/bin/sh\nseq 100000\nexit 7\n");
    let mut run = node.run("apply");
    run.env("SKYHOOK_AGENT_WRITE_LOGS", "false");
    // Blocks of 512 bytes.
    let (_, reason) = reason(&node, &mut with_prelude("ulimit -f 4", &run));
    let (headline, lines) = reason.split_once('\n').unwrap();
    assert_eq!(headline, "apply pkg 1.2.3: a.sh failed with code 7");
    assert!((1900..=2048).contains(&reason.len()), "{}", reason.len());
    let said = unstamp("[out]", lines);
    assert!(said.lines().all(|line| line.len() >= 5), "{said}");
}

#[test]
fn a_step_that_was_not_started_is_told_from_one_that_failed() {
    let node = Node::new().step("a.sh", "#!/no/such/interpreter\n");
    let (_, reason) = reason(&node, &mut node.run("apply"));
    let headline = "apply pkg 1.2.3: a.sh was not started: chroot-exec ended with code ";
    assert!(reason.starts_with(headline), "{reason}");
}

#[test]
fn each_failed_check_is_named_with_its_code() {
    let mut node = Node::new();
    for n in 0..12 {
        node = node.step(&format!("s{n}.sh"), "#!/bin/sh\n");
        let check = format!("#!/bin/sh\nyes check {n} | head -n 500\nexit {n}\n");
        node.script(&format!("s{n}_check.sh"), &check);
    }
    let (_, reason) = reason(&node, &mut node.run("apply-check"));
    for n in 1..9 {
        let headline = format!("apply-check pkg 1.2.3: s{n}_check.sh failed with code {n}\n");
        assert_says(&reason, &[&headline, &format!(" check {n}\n")]);
    }
    assert!(
        reason.ends_with("apply-check pkg 1.2.3: 3 more failed\n"),
        "{reason}"
    );
}

#[test]
fn what_ends_a_run_before_any_step_is_left_too() {
    let node = Node::one_step();
    node.write_config("{");
    let (output, message) = reason(&node, &mut node.run("apply"));
    let expected = format!("apply pkg 1.2.3: exit code 1\n{}", stderr(&output));
    assert_eq!(message, expected);
    assert_says(&message, &["config.json: "]);

    let node = Node::one_step();
    fs::write(node.path("state"), "").unwrap();
    let (output, message) = reason(&node, &mut node.run("apply"));
    let expected = format!("apply pkg 1.2.3: exit code 1\n{}", stderr(&output));
    assert_eq!(message, expected, "the state cannot be written");

    let missing = json!({ "arguments": ["env:NO_SUCH"] });
    let node = Node::new().step_with("a.sh", LEAVES_A_MARK, &missing);
    let (_, message) = reason(&node, &mut node.run("apply"));
    assert_eq!(
        message,
        "apply pkg 1.2.3: a.sh did not run: Expected environment variable did not exist: NO_SUCH\n"
    );
}

#[test]
fn wrong_usage_and_variables_that_cannot_be_used_are_left_in_the_operator_s_forms() {
    let version = agent().arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let version = version.trim();
    let node = Node::one_step();
    let mut refused_id = node.run("apply");
    refused_id.env("SKYHOOK_RESOURCE_ID", "x");
    let mut refused_limit = node.run("apply");
    refused_limit.env("SKYHOOK_AGENT_BUFFER_LIMIT", "0");
    let mut refused_data = node.run("interrupt");
    refused_data.arg("e\u{1b}==");
    for (mut command, why) in [
        (refused_id, "SKYHOOK_RESOURCE_ID: expected "),
        (refused_limit, "SKYHOOK_AGENT_BUFFER_LIMIT: expected "),
        (refused_data, "e\\u{1b}==: expected no control character"),
        (node.run("aply"), "did you mean apply?"),
    ] {
        let (output, reason) = reason(&node, &mut command);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            reason.starts_with(&format!("{version}: exit code 2\n")),
            "{reason}"
        );
        assert_says(&reason, &[why]);
        assert_eq!(reason.lines().count(), 2, "{reason}");
    }
    // What a person types is not the container's end.
    let file = file(&node);
    let mut typed = agent();
    typed.env("SKYHOOK_AGENT_TERMINATION_LOG", &file);
    let output = typed.args(["run-step", "--no-such"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
}

#[test]
fn a_failed_interrupt_and_a_lost_reboot_are_named() {
    let node = Node::new().command(
        "systemctl",
        "#!/bin/sh\necho no >&2\n[ \"$1\" != restart ]\n",
    );
    let restart = json!({ "type": "service_restart", "services": ["a"] });
    let (_, message) = reason(&node, &mut node.interrupt(&restart));
    let said = unstamp("[err]", &message);
    assert_eq!(
        said,
        "interrupt pkg 1.2.3: systemctl restart a failed with code 1\nno\n"
    );

    let node = Node::new().command("reboot", "#!/bin/sh\necho bye\n");
    let restart = json!({ "type": "node_restart" });
    let (_, message) = reason(&node, &mut node.interrupt(&restart));
    assert_eq!(
        unstamp("[out]", &message),
        "interrupt pkg 1.2.3: interrupt node_restart_0: the node has not gone down within 0 s\nbye\n"
    );
}

#[test]
fn what_is_in_the_file_already_is_replaced_as_a_whole() {
    let node = Node::new().step("a.sh", "#!/bin/sh\nexit 3\n");
    let file = file(&node);
    fs::write(&file, "old\n".repeat(5000)).unwrap();
    let mut run = node.run("apply");
    let output = run.env("SKYHOOK_AGENT_TERMINATION_LOG", &file).output();
    assert_eq!(output.unwrap().status.code(), Some(1));
    let expected = "apply pkg 1.2.3: a.sh failed with code 3\n";
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
}

#[test]
fn a_run_that_succeeds_leaves_the_file_alone() {
    let node = Node::one_step();
    let file = file(&node);
    fs::write(&file, "old\n").unwrap();
    for mode in ["apply", "bogus"] {
        let mut run = node.run(mode);
        let output = run.env("SKYHOOK_AGENT_TERMINATION_LOG", &file).output();
        assert_eq!(output.unwrap().status.code(), Some(0));
        assert_eq!(fs::read_to_string(&file).unwrap(), "old\n");
    }
}

#[test]
fn control_characters_of_a_step_are_escaped_and_long_lines_end_at_a_character() {
    let script = "#!/bin/sh\nprintf 'a\\033[2J\\r\\tb\\342\\200\\256\\n'\nexit 3\n";
    let node = Node::new().step("a.sh", script);
    let (_, message) = reason(&node, &mut node.run("apply"));
    assert_says(&message, &[" a\\u{1b}[2J\\r\tb\\u{202e}\n"]);

    let script = "#!/bin/sh\nyes üü | head -n 2000 | tr -d '\\n'\nexit 3\n";
    let node = Node::new().step("a.sh", script);
    let (_, message) = reason(&node, &mut node.run("apply"));
    assert!(message.ends_with("ü …\n"), "{message}");
    assert!(message.len() > 3065);
}

/// Nothing but a file that is there is written to. The run goes as it would without.
#[test]
fn no_file_is_created_no_link_followed_and_no_device_or_fifo_opened() {
    let node = Node::new().step("a.sh", "#!/bin/sh\nexit 3\n");
    let target = node.path("target");
    fs::write(&target, "untouched").unwrap();
    symlink(&target, node.path("link")).unwrap();
    nix::unistd::mkfifo(&node.path("fifo"), Mode::S_IRWXU).unwrap();
    fs::create_dir(node.path("dir")).unwrap();
    for name in ["missing", "missing/too", "link", "fifo", "dir", "target/x"] {
        let mut run = node.run("apply");
        run.env("SKYHOOK_AGENT_TERMINATION_LOG", node.path(name));
        let output = run.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert_eq!(stderr(&output), "", "{name}");
    }
    for device in ["/dev/full", "/dev/tty", "/dev/null"] {
        let output = node
            .run("apply")
            .env("SKYHOOK_AGENT_TERMINATION_LOG", device)
            .output();
        assert_eq!(stderr(&output.unwrap()), "");
    }
    assert!(!node.path("missing").exists());
    assert_eq!(node.text("target"), "untouched");
    // A fifo was not even opened: its reader would be told that the writer has left.
    let reader = fs::OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(node.path("fifo"))
        .unwrap();
    let mut run = node.run("apply");
    run.env("SKYHOOK_AGENT_TERMINATION_LOG", node.path("fifo"));
    assert_eq!(run.output().unwrap().status.code(), Some(1));
    let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::ZERO), Ok(0), "{fds:?}");
    // A file that may not be written to, are no errors.
    if !is_root() {
        let file = file(&node);
        set_mode(&file, 0o400);
        let output = node
            .run("apply")
            .env("SKYHOOK_AGENT_TERMINATION_LOG", &file)
            .output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn a_file_that_takes_no_byte_is_no_error() {
    // Refused before anything is set up, where a signal would still end the agent.
    let node = Node::one_step();
    let file = file(&node);
    let mut command = node.run("aply");
    command.env("SKYHOOK_AGENT_TERMINATION_LOG", &file);
    let output = with_prelude("ulimit -f 0", &command).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
}
