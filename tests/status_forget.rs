//! `skyhook-agent status PACKAGE --forget STEP`: the only change that it makes.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};
use support::{
    LEAVES_A_MARK, Node, Running, Skip, WAITS, agent, assert_says, assert_succeeds, files, or_skip,
    stderr, stdout, stdout_of_success, wrapped,
};

/// `status pkg --forget STEP` with the state of a node.
fn forget(node: &Node, step: &str, arguments: &[&str]) -> Command {
    let mut command = agent();
    command
        .arg("status")
        .arg("--state-dir")
        .arg(node.path("state"));
    command.args(["pkg", "--forget", step]).args(arguments);
    command.stdin(Stdio::null());
    command
}

/// A node on which `a.sh` and `steps/b.sh` have succeeded, with arguments that have
/// slashes in the flag's name.
fn node() -> Node {
    let over = json!({ "arguments": ["???", "~~~"] });
    let node = Node::one_step().step_with("steps/b.sh", LEAVES_A_MARK, &over);
    assert_succeeds(&node.run("apply").output().unwrap());
    node
}

fn flags(node: &Node) -> Vec<PathBuf> {
    let mut flags = files(&node.path("state/flags/pkg"));
    flags.retain(|flag| flag.is_file());
    flags
}

#[test]
fn a_step_whose_flags_are_removed_runs_again() {
    let node = node();
    let [a, b] = &flags(&node)[..] else {
        panic!("expected two flags");
    };
    // A flag of another version, and one whose name is a hash.
    let hash = format!("sha256-{}", "0".repeat(64));
    let others = [
        "1.0.0/steps/b.sh_W11fWzBd".to_owned(),
        format!("1.1.0/steps/b.sh_{hash}"),
    ];
    for other in &others {
        let path = node.path("state/flags/pkg").join(other);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let before = files(node.dir.path());
    // The path may be written as config.json may have it.
    let output = forget(&node, "./steps//b.sh", &["--yes"]).output().unwrap();
    let removed = stdout_of_success(&output);
    let expected = [
        node.path("state/flags/pkg").join(&others[0]),
        node.path("state/flags/pkg").join(&others[1]),
        b.clone(),
    ]
    .map(|flag| format!("removed {}\n", flag.display()))
    .concat();
    assert_eq!(removed, expected);
    assert_eq!(flags(&node), std::slice::from_ref(a));
    // All else is as it was, and no lock is left.
    assert_eq!(files(node.dir.path()).len(), before.len() - 3);

    for step in ["a.sh", "steps/b.sh"] {
        node.remove_mark(step);
    }
    assert_succeeds(&node.run("apply").output().unwrap());
    assert!(!node.has_run("a.sh") && node.has_run("steps/b.sh"));
}

#[test]
fn the_answer_for_programs_has_the_documented_fields() {
    let node = node();
    let output = forget(&node, "a.sh", &["--yes", "--output", "json"])
        .output()
        .unwrap();
    let answer: Value = serde_json::from_str(&stdout_of_success(&output)).unwrap();
    let flag = node.flag("a.sh");
    assert_eq!(
        answer,
        json!({ "schema": 1, "package": "pkg", "step": "a.sh", "removed": [flag] })
    );
    let output = forget(&node, "steps/b.sh", &["--output", "json"])
        .output()
        .unwrap();
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(2), ""));
    assert_says(&stderr(&output), &["--forget: expected --yes"]);
}

#[test]
fn without_a_terminal_and_without_yes_it_refuses_with_one_line() {
    let node = node();
    let before = flags(&node);
    let output = forget(&node, "a.sh", &[]).output().unwrap();
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(2), ""));
    assert_eq!(
        stderr(&output),
        "skyhook-agent: --forget: expected --yes, since there is no terminal to ask on\n"
    );
    assert_eq!(flags(&node), before);
}

#[test]
fn on_a_terminal_it_asks() {
    let node = node();
    let before = flags(&node);
    // `script` runs it on a terminal.
    let on_terminal = |answer: &str| {
        let command = forget(&node, "a.sh", &[]);
        let words = command.get_args().map(|word| word.to_str().unwrap());
        let words: Vec<&str> = std::iter::once(command.get_program().to_str().unwrap())
            .chain(words)
            .collect();
        let line = words.join(" ");
        let mut script = wrapped(&["timeout", "30"], &Command::new("script"));
        script
            .args(["-qec", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut script = script
            .spawn()
            .map_err(|error| Skip::MissingTool(error.to_string()))?;
        use std::io::Write;
        script
            .stdin
            .take()
            .unwrap()
            .write_all(answer.as_bytes())
            .unwrap();
        let output = script.wait_with_output().unwrap();
        match output.status.code() {
            Some(127) => Err(Skip::MissingTool("script".to_owned())),
            _ => Ok(output),
        }
    };
    for answer in ["n\n", "\n", "what\n", "\u{4}"] {
        let output = or_skip!(on_terminal(answer));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_says(
            &stdout(&output),
            &[
                "1.2.3  a.sh\r\n",
                "Remove this flag, so that the step runs again? [y/N] ",
                "nothing is removed\r\n",
            ],
        );
        assert_eq!(flags(&node), before, "{answer:?}");
    }
    let output = or_skip!(on_terminal("y\n"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_says(&stdout(&output), &["] removed /"]);
    assert_eq!(flags(&node), before[1..]);
}

#[test]
fn a_step_without_a_flag_is_refused_and_those_that_have_one_are_named() {
    let node = node();
    let before = flags(&node);
    for step in ["c.sh", "b.sh", "steps", "../1.2.3/a.sh", ""] {
        let output = forget(&node, step, &["--yes"]).output().unwrap();
        assert_eq!(
            (output.status.code(), &*stdout(&output)),
            (Some(1), ""),
            "{step}"
        );
        let expected = "expected a step of pkg that has a flag; there are: a.sh, steps/b.sh\n";
        assert_says(&stderr(&output), &[expected]);
    }
    assert_eq!(flags(&node), before);
}

#[test]
fn while_an_agent_works_on_the_package_nothing_is_removed() {
    let node = node();
    node.script("a.sh", WAITS);
    let before = flags(&node);
    let mut command = node.run("apply");
    command.env("OVERLAY_ALWAYS_RUN_STEP", "true");
    let mut run = Running::start(&mut command);
    run.wait_for_line("ready");
    let output = forget(&node, "steps/b.sh", &["--yes"]).output().unwrap();
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(1), ""));
    let expected = format!(
        "package pkg is in use by the agent of apply, process {}",
        run.pid()
    );
    assert_says(&stderr(&output), &[&expected]);
    assert_eq!(flags(&node), before);
    run.send("word");
    assert_eq!(run.finish().status.code(), Some(0));
}

/// Each of the two locks that a run holds is enough.
#[test]
fn each_lock_of_the_package_is_respected() {
    let node = node();
    let before = flags(&node);
    for lock in ["run", "state"] {
        let path = node.path(&format!("state/.skyhook-agent-pkg.{lock}"));
        let file = fs::File::create(&path).unwrap();
        support::set_mode(&path, 0o600);
        let held = Flock::lock(file, FlockArg::LockExclusive).unwrap();
        let output = forget(&node, "a.sh", &["--yes"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{lock}");
        assert_says(
            &stderr(&output),
            &["package pkg is in use by an agent that has not said"],
        );
        drop(held);
        fs::remove_file(path).unwrap();
    }
    assert_eq!(flags(&node), before);
}

/// A flag that is a link, a fifo or torn is removed itself.
#[test]
fn a_flag_of_any_kind_is_removed_itself() {
    let node = node();
    let flag = node.flag("a.sh");
    let target = node.path("target");
    fs::write(&target, "kept").unwrap();
    fs::remove_file(&flag).unwrap();
    std::os::unix::fs::symlink(&target, &flag).unwrap();
    assert_succeeds(&forget(&node, "a.sh", &["--yes"]).output().unwrap());
    assert!(fs::symlink_metadata(&flag).is_err());
    assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
    nix::unistd::mkfifo(&flag, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_succeeds(&forget(&node, "a.sh", &["--yes"]).output().unwrap());
    assert!(!flag.exists());
}
