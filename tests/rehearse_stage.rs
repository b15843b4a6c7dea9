//! One stage of a rehearsal: the agent's own run, and what it says to the rehearsal.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::{LEAVES_A_MARK, Node, after_banner, assert_says, assert_succeeds, unstamp};

/// A stage, and the rehearsal's end of its channel.
struct Stage {
    child: Child,
    channel: BufReader<UnixStream>,
}

impl Stage {
    fn start(command: &mut Command) -> Stage {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let child = command
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The command has the other end, too.
        command.stdin(Stdio::null());
        Stage {
            child,
            channel: BufReader::new(ours),
        }
    }

    /// The next event; `null` at the end.
    fn event(&mut self) -> Value {
        let mut line = String::new();
        self.channel.read_line(&mut line).unwrap();
        match line.is_empty() {
            true => Value::Null,
            false => serde_json::from_str(&line).unwrap(),
        }
    }

    fn answer(&mut self) {
        self.channel.get_mut().write_all(b"\n").unwrap();
    }

    fn finish(self) -> Output {
        drop(self.channel);
        self.child.wait_with_output().unwrap()
    }
}

fn stage(node: &Node) -> Command {
    let copy = node.path("copy");
    node.agent(&["rehearse-stage", "apply", "/", copy.to_str().unwrap()])
}

#[test]
fn a_stage_tells_of_each_step_and_waits_for_an_answer() {
    let node = Node::new()
        .step("a.sh", LEAVES_A_MARK)
        .step("b.sh", "#!/bin/sh\nexit 7\n")
        .step("c.sh", LEAVES_A_MARK);
    let mut command = stage(&node);
    let mut stage = Stage::start(&mut command);
    assert_eq!(stage.event(), json!({ "event": "begins", "step": "a.sh" }));
    // Nothing happens until it may go on.
    std::thread::sleep(Duration::from_millis(100));
    assert!(!node.has_run("a.sh"));
    stage.answer();
    assert_eq!(
        stage.event(),
        json!({ "event": "ended", "step": "a.sh", "outcome": "succeeded" })
    );
    std::thread::sleep(Duration::from_millis(100));
    assert!(node.has_run("a.sh"));
    assert!(!node.flag("a.sh").exists());
    stage.answer();
    assert_eq!(stage.event(), json!({ "event": "begins", "step": "b.sh" }));
    assert!(node.flag("a.sh").exists());
    stage.answer();
    assert_eq!(
        stage.event(),
        json!({ "event": "ended", "step": "b.sh", "outcome": "failed", "code": 7 })
    );
    stage.answer();
    assert_eq!(stage.event(), Value::Null);
    assert_eq!(stage.finish().status.code(), Some(1));
    assert!(!node.has_run("c.sh"));
}

#[test]
fn a_stage_says_and_does_what_the_agent_says_and_does() {
    let script = "#!/bin/sh\necho hello\nread -r line || echo 'no input'\n";
    let [of_stage, of_agent] = ["stage", "agent"].map(|who| {
        let node = Node::new().step("a.sh", script);
        let output = match who {
            "stage" => {
                let mut stage = Stage::start(&mut stage(&node));
                for _ in 0..2 {
                    stage.event();
                    stage.answer();
                }
                stage.finish()
            }
            _ => node.run("apply").stdin(Stdio::null()).output().unwrap(),
        };
        assert_succeeds(&output);
        assert!(node.flag("a.sh").exists());
        let said = unstamp("[out]", &after_banner(&output));
        let log = unstamp("[out]", &node.log("a.sh", ".log"));
        (said, log)
    });
    assert_eq!(of_stage, of_agent);
    assert_says(&of_stage.1, &["no input"]);
}

#[test]
fn a_step_that_is_done_is_said_to_be_skipped() {
    let node = Node::one_step();
    assert_succeeds(&node.run("apply").output().unwrap());
    let mut stage = Stage::start(&mut stage(&node));
    assert_eq!(stage.event(), json!({ "event": "skips", "step": "a.sh" }));
    stage.answer();
    assert_eq!(stage.event(), Value::Null);
    assert_succeeds(&stage.finish());
}

/// The channel ends when the rehearsal does: no step starts on its own after that.
#[test]
fn without_its_rehearsal_a_stage_ends() {
    let node = Node::one_step();
    let mut command = stage(&node);
    let mut stage = Stage::start(&mut command);
    stage.event();
    let output = stage.finish();
    assert_eq!(output.status.code(), Some(1));
    assert!(!node.has_run("a.sh"));
    // Typed by a person, it has no rehearsal, and does nothing.
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!node.has_run("a.sh"));
}

/// No step speaks for its stage.
#[test]
fn a_step_does_not_get_the_channel() {
    let node = Node::new().step("a.sh", "#!/bin/sh\nls -l /proc/self/fd\n");
    let mut stage = Stage::start(&mut stage(&node));
    for _ in 0..2 {
        stage.event();
        stage.answer();
    }
    let output = stage.finish();
    assert_succeeds(&output);
    assert!(!after_banner(&output).contains("socket:"), "{output:?}");
}
