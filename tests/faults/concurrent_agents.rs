//! Several agents at the same time for one package.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Node, files};

#[test]
fn two_agents_at_once_lose_no_history_and_no_flag() {
    let node = Node::one_step();
    let start = |mode: &str| {
        let mut command = node.run(mode);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    for mode in ["apply", "apply-check"] {
        let runs = [start(mode), start(mode)];
        for run in runs {
            let output = run.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{output:?}");
        }
    }
    let history: Value = serde_json::from_str(&node.text("state/history/pkg.json")).unwrap();
    assert_eq!(history["history"].as_array().unwrap().len(), 2);
    assert!(node.flag("a.sh").exists());
    let leftover = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "tmp");
    assert!(!files(&node.path("state")).iter().any(leftover));
}

#[test]
fn an_agent_that_is_killed_does_not_harm_another() {
    for millis in 0..10 {
        let node = Node::one_step();
        let start = || {
            let mut command = node.run("apply-check");
            command.env("SKYHOOK_AGENT_WRITE_LOGS", "false");
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let (mut killed, other) = (start(), start());
        std::thread::sleep(Duration::from_millis(millis));
        killed.kill().unwrap();
        killed.wait().unwrap();
        // A killed agent leaves no lock behind and no partial file.
        let output = other.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{millis} ms: {output:?}");
        let history: Value = serde_json::from_str(&node.text("state/history/pkg.json")).unwrap();
        let entries = history["history"].as_array().unwrap().len();
        assert!(matches!(entries, 1 | 2), "{millis} ms: {history}");
        let results = node.text("state/flags/check_results");
        assert_eq!(results, "a_check.sh False", "{millis} ms");
    }
}
