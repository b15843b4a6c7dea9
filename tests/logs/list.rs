//! The list of runs.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::Command;

use serde_json::{Value, json};
use skyhook_agent::system::sys;

use super::support::skip::Skip;
use super::support::{
    Node, Running, WAITS, agent, assert_says, files, skip, stderr, stdout, stdout_of_success,
};
use super::{LogDir, log, logs_in, two_resources};

#[test]
fn a_list_has_each_run_with_its_sizes() {
    let logs = LogDir::new();
    let out = log("out", &[("01.000000", "one")]);
    logs.write("pkg/1.2.3/a.sh-2026-05-02-215100.log", &out);
    logs.write("pkg/1.2.3/a.sh-2026-05-02-215100.log.err", "");
    logs.write(
        "other/0.1.0/sub/long-name.sh-2026-05-02-215101.log",
        vec![b'x'; 3 << 20],
    );
    assert_eq!(
        logs.shown(&["--list"]),
        "\
RUN (UTC)          PACKAGE  VERSION  STEP                  OUT  ERR  OUTCOME
2026-05-02-215100  pkg      1.2.3    a.sh                 68 B  0 B  unknown
2026-05-02-215101  other    0.1.0    sub/long-name.sh  3.0 MiB    -  unknown
"
    );
    assert_eq!(
        logs.shown(&["--list", "--output", "json", "pkg"]),
        "{\"run\":\"2026-05-02-215100\",\"package\":\"pkg\",\"version\":\"1.2.3\",\
         \"step\":\"a.sh\",\"stdout_bytes\":68,\"stderr_bytes\":0,\"outcome\":\"unknown\"}\n"
    );
    assert_eq!(
        logs.shown(&["--list", "--runs", "1", "pkg"])
            .lines()
            .count(),
        2
    );
}

/// The list of a node's runs: step and outcome.
fn outcomes(node: &Node) -> Vec<(String, String)> {
    let mut command = list(node);
    let shown = stdout_of_success(&command.output().unwrap());
    let field = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    shown
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|line| (field(&line, "step"), field(&line, "outcome")))
        .collect()
}

fn list(node: &Node) -> Command {
    let mut command = agent();
    command
        .args(["logs", "--list", "--output", "json"])
        .env("SKYHOOK_LOG_DIR", node.path("log"))
        .env("SKYHOOK_ROOT_DIR", node.path("state"));
    command
}

fn owned(outcomes: &[(&str, &str)]) -> Vec<(String, String)> {
    let outcomes = outcomes.iter();
    outcomes
        .map(|(step, outcome)| ((*step).to_owned(), (*outcome).to_owned()))
        .collect()
}

/// Sets the note of each log. Fails if the file system keeps none.
fn note(node: &Node, value: &[u8]) -> io::Result<()> {
    for path in files(&node.path("log")) {
        let log = File::options().append(true).open(path)?;
        sys::set_xattr(log.as_fd(), c"user.skyhook-agent.outcome", value)?;
    }
    Ok(())
}

/// Leaves the logs as an older agent or the reference does.
fn remove_notes(node: &Node) {
    // Where there can be none, there is nothing to remove.
    let _ = note(node, b"");
}

#[test]
fn a_log_tells_how_its_run_has_ended() {
    let node = Node::new()
        .step("a.sh", "#!/bin/sh\n")
        .step_with(
            "b.sh",
            "#!/bin/sh\nexit 3\n",
            &json!({ "returncodes": [3] }),
        )
        .step("c.sh", "#!/bin/sh\nexit 3\n")
        .command("systemctl", "#!/bin/sh\nexit 3\n");
    // Neither flags nor results of checks tell of these.
    node.run_step().output().unwrap();
    let restart = json!({ "type": "service_restart", "services": ["bad"] });
    node.interrupt(&restart).output().unwrap();
    if note(&node, b"").is_err() {
        skip!(Skip::NotPossible(
            "this file system has no extended attributes"
        ));
    }
    assert!(
        outcomes(&node)
            .iter()
            .all(|(_, outcome)| outcome == "unknown")
    );
    node.run_step().output().unwrap();
    node.interrupt(&restart).output().unwrap();
    let mut found = outcomes(&node);
    found.retain(|(_, outcome)| outcome != "unknown");
    found.sort();
    let expected = owned(&[
        ("a.sh", "succeeded"),
        ("b.sh", "succeeded"),
        ("c.sh", "failed"),
        ("interrupts/service_restart_0", "failed"),
    ]);
    assert_eq!(found, expected);
    // Who wrote something else there meant something else.
    note(&node, b"done").unwrap();
    assert!(
        outcomes(&node)
            .iter()
            .all(|(_, outcome)| outcome == "unknown")
    );
}

#[test]
fn flags_tell_which_runs_of_steps_have_succeeded_and_check_results_how_checks_went() {
    let node = Node::new()
        .step("a.sh", "#!/bin/sh\necho a\n")
        .step_with(
            "sub/b.sh",
            "#!/bin/sh\necho b\n",
            &json!({ "arguments": ["x", "?>"] }),
        )
        .step("c.sh", "#!/bin/sh\necho c\nexit 3\n");
    node.script("sub/b_check.sh", "#!/bin/sh\nexit 1\n");
    node.run("apply").output().unwrap();
    remove_notes(&node);
    let a_b_c = [
        ("a.sh", "succeeded"),
        ("sub/b.sh", "succeeded"),
        ("c.sh", "unknown"),
    ];
    let mut expected = owned(&a_b_c);
    expected.sort();
    let mut found = outcomes(&node);
    found.sort();
    assert_eq!(found, expected);

    node.run("apply-check").output().unwrap();
    remove_notes(&node);
    expected.extend(owned(&[
        ("a_check.sh", "succeeded"),
        ("c_check.sh", "succeeded"),
        ("sub/b_check.sh", "failed"),
    ]));
    expected.sort();
    let mut found = outcomes(&node);
    found.sort();
    assert_eq!(found, expected);
}

/// The results do not say which package they are of.
#[test]
fn of_two_packages_with_one_check_it_is_not_known_whose_went_how() {
    let node = Node::one_step();
    node.script("a_check.sh", "#!/bin/sh\n");
    node.run("apply-check").output().unwrap();
    remove_notes(&node);
    assert_eq!(outcomes(&node), owned(&[("a_check.sh", "succeeded")]));
    let mut copy = Command::new("cp");
    copy.arg("-a")
        .args([node.path("log/pkg"), node.path("log/other")]);
    assert!(copy.status().unwrap().success());
    let unknown = ("a_check.sh", "unknown");
    assert_eq!(outcomes(&node), owned(&[unknown, unknown]));
}

/// As apply and its check are, often.
#[test]
fn a_run_whose_flag_was_written_is_told_from_a_later_one_of_the_same_step() {
    let node = Node::new().step("a.sh", "#!/bin/sh\n[ ! -e \"$0.fails\" ]\n");
    node.run("apply").output().unwrap();
    std::fs::write(node.path("copy/skyhook_dir/a.sh.fails"), "").unwrap();
    let mut again = node.run("apply");
    again
        .env("OVERLAY_ALWAYS_RUN_STEP", "true")
        .output()
        .unwrap();
    remove_notes(&node);
    assert_eq!(
        outcomes(&node),
        owned(&[("a.sh", "succeeded"), ("a.sh", "unknown")])
    );
}

#[test]
fn the_flag_of_an_interrupt_tells_that_it_has_succeeded() {
    let node = Node::new().command("systemctl", "#!/bin/sh\n[ \"$2\" != bad ] || exit 3\n");
    let restart = |service: &str| json!({ "type": "service_restart", "services": [service] });
    node.interrupt(&restart("bad")).output().unwrap();
    remove_notes(&node);
    let first = outcomes(&node);
    assert!(
        first
            .iter()
            .all(|(step, outcome)| step.starts_with("interrupts/")
                && (outcome == "unknown" || outcome == "succeeded")),
        "{first:?}"
    );
    node.interrupt(&restart("good")).output().unwrap();
    remove_notes(&node);
    let all = outcomes(&node);
    assert!(all.len() > first.len(), "{all:?}");
    assert_eq!(all.last().unwrap().1, "succeeded", "{all:?}");
}

#[test]
fn the_flag_of_one_custom_resource_says_nothing_of_the_runs_of_another_one() {
    let root = two_resources();
    let listed = stdout_of_success(
        &logs_in(&root, &["--list", "--output", "json"])
            .output()
            .unwrap(),
    );
    let outcomes: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["succeeded", "unknown"]);
}

#[test]
fn state_and_logs_that_cannot_be_looked_at_are_told_and_the_rest_is_listed() {
    let root = two_resources();
    let flags = root.path().join("var/lib/skyhook/two/flags");
    std::fs::remove_dir_all(&flags).unwrap();
    std::fs::write(&flags, "").unwrap();
    std::fs::create_dir_all(root.path().join("var/lib/skyhook/two/interrupts/flags")).unwrap();
    let err = "var/log/skyhook/one/pkg/1.2.3/a.sh-2026-05-02-215101.log.err";
    std::fs::create_dir(root.path().join(err)).unwrap();
    let output = logs_in(&root, &["--list", "--output", "json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output).lines().count(), 2);
    assert_says(
        &stderr(&output),
        &[
            &format!("cannot open the log {}", root.path().join(err).display()),
            &format!(
                "cannot open the directory {}: Not a directory",
                flags.display()
            ),
        ],
    );
}

#[test]
fn a_run_that_is_under_way_is_running() {
    let node = Node::new().step("a.sh", WAITS);
    let mut running = Running::start(&mut node.run("apply"));
    running.wait_for_line("ready");
    assert_eq!(outcomes(&node), owned(&[("a.sh", "running")]));
    running.send("go");
    running.finish();
    assert_eq!(outcomes(&node), owned(&[("a.sh", "succeeded")]));
}
