//! The environment in which `chroot-exec` starts a step: variables, the look-up of its
//! program, signals and descriptors.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output};
use std::thread;

use nix::sys::signal::SigSet;
use serde_json::json;
use support::chroot_exec::ChrootExec;
use support::{assert_says, stderr, stdout, stdout_of_success, with_prelude, write_script};

// Variables, and the look-up of the program.

#[test]
fn variables_of_the_control_file_replace_inherited_ones() {
    let child =
        ChrootExec::new(&["/usr/bin/env"]).with("env", json!({ "B": "control", "C": "a\nb" }));
    let mut command = child.command();
    command.env_clear().envs([("A", "agent"), ("B", "agent")]);
    command.env("RAW", OsStr::from_bytes(b"\xff"));
    let output = command.output().unwrap();
    let expected = b"A=agent\nB=control\nC=a\nb\nRAW=\xff\n".as_slice();
    assert_eq!(output.stdout, expected, "{output:?}");
}

#[test]
fn the_program_is_looked_up_in_the_step_s_path() {
    let child = ChrootExec::new(&["tool"]);
    for dir in ["agent", "step"] {
        fs::create_dir(child.path(dir)).unwrap();
        write_script(
            &child.path(dir).join("tool"),
            &format!("#!/bin/sh\necho {dir}\n"),
        );
    }
    let mut inherited = child.command();
    inherited.env("PATH", child.path("agent"));
    assert_eq!(stdout_of_success(&inherited.output().unwrap()), "agent\n");

    let env = json!({ "PATH": child.path("step") });
    let child = child.with("env", env);
    let mut command = child.command();
    command.env("PATH", child.path("agent"));
    assert_eq!(stdout_of_success(&command.output().unwrap()), "step\n");
}

#[test]
fn without_a_path_the_default_path_is_searched() {
    let child = ChrootExec::new(&["sh", "-c", "echo found"]);
    let mut command = child.command();
    command.env_remove("PATH");
    assert_eq!(stdout_of_success(&command.output().unwrap()), "found\n");
}

#[test]
fn an_empty_entry_of_the_path_is_the_copy_dir() {
    for path in ["", ":/no/such/dir", "/no/such/dir:", "/no/such/dir::/bin"] {
        let child = ChrootExec::script("#!/bin/sh\necho found\n")
            .with("cmd", json!(["step"]))
            .with("no_chmod", true)
            .with("env", json!({ "PATH": path }));
        assert_eq!(child.succeed(), "found\n", "{path:?}");
    }
}

#[test]
fn a_program_that_cannot_run_is_passed_over_for_one_in_a_later_directory() {
    let child = ChrootExec::script("#!/bin/sh\necho found\n");
    fs::create_dir(child.path("first")).unwrap();
    fs::write(child.path("first/step"), "").unwrap();
    let first = child.path("first").to_str().unwrap().to_owned();
    let dir = child.dir.path().to_str().unwrap().to_owned();
    let child = child.with("cmd", json!(["step"])).with("no_chmod", true);

    let child = child.with("env", json!({ "PATH": format!("{first}:{dir}") }));
    assert_eq!(child.succeed(), "found\n");

    // If there is no later one, the error is about it and not about missing files.
    let child = child.with("env", json!({ "PATH": format!("{first}:/no/such/dir") }));
    let line = child.refusal(child.command());
    assert_says(&line, &["cannot run step: Permission denied"]);
}

// The step must not inherit these. Each test first shows that without chroot-exec a
// process inherits it.

/// Runs `command` with all signals blocked, and some of them ignored.
fn with_signals_off(command: &Command) -> Output {
    let mut command = with_prelude("trap '' HUP INT QUIT PIPE ALRM TERM USR1 USR2", command);
    let blocking = thread::spawn(move || {
        SigSet::all().thread_block().unwrap();
        command.output().unwrap()
    });
    blocking.join().unwrap()
}

/// SigBlk, SigIgn and SigCgt of a /proc/self/status.
fn masks(status: &str) -> [u64; 3] {
    ["SigBlk:", "SigIgn:", "SigCgt:"].map(|name| {
        let mut lines = status.lines();
        let mask = lines.find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap()
    })
}

#[test]
fn the_step_starts_with_no_signal_blocked_or_ignored() {
    // Not grep, which handles a signal itself.
    let mut cat = Command::new("cat");
    let inherited = stdout_of_success(&with_signals_off(cat.arg("/proc/self/status")));
    let [blocked, ignored, _] = masks(&inherited);
    assert!(blocked != 0 && ignored != 0, "{inherited}");

    let child = ChrootExec::new(&["cat", "/proc/self/status"]);
    let status = stdout_of_success(&with_signals_off(&child.command()));
    assert_eq!(masks(&status), [0, 0, 0], "{status}");
}

#[test]
fn a_writer_without_a_reader_ends_by_sigpipe() {
    let pipe = "{ yes; echo $? >&2; } | head -n 1";
    let mut sh = Command::new("/bin/sh");
    let ignoring = with_signals_off(sh.args(["-c", pipe]));
    assert!(!stderr(&ignoring).ends_with("141\n"), "{ignoring:?}");

    let output = with_signals_off(&ChrootExec::script(&format!("#!/bin/sh\n{pipe}\n")).command());
    assert_eq!(stdout(&output), "y\n");
    assert_eq!(stderr(&output), "141\n");
}

#[test]
fn the_step_has_no_descriptors_except_the_first_three() {
    let open_two = "exec 7</dev/null 9>/dev/null";
    let mut ls = Command::new("ls");
    let inherited = with_prelude(open_two, ls.arg("/proc/self/fd"))
        .output()
        .unwrap();
    assert!(stdout_of_success(&inherited).contains("7\n9\n"));

    let child = ChrootExec::new(&["ls", "/proc/self/fd"]);
    let output = with_prelude(open_two, &child.command()).output().unwrap();
    // 3 is the directory that ls lists.
    assert_eq!(stdout_of_success(&output), "0\n1\n2\n3\n");
}
