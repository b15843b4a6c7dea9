//! One agent for each package at a time: others wait, say so, and can be cancelled.

mod support;

use std::fs::{self, File, Permissions};
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use serde_json::json;
use skyhook_agent::host::Root;
use skyhook_agent::state::lock::{Held, Request, take};
use skyhook_agent::state::{Layout, Lock};
use skyhook_agent::system::cancel::Cancellation;
use support::running::wait_until;
use support::{
    LEAVES_A_MARK, Node, Running, Skip, TestClock, WAITS, after_banner, assert_says,
    assert_succeeds, files, interrupt_data, is_root, names, skip, stderr, stdout,
};

/// The lock that each run of `pkg` takes first.
const RUN: &str = "state/.skyhook-agent-pkg.run";

/// The one that each run takes that uses the state of `pkg`.
const STATE: &str = "state/.skyhook-agent-pkg.state";

/// Locks a file or a directory as any process may that can open it.
fn lock(path: &Path) -> Flock<File> {
    Flock::lock(File::open(path).unwrap(), FlockArg::LockExclusiveNonblock).unwrap()
}

/// Creates a lock file as an agent does, and locks it.
fn hold(node: &Node, name: &str) -> Flock<File> {
    fs::create_dir_all(node.path("state")).unwrap();
    fs::write(
        node.path(name),
        "apply 17 2026-05-02T21:51:23+00:00 pid:[1]\n",
    )
    .unwrap();
    fs::set_permissions(node.path(name), Permissions::from_mode(0o600)).unwrap();
    lock(&node.path(name))
}

/// Gives a run time to do what it should not do.
fn let_it_run() {
    std::thread::sleep(Duration::from_millis(300));
}

/// A package whose step waits for the test.
fn waiting_node() -> Node {
    Node::new().step("a.sh", WAITS)
}

/// Starts a run whose step waits.
fn start(command: &mut Command) -> Running {
    let mut run = Running::start(command);
    run.wait_for_line("ready");
    run
}

#[test]
fn an_agent_waits_for_another_of_its_package_and_then_finds_its_flag() {
    let node = waiting_node();
    let mut first = start(&mut node.run("apply"));
    let mut second = Running::start(&mut node.run("apply"));
    let mut check = Running::start(&mut node.run("apply-check"));
    let_it_run();
    assert!(second.has_not_ended() && check.has_not_ended());
    assert_eq!(names(&node.package_logs()).len(), 2, "of the first alone");
    first.send("words");
    assert_succeeds(&first.finish());
    let output = second.finish();
    assert_succeeds(&output);
    assert_says(&stdout(&output), &["Skipping a.sh because "]);
    assert_succeeds(&check.finish());
    assert_eq!(names(&node.path("state")), ["flags", "history"]);
}

#[test]
fn an_interrupt_waits_for_the_run_of_its_package() {
    let node = waiting_node().command("reboot", "#!/bin/sh\n");
    let mut apply = start(&mut node.run("apply"));
    let mut interrupt = Running::start(&mut node.interrupt(&json!({ "type": "no_op" })));
    let_it_run();
    assert!(interrupt.has_not_ended());
    assert!(!node.path("state/interrupts").exists());
    apply.send("words");
    assert_succeeds(&apply.finish());
    assert_succeeds(&interrupt.finish());
    assert!(node.interrupt_flag("no_op").exists());
}

/// Neither the package nor what it lays over the host may be written by two at once.
#[test]
fn an_agent_that_waits_has_staged_and_laid_over_nothing() {
    let node = Node::one_step();
    fs::create_dir_all(node.path("copy/root_dir")).unwrap();
    fs::write(node.path("copy/root_dir/new"), "").unwrap();
    fs::rename(node.path("copy"), node.path("data")).unwrap();
    let new = node.path("new");
    let mut command = node.in_own_root("config");
    command.env("SKYHOOK_DATA_DIR", node.path("data"));
    command.env("SKYHOOK_ROOT_DIR", "/state");
    for (name, is_staged) in [(RUN, false), (STATE, true)] {
        let held = hold(&node, name);
        let mut run = Running::start(&mut command);
        if is_staged {
            wait_until("the package to be staged", || node.path("copy").exists());
        }
        let_it_run();
        assert!(run.has_not_ended());
        assert_eq!(node.path("copy").exists(), is_staged, "{name}");
        assert!(!new.exists());
        drop(held);
        kill(run.pid(), Signal::SIGKILL).unwrap();
    }
    assert_eq!(command.output().unwrap().status.code(), Some(0));
    assert!(new.exists());
}

/// The operator's name for a package is not always the one in its config.json.
#[test]
fn two_resources_with_one_package_run_one_at_a_time() {
    let node = waiting_node();
    let mut first = start(&mut node.run("apply"));
    let mut other = node.run("apply");
    other.env("SKYHOOK_RESOURCE_ID", "scr-1234-1_other_1.2.3");
    let mut other = Running::start(&mut other);
    let_it_run();
    assert!(other.has_not_ended());
    first.send("words");
    assert_succeeds(&first.finish());
    let output = other.finish();
    assert_succeeds(&output);
    assert_says(&stdout(&output), &["Skipping a.sh because "]);
}

/// No process reads the output of the first package's run, which prints without end.
#[test]
fn a_stuck_reader_of_one_package_s_log_does_not_stop_another() {
    let node = Node::new().step("a.sh", "#!/bin/sh\necho ready\nexec yes\n");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut stuck = node.run("apply").stdout(writer).spawn().unwrap();
    std::io::Read::read_exact(&mut reader, &mut [0; 100]).unwrap();
    wait_until("the step to run", || node.package_logs().exists());

    let mut other = Node::one_step().set("package_name", "other".into());
    other = other.set("package_version", "2.0.0".into());
    for mode in ["apply", "apply-check"] {
        let mut command = other.run(mode);
        command.env("SKYHOOK_ROOT_DIR", node.path("state"));
        command.env("SKYHOOK_RESOURCE_ID", "scr-1234-1_other_2.0.0");
        assert_succeeds(&command.output().unwrap());
    }
    assert_says(&node.text("state/history/other.json"), &["2.0.0"]);
    assert!(stuck.try_wait().unwrap().is_none());
    stuck.kill().unwrap();
    drop(reader);
    stuck.wait().unwrap();
}

#[test]
fn a_signal_ends_the_wait_and_says_what_does_not_start() {
    for name in [RUN, STATE] {
        let node = Node::one_step();
        let _held = hold(&node, name);
        let mut run = Running::start(&mut node.run("apply"));
        run.wait_for_banner();
        let_it_run();
        kill(run.pid(), Signal::SIGTERM).unwrap();
        let output = run.finish();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(after_banner(&output), "");
        assert_eq!(
            stderr(&output),
            "skyhook-agent: cancelled: another agent runs for package pkg; apply does not start\n"
        );
        assert!(!node.has_run("a.sh"));
        assert!(!node.path("state/flags").exists());
    }
}

#[test]
fn a_wait_of_ten_seconds_is_said_with_the_holder() {
    let node = Node::one_step();
    let held = hold(&node, RUN);
    let mut run = Running::start(&mut node.run("apply"));
    assert_eq!(
        run.wait_for_notice(),
        "package pkg is in use by the agent of apply, process 17 of another container, since \
         2026-05-02T21:51:23+00:00; waiting for that to end"
    );
    drop(held);
    assert_eq!(run.finish().status.code(), Some(0));
    assert!(node.has_run("a.sh"));
}

#[test]
fn an_agent_that_is_killed_leaves_its_package_free() {
    let node = waiting_node();
    let killed = start(&mut node.run("apply"));
    let mut next = Running::start(&mut node.run("apply"));
    let_it_run();
    kill(killed.pid(), Signal::SIGKILL).unwrap();
    drop(killed);
    next.wait_for_line("ready");
    next.send("words");
    assert_succeeds(&next.finish());
    assert_eq!(names(&node.path("state")), ["flags"]);
}

#[test]
fn a_lock_file_that_a_killed_agent_has_left_is_used_and_removed() {
    let node = Node::one_step();
    drop(hold(&node, RUN));
    drop(hold(&node, STATE));
    assert_succeeds(&node.run("apply").output().unwrap());
    assert_eq!(names(&node.path("state")), ["flags"]);
}

#[test]
fn only_root_can_open_a_lock_file_and_no_directory_is_locked() {
    let node = waiting_node();
    assert_succeeds(&node.run("apply-check").output().unwrap());
    // What any user on the node could do.
    let dirs = ["state", "state/flags", "state/history", "copy"];
    let _held = dirs.map(|dir| lock(&node.path(dir)));
    let mut run = start(&mut node.run("apply"));
    for name in [RUN, STATE] {
        let file = fs::metadata(node.path(name)).unwrap();
        assert_eq!(file.mode() & 0o7777, 0o600, "{name}");
        let note = node.text(name);
        let words = ["apply", &run.pid().to_string(), "+00:00", "pid:["];
        assert_says(&note, &words);
    }
    run.send("words");
    assert_succeeds(&run.finish());
    for mode in ["apply-check", "upgrade", "uninstall-check"] {
        assert_eq!(node.run(mode).output().unwrap().status.code(), Some(0));
    }
}

/// A lock file that others can open may be locked by anybody, for ever.
#[test]
fn a_lock_file_that_others_can_open_is_replaced() {
    for mode in [0o644, 0o604, 0o660] {
        let node = Node::one_step();
        let _held = hold(&node, RUN);
        fs::set_permissions(node.path(RUN), Permissions::from_mode(mode)).unwrap();
        assert_succeeds(&node.run("apply").output().unwrap());
        assert_eq!(names(&node.path("state")), ["flags"]);
    }
}

#[test]
fn a_lock_file_of_another_user_is_replaced() {
    if !is_root() {
        skip!(Skip::NotPossible("only root can give a file away"));
    }
    let node = Node::one_step();
    let _held = hold(&node, RUN);
    chown(node.path(RUN), Some(12345), None).unwrap();
    assert_succeeds(&node.run("apply").output().unwrap());
    assert_eq!(names(&node.path("state")), ["flags"]);
}

#[test]
fn a_link_or_a_fifo_in_a_lock_file_s_place_is_replaced_and_not_followed() {
    let node = Node::one_step();
    fs::create_dir_all(node.path("state")).unwrap();
    let outside = node.path("outside");
    let create: [&dyn Fn(&Path); 4] = [
        &|path| {
            fs::write(&outside, "kept").unwrap();
            symlink(&outside, path).unwrap();
        },
        &|path| symlink(node.path("missing"), path).unwrap(),
        &|path| nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap(),
        &|path| symlink("/dev/zero", path).unwrap(),
    ];
    for create in create {
        for name in [RUN, STATE] {
            create(&node.path(name));
            assert_eq!(node.run("apply").output().unwrap().status.code(), Some(0));
            assert!(!node.path(name).exists());
        }
    }
    assert_eq!(node.text("outside"), "kept");
    assert!(!node.path("missing").exists());
}

#[test]
fn a_directory_in_a_lock_file_s_place_is_an_error_that_names_it() {
    let node = Node::one_step();
    fs::create_dir_all(node.path(RUN)).unwrap();
    let output = node.run("apply").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let file = node.path(RUN).display().to_string();
    assert_says(
        &stderr(&output),
        &["cannot lock /", &file, "Is a directory"],
    );
    assert!(!node.has_run("a.sh"));
}

#[test]
fn an_unknown_mode_and_run_step_take_no_lock() {
    let node = Node::one_step();
    let _held = (hold(&node, RUN), hold(&node, STATE));
    for mut command in [node.run("bogus"), node.run_step()] {
        assert_eq!(command.output().unwrap().status.code(), Some(0));
    }
    assert!(node.has_run("a.sh"));
}

#[test]
fn a_package_name_too_long_for_a_lock_s_name_is_a_hash_there() {
    let (long, other) = ("p".repeat(243), format!("{}q", "p".repeat(242)));
    let layout = |package| Layout {
        root_dir: "/state",
        package,
        version: "1",
    };
    let [name, another] = [&long, &other].map(|package| layout(package).lock_name(Lock::Run));
    assert_ne!(name, another);
    assert!(name.len() <= 255 && name.ends_with(".run"), "{name}");
    let node = Node::one_step().set("package_name", (&*long).into());
    for mode in ["apply", "apply-check", "uninstall-check"] {
        assert_eq!(node.run(mode).output().unwrap().status.code(), Some(0));
    }
}

/// Takes a lock as an agent of package `p` does.
fn take_lock<'r>(root: &'r Root, mut on_wait: impl FnMut(&str)) -> Option<Held<'r>> {
    let layout = Layout {
        root_dir: "/etc/skyhook",
        package: "p",
        version: "1",
    };
    let request = Request {
        task: "apply",
        clock: &TestClock::at("2026-05-02T21:51:23"),
        cancellation: &Cancellation::on_signals(&[]).unwrap(),
        notice_after: Duration::from_millis(20),
    };
    take(root, layout, Lock::Run, request, |holder| {
        on_wait(holder);
        ControlFlow::Continue(())
    })
    .unwrap()
}

#[test]
fn a_wait_that_takes_long_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let held = take_lock(&root, |_| panic!("the lock was free"));
    let (told, is_told) = std::sync::mpsc::channel();
    let holder = std::thread::scope(|scope| {
        let path = dir.path();
        let waiter = scope.spawn(move || {
            let root = Root::open(path).unwrap();
            take_lock(&root, |holder| told.send(holder.to_owned()).unwrap()).is_some()
        });
        let holder = is_told.recv().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        drop(held);
        assert!(waiter.join().unwrap());
        holder
    });
    let pid = std::process::id();
    let expected =
        format!("the agent of apply, process {pid}, since 2026-05-02T21:51:23.000000+00:00");
    assert_eq!(holder, expected);
    assert!(is_told.try_recv().is_err());
    // The state's directory has been created for the lock alone.
    assert_eq!(names(dir.path()), [""; 0]);
}

/// Locks are taken, released and removed by many at the same moments, in a directory that
/// comes and goes with them.
#[test]
fn of_many_that_want_a_lock_one_alone_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let root = Root::open(dir.path()).unwrap();
                for _ in 0..25 {
                    let held = take_lock(&root, |_| {});
                    fs::create_dir(&mark).unwrap();
                    std::thread::yield_now();
                    fs::remove_dir(&mark).unwrap();
                    drop(held);
                }
            });
        }
    });
    assert_eq!(files(dir.path()), [""; 0].map(std::path::PathBuf::from));
}

/// A reboot that another agent asks for is waited for.
#[test]
fn an_interrupt_that_another_agent_has_claimed_is_skipped() {
    for (command, kind) in [
        ("service", "restart_all_services"),
        ("reboot", "node_restart"),
    ] {
        let node = Node::new().command(command, LEAVES_A_MARK);
        let flag = node.interrupt_flag(&format!("{kind}_0"));
        fs::create_dir_all(flag.parent().unwrap()).unwrap();
        // A link without a target: it is not there when it is looked for, and it is when
        // it is claimed, as if another agent had come between.
        symlink("missing", &flag).unwrap();
        let data = interrupt_data(&json!({ "type": kind }));
        let output = node.run("interrupt").arg(data).output().unwrap();
        if command == "reboot" {
            assert_eq!(output.status.code(), Some(1));
            assert_says(&stderr(&output), &["the node has not gone down within 0 s"]);
        } else {
            assert_succeeds(&output);
            let skipped = format!("Skipping interrupt {kind}_0 because ");
            assert_says(&stdout(&output), &[&skipped]);
        }
        assert!(!node.command_has_run(command));
        let logs = node.path("log/pkg/1.2.3/interrupts");
        assert!(!logs.exists() || names(&logs).is_empty());
    }
}
