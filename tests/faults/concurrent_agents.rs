//! Several agents at the same time for one package.

use std::process::Stdio;

use serde_json::Value;

use crate::moments::{Moments, usual_duration};
use crate::support::{Node, files};

/// How many agents run at once: so many that without a lock they would lose entries.
const AGENTS: usize = 8;

/// How many agents a test kills.
const KILLS: u32 = 10;

#[test]
fn agents_at_once_lose_no_history_and_no_flag() {
    let node = Node::one_step();
    let start = |mode: &str| {
        let mut command = node.run(mode);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    for mode in ["apply", "apply-check"] {
        for run in [(); AGENTS].map(|()| start(mode)) {
            let output = run.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{output:?}");
        }
    }
    let history: Value = serde_json::from_str(&node.text("state/history/pkg.json")).unwrap();
    assert_eq!(history["history"].as_array().unwrap().len(), AGENTS);
    assert!(node.flag("a.sh").exists());
    let leftover = |path: &std::path::PathBuf| path.to_string_lossy().contains("/.skyhook-agent-");
    assert!(!files(&node.path("state")).iter().any(leftover));
}

#[test]
fn an_agent_that_is_killed_does_not_harm_another() {
    let check = |node: &Node| {
        let mut command = node.run("apply-check");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let usual = usual_duration(|| {
        let node = Node::one_step();
        let command = check(&node);
        (node, command)
    });
    let mut moments = Moments::new();
    let mut killed_in_time = 0;
    for i in 0..KILLS {
        let node = Node::one_step();
        let [mut killed, other] = [(); 2].map(|()| check(&node).spawn().unwrap());
        let delay = moments.next(usual, i, KILLS);
        std::thread::sleep(delay);
        killed.kill().unwrap();
        killed_in_time += u32::from(!killed.wait().unwrap().success());
        // A killed agent leaves no lock and no partial file.
        let output = other.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{delay:?}: {output:?}");
        let history: Value = serde_json::from_str(&node.text("state/history/pkg.json")).unwrap();
        let entries = history["history"].as_array().unwrap().len();
        assert!(matches!(entries, 1 | 2), "{delay:?}: {history}");
        let results = node.text("state/flags/check_results");
        assert_eq!(results, "a_check.sh False", "{delay:?}");
    }
    assert!(killed_in_time > 0);
}
