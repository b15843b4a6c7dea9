//! Rivals: agents of one package and of others, in any modes, at nearly the same moment.
//! Nothing is lost, nothing runs twice at once, and nothing is left.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::moments::Moments;
use crate::support::{Node, files, names, stderr, stdout};

/// Does what two steps of a package must not do at once. Notes that it has run.
const STEP: &str = "#!/bin/sh
mkdir mark || exit 9
echo \"$*\" >> ran
sleep 0.00$(($$ % 10))
rmdir mark
";

const PACKAGES: [&str; 3] = ["p", "pp", "q"];

const MODES: [&str; 10] = [
    "apply",
    "apply-check",
    "config",
    "config-check",
    "post-interrupt",
    "post-interrupt-check",
    "upgrade",
    "upgrade-check",
    "uninstall",
    "uninstall-check",
];

const INTERRUPT: &str = "interrupt";

/// The packages of one node, each with a step for each mode.
struct Rivals {
    nodes: [Node; 3],
}

impl Rivals {
    /// Some packages are not on the node yet, so that the first agent stages them.
    fn new(moments: &mut Moments) -> Rivals {
        let nodes = PACKAGES.map(|package| {
            let step = |mode: &str| {
                json!([{
                    "name": "a", "path": "a.sh", "arguments": [mode], "returncodes": [0],
                    "on_host": true, "idempotence": false, "upgrade_step": false,
                }])
            };
            let modes: BTreeMap<_, _> = MODES.into_iter().map(|mode| (mode, step(mode))).collect();
            let node = Node::from_config(json!({
                "schema_version": "v1", "package_name": package, "package_version": "1.2.3",
                "expected_config_files": [], "modes": modes,
            }));
            node.script("a.sh", STEP);
            let node = node.command("systemctl", STEP).with_temp_dir();
            if moments.below(2) == 0 {
                fs::rename(node.path("copy"), node.path("data")).unwrap();
            }
            node
        });
        Rivals { nodes }
    }

    /// Starts an agent for each of these tasks, waits for all, and returns what they
    /// wrote.
    fn run(&self, tasks: &[(usize, &str, Duration)]) -> Vec<String> {
        let start = |(package, task, delay): &(usize, &str, Duration)| {
            let node = &self.nodes[*package];
            let services = json!({ "type": "service_restart", "services": ["a"] });
            let mut command = match *task {
                INTERRUPT => node.interrupt(&services),
                mode => node.run(mode),
            };
            let name = PACKAGES[*package];
            command.env("SKYHOOK_ROOT_DIR", self.nodes[0].path("state"));
            command.env("SKYHOOK_RESOURCE_ID", format!("scr-1_{name}_1.2.3"));
            std::thread::sleep(*delay);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let started: Vec<_> = tasks.iter().map(start).collect();
        let finished = started
            .into_iter()
            .zip(tasks)
            .map(|(run, (package, task, _))| {
                let output = run.wait_with_output().unwrap();
                let all = format!(
                    "{task} of {}: {}{}",
                    PACKAGES[*package],
                    stdout(&output),
                    stderr(&output)
                );
                assert_eq!(output.status.code(), Some(0), "{all}");
                all
            });
        finished.collect()
    }

    /// Asserts that nothing is lost, ran too often, or is left.
    fn check(&self, tasks: &[(usize, &str, Duration)], outputs: &[String]) {
        let state = self.nodes[0].path("state");
        for (package, name) in PACKAGES.into_iter().enumerate() {
            let node = &self.nodes[package];
            let count = |task: &str| {
                tasks
                    .iter()
                    .filter(|t| (t.0, t.1) == (package, task))
                    .count()
            };
            let ran = fs::read_to_string(node.path("copy/ran")).unwrap_or_default();
            let has_run = |words: &str| ran.lines().filter(|line| *line == words).count();

            let kept = count("apply-check") + count("upgrade-check") + count("uninstall-check");
            let json = fs::read_to_string(state.join(format!("history/{name}.json")));
            let json = json.unwrap_or_else(|_| "{\"history\": []}".to_owned());
            let history: Value = serde_json::from_str(&json).unwrap();
            let entries = history["history"].as_array().unwrap();
            assert_eq!(entries.len(), kept, "{name}: {history}\n{outputs:#?}");
            let newest = entries
                .first()
                .map_or(&Value::Null, |entry| &entry["version"]);
            assert_eq!(history["current-version"], *newest, "{name}: {history}");

            for mode in MODES {
                let (wanted, has_run) = (count(mode), has_run(mode));
                if matches!(mode, "apply" | "post-interrupt") {
                    // Once, and once more after each removal of the flags.
                    let most = wanted.min(1 + count("uninstall-check"));
                    let range = wanted.min(1)..=most;
                    assert!(
                        range.contains(&has_run),
                        "{name} {mode}: {has_run} {outputs:#?}"
                    );
                } else {
                    assert_eq!(has_run, wanted, "{name} {mode}: {outputs:#?}");
                }
            }
            for command in ["daemon-reload", "restart a"] {
                assert_eq!(
                    has_run(command),
                    count(INTERRUPT).min(1),
                    "{name}: {outputs:#?}"
                );
            }

            assert!(!node.path("copy/mark").exists());
            assert_eq!(node.left_in_temp_dir(), [""; 0]);
            let beside = names(node.dir.path());
            assert!(
                !beside.iter().any(|name| name.contains("partial")),
                "{beside:?}"
            );
        }
        let own = |path: &std::path::PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(".skyhook-agent-")
        };
        let left = files(&state);
        assert!(!left.iter().any(own), "{left:?}");
    }
}

fn rounds(count: u32) {
    let mut moments = Moments::new();
    for round in 0..count {
        let rivals = Rivals::new(&mut moments);
        let agents = 2 + moments.below(7);
        let tasks: Vec<_> = (0..agents)
            .map(|_| {
                // Most agents are of one package, whose turns they must take.
                let package = moments.below(6).saturating_sub(3) as usize;
                let task = match moments.below(14) {
                    i @ 0..10 => MODES[i as usize],
                    10 => "apply",
                    11 => "apply-check",
                    _ => INTERRUPT,
                };
                let delay = Duration::from_millis(moments.below(51).into());
                (package, task, delay)
            })
            .collect();
        println!("round {round}: {tasks:?}");
        let outputs = rivals.run(&tasks);
        rivals.check(&tasks, &outputs);
    }
}

#[test]
fn rivals_lose_nothing_and_run_nothing_twice() {
    rounds(10);
}

#[test]
#[ignore = "200 rounds: takes two minutes, on a busy machine more"]
fn rivals_lose_nothing_and_run_nothing_twice_in_200_rounds() {
    rounds(200);
}
