//! Reboots (contract §11): `reboot` ends before the node does. Each state that an end at
//! any moment can leave leads to a next start that does the right thing.

mod support;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use serde_json::json;
use support::node::{OTHER_BOOT, RESOURCE_ID, boot_id};
use support::running::wait_until;
use support::{
    Node, Running, WAITS, after_banner, assert_says, assert_succeeds, files, in_mount_namespace,
    or_skip, stderr, unstamp,
};

/// A node whose `reboot` counts its calls and then does `then`.
fn node_with_reboot(then: &str) -> Node {
    Node::new().command(
        "reboot",
        &format!("#!/bin/sh\necho >> \"$0.calls\"\n{then}\n"),
    )
}

fn calls(node: &Node) -> usize {
    fs::read_to_string(node.path("bin/reboot.calls")).map_or(0, |calls| calls.lines().count())
}

fn flag(node: &Node) -> PathBuf {
    node.interrupt_flag("node_restart_0")
}

/// The interrupt, which waits for the reboot for as long as this.
fn restart(node: &Node, timeout: &str) -> std::process::Command {
    let mut command = node.interrupt(&json!({ "type": "node_restart" }));
    command.env("SKYHOOK_AGENT_REBOOT_TIMEOUT", timeout);
    command
}

/// What a start leaves that was ended after it had asked for the reboot.
fn ask(node: &Node, boot: &str) {
    fs::create_dir_all(flag(node).parent().unwrap()).unwrap();
    fs::write(flag(node), "1796427083.5").unwrap();
    fs::write(node.boot_note(), boot).unwrap();
}

#[track_caller]
fn assert_asked_in_this_boot(node: &Node) {
    assert!(flag(node).exists());
    assert_eq!(fs::read_to_string(node.boot_note()).unwrap(), boot_id());
}

#[track_caller]
fn assert_not_asked(node: &Node) {
    assert!(
        files(&node.path("state")).is_empty(),
        "{:?}",
        files(&node.path("state"))
    );
}

const SKIPPED: &str = "Skipping interrupt node_restart_0 because it was already run for ";

#[test]
fn the_flag_and_this_boot_s_id_are_there_before_reboot_runs() {
    let node = Node::new();
    let (flag, boot) = (flag(&node), node.boot_note());
    let id = boot_id();
    let script = format!(
        "#!/bin/sh\n[ -s {flag:?} ] && [ \"$(cat {boot:?})\" = {id} ] && echo noted\nkill -TERM $$\n"
    );
    let node = node.command("reboot", &script);
    let output = restart(&node, "300").output().unwrap();
    assert_succeeds(&output);
    assert_eq!(unstamp("[out]", &after_banner(&output)), "reboot\nnoted\n");
    assert_asked_in_this_boot(&node);
}

#[test]
fn a_reboot_that_is_lost_ends_with_1_after_the_time_out_and_is_tried_again() {
    for timeout in ["0", "0.2"] {
        let node = node_with_reboot("exit 0");
        for nth in 1..3 {
            let began = Instant::now();
            let output = restart(&node, timeout).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let wait = Duration::from_secs_f64(timeout.parse().unwrap());
            assert!(began.elapsed() >= wait, "{timeout}");
            assert_eq!(unstamp("[out]", &after_banner(&output)), "reboot\n");
            assert_eq!(
                stderr(&output),
                format!(
                    "skyhook-agent: interrupt node_restart_0: waiting up to {timeout} s for the \
                     node to go down\n\
                     skyhook-agent: interrupt node_restart_0: the node has not gone down within \
                     {timeout} s; the next start asks for the reboot again\n"
                )
            );
            assert_not_asked(&node);
            assert_eq!(calls(&node), nth);
        }
    }
}

/// The shutdown ends the agent while the node goes down.
#[test]
fn sigterm_during_the_wait_ends_with_0_at_once_and_keeps_both_files() {
    // After `reboot`, and in a start that finds that it has run.
    for was_asked in [false, true] {
        let node = node_with_reboot("exit 0");
        if was_asked {
            ask(&node, &boot_id());
        }
        let mut run = Running::start(&mut restart(&node, "1e9"));
        let notice = run.wait_for_notice();
        assert_says(
            &notice,
            &["waiting up to 1000000000 s for the node to go down"],
        );
        assert!(run.has_not_ended());
        kill(run.pid(), Signal::SIGTERM).unwrap();
        let output = run.finish();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(!after_banner(&output).contains("INTERRUPT FAILED"));
        assert_says(&stderr(&output), &["a signal ended the wait"]);
        assert_asked_in_this_boot(&node);
        assert_eq!(calls(&node), usize::from(!was_asked));
    }
}

#[test]
fn waiting_for_a_reboot_costs_no_time_of_the_processor() {
    let node = node_with_reboot("exit 0");
    let mut run = Running::start(&mut restart(&node, "300"));
    run.wait_for_notice();
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", run.pid())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_millis(500));
    assert!(ticks() - before <= 2, "of 50");
}

#[test]
fn after_the_reboot_the_note_goes_and_the_command_is_skipped() {
    let node = node_with_reboot("kill -TERM $$");
    assert_succeeds(&restart(&node, "300").output().unwrap());
    node.has_rebooted();
    for _ in 0..2 {
        let output = restart(&node, "300").output().unwrap();
        assert_succeeds(&output);
        assert_eq!(after_banner(&output), format!("{SKIPPED}{RESOURCE_ID}\n"));
        assert!(flag(&node).exists() && !node.boot_note().exists());
    }
    assert_eq!(calls(&node), 1);
}

/// The reference and older agents set it alone.
#[test]
fn a_flag_without_a_note_counts_as_done() {
    let node = node_with_reboot("exit 0");
    ask(&node, "");
    fs::remove_file(node.boot_note()).unwrap();
    let output = restart(&node, "300").output().unwrap();
    assert_succeeds(&output);
    assert_eq!(after_banner(&output), format!("{SKIPPED}{RESOURCE_ID}\n"));
    assert_eq!(calls(&node), 0);
}

/// As after kill -9 between the flag and `reboot`, during it, or during the wait.
#[test]
fn a_start_in_the_same_boot_waits_and_asks_again() {
    // A note that cannot be understood is no reason to take the reboot for done.
    for note in [
        boot_id(),
        boot_id() + "\n",
        String::new(),
        "\0\0\0".to_owned(),
    ] {
        let node = node_with_reboot("kill -TERM $$");
        ask(&node, &note);
        let began = Instant::now();
        let output = restart(&node, "0.2").output().unwrap();
        assert!(began.elapsed() >= Duration::from_millis(200));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(unstamp("[out]", &after_banner(&output)), "reboot\n");
        let notice = "has run in this boot of the node already; waiting up to 0.2 s for the node";
        assert_says(&stderr(&output), &[notice]);
        assert_eq!(calls(&node), 1);
        assert_asked_in_this_boot(&node);
    }
}

#[test]
fn a_second_reboot_that_is_lost_too_ends_with_1_and_leaves_nothing() {
    let node = node_with_reboot("exit 0");
    ask(&node, &boot_id());
    let output = restart(&node, "0").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(calls(&node), 1);
    assert_not_asked(&node);
}

/// As after kill -9 between the note and the flag, and between the removal of the flag and
/// that of the note. Whatever the note says, nothing has been asked for.
#[test]
fn a_note_without_a_flag_counts_for_nothing() {
    for note in [&*boot_id(), OTHER_BOOT, ""] {
        let node = node_with_reboot("kill -TERM $$");
        ask(&node, note);
        fs::remove_file(flag(&node)).unwrap();
        let output = restart(&node, "300").output().unwrap();
        assert_succeeds(&output);
        assert_eq!(unstamp("[out]", &after_banner(&output)), "reboot\n");
        assert_asked_in_this_boot(&node);
    }
}

#[test]
fn any_other_end_of_reboot_takes_both_files_back() {
    for (then, code) in [("exit 1", 1), ("kill -KILL $$", -9), ("exit 143", 143)] {
        for was_asked in [false, true] {
            let node = node_with_reboot(then);
            if was_asked {
                ask(&node, &boot_id());
            }
            let output = restart(&node, "0").output().unwrap();
            assert_eq!(output.status.code(), Some(1));
            let failed = format!("INTERRUPT FAILED: ['reboot'] return_code: {code}\n");
            assert_says(&after_banner(&output), &[&failed]);
            assert_not_asked(&node);
        }
    }
}

/// kill -9 while `reboot` runs, and while the agent waits: the next start must neither
/// take the reboot for done nor ask for it before it has waited.
#[test]
fn after_kill_9_the_next_start_waits_and_asks_again_or_sees_the_reboot() {
    for (then, has_ended) in [(&WAITS["#!/bin/sh\n".len()..], false), ("exit 0", true)] {
        for has_rebooted in [false, true] {
            let node = node_with_reboot(then);
            let mut run = Running::start(&mut restart(&node, "300"));
            if has_ended {
                assert_says(&run.wait_for_notice(), &["waiting up to 300 s"]);
            } else {
                run.wait_for_line("ready");
            }
            kill(run.pid(), Signal::SIGKILL).unwrap();
            drop(run);
            assert_asked_in_this_boot(&node);
            let node = node.command("reboot", "#!/bin/sh\necho >> \"$0.calls\"\nkill -TERM $$\n");
            if has_rebooted {
                node.has_rebooted();
            }
            let output = restart(&node, "0").output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            assert_eq!(calls(&node), if has_rebooted { 1 } else { 2 });
            assert_eq!(after_banner(&output).contains(SKIPPED), has_rebooted);
            assert_eq!(node.boot_note().exists(), !has_rebooted);
        }
    }
}

/// kill -9 at random moments of a start whose `reboot` takes its time. After each, the
/// next starts reach an end: the reboot is asked for, and is done after another boot.
#[test]
fn after_kill_9_at_any_moment_no_reboot_is_lost() {
    for n in 0_u64..40 {
        let node = node_with_reboot("sleep 0.002\nkill -TERM $$");
        let mut child = restart(&node, "0").spawn().unwrap();
        std::thread::sleep(Duration::from_micros(n * 350));
        child.kill().unwrap();
        child.wait().unwrap();
        // A process that is just executing shows no environment for a moment.
        wait_until("the killed agent's reboot to end", || {
            (0..10).all(|_| {
                std::thread::sleep(Duration::from_micros(500));
                !has_processes(&node)
            })
        });
        let (was_asked, before) = (flag(&node).exists(), calls(&node));
        assert!(
            !was_asked || node.boot_note().exists(),
            "{n}: it would count as done"
        );
        assert!(before == 0 || was_asked, "{n}: asked for without a flag");
        let output = restart(&node, "0").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{n}: {output:?}");
        assert_eq!(calls(&node), before + 1, "{n}");
        node.has_rebooted();
        let output = restart(&node, "300").output().unwrap();
        assert_succeeds(&output);
        assert_eq!(calls(&node), before + 1, "{n}: no second reboot");
    }
}

/// Whether a process of this node's runs is left: they have its directory in their
/// environment.
fn has_processes(node: &Node) -> bool {
    let dir = node.dir.path().to_str().unwrap();
    fs::read_dir("/proc").unwrap().any(|entry| {
        let variables = fs::read(entry.unwrap().path().join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&variables).contains(dir)
    })
}

/// The boot id comes from the agent's own container, at the path of the kernel.
#[test]
fn another_boot_id_of_the_kernel_is_another_boot() {
    let node = node_with_reboot("kill -TERM $$");
    assert_succeeds(&restart(&node, "300").output().unwrap());
    fs::write(node.path("id"), format!("{OTHER_BOOT}\n")).unwrap();
    let script = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
    let command = restart(&node, "300");
    fs::create_dir(node.path("mnt")).unwrap();
    or_skip!(in_mount_namespace("exit 0", &node.path("mnt"), &command));
    let mut command = in_mount_namespace_at(script, &node, &command);
    let output = command.output().unwrap();
    assert_succeeds(&output);
    assert_eq!(after_banner(&output), format!("{SKIPPED}{RESOURCE_ID}\n"));
    assert!(!node.boot_note().exists());
}

/// Without a boot id, no later start could tell if the node has rebooted.
#[test]
fn without_a_boot_id_nothing_is_asked_for_and_a_line_says_why() {
    for id in ["", "no id\n"] {
        let node = node_with_reboot("exit 0");
        fs::write(node.path("id"), id).unwrap();
        fs::create_dir(node.path("mnt")).unwrap();
        let script = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
        let command = restart(&node, "300");
        or_skip!(in_mount_namespace("exit 0", &node.path("mnt"), &command));
        let output = in_mount_namespace_at(script, &node, &command)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let line =
            "skyhook-agent: cannot use /proc/sys/kernel/random/boot_id: expected a boot id\n";
        assert_eq!(stderr(&output), line);
        assert_not_asked(&node);
        assert_eq!(calls(&node), 0);
    }
}

/// With the file `id` as `$0`, which is no directory.
fn in_mount_namespace_at(
    script: &str,
    node: &Node,
    command: &std::process::Command,
) -> std::process::Command {
    let id = node.path("id");
    let words = [
        "unshare",
        "--mount",
        "/bin/sh",
        "-c",
        script,
        id.to_str().unwrap(),
    ];
    support::wrapped(&words, command)
}

/// Only a command that reboots the node is waited for.
#[test]
fn other_interrupts_have_no_note_and_are_not_waited_for() {
    let node = Node::new().command("service", "#!/bin/sh\n");
    let mut command = node.interrupt(&json!({ "type": "restart_all_services" }));
    let output = command.env("SKYHOOK_AGENT_REBOOT_TIMEOUT", "300").output();
    assert_succeeds(&output.unwrap());
    let flag = node.interrupt_flag("restart_all_services_0");
    assert_eq!(files(&node.path("state")), [flag]);
}

#[test]
fn a_reboot_time_out_that_is_no_number_of_seconds_is_refused_before_anything_runs() {
    for value in ["soon", "-1", "", "NaN"] {
        let node = Node::one_step();
        let output = restart(&node, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{value}");
        let expected = format!(
            "skyhook-agent: SKYHOOK_AGENT_REBOOT_TIMEOUT: expected a number of seconds, 0 or \
             more, got {value:?}\n"
        );
        assert_eq!(stderr(&output), expected);
        node.assert_untouched();
    }
}
