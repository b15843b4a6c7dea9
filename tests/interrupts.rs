//! Interrupts in the operator's form, with scripts in place of `reboot` and the like:
//! each runs once for its resource, and may run again if it failed.

mod support;

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use support::node::RESOURCE_ID;
use support::{
    Node, Skip, after_banner, assert_says, assert_succeeds, files, fill_root, interrupt_data,
    is_root, names, skip, stderr, stdout, unstamp,
};

fn node_restart() -> Value {
    json!({ "type": "node_restart" })
}

/// A node whose `reboot` says whether its flag is set, and then does `then`.
fn node_with_reboot(then: &str) -> Node {
    let node = Node::new();
    let flag = node.interrupt_flag("node_restart_0");
    let script = format!("#!/bin/sh\n[ -s {flag:?} ] && echo flagged\n{then}\n");
    node.command("reboot", &script)
}

#[test]
fn a_reboot_that_ends_its_own_command_is_not_started_again() {
    let node = node_with_reboot("kill -TERM $$");
    let output = node.interrupt(&node_restart()).output().unwrap();
    assert_succeeds(&output);
    assert_eq!(
        unstamp("[out]", &after_banner(&output)),
        "reboot\nflagged\n",
        "and no failure"
    );
    let flag = fs::read_to_string(node.interrupt_flag("node_restart_0")).unwrap();
    assert!(flag.parse::<f64>().unwrap() > 1.7e9, "{flag}");

    node.has_rebooted();
    let output = node.interrupt(&node_restart()).output().unwrap();
    assert_succeeds(&output);
    assert_eq!(
        after_banner(&output),
        format!("Skipping interrupt node_restart_0 because it was already run for {RESOURCE_ID}\n")
    );

    // For another resource it is another reboot.
    let mut other = node.interrupt(&node_restart());
    other.env("SKYHOOK_RESOURCE_ID", "scr-1234-2_pkg_1.2.3");
    assert_succeeds(&other.output().unwrap());
    assert_eq!(names(&node.path("state/interrupts/flags")).len(), 2);
}

#[test]
fn the_flag_of_an_interrupt_that_fails_is_removed() {
    for (then, code) in [("exit 3", 3), ("kill -KILL $$", -9)] {
        let node = node_with_reboot(then);
        let output = node.interrupt(&node_restart()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            unstamp("[out]", &after_banner(&output)),
            format!("reboot\nflagged\nINTERRUPT FAILED: ['reboot'] return_code: {code}\n")
        );
        assert!(files(&node.path("state")).is_empty());
    }
}

#[test]
fn a_command_ended_by_sigterm_has_failed_unless_it_is_a_reboot() {
    let node = Node::new().command("service", "#!/bin/sh\nkill -TERM $$\n");
    let restart = json!({ "type": "restart_all_services" });
    let output = node.interrupt(&restart).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = "['service', 'procps', 'force-reload'] return_code: -15\n";
    assert_says(&stdout(&output), &["INTERRUPT FAILED: ", words]);
    assert!(files(&node.path("state")).is_empty());
}

#[test]
fn commands_of_an_interrupt_that_have_succeeded_are_not_run_again() {
    let fails_once = "#!/bin/sh\necho \"$*\" >> \"$0.ran\"\n\
                      [ \"$2\" != b ] || mkdir \"$0.once\" 2> /dev/null\n";
    let node = Node::new().command("systemctl", &fails_once.replace("mkdir", "! mkdir"));
    let restart = json!({ "type": "service_restart", "services": ["a", "b", "c"] });
    let mut command = node.interrupt(&restart);
    assert_eq!(command.output().unwrap().status.code(), Some(1));
    assert_succeeds(&command.output().unwrap());
    assert_eq!(
        node.text("bin/systemctl.ran"),
        "daemon-reload\nrestart a\nrestart b\nrestart b\nrestart c\n"
    );
}

#[test]
fn unusable_interrupt_data_ends_with_2_and_touches_nothing() {
    let node = Node::one_step();
    let service = |name: &str| {
        let services = ["good", name];
        interrupt_data(&json!({ "type": "service_restart", "services": services }))
    };
    for data in [
        "not base64!",
        "",
        "ew==",
        &interrupt_data(&json!({ "type": "bogus" })),
        &service("-H"),
        &service("--root=/x"),
        &service("a\u{1b}[2J"),
        &service("a\nb"),
        &service("a\u{9b}2J"),
        &service("a\u{202e}b"),
        &interrupt_data(&json!({ "type": "a\u{1b}[2J\u{9b}\nb" })),
    ] {
        let output = node.run("interrupt").arg(data).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{data}");
        let said = stderr(&output);
        assert_says(&said, &["interrupt data: expected ", "\n\nUsage: "]);
        let (problem, _) = said.split_once('\n').unwrap();
        assert!(
            !problem.contains(skyhook_agent::text::is_unshowable),
            "{problem:?}"
        );
        node.assert_untouched();
    }
}

#[test]
fn an_interrupt_without_write_logs_leaves_no_log() {
    let node = node_with_reboot("kill -TERM $$");
    let mut command = node.interrupt(&node_restart());
    command.env("SKYHOOK_AGENT_WRITE_LOGS", "false");
    assert_succeeds(&command.output().unwrap());
    assert!(!node.path("log").exists());
}

#[test]
fn the_newest_five_logs_of_an_interrupt_stay() {
    let node = node_with_reboot("kill -TERM $$");
    let logs = node.path("log/pkg/1.2.3/interrupts");
    fs::create_dir_all(&logs).unwrap();
    for day in 1..=6 {
        for ending in ["log", "log.err"] {
            let name = format!("node_restart_0-2020-01-0{day}-000000.{ending}");
            let file = File::create(logs.join(name)).unwrap();
            let age = Duration::from_secs(86400 * (10 - day));
            file.set_modified(SystemTime::now() - age).unwrap();
        }
    }
    let other = "node_restart_1-2020-01-01-000000.log";
    File::create(logs.join(other)).unwrap();
    assert_succeeds(&node.interrupt(&node_restart()).output().unwrap());
    let names = names(&logs);
    let kept = |ending: &str| names.iter().filter(|name| name.ends_with(ending)).count();
    assert_eq!((kept(".log"), kept(".err")), (5 + 1, 5), "{names:?}");
    assert_eq!(names[0], "node_restart_0-2020-01-03-000000.log");
    assert!(names.contains(&other.to_owned()));
}

#[test]
fn an_interrupt_runs_inside_another_root() {
    if !is_root() {
        skip!(Skip::NotPossible("only root can chroot"));
    }
    let node = Node::new();
    fill_root(node.dir.path());
    fs::create_dir_all(node.path("usr/bin")).unwrap();
    fs::rename(node.path("copy"), node.path("package")).unwrap();
    let node = node.command(
        "../usr/bin/service",
        "#!/bin/sh\npwd -P\necho \"$*\" > /ran\n",
    );
    let mut command = node.in_own_root("interrupt");
    command.arg(interrupt_data(&json!({ "type": "restart_all_services" })));
    // COPY_DIR is its working directory. Without it, it is `/`: the operator gives an
    // edited resource another COPY_DIR.
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = stderr(&output);
    assert_says(
        &said,
        &["cannot open the directory ", "/copy: No such file"],
    );
    assert_says(&said, &[": the interrupt runs in /\n"]);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(
        unstamp("[out]", &after_banner(&output)),
        "service procps force-reload\n/\n"
    );
    assert!(!node.path("copy").exists());
    fs::rename(node.path("package"), node.path("copy")).unwrap();
    let output = command.env("SKYHOOK_RESOURCE_ID", "other_pkg_1").output();
    let output = output.unwrap();
    assert_succeeds(&output);
    assert_eq!(
        unstamp("[out]", &after_banner(&output)),
        "service procps force-reload\n/copy\n"
    );
    assert_eq!(node.text("ran"), "procps force-reload\n");
}

/// `/` needs no root of its own to be told from COPY_DIR.
#[test]
fn an_interrupt_whose_copy_dir_is_gone_or_no_directory_runs_in_the_root() {
    for is_file in [false, true] {
        let node = Node::new().command("service", "#!/bin/sh\npwd -P\n");
        fs::remove_dir_all(node.path("copy")).unwrap();
        if is_file {
            fs::write(node.path("copy"), "").unwrap();
        }
        let mut command = node.interrupt(&json!({ "type": "restart_all_services" }));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_says(
            &stderr(&output),
            &["/copy: ", ": the interrupt runs in /\n"],
        );
        assert_says(&stdout(&output), &[" /\n"]);
        assert_eq!(node.path("copy").exists(), is_file, "nothing is staged");
    }
}
