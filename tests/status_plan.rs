//! `skyhook-agent status PACKAGE --plan MODE COPY_DIR`: it says what a run does then.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::{Value, json};
use support::{
    LEAVES_A_MARK, Node, agent, assert_says, assert_succeeds, set_mode, stderr, stdout,
    stdout_of_success,
};

/// `status pkg --plan MODE COPY_DIR` of the state of a node.
fn plan(node: &Node, mode: &str) -> Command {
    let mut command = agent();
    command
        .arg("status")
        .arg("--state-dir")
        .arg(node.path("state"));
    command.args(["pkg", "--plan", mode]).arg(node.path("copy"));
    command
}

/// A plan as JSON. There must be a state directory.
#[track_caller]
fn json_of(mut command: Command) -> Value {
    let output = command.args(["--output", "json"]).output().unwrap();
    assert_eq!(stderr(&output), "");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The steps of a plan in a few words: `action path reason`.
#[track_caller]
fn briefs(command: Command) -> Vec<String> {
    let plan = json_of(command);
    let brief = |step: &Value| {
        let [action, path, reason] =
            ["action", "path", "reason"].map(|key| step[key].as_str().unwrap());
        format!("{action} {path} {reason}")
    };
    plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(brief)
        .collect()
}

fn node() -> Node {
    let node = Node::one_step();
    fs::create_dir(node.path("state")).unwrap();
    node
}

#[test]
fn each_reason_to_run_or_to_skip_is_given() {
    let always = json!({ "idempotence": true });
    let node = node().step_with("b.sh", LEAVES_A_MARK, &always);
    assert_eq!(
        briefs(plan(&node, "apply")),
        ["run a.sh never-ran", "run b.sh never-ran"]
    );
    assert_succeeds(&node.run("apply").output().unwrap());
    assert_eq!(
        briefs(plan(&node, "apply")),
        ["skip a.sh flag", "run b.sh always-runs"]
    );
    let mut forced = plan(&node, "apply");
    forced.env("OVERLAY_ALWAYS_RUN_STEP", "true");
    assert_eq!(briefs(forced), ["run a.sh forced", "run b.sh forced"]);
    assert_eq!(
        briefs(plan(&node, "apply-check")),
        [
            "run a_check.sh mode-ignores-flags",
            "run b_check.sh mode-ignores-flags"
        ]
    );
    // Config ignores the flags that apply has set.
    let mut config: Value = serde_json::from_str(&node.config()).unwrap();
    config["modes"]["config"] = config["modes"]["apply"].clone();
    config["modes"]["config-check"] = config["modes"]["apply-check"].clone();
    node.write_config(config.to_string());
    assert_eq!(
        briefs(plan(&node, "config")),
        ["run a.sh mode-ignores-flags", "run b.sh mode-ignores-flags"]
    );
    // Another version has run nothing yet.
    let node = node.set("package_version", "1.2.4".into());
    assert_eq!(
        briefs(plan(&node, "apply")),
        ["run a.sh never-ran", "run b.sh never-ran"]
    );
    assert_eq!(briefs(plan(&node, "post-interrupt")), [""; 0]);
}

#[test]
fn arguments_that_have_changed_are_named() {
    let node = Node::new();
    fs::create_dir(node.path("state")).unwrap();
    let first = json!({ "arguments": ["x", "y z"] });
    let node = node.step_with("a.sh", LEAVES_A_MARK, &first);
    assert_succeeds(&node.run("apply").output().unwrap());
    let mut config: Value = serde_json::from_str(&node.config()).unwrap();
    // One step more of the same file has never run: its arguments are its own.
    let mut other = config["modes"]["apply"][0].clone();
    other["arguments"] = json!(["other"]);
    config["modes"]["apply"].as_array_mut().unwrap().push(other);
    node.write_config(config.to_string());
    assert_eq!(
        briefs(plan(&node, "apply")),
        ["skip a.sh flag", "run a.sh never-ran"]
    );
    config["modes"]["apply"].as_array_mut().unwrap().pop();
    config["modes"]["apply"][0]["arguments"] = json!(["x", "w"]);
    node.write_config(config.to_string());
    let planned = json_of(plan(&node, "apply"));
    let step = &planned["steps"][0];
    assert_eq!(step["reason"], "arguments-changed");
    assert_eq!(step["arguments"], json!(["x", "w"]));
    assert_eq!(step["arguments_before"], json!(["x", "y z"]));
    let text = stdout_of_success(&plan(&node, "apply").output().unwrap());
    assert_says(&text, &["run   a.sh x w  it succeeded with x 'y z'\n"]);
    config["modes"]["apply"][0]["arguments"] = json!(["x", "y z"]);
    config["modes"]["apply"][0]["returncodes"] = json!([0, 3]);
    node.write_config(config.to_string());
    let text = stdout_of_success(&plan(&node, "apply").output().unwrap());
    assert_says(&text, &["it succeeded with other return codes\n"]);
}

#[test]
fn a_plan_is_shown_for_people_and_runs_and_writes_nothing() {
    let over = json!({ "arguments": ["env:TOKEN", "env:NO_SUCH"] });
    let node = node().step_with("b.sh", LEAVES_A_MARK, &over);
    assert_eq!(node.run("apply").output().unwrap().status.code(), Some(1));
    node.remove_mark("a.sh");
    let before = support::files(node.dir.path());
    let output = plan(&node, "apply")
        .env("TOKEN", "secret")
        .output()
        .unwrap();
    let text = stdout_of_success(&output);
    let (first, rest) = text.split_once('\n').unwrap();
    let state = node.path("state");
    assert_eq!(
        first,
        format!(
            "apply of pkg 1.2.3 would run 1 of 2 steps, by the flags in {}",
            state.display()
        )
    );
    let (skip, rest) = rest.split_once('\n').unwrap();
    assert!(
        skip.starts_with("  skip  a.sh  it succeeded at 20"),
        "{skip}"
    );
    assert_eq!(
        rest,
        "  run   b.sh env:TOKEN env:NO_SUCH  it has not succeeded in this version
        TOKEN is set here
        NO_SUCH is not set here: without it the step fails
"
    );
    let json = json_of({
        let mut command = plan(&node, "apply");
        command.env("TOKEN", "secret");
        command
    });
    assert!(!format!("{text}{json}").contains("secret"));
    assert_eq!(
        json["steps"][1]["variables"],
        json!([{ "name": "TOKEN", "is_set": true }, { "name": "NO_SUCH", "is_set": false }])
    );
    assert_eq!(support::files(node.dir.path()), before);
    assert!(!node.has_run("a.sh") && !node.has_run("b.sh"));
}

#[test]
fn json_has_the_documented_fields() {
    let node = node();
    let root = node.dir.path().to_str().unwrap();
    let mut command = agent();
    command.args(["status", "--root", root, "--state-dir", "/state"]);
    command.args(["pkg", "--plan", "apply", "copy"]);
    let expected = json!({
        "schema": 1, "mode": "apply", "package": "pkg", "version": "1.2.3",
        "state_root": "/state", "overlay": [], "problems": [],
        "steps": [{
            "name": "a", "path": "a.sh", "arguments": [], "action": "run",
            "reason": "never-ran", "arguments_before": null, "last_run": null, "variables": [],
        }],
    });
    assert_eq!(json_of(command), expected);
}

/// By the comparison that the copy makes: after a run there is nothing left to change.
#[test]
fn the_files_that_the_package_would_change_are_named() {
    let node = node();
    let write = |path: &str, text: &str| {
        let path = node.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (path, text) in [
        ("copy/root_dir/etc/same", "same"),
        ("copy/root_dir/etc/other", "new"),
        ("copy/root_dir/etc/mode", "mode"),
        ("copy/root_dir/etc/dir/deep", ""),
        ("copy/root_dir/link/below", ""),
        ("etc/same", "same"),
        ("etc/other", "old"),
        ("etc/mode", "mode"),
    ] {
        write(path, text);
    }
    fs::create_dir(node.path("target")).unwrap();
    symlink("target", node.path("link")).unwrap();
    symlink("there", node.path("copy/root_dir/etc/link")).unwrap();
    symlink("elsewhere", node.path("etc/link")).unwrap();
    symlink("there", node.path("copy/root_dir/etc/kept")).unwrap();
    symlink("there", node.path("etc/kept")).unwrap();
    set_mode(&node.path("copy/root_dir/etc/mode"), 0o600);
    set_mode(&node.path("etc/mode"), 0o644);
    let planned = |mode: &str| {
        let root = node.dir.path().to_str().unwrap();
        let mut command = agent();
        command.args(["status", "--root", root, "--state-dir", "/state"]);
        command.args(["pkg", "--plan", mode, "/copy"]);
        let plan = json_of(command);
        assert_eq!(plan["problems"], json!([]));
        let brief = |change: &Value| {
            let [kind, path] = ["change", "path"].map(|key| change[key].as_str().unwrap());
            format!("{kind} {path}")
        };
        let changes = plan["overlay"].as_array().unwrap().iter().map(brief);
        changes.collect::<Vec<String>>()
    };
    assert_eq!(
        planned("apply"),
        [
            "add /etc/dir/",
            "add /etc/dir/deep",
            "replace /etc/link",
            "replace /etc/mode",
            "replace /etc/other",
            "add /link/below",
        ]
    );
    assert_eq!(planned("uninstall"), [""; 0]);
    // The steps cannot run in this root; the files are laid over it before that.
    let _ = node.in_own_root("apply").output().unwrap();
    assert_eq!(planned("apply"), [""; 0]);
}

#[test]
fn what_would_stop_the_run_before_its_steps_is_told_and_fails() {
    let node = node().set("expected_config_files", json!(["a.conf"]));
    fs::create_dir_all(node.path("copy/root_dir/etc")).unwrap();
    fs::write(node.path("copy/root_dir/etc/app"), "").unwrap();
    fs::create_dir_all(node.path("etc/app")).unwrap();
    let root = node.dir.path().to_str().unwrap();
    let mut command = agent();
    command.args(["status", "--root", root, "--state-dir", "/state"]);
    command.args(["pkg", "--plan", "apply", "/copy"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_says(
        &stdout(&output),
        &[
            "problem  cannot replace ",
            "etc/app: expected a file or a link\n",
            "configmaps: a.conf: expected this file, which is not there\n",
            "run   a.sh",
        ],
    );
}

#[test]
fn a_plan_of_another_package_or_of_none_is_refused() {
    let node = node();
    let mut command = plan(&node, "apply");
    assert_succeeds(&command.output().unwrap());
    let refused = |package: &str, copy: &str| {
        let mut command = agent();
        command.args([
            "status",
            "--state-dir",
            node.path("state").to_str().unwrap(),
        ]);
        command
            .args([package, "--plan", "apply"])
            .arg(node.path(copy));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stdout(&output), "");
        stderr(&output)
    };
    assert_says(
        &refused("other", "copy"),
        &["config.json: package_name: expected \"other\", the package to plan for, got \"pkg\""],
    );
    assert_says(&refused("pkg", "no-such"), &["config.json: No such file"]);
    node.write_config("{}");
    assert!(refused("pkg", "copy").lines().count() > 3);
}

#[test]
fn the_versions_of_an_upgrade_are_among_the_arguments() {
    let node = node();
    let mut config: Value = serde_json::from_str(&node.config()).unwrap();
    config["modes"]["upgrade"] = config["modes"]["apply"].clone();
    config["modes"]["upgrade"][0]["upgrade_step"] = true.into();
    config["modes"]["upgrade-check"] = config["modes"]["apply-check"].clone();
    node.write_config(config.to_string());
    let history = node.path("state/history/pkg.json");
    fs::create_dir(node.path("state/history")).unwrap();
    let arguments = || json_of(plan(&node, "upgrade"))["steps"][0]["arguments"].clone();
    assert_eq!(arguments(), json!(["unknown", "1.2.3"]));
    fs::write(&history, "{\"current-version\": \"1.0.0\"}").unwrap();
    assert_eq!(arguments(), json!(["1.0.0", "1.2.3"]));
    // A run moves it aside, a plan does not.
    fs::write(&history, "no history").unwrap();
    assert_eq!(arguments(), json!(["", "1.2.3"]));
    assert!(history.exists());
}

#[test]
fn of_several_state_directories_the_one_with_the_package_is_chosen() {
    let node = Node::one_step();
    let dirs = ["one", "two"].map(|name| node.path(name));
    for dir in &dirs {
        fs::create_dir(dir).unwrap();
    }
    let planned = || {
        let mut command = agent();
        command.arg("status");
        for dir in &dirs {
            command.arg("--state-dir").arg(dir);
        }
        command
            .args(["pkg", "--plan", "apply"])
            .arg(node.path("copy"));
        command.output().unwrap()
    };
    let output = planned();
    assert_eq!(output.status.code(), Some(2));
    assert_says(
        &stderr(&output),
        &["--plan: expected --state-dir with one of "],
    );
    fs::create_dir_all(dirs[1].join("flags/pkg/1.2.3")).unwrap();
    assert_says(
        &stdout_of_success(&planned()),
        &["by the flags in ", "/two\n"],
    );
}

/// Two operator's directories know the package; the run uses the one beside it.
#[test]
fn the_state_directory_that_the_package_lies_in_is_chosen() {
    let node = Node::one_step();
    for name in ["one", "two"] {
        let state = node.path(&format!("var/lib/skyhook/{name}"));
        fs::create_dir_all(state.join("flags/pkg/1.2.3")).unwrap();
    }
    let beside = node.path("var/lib/skyhook/two/pkg-1.2.3");
    fs::rename(node.path("copy"), &beside).unwrap();
    let mut command = agent();
    command.args(["status", "--root"]).arg(node.dir.path());
    command.args(["pkg", "--plan", "apply", "/var/lib/skyhook/two/pkg-1.2.3"]);
    assert_says(
        &stdout_of_success(&command.output().unwrap()),
        &["by the flags in ", "/var/lib/skyhook/two\n"],
    );
}
