//! `skyhook-agent status` of a state that is broken, or that was made to harm:
//! it is told as what it is, in bounded time, and nothing of it reaches the terminal raw.

mod support;

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::Output;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};
use skyhook_agent::text::is_unshowable;
use support::{Node, agent, assert_says, stderr, stdout};

const FLAG: &str = "last_run: 2026-05-02T21:51:23.456789\nstep_always_runs: False";

/// A node with the state directory `etc/skyhook` below its root.
fn node() -> Node {
    let node = Node::new();
    fs::create_dir_all(node.path("etc/skyhook/flags/pkg/1.0.0")).unwrap();
    fs::create_dir_all(node.path("etc/skyhook/history")).unwrap();
    node
}

/// `status`, which must end.
fn status(node: &Node, arguments: &[&str]) -> Output {
    let mut command = std::process::Command::new("timeout");
    let agent = agent();
    command.arg("300").arg(agent.get_program());
    for (name, value) in agent.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(["status", "--root"]).arg(node.dir.path());
    command.args(arguments).output().unwrap()
}

/// Asserts that there are these problems, by path and text, in both forms of the answer.
#[track_caller]
fn assert_problems(node: &Node, expected: &[(&str, &str)]) -> Value {
    let output = status(node, &["--output", "json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = stdout(&output);
    assert!(!text.trim_end().contains(is_unshowable), "{text:?}");
    let document: Value = serde_json::from_str(&text).unwrap();
    let all = |key: &str| {
        let owners = document[key].as_array().unwrap().iter();
        let problems = owners.flat_map(|owner| owner["problems"].as_array().unwrap().clone());
        problems.collect::<Vec<Value>>()
    };
    let problems = [all("packages"), all("state_roots")].concat();
    let has = |(path, text): &(&str, &str)| {
        problems.iter().any(|problem| {
            problem["path"] == *path && problem["problem"].as_str().unwrap().contains(text)
        })
    };
    for problem in expected {
        assert!(has(problem), "expected {problem:?} in {problems:?}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:?}");

    let output = status(node, &[]);
    assert_eq!((output.status.code(), &*stderr(&output)), (Some(1), ""));
    let text = stdout(&output);
    let is_raw = |c: char| is_unshowable(c) && c != '\n';
    assert!(!text.contains(is_raw), "{text:?}");
    for (_, problem) in expected {
        assert!(text.contains(problem), "expected {problem:?} in {text}");
    }
    document
}

#[test]
fn a_history_that_is_none_is_told() {
    let node = node();
    let path = "/etc/skyhook/history/pkg.json";
    let file = node.path(&path[1..]);
    for (text, problem) in [
        ("", "this is no history"),
        ("{\"current-version\": 1}", "this is no history"),
        ("\u{1b}[2J", "this is no history"),
    ] {
        fs::write(&file, text).unwrap();
        assert_problems(&node, &[(path, problem)]);
    }
    File::create(&file).unwrap().set_len(10 << 30).unwrap();
    assert_problems(&node, &[(path, "expected at most 1048576 bytes")]);
    fs::remove_file(&file).unwrap();
    mkfifo(&file, Mode::S_IRWXU).unwrap();
    assert_problems(&node, &[(path, "expected a file")]);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_problems(&node, &[(path, "expected a file")]);
}

#[test]
fn a_flag_that_is_no_file_is_told_and_not_opened() {
    let node = node();
    let dir = "/etc/skyhook/flags/pkg/1.0.0";
    let path = |step: &str| format!("{dir}/{step}_W11fWzBd");
    let at = |step: &str| node.path(&path(step)[1..]);
    mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
    symlink("/dev/zero", at("device")).unwrap();
    symlink("/no/such", at("nowhere")).unwrap();
    fs::write(at("torn"), "last_run: 20").unwrap();
    fs::write(at("always"), "last_run: x\nstep_always_runs: yes").unwrap();
    for (step, time) in [("early", ""), ("late", &"2".repeat(41))] {
        let content = format!("last_run: {time}\nstep_always_runs: True");
        fs::write(at(step), content).unwrap();
    }
    File::create(at("large")).unwrap().set_len(1 << 40).unwrap();
    symlink("/", node.path(&format!("{dir}/root")[1..])).unwrap();
    symlink("loop", node.path(&format!("{dir}/loop")[1..])).unwrap();
    fs::write(node.path(&format!("{dir}/other")[1..]), "").unwrap();
    fs::write(node.path("etc/skyhook/flags/pkg/file"), "").unwrap();
    let no_flag = "expected a name of the form STEP_MARKER";
    let document = assert_problems(
        &node,
        &[
            (&path("fifo"), "expected a file"),
            // There is no /dev in this root.
            (&path("device"), "this link leads nowhere"),
            (&path("nowhere"), "this link leads nowhere"),
            (&path("torn"), "expected the flag to say last_run and"),
            (&path("always"), "expected the flag to say last_run and"),
            (&path("early"), "expected the flag to say last_run and"),
            (&path("late"), "expected the flag to say last_run and"),
            (&path("large"), "expected at most 4096 bytes"),
            (&format!("{dir}/root"), no_flag),
            (&format!("{dir}/loop"), no_flag),
            (&format!("{dir}/other"), no_flag),
            (
                "/etc/skyhook/flags/pkg/file",
                "expected the directory of a version, got a file",
            ),
        ],
    );
    // The agent takes these for flags, too.
    let steps = document["packages"][0]["steps"].as_array().unwrap();
    let paths: Vec<&str> = steps
        .iter()
        .map(|step| step["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["always", "early", "fifo", "large", "late", "torn"]);
    assert_eq!(steps[2]["last_run"], Value::Null);
}

/// Also if an absolute one would lead to a file outside.
#[test]
fn no_link_leads_out_of_the_root() {
    let node = node();
    let outside = Node::new();
    fs::write(
        outside.path("secret"),
        "last_run: secret\nstep_always_runs: True",
    )
    .unwrap();
    let flag = node.path("etc/skyhook/flags/pkg/1.0.0/a.sh_W11fWzBd");
    symlink(outside.path("secret"), &flag).unwrap();
    let climb = format!("{}{}", "../".repeat(30), outside.path("secret").display());
    symlink(climb, node.path("etc/skyhook/history/pkg.json")).unwrap();
    symlink(outside.dir.path(), node.path("etc/skyhook/flags/outside")).unwrap();
    assert_problems(
        &node,
        &[
            (
                "/etc/skyhook/flags/pkg/1.0.0/a.sh_W11fWzBd",
                "this link leads nowhere",
            ),
            (
                "/etc/skyhook/history/pkg.json",
                "cannot read it: No such file",
            ),
            ("/etc/skyhook/flags/outside", "this is a link"),
        ],
    );
    for arguments in [&[][..], &["--output", "json"]] {
        assert!(!stdout(&status(&node, arguments)).contains("secret\""));
    }
}

#[test]
fn a_link_inside_the_root_is_followed_as_the_agent_does() {
    let node = node();
    fs::create_dir(node.path("elsewhere")).unwrap();
    fs::write(node.path("elsewhere/flag"), FLAG).unwrap();
    symlink(
        "/elsewhere/flag",
        node.path("etc/skyhook/flags/pkg/1.0.0/a.sh_W11fWzBd"),
    )
    .unwrap();
    let output = status(&node, &["--output", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let step = &document["packages"][0]["steps"][0];
    assert_eq!(step["last_run"], "2026-05-02T21:51:23.456789");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn names_with_control_characters_are_escaped() {
    let node = node();
    let bad = "\u{1b}[2J\r\n\u{9b}\u{202e}x";
    let flags = node.path("etc/skyhook/flags");
    fs::create_dir_all(flags.join(bad).join(bad)).unwrap();
    fs::write(
        flags.join(bad).join(bad).join(format!("{bad}_W11fWzBd")),
        FLAG,
    )
    .unwrap();
    let marker = {
        use base64::Engine;
        let text = "['\\x1b[2J\\u202e']_[0]";
        base64::prelude::BASE64_STANDARD.encode(text)
    };
    fs::write(
        flags.join(format!("pkg/1.0.0/a.sh_{marker}")),
        format!("last_run: {bad}\n"),
    )
    .unwrap();
    let history = json!({ "current-version": bad, "history": [{ "version": bad, "time": bad }] });
    fs::write(
        node.path("etc/skyhook/history/pkg.json"),
        history.to_string(),
    )
    .unwrap();
    fs::write(flags.join("check_results"), format!("{bad} True\n")).unwrap();
    let interrupts = node.path(&format!("etc/skyhook/interrupts/flags/a_pkg_{bad}"));
    fs::create_dir_all(&interrupts).unwrap();
    fs::write(interrupts.join(format!("{bad}.complete")), "1.5").unwrap();
    // Paths of problems and leftovers, too.
    fs::write(flags.join(format!("{bad}file")), "").unwrap();
    let backup = node.path(&format!("etc/skyhook/history/{bad}.json.backup"));
    fs::write(backup, "").unwrap();
    let results = "/etc/skyhook/flags/check_results";
    let document = assert_problems(
        &node,
        &[
            (results, "line 1: expected a step's path"),
            (
                &format!("/etc/skyhook/flags/{bad}file"),
                "the agent has no such flag",
            ),
            (
                &format!("/etc/skyhook/flags/pkg/1.0.0/a.sh_{marker}"),
                "expected the flag to say",
            ),
        ],
    );
    // The values are the same for a program.
    let packages = document["packages"].as_array().unwrap();
    assert_eq!(packages[0]["name"], bad);
    assert_eq!(packages[1]["version"], bad);
    assert_eq!(
        packages[1]["steps"][0]["arguments"],
        json!(["\u{1b}[2J\u{202e}"])
    );
}

#[test]
fn names_that_are_not_utf_8_are_told() {
    let node = node();
    let name = std::ffi::OsStr::from_bytes(b"\xff\x9b");
    let below = |dir: &str| node.path(dir).join(name);
    fs::create_dir(below("etc/skyhook/flags")).unwrap();
    fs::write(below("etc/skyhook/flags/pkg/1.0.0"), FLAG).unwrap();
    fs::write(below("etc/skyhook/history"), "").unwrap();
    let shown = "\u{fffd}\u{fffd}";
    assert_problems(
        &node,
        &[
            (&format!("/etc/skyhook/flags/{shown}"), "UTF-8"),
            (&format!("/etc/skyhook/flags/pkg/1.0.0/{shown}"), "UTF-8"),
            (&format!("/etc/skyhook/history/{shown}"), "UTF-8"),
        ],
    );
}

#[test]
fn more_flags_than_a_package_can_have_are_counted() {
    let node = node();
    let dir = node.path("etc/skyhook/flags/pkg/1.0.0");
    for i in 0..10_500 {
        File::create(dir.join(format!("step{i}_W11fWzBd"))).unwrap();
    }
    let output = status(&node, &["--output", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = &document["packages"][0];
    // One name is that of the version's directory.
    assert_eq!(package["steps"].as_array().unwrap().len(), 9_999);
    let told = package["problems"].to_string();
    assert_says(&told, &["501 more are not looked at"]);
    let text = stdout(&status(&node, &[]));
    assert_says(&text, &["more; --output json has all"]);
    assert!(text.lines().count() < 200, "{}", text.lines().count());
    // What cannot be seen cannot be forgotten.
    let output = status(&node, &["pkg", "--forget", "step1", "--yes"]);
    assert_eq!(output.status.code(), Some(1));
    assert_says(
        &stderr(&output),
        &["not all of the flags here can be looked at"],
    );
    assert!(dir.join("step1_W11fWzBd").exists());
}

#[test]
fn a_deep_tree_of_directories_is_no_trouble() {
    let node = node();
    let deep = "d/".repeat(1000);
    fs::create_dir_all(node.path(&format!("etc/skyhook/flags/pkg/1.0.0/{deep}"))).unwrap();
    let output = status(&node, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn what_is_not_the_agent_s_is_told() {
    let node = node();
    let skyhook = "/etc/skyhook";
    let mut expected = Vec::new();
    for (path, problem) in [
        ("flags/bogus_ALL_CHECKED", "expected the mark of a mode"),
        ("flags/note", "the agent has no such flag"),
        ("flags/pkg/1.0.0/note.new", "expected a name of the form"),
        ("history/note", "this is no history"),
        ("interrupts/flags/a_b", "expected a directory named"),
        ("interrupts/flags/a_pkg_2", "expected a directory named"),
        (
            "interrupts/flags/a_pkg_1/note",
            "this is no flag of an interrupt",
        ),
        (
            "interrupts/flags/a_pkg_1/no_op.complete",
            "seconds since the epoch",
        ),
    ] {
        let file = node.path(&format!("{}/{path}", &skyhook[1..]));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "x").unwrap();
        expected.push((format!("{skyhook}/{path}"), problem));
    }
    let expected: Vec<(&str, &str)> = expected
        .iter()
        .map(|(path, text)| (&**path, *text))
        .collect();
    assert_problems(&node, &expected);
}

#[test]
fn an_interrupt_s_name_is_taken_as_it_is() {
    let node = node();
    let flags = "etc/skyhook/interrupts/flags/a_pkg_1";
    fs::create_dir_all(node.path(flags)).unwrap();
    let write = |name, text| fs::write(node.path(&format!("{flags}/{name}")), text).unwrap();
    write("x_0.complete.complete", "1.5");
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    write("x_0.boot", &boot_id);
    let output = status(&node, &["--output", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = &document["packages"][0];
    let interrupt = &package["interrupts"][0];
    assert_eq!(interrupt["type"], "x_0.complete");
    assert_eq!(interrupt["pending_reboot"], false);
    assert_eq!(package["leftovers"], json!([format!("/{flags}/x_0.boot")]));
}

#[test]
fn an_operator_s_directory_that_cannot_be_listed_is_told() {
    let node = node();
    fs::create_dir_all(node.path("var/lib")).unwrap();
    symlink("skyhook", node.path("var/lib/skyhook")).unwrap();
    let path = "/var/lib/skyhook";
    let below = ["", "/flags", "/history", "/interrupts/flags"];
    let paths = below.map(|below| format!("{path}{below}"));
    let problem = "Too many levels of symbolic links";
    assert_problems(&node, &paths.each_ref().map(|path| (&**path, problem)));
    // Nor is it hidden if a package is named.
    let text = stdout(&status(&node, &["other"]));
    let end = "\n\nno package named other was found in what can be read\n";
    assert!(text.contains(path) && text.ends_with(end), "{text}");
    assert_says(
        &stdout(&status(&node, &["pkg"])),
        &[path, "  pkg (no version"],
    );
    // A flag that is not seen is not forgotten.
    let output = status(&node, &["pkg", "--forget", "a.sh", "--yes"]);
    assert_says(
        &stderr(&output),
        &["/var/lib/skyhook: not all of the flags"],
    );
}

#[test]
fn a_state_directory_that_cannot_be_opened_is_told() {
    let node = node();
    fs::create_dir_all(node.path("var/lib/skyhook")).unwrap();
    symlink("one", node.path("var/lib/skyhook/one")).unwrap();
    let output = status(&node, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_says(&stdout(&output), &["/var/lib/skyhook/one: cannot list it"]);
}

#[test]
fn a_directory_with_the_agent_s_own_name_is_no_package() {
    let node = node();
    for dir in ["etc/skyhook/flags", "var/log/skyhook"] {
        fs::create_dir_all(node.path(&format!("{dir}/.skyhook-agent-x/1.0.0"))).unwrap();
    }
    let own = "/etc/skyhook/flags/.skyhook-agent-x";
    let document = assert_problems(&node, &[(own, "the agent has no such flag")]);
    let packages = document["packages"].as_array().unwrap();
    assert!(packages.iter().all(|package| package["name"] == "pkg"));
}

#[test]
fn a_state_that_may_not_be_read_is_told() {
    let node = node();
    if support::is_root() {
        support::skip!(support::Skip::NotPossible("root may read everything"));
    }
    support::set_mode(&node.path("etc/skyhook/flags/pkg"), 0);
    let told = assert_problems(&node, &[("/etc/skyhook/flags/pkg", "Permission denied")]);
    support::set_mode(&node.path("etc/skyhook/flags/pkg"), 0o700);
    assert_eq!(told["packages"][0]["name"], "pkg");
}
