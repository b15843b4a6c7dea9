//! SIGKILL, which no run can see coming.

use std::fs;
use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::support::node::{LEAVES_A_MARK, Node, files};
use crate::support::pid;

/// What a killed run has left behind, be it whenever: nothing torn, and no flag of
/// what has not finished.
fn assert_state_is_whole(node: &Node, killed: &str) {
    for path in files(&node.path("state")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        // What it had not put in its place yet is nobody's state.
        if name.starts_with(".skyhook-agent-") && name.ends_with(".tmp") {
            continue;
        }
        let content = fs::read_to_string(&path).unwrap();
        match name {
            "START" | "apply-check_ALL_CHECKED" => assert_eq!(content, "", "{killed}"),
            "check_results" => {
                assert_eq!(content, "a_check.sh False\nb_check.sh False", "{killed}");
            }
            "pkg.json" => {
                let history: Value = serde_json::from_str(&content).unwrap();
                assert_eq!(history["current-version"], "1.2.3", "{killed}");
            }
            _ => {
                let step = name.strip_suffix("_W11fWzBd").unwrap();
                assert!(node.has_run(step), "{killed}: {name}");
                assert!(content.starts_with("last_run: 20"), "{killed}: {content:?}");
                assert!(content.ends_with("\nstep_always_runs: False"), "{killed}");
            }
        }
    }
}

/// Runs `command` and kills it after `delay`. Returns when also the step that it
/// may have left behind has ended: everything has the same stdin.
fn kill_after(delay: Duration, mut command: Command) {
    let (mut held, holds) = io::pipe().unwrap();
    let mut run = command
        .stdin(holds)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(command);
    std::thread::sleep(delay);
    kill(pid(&run), Signal::SIGKILL).unwrap();
    run.wait().unwrap();
    held.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn kill_9_at_any_moment_leaves_whole_files_and_no_flag_too_many() {
    for millis in 0..30 {
        for mode in ["apply", "apply-check"] {
            let node = Node::new()
                .step("a.sh", LEAVES_A_MARK)
                .step("b.sh", LEAVES_A_MARK);
            let run = |mode| {
                let mut command = node.run(mode);
                command.env("SKYHOOK_AGENT_WRITE_LOGS", "false");
                command
            };
            let killed = format!("{mode} after {millis} ms");
            kill_after(Duration::from_millis(millis), run(mode));
            assert_state_is_whole(&node, &killed);

            for mode in ["apply", "apply-check"] {
                let output = run(mode).output().unwrap();
                assert_eq!(output.status.code(), Some(0), "{killed}: {output:?}");
            }
            assert!(node.has_run("a.sh") && node.has_run("b.sh"), "{killed}");
            assert!(node.flag("a.sh").exists() && node.flag("b.sh").exists());
            assert_state_is_whole(&node, &killed);
        }
    }
}
