//! Other agents beside it.

use std::process::Stdio;

use serde_json::Value;

use crate::support::node::{LEAVES_A_MARK, Node, files};

#[test]
fn agents_side_by_side_lose_nothing_of_each_other() {
    let node = Node::new().step("a.sh", LEAVES_A_MARK);
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
