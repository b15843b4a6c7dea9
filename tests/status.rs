//! `skyhook-agent status`, through the real binary: what it shows of a node.

mod support;

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use skyhook_agent::system::sys;
use support::node::RESOURCE_ID;
use support::skip::Skip;
use support::status::{FLAG, json_of, package, snapshot, status, write};
use support::{
    Node, agent, assert_says, assert_succeeds, files, or_skip, pipe_without_reader, stderr, stdout,
    stdout_of_success,
};

/// The answer for people, with `NODE` for the node's directory and `TIME` for times.
#[track_caller]
fn shown(node: &Node, output: &Output) -> String {
    let text = stdout(output).replace(node.dir.path().to_str().unwrap(), "NODE");
    let mut shown = String::new();
    for line in text.lines() {
        let words = line.split(' ').map(|word| match word {
            word if is_like(word, "dddd-dd-dd") => "DAY".to_owned(),
            word if is_like(word.trim_end_matches(','), "dd:dd:dd") => {
                word.replace(word.trim_end_matches(','), "TIME")
            }
            word => match log_time(word.trim_end_matches(',')) {
                Some(at) => {
                    let comma = if word.ends_with(',') { "," } else { "" };
                    format!("{}-LOG{comma}", &word[..at])
                }
                None => word.to_owned(),
            },
        });
        shown += &words.collect::<Vec<_>>().join(" ");
        shown += "\n";
    }
    shown
}

/// The text without how the newest run has ended, which not every file system can keep.
fn without_outcome(text: &str) -> String {
    text.replace("-LOG, succeeded\n", "-LOG\n")
}

/// Whether a text has this shape; `d` is a digit.
fn is_like(text: &str, shape: &str) -> bool {
    let digit = |c: char| if c.is_ascii_digit() { 'd' } else { c };
    text.chars().map(digit).eq(shape.chars())
}

/// Where the time in a log's name begins.
fn log_time(word: &str) -> Option<usize> {
    let at = word.len().checked_sub("-dddd-dd-dd-dddddd.log".len())?;
    is_like(word.get(at..)?, "-dddd-dd-dd-dddddd.log").then_some(at)
}

#[test]
fn a_node_with_nothing_on_it_is_one_line_or_an_empty_list() {
    let node = Node::new();
    let root = node.dir.path().to_str().unwrap();
    let mut command = agent();
    command.args(["status", "--root", root]);
    let output = command.output().unwrap();
    assert_eq!(
        stdout_of_success(&output),
        "no package has left anything here\n"
    );
    let document = json_of(command);
    assert_eq!(
        document,
        json!({ "schema": 1, "packages": [], "state_roots": [] })
    );
    assert!(!node.path("etc").exists());
}

#[test]
fn what_runs_have_left_is_shown_and_nothing_is_changed() {
    let node = node_with_history();
    let before = snapshot(node.dir.path());
    let output = status(&node, &[]).output().unwrap();
    assert_succeeds(&output);
    assert_eq!(without_outcome(&shown(&node, &output)), SHOWN);
    json_of(status(&node, &[]));
    assert_eq!(snapshot(node.dir.path()), before);
}

const SHOWN: &str = "\
NODE/state
    all checked  apply-check  DAY TIME UTC

  pkg 1.2.3 since DAY TIME UTC
    steps        of 1.2.3
                   DAY TIME  b.sh, always runs
                   DAY TIME  steps/a_b.sh x 'it'\\''s' ''
    checks       ok      b_check.sh
                 ok      steps/a_b_check.sh
    interrupts   DAY TIME UTC  no_op for scr-1234-1_pkg_1.2.3
    logs         8 files, 138 B; newest: NODE/log/pkg/1.2.3/steps/a_b_check.sh-LOG
    history      1.2.3  DAY TIME UTC
";

/// A node on which all went well.
fn node_with_history() -> Node {
    let over = json!({ "arguments": ["x", "it's", ""] });
    let node = Node::new()
        .step("b.sh", "#!/bin/sh\necho said\n")
        .step_with("steps/a_b.sh", "#!/bin/sh\necho said\n", &over);
    node.write_config(always_runs(&node.config(), "b.sh"));
    for mode in ["apply", "apply-check"] {
        let output = node.run(mode).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    let interrupt = node.interrupt(&json!({ "type": "no_op" })).output();
    assert_eq!(interrupt.unwrap().status.code(), Some(0));
    node
}

/// The config with this step of apply always running.
fn always_runs(config: &str, path: &str) -> String {
    let mut config: Value = serde_json::from_str(config).unwrap();
    for step in config["modes"]["apply"].as_array_mut().unwrap() {
        step["idempotence"] = (step["path"] == path).into();
    }
    config.to_string()
}

#[test]
fn json_has_the_documented_fields() {
    let node = node_with_history();
    let document = json_of(status(&node, &[]));
    assert_eq!(document["schema"], 1);
    let package = &document["packages"][0];
    let state = node.path("state");
    let state = state.to_str().unwrap();
    assert_eq!(package["name"], "pkg");
    assert_eq!(package["state_root"], state);
    assert_eq!(package["version"], "1.2.3");
    let history = package["history"].as_array().unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(package["since"], history[0]["time"]);
    assert_eq!(history[0]["version"], "1.2.3");
    let steps = package["steps"].as_array().unwrap();
    let brief = |step: &Value| {
        let [version, path, arguments, codes, always] =
            ["version", "path", "arguments", "returncodes", "always_runs"].map(|key| &step[key]);
        format!("{version} {path} {arguments} {codes} {always}")
    };
    assert_eq!(brief(&steps[0]), r#""1.2.3" "b.sh" [] [0] true"#);
    assert_eq!(
        brief(&steps[1]),
        r#""1.2.3" "steps/a_b.sh" ["x","it's",""] [0] false"#
    );
    for step in steps {
        let flag = fs::read_to_string(step["flag"].as_str().unwrap()).unwrap();
        assert!(flag.contains(step["last_run"].as_str().unwrap()));
    }
    let checks = json!([
        { "path": "b_check.sh", "failed": false },
        { "path": "steps/a_b_check.sh", "failed": false },
    ]);
    assert_eq!(package["checks"], checks);
    let interrupt = &package["interrupts"][0];
    assert_eq!(interrupt["resource"], RESOURCE_ID);
    assert_eq!(interrupt["type"], "no_op");
    assert_eq!(interrupt["index"], Value::Null);
    assert_eq!(interrupt["pending_reboot"], false);
    assert!(interrupt["time"].as_str().unwrap().ends_with("+00:00"));
    let logs = &package["logs"];
    assert_eq!(logs["files"], 8);
    let bytes = files(&node.path("log"))
        .into_iter()
        .map(|log| fs::metadata(log).unwrap().len());
    assert_eq!(logs["bytes"], bytes.sum::<u64>());
    assert!(Path::new(logs["newest"].as_str().unwrap()).exists());
    assert_eq!(package["running"], Value::Null);
    assert_eq!(package["may_run"], false);
    assert_eq!(package["leftovers"], json!([]));
    assert_eq!(package["problems"], json!([]));
    let root = &document["state_roots"][0];
    assert_eq!(root["path"], state);
    assert_eq!(root["checks"], checks);
    assert_eq!(root["all_checked"][0]["mode"], "apply-check");
    assert_eq!(root["leftovers"], json!([]));
    assert_eq!(root["problems"], json!([]));
}

#[test]
fn the_failure_of_the_newest_run_is_shown_although_the_last_checks_succeeded() {
    let node = node_with_history();
    let log = json_of(status(&node, &[]))["packages"][0]["logs"]["newest"].clone();
    let log = fs::File::options().append(true).open(log.as_str().unwrap());
    let noted = sys::set_xattr(
        log.unwrap().as_fd(),
        c"user.skyhook-agent.outcome",
        b"failed",
    );
    or_skip!(noted.map_err(|_| Skip::NotPossible("the file system keeps no notes")));
    let text = stdout(&status(&node, &[]).output().unwrap());
    assert!(text.contains(".log, failed\n"), "{text}");
    let logs = &json_of(status(&node, &[]))["packages"][0]["logs"];
    assert_eq!(logs["newest_outcome"], "failed");
}

/// Each check that succeeds puts the version on top of the history once more.
#[test]
fn a_version_is_there_since_the_first_of_its_newest_entries() {
    let node = Node::new();
    let entry = |version: &str, time: &str| json!({ "version": version, "time": time });
    let history = [
        entry("2", "d"),
        entry("2", "c"),
        entry("1", "b"),
        entry("2", "a"),
    ];
    let json = json!({ "current-version": "2", "history": history });
    write(&node, "state/history/pkg.json", json.to_string());
    let package = package(&node);
    assert_eq!(
        (&package["version"], &package["since"]),
        (&json!("2"), &json!("c"))
    );
    assert_eq!(package["history"], json!(history));
}

#[test]
fn the_state_directories_of_the_operator_are_found_each_with_its_logs() {
    let node = Node::new();
    for (dir, package) in [
        ("etc/skyhook", "first"),
        ("var/lib/skyhook/one", "tuning"),
        ("var/lib/skyhook/two", "tuning"),
    ] {
        write(
            &node,
            &format!("{dir}/flags/{package}/1.0.0/a.sh_W11fWzBd"),
            FLAG,
        );
    }
    // The directory of a package, and one of nothing.
    write(&node, "var/lib/skyhook/one/tuning-1.0.0/config.json", "{}");
    write(&node, "var/lib/skyhook/other/config.json", "{}");
    write(
        &node,
        "var/log/skyhook/two/tuning/1.0.0/a.sh-2026-05-02-215123.log",
        "said",
    );
    // Its first step has failed: it has logs alone.
    write(
        &node,
        "var/log/skyhook/two/failed/2.0.0/a.sh-2026-05-02-215123.log",
        "",
    );
    write(
        &node,
        "var/log/skyhook/first/1.0.0/a.sh-2026-05-02-215123.log",
        "first",
    );
    let mut command = agent();
    command.args(["status", "--root", node.dir.path().to_str().unwrap()]);
    let document = json_of(command);
    let brief = |package: &Value| {
        let [root, name, bytes] = [
            &package["state_root"],
            &package["name"],
            &package["logs"]["bytes"],
        ];
        format!("{root} {name} {bytes}").replace('"', "")
    };
    let packages: Vec<String> = document["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(brief)
        .collect();
    assert_eq!(
        packages,
        [
            "/etc/skyhook first 5",
            "/var/lib/skyhook/one tuning 0",
            "/var/lib/skyhook/two failed 0",
            "/var/lib/skyhook/two tuning 4",
        ]
    );
    let roots = document["state_roots"].as_array().unwrap().iter();
    let roots: Vec<_> = roots
        .map(|root| ["path", "log_dir"].map(|key| root[key].as_str().unwrap()))
        .collect();
    assert_eq!(
        roots,
        [
            ["/etc/skyhook", "/var/log/skyhook"],
            ["/var/lib/skyhook/one", "/var/log/skyhook/one"],
            ["/var/lib/skyhook/two", "/var/log/skyhook/two"],
        ]
    );
}

#[test]
fn the_environment_names_one_more_state_directory() {
    let node = Node::one_step();
    assert_succeeds(&node.run("apply").output().unwrap());
    let mut command = agent();
    command
        .arg("status")
        .env("SKYHOOK_ROOT_DIR", node.path("state"));
    command.arg("pkg").env("SKYHOOK_LOG_DIR", node.path("log"));
    assert_says(
        &stdout_of_success(&command.output().unwrap()),
        &["a.sh", "2 files"],
    );
}

#[test]
fn one_package_is_shown_if_it_is_named_and_one_that_is_not_there_fails() {
    let node = Node::new();
    for package in ["one", "two"] {
        write(
            &node,
            &format!("state/flags/{package}/1.0.0/a.sh_W11fWzBd"),
            FLAG,
        );
    }
    for resource in ["a_one_1.0.0", "b_two_1.0.0"] {
        let flag = format!("state/interrupts/flags/{resource}/no_op.complete");
        write(&node, &flag, "1777758683.456789");
    }
    let one = json_of(status(&node, &["one"]))["packages"][0].clone();
    assert_eq!(one["interrupts"][0]["resource"], "a_one_1.0.0", "{one}");
    let output = status(&node, &["one"]).output().unwrap();
    let text = stdout_of_success(&output);
    assert!(
        text.contains("  one (no version yet)\n") && !text.contains("two"),
        "{text}"
    );
    let output = status(&node, &["three"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stdout(&output),
        "no package named three has left anything here\n"
    );
    let missing = agent()
        .args(["status", "--state-dir", "/no/such"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert_says(&stderr(&missing), &["cannot open the directory /no/such"]);
}

#[test]
fn a_failed_check_is_shown_and_fails() {
    let node = Node::one_step();
    node.script("a_check.sh", "#!/bin/sh\nexit 1\n");
    assert_eq!(
        node.run("apply-check").output().unwrap().status.code(),
        Some(1)
    );
    let output = status(&node, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_says(&stdout(&output), &["checks       failed  a_check.sh\n"]);
    assert_eq!(
        package(&node)["checks"],
        json!([{ "path": "a_check.sh", "failed": true }])
    );
}

/// The results do not name the package.
#[test]
fn checks_are_a_package_s_only_if_they_can_be_no_other_s() {
    let node = Node::one_step();
    assert_eq!(
        node.run("apply-check").output().unwrap().status.code(),
        Some(0)
    );
    write(
        &node,
        "state/history/other.json",
        "{\"current-version\": \"1\", \"history\": []}",
    );
    let checks = |logs: &str| {
        let mut command = agent();
        command
            .arg("status")
            .arg("--state-dir")
            .arg(node.path("state"));
        command.arg("--log-dir").arg(node.path(logs));
        let document = json_of(command);
        assert_eq!(
            document["state_roots"][0]["checks"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        let packages = document["packages"].as_array().unwrap();
        let have = packages
            .iter()
            .filter(|package| package["checks"] != json!([]));
        have.map(|package| package["name"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(checks("log"), ["pkg"]);
    assert!(checks("no-log").is_empty());
}

#[test]
fn checks_are_not_a_package_s_because_it_was_named() {
    let node = Node::new();
    write(&node, "state/flags/check_results", "check.sh True");
    let checks = |name: &str| {
        let document = json_of(status(&node, &[name]));
        let packages = document["packages"].as_array().unwrap();
        packages[0]["checks"].as_array().unwrap().len()
    };
    // Of the second one, there is only an interrupt.
    write(&node, "state/flags/one/1.0.0/a.sh_W11fWzBd", FLAG);
    let interrupts = "state/interrupts/flags/a_two_1.0.0";
    write(&node, &format!("{interrupts}/no_op.complete"), "1.5");
    assert_eq!(checks("one"), 0);
    for package in ["one", "two"] {
        let log = format!("log/{package}/1.0.0/check.sh-2026-05-02-215123.log");
        write(&node, &log, "");
    }
    assert_eq!((checks("one"), checks("two")), (0, 0));
    // What they have now is told by logs of them all.
    write(
        &node,
        "state/flags/check_results",
        "check.sh True\nb.sh True",
    );
    let log = "log/two/1.0.0/b.sh-2026-05-02-215123.log";
    write(&node, log, "");
    assert_eq!((checks("one"), checks("two")), (0, 2));
}

#[test]
fn the_arguments_of_a_flag_whose_name_is_a_hash_are_not_known() {
    let over = json!({ "arguments": ["x".repeat(300)] });
    let node = Node::new().step_with("a.sh", "#!/bin/sh\n", &over);
    assert_succeeds(&node.run("apply").output().unwrap());
    let step = &package(&node)["steps"][0];
    assert_eq!(
        (&step["path"], &step["arguments"]),
        (&json!("a.sh"), &Value::Null)
    );
    let output = status(&node, &[]).output().unwrap();
    assert_says(
        &stdout_of_success(&output),
        &["a.sh (arguments too long for the flag's name)"],
    );
}

#[test]
fn colours_are_used_if_they_are_asked_for() {
    let node = node_with_history();
    let text = |arguments: &[&str]| {
        let output = status(&node, arguments)
            .env_remove("CLICOLOR_FORCE")
            .output();
        stdout_of_success(&output.unwrap())
    };
    assert!(text(&["--color", "always"]).contains("\u{1b}[1mpkg\u{1b}[0m"));
    for plain in [&[][..], &["--color", "never"], &["--color", "auto"]] {
        assert!(!text(plain).contains('\u{1b}'));
    }
}

#[test]
fn a_reader_that_has_left_is_no_failure() {
    let node = node_with_history();
    let mut command = status(&node, &[]);
    let run = command
        .stdout(pipe_without_reader())
        .stderr(Stdio::piped())
        .spawn();
    let output = run.unwrap().wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*stderr(&output)), (Some(0), ""));
}

#[test]
fn wrong_usage_is_refused() {
    let node = Node::one_step();
    for (arguments, problem) in [
        (&["--output", "yaml"][..], "--output"),
        (&["--forget", "a.sh"], "<PACKAGE>"),
        (&["--plan", "apply", "/copy"], "<PACKAGE>"),
        (&["pkg", "--plan", "apply"], "--plan"),
        (&["pkg", "--plan", "aply", "/copy"], "did you mean apply?"),
        (&["pkg", "--plan", "interrupt", "/copy"], "expected a mode"),
        (
            &["pkg", "--plan", "apply", "/c", "--plan", "config", "/c"],
            "--plan",
        ),
        (
            &["pkg", "--plan", "apply", "/c", "--forget", "a.sh"],
            "--forget",
        ),
        (&["pkg", "--yes"], "--forget"),
    ] {
        fs::create_dir_all(node.path("state")).unwrap();
        let output = status(&node, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert_says(&stderr(&output), &[problem]);
    }
}

/// On a node that has what they name.
#[test]
fn the_examples_of_the_help_do_what_they_say() {
    let help = stdout_of_success(&agent().args(["status", "--help"]).output().unwrap());
    let examples = help
        .lines()
        .filter_map(|line| line.trim().strip_prefix("skyhook-agent "));
    let examples: Vec<&str> = examples.filter(|line| line.starts_with("status")).collect();
    assert_eq!(examples.len(), 4, "{help}");
    let node = Node::one_step().set("package_name", "tuning".into());
    let dir = "var/lib/skyhook/node";
    write(
        &node,
        &format!("{dir}/flags/tuning/1.2.3/steps/sysctl.sh_W11fWzBd"),
        FLAG,
    );
    let copy = node.path(&format!("{dir}/tuning-1.2.3"));
    fs::rename(node.path("copy"), copy).unwrap();
    let root = node.dir.path().to_str().unwrap();
    for example in examples {
        let words = example
            .split(' ')
            .map(|word| if word == "/host" { root } else { word });
        let mut words: Vec<&str> = words.collect();
        if !words.contains(&"--root") {
            words.extend(["--root", root]);
        }
        if words.contains(&"--forget") {
            words.push("--yes");
        }
        let output = agent().args(&words).output().unwrap();
        let text = stdout_of_success(&output);
        let expected = match () {
            () if words.contains(&"--plan") => {
                "apply of tuning 1.2.3 would run 1 of 1 steps, by the flags in /var/lib/skyhook/node\n"
            }
            () if words.contains(&"--forget") => "removed /var/lib/skyhook/node/flags/tuning/",
            () => "  tuning (no version yet)\n",
        };
        assert_says(&text, &[expected]);
    }
}
