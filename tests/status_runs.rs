//! `skyhook-agent status`: runs under way, reboots, and what killed runs have left.

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use serde_json::{Value, json};
use support::node::{OTHER_BOOT, RESOURCE_ID, boot_id};
use support::skip::try_out;
use support::status::{FLAG, json_of, package, snapshot, status, write};
use support::{
    Node, Running, WAITS, agent, assert_says, assert_succeeds, in_mount_namespace, or_skip,
    stdout_of_success, wrapped,
};

#[test]
fn a_reboot_is_pending_only_in_the_boot_in_which_it_was_asked_for() {
    let node = Node::new();
    let flag = format!("state/interrupts/flags/{RESOURCE_ID}/node_restart_0");
    write(&node, &format!("{flag}.complete"), "1777758683.456789");
    let interrupt = |boot: Option<&str>| {
        match boot {
            Some(boot) => write(&node, &format!("{flag}.boot"), boot),
            None => fs::remove_file(node.path(&format!("{flag}.boot"))).unwrap(),
        }
        package(&node)["interrupts"][0].clone()
    };
    let own = boot_id();
    for (boot, is_pending) in [
        (Some(&*own), true),
        (Some("no boot id"), true),
        (Some(OTHER_BOOT), false),
        (None, false),
    ] {
        let interrupt = interrupt(boot);
        assert_eq!(interrupt["pending_reboot"], is_pending, "{boot:?}");
        assert_eq!(interrupt["time"], "2026-05-02T21:51:23.456789+00:00");
        assert_eq!(
            (&interrupt["type"], &interrupt["index"]),
            (&json!("node_restart"), &json!(0))
        );
    }
    interrupt(Some(&own));
    let output = status(&node, &[]).output().unwrap();
    assert_says(
        &stdout_of_success(&output),
        &["node_restart_0 for scr-1234-1_pkg_1.2.3, reboot pending\n"],
    );
}

/// Whether locks of this process's namespace can be told.
fn sees_locks() -> bool {
    fs::read_to_string("/proc/locks").is_ok()
}

#[test]
fn a_run_under_way_is_shown_with_its_process_and_is_not_disturbed() {
    let node = Node::new().step("a.sh", WAITS);
    let mut run = Running::start(&mut node.run("apply"));
    run.wait_for_line("ready");
    let before = snapshot(&node.path("state"));
    let under_way = package(&node);
    if sees_locks() {
        assert_eq!(
            under_way["running"]["pid"],
            run.pid().as_raw(),
            "{under_way}"
        );
        assert_eq!(under_way["running"]["task"], "apply");
        assert!(
            under_way["running"]["since"]
                .as_str()
                .unwrap()
                .starts_with("20")
        );
        let lock = under_way["running"]["lock"].as_str().unwrap();
        assert!(Path::new(lock).exists());
        let text = stdout_of_success(&status(&node, &[]).output().unwrap());
        let expected = format!("    running      apply, process {}, since 20", run.pid());
        assert_says(&text, &[&expected]);
    }
    assert_eq!(snapshot(&node.path("state")), before);
    run.send("word");
    assert_eq!(run.finish().status.code(), Some(0));
    let after = package(&node);
    assert_eq!(
        (&after["running"], &after["may_run"]),
        (&Value::Null, &json!(false))
    );
    assert_eq!(after["leftovers"], json!([]));
}

#[test]
fn the_lock_of_a_killed_run_is_left_over_and_no_run() {
    let node = Node::new().step("a.sh", WAITS);
    let mut run = Running::start(&mut node.run("apply"));
    run.wait_for_line("ready");
    kill(run.pid(), Signal::SIGKILL).unwrap();
    drop(run);
    let package = package(&node);
    assert_eq!(package["running"], Value::Null);
    if sees_locks() {
        let leftovers = package["leftovers"].to_string();
        assert_says(
            &leftovers,
            &[".skyhook-agent-pkg.run", ".skyhook-agent-pkg.state"],
        );
    }
}

/// Until a run has written its own note, its lock file has that of an earlier one.
#[test]
fn the_note_of_an_earlier_holder_is_not_the_run_s() {
    let node = Node::new().step("a.sh", WAITS);
    let mut run = Running::start(&mut node.run("apply"));
    run.wait_for_line("ready");
    let lock = "state/.skyhook-agent-pkg.run";
    let earlier = node.text(lock).replace(&format!(" {} ", run.pid()), " 1 ");
    write(&node, lock, earlier);
    let under_way = package(&node)["running"].clone();
    if sees_locks() {
        assert_eq!(under_way["pid"], run.pid().as_raw(), "{under_way}");
        assert_eq!(under_way["task"], Value::Null);
        assert_eq!(under_way["since"], Value::Null);
    }
    run.send("word");
    assert_eq!(run.finish().status.code(), Some(0));
}

#[test]
fn what_a_run_under_way_is_writing_is_no_leftover() {
    let node = Node::new().step("a.sh", WAITS);
    let backup = "state/history/pkg.json.backup";
    write(&node, backup, "");
    let new = [
        "state/flags/pkg/1.2.3/.skyhook-agent-x.new",
        "state/history/.skyhook-agent-pkg.new",
    ];
    let mut run = Running::start(&mut node.run("apply"));
    run.wait_for_line("ready");
    let backup = node.path(backup).to_str().unwrap().to_owned();
    let leftovers = || package(&node)["leftovers"].clone();
    for path in new {
        write(&node, path, "");
    }
    assert_eq!(leftovers(), json!([backup]));
    run.send("word");
    assert_eq!(run.finish().status.code(), Some(0));
    for path in new {
        write(&node, path, "");
        if sees_locks() {
            let path = node.path(path).to_str().unwrap().to_owned();
            assert_says(&leftovers().to_string(), &[&path]);
        }
    }
}

/// There the lock's device is not the file's, and a lock of another file may be meant.
#[test]
fn on_an_overlay_a_run_is_shown_only_if_its_note_has_the_number_of_the_holder() {
    let node = Node::new();
    let path = |name: &str| node.path(name).to_str().unwrap().to_owned();
    let agent = agent();
    let script = format!(
        "#!/bin/sh\n\
        look() {{ {agent} status --state-dir {state} --log-dir {log} --output json; }}\n\
        echo $PPID > {pid}\n\
        look > {agrees}\n\
        for lock in {state}/.skyhook-agent-*; do\n\
            note=$(sed \"s/ $PPID / 1 /\" $lock); echo \"$note\" > $lock\n\
        done\n\
        look > {differs}\n",
        agent = agent.get_program().to_str().unwrap(),
        state = path("state"),
        log = path("log"),
        pid = path("pid"),
        agrees = path("agrees"),
        differs = path("differs"),
    );
    let node = node.step("a.sh", &script);
    let overlay = "cd \"$0\" && mkdir -p low up work state && mount -t tmpfs none low && \
        mount -t overlay -o lowerdir=low,upperdir=up,workdir=work,xino=off none state && \
        exec \"$@\"";
    let on_an_overlay = |command: &Command| in_mount_namespace(overlay, node.dir.path(), command);
    or_skip!(try_out(
        &mut or_skip!(on_an_overlay(&Command::new("true"))),
        "no overlay can be mounted here"
    ));
    let output = on_an_overlay(&node.run("apply")).unwrap().output().unwrap();
    assert_succeeds(&output);
    if !sees_locks() {
        return;
    }
    let package = |name: &str| {
        let document: Value = serde_json::from_str(&node.text(name)).unwrap();
        document["packages"][0].clone()
    };
    let agrees = package("agrees");
    let pid = agrees["running"]["pid"].to_string();
    assert_eq!(pid, node.text("pid").trim(), "{agrees}");
    let differs = package("differs");
    assert_eq!(differs["running"], Value::Null, "{differs}");
    assert_eq!(differs["may_run"], true, "{differs}");
}

#[test]
fn what_is_no_file_in_a_lock_s_place_is_no_run_and_is_not_opened() {
    let node = Node::new();
    fs::create_dir(node.path("state")).unwrap();
    let lock = node.path("state/.skyhook-agent-pkg.run");
    nix::unistd::mkfifo(&lock, Mode::S_IRWXU).unwrap();
    let mut command = wrapped(&["timeout", "60"], &status(&node, &[]));
    assert_eq!(command.output().unwrap().status.code(), Some(0));
    assert_eq!(package(&node)["running"], Value::Null);
}

/// In names of files the hash of a long name takes its place.
#[test]
fn what_is_no_lock_s_name_and_a_hash_are_no_package_s() {
    let node = Node::new();
    write(&node, "state/.skyhook-agent-pkg.note", "");
    write(&node, "state/.skyhook-agent-.run", "");
    let hash = "0123456789abcdef".repeat(4);
    write(&node, &format!("state/.skyhook-agent-{hash}.run"), "");
    let new = format!("state/history/.skyhook-agent-{hash}.new");
    write(&node, &new, "");
    let document = json_of(status(&node, &[]));
    assert_eq!(document["packages"], json!([]));
    let leftover = node.path(&new).to_str().unwrap().to_owned();
    assert_eq!(document["state_roots"][0]["leftovers"], json!([leftover]));
}

/// A process may have the number that a note has, and be another.
#[test]
fn a_note_that_names_a_live_process_is_no_run() {
    let node = Node::new();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap();
    for namespace in [namespace.to_str().unwrap(), "pid:[17]", ""] {
        let pid = std::process::id();
        let note = format!("apply {pid} 2026-05-02T21:51:23.000007+00:00 {namespace}\n");
        write(&node, "state/.skyhook-agent-pkg.run", note);
        assert_eq!(package(&node)["running"], Value::Null, "{namespace}");
    }
}

#[test]
fn what_killed_runs_have_left_is_listed() {
    let node = Node::new();
    write(&node, "state/flags/pkg/1.2.3/a.sh_W11fWzBd", FLAG);
    for left in [
        "state/flags/pkg/1.2.3/.skyhook-agent-pkg.new",
        "state/history/pkg.json.backup",
        "state/history/.skyhook-agent-pkg.new",
        "state/flags/.skyhook-agent-pkg.new",
        "state/interrupts/flags/a_pkg_1/node_restart_0.boot",
    ] {
        write(&node, left, "");
        let expected = node.path(left).to_str().unwrap().to_owned();
        assert_eq!(package(&node)["leftovers"], json!([expected]));
        fs::remove_file(node.path(left)).unwrap();
    }
    write(&node, "state/pkg-1.2.3.partial/config.json", "");
    let document = json_of(status(&node, &[]));
    let expected = node.path("state/pkg-1.2.3.partial");
    assert_eq!(document["state_roots"][0]["leftovers"], json!([expected]));
    let output = status(&node, &[]).output().unwrap();
    assert_says(&stdout_of_success(&output), &["    left over    /"]);
}

/// The agent makes a directory whole under such a name, and holds its lock.
#[test]
fn a_temporary_directory_is_left_over_only_if_its_maker_has_ended() {
    let node = Node::new();
    write(&node, "state/flags/pkg/1.2.3/a.sh_W11fWzBd", FLAG);
    let left = node.path("state/.skyhook-agent-17-4.tmp");
    fs::create_dir(&left).unwrap();
    let leftovers = || json_of(status(&node, &[]))["state_roots"][0]["leftovers"].clone();
    // Without a note of its maker, only a process that sees all others can tell.
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap();
    if sees_locks() && namespace == Path::new("pid:[4026531836]") {
        assert_eq!(leftovers(), json!([left]));
    }
    let held = Flock::lock(File::open(&left).unwrap(), FlockArg::LockExclusive).unwrap();
    assert_eq!(leftovers(), json!([]));
    drop(held);
}
