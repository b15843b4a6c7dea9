//! Following logs.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::support::running::wait_for_state;
use super::support::{
    Node, Running, Skip, agent, assert_says, is_root, or_skip, skip, stderr, stdout, wrapped,
};
use super::{LogDir, log, one_run};

const NAME: &str = "pkg/1.2.3/a.sh-2026-05-02-215100.log";

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A line with its stamp after it.
fn line(label: &str, text: &str) -> String {
    format!("{text}\n[{label}]2026-05-02T22:00:00.000000 ")
}

fn followed(logs: &LogDir, words: &[&str]) -> Running {
    Running::start(&mut logs.logs(&[&["--follow"], words].concat()))
}

#[test]
fn what_is_written_later_is_shown_at_once() {
    let logs = one_run(&[("01.000000", "one")], &[("02.000000", "two")]);
    let mut following = followed(&logs, &["pkg"]);
    following.wait_for_line("one");
    following.wait_for_line("two");
    let path = logs.path().join(NAME);
    append(&path, &line("out", "three"));
    following.wait_for_line("three");
    append(
        &logs.path().join(format!("{NAME}.err")),
        &line("err", "four"),
    );
    following.wait_for_line("four");
    // Cut in a stamp.
    let five = line("out", "five");
    append(&path, &five[..20]);
    append(&path, &five[20..]);
    following.wait_for_line("five");
    kill(following.pid(), Signal::SIGTERM).unwrap();
    let shown = stdout(&following.finish());
    assert_says(
        &shown,
        &["21:51:02.000000 a.sh err two\n22:00:00.000000 a.sh out three\n"],
    );
    assert_eq!(shown.lines().count(), 2 + 5, "{shown}");
}

#[test]
fn new_runs_are_shown_also_in_new_directories_and_only_those_asked_for() {
    let logs = LogDir::new();
    let below = LogDir(tempfile::TempDir::new_in(logs.path()).unwrap());
    let dir = below.path().join("to/come");
    let mut command = agent();
    command
        .args(["logs", "--follow", "pkg", "--log-dir"])
        .arg(&dir);
    let mut following = Running::start(&mut command);
    wait_for_state(following.pid(), Some('S'));
    for (name, text) in [
        ("pkg/1.2.3/a.sh-2026-05-02-215100.log", "one"),
        ("other/1.2.3/a.sh-2026-05-02-215100.log", "other"),
        ("pkg/1.2.3/a.sh-2026-05-02-215101.log", "two"),
        ("pkg/1.2.4/sub/b.sh-2026-05-02-215102.log", "three"),
        ("pkg/1.2.4/sub/b.sh-2026-05-02-215102.log.err", "four"),
    ] {
        below.write(
            &format!("to/come/{name}"),
            log("out", &[("01.000000", text)]).replace(
                "[out]",
                if name.ends_with(".err") {
                    "[err]"
                } else {
                    "[out]"
                },
            ),
        );
        if text != "other" {
            following.wait_for_line(text);
        }
    }
    // The whole directory is replaced.
    fs::remove_dir_all(&dir).unwrap();
    below.write(
        "to/come/pkg/1.2.3/c.sh-2026-05-02-215103.log",
        log("out", &[("01.000000", "five")]),
    );
    following.wait_for_line("five");
    kill(following.pid(), Signal::SIGTERM).unwrap();
    let shown = stdout(&following.finish());
    assert!(!shown.contains("other"), "{shown}");
}

/// Two runs of one step: only the newer one is shown from its start.
fn two_runs() -> (LogDir, PathBuf) {
    let logs = LogDir::new();
    let older = logs.write(NAME, log("out", &[("01.000000", "one")]));
    let newer = "pkg/1.2.3/a.sh-2026-05-02-215101.log";
    logs.write(newer, log("out", &[("02.000000", "two")]));
    (logs, older)
}

#[test]
fn of_a_run_that_is_not_shown_from_its_start_what_comes_from_now_on_is_shown() {
    let (logs, older) = two_runs();
    append(&older, "the start of three, ");
    let mut following = followed(&logs, &[]);
    following.wait_for_line("two");
    append(&older, &line("out", "three"));
    following.wait_for_line("the start of three, three");
    append(&older, &line("out", "four"));
    following.wait_for_line("four");
    // Its log of standard error was missing.
    logs.write(&format!("{NAME}.err"), log("err", &[("03.000000", "five")]));
    following.wait_for_line("five");
    kill(following.pid(), Signal::SIGTERM).unwrap();
    let output = following.finish();
    assert!(!stdout(&output).contains("one"), "{output:?}");
    assert_eq!(stdout(&output).matches("three").count(), 2, "{output:?}");
    assert_eq!(stderr(&output), "");
}

#[test]
fn lines_of_two_versions_have_headlines_between_them() {
    let logs = LogDir::new();
    let old = logs.write(NAME, log("out", &[("01.000000", "one")]));
    let new = "pkg/2.0.0/a.sh-2026-05-02-215101.log";
    logs.write(new, log("out", &[("02.000000", "two")]));
    let mut following = followed(&logs, &["pkg"]);
    following.wait_for_line("two");
    append(&old, &line("out", "three"));
    following.wait_for_line("three");
    append(&logs.path().join(new), &line("out", "four"));
    following.wait_for_line("four");
    kill(following.pid(), Signal::SIGTERM).unwrap();
    let shown = stdout(&following.finish());
    let (old, new) = (
        "-- pkg 1.2.3 a.sh, run 2026-05-02-215100 --\n",
        "-- pkg 2.0.0 a.sh, run 2026-05-02-215101 --\n",
    );
    assert_says(
        &shown,
        &[
            &format!("{new}21:51:02.000000 a.sh out two\n"),
            &format!("{old}22:00:00.000000 a.sh out three\n"),
            &format!("{new}22:00:00.000000 a.sh out four\n"),
        ],
    );
}

#[test]
fn of_no_run_only_what_comes_from_now_on_is_shown() {
    let (logs, older) = two_runs();
    let mut following = followed(&logs, &["--runs", "0"]);
    // Nothing tells when it has looked at what there is.
    std::thread::scope(|scope| {
        let (stop, stopped) = mpsc::channel::<()>();
        scope.spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Timeout)
            {
                append(&older, &line("out", "three"));
            }
        });
        following.wait_for_line("three");
        drop(stop);
    });
    kill(following.pid(), Signal::SIGTERM).unwrap();
    let shown = stdout(&following.finish());
    assert!(!shown.contains("one") && !shown.contains("two"), "{shown}");
}

#[test]
fn that_nothing_has_the_name_that_was_given_is_said_once_and_then_it_is_waited_for() {
    let logs = one_run(&[("01.000000", "one")], &[("02.000000", "two")]);
    let mut following = followed(&logs, &["pgk"]);
    let says = [
        "no logs of pgk in ",
        "; packages that have logs: pkg; waiting for them",
    ];
    assert_says(&following.wait_for_notice(), &says);
    logs.write(
        "pgk/1.2.3/a.sh-2026-05-02-215100.log",
        log("out", &[("03.000000", "three")]),
    );
    following.wait_for_line("three");
}

#[test]
fn a_real_run_is_followed_to_its_last_line_without_a_newline() {
    let node = Node::new().step("a.sh", "#!/bin/sh\necho one\nread -r _\nprintf last\n");
    let mut command = agent();
    command
        .args(["logs", "--follow", "--log-dir"])
        .arg(node.path("log"));
    let mut following = Running::start(&mut command);
    wait_for_state(following.pid(), Some('S'));
    let mut running = Running::start(&mut node.run("apply"));
    following.wait_for_line("one");
    running.send("");
    running.finish();
    following.wait_for_line("last");
    // And further runs.
    let mut again = node.run("apply");
    again
        .env("OVERLAY_ALWAYS_RUN_STEP", "true")
        .output()
        .unwrap();
    following.wait_for_line("one");
    following.wait_for_line("last");
}

#[test]
fn a_last_line_without_a_newline_is_shown_if_only_stderr_was_written_to() {
    let logs = LogDir::new();
    logs.write(NAME, "");
    let err = "[err]2026-05-02T21:51:02.000000 oops";
    logs.write(&format!("{NAME}.err"), err);
    followed(&logs, &[]).wait_for_line("oops");
}

#[test]
fn a_log_that_is_truncated_is_read_from_its_start_again() {
    let logs = one_run(&[("01.000000", "one")], &[("02.000000", "two")]);
    let mut following = followed(&logs, &[]);
    following.wait_for_line("two");
    let path = logs.path().join(NAME);
    File::create(&path).unwrap();
    assert_says(&following.wait_for_notice(), &["is shorter than before"]);
    append(&path, &log("out", &[("03.000000", "three")]));
    following.wait_for_line("three");
}

#[test]
fn the_file_that_replaces_a_log_is_read_and_the_rest_of_a_removed_one() {
    let logs = one_run(&[("01.000000", "one")], &[("02.000000", "two")]);
    let mut following = followed(&logs, &[]);
    following.wait_for_line("two");
    let path = logs.path().join(NAME);
    let new = logs.write("new", log("out", &[("03.000000", "three")]));
    fs::rename(&new, &path).unwrap();
    following.wait_for_line("three");
    append(&path, "rest");
    fs::remove_file(&path).unwrap();
    following.wait_for_line("rest");
    // The name is free for a new one.
    logs.write(NAME, log("out", &[("04.000000", "four")]));
    following.wait_for_line("four");
    kill(following.pid(), Signal::SIGTERM).unwrap();
    let shown = stdout(&following.finish());
    assert_eq!(shown.matches("err two").count(), 1, "{shown}");
}

#[test]
fn a_log_of_standard_error_that_comes_late_replaces_nothing() {
    let logs = LogDir::new();
    logs.write(NAME, log("out", &[("01.000000", "one")]));
    let mut following = followed(&logs, &[]);
    following.wait_for_line("one");
    logs.write(&format!("{NAME}.err"), log("err", &[("02.000000", "two")]));
    following.wait_for_line("two");
    append(&logs.path().join(NAME), &line("out", "three"));
    following.wait_for_line("three");
    kill(following.pid(), Signal::SIGTERM).unwrap();
    let output = following.finish();
    assert_eq!(stdout(&output).matches("out one").count(), 1, "{output:?}");
    assert_eq!(stderr(&output), "");
}

/// The reader is slow: the first lines are shown when another log is replaced, and most of
/// them wait for the reader.
#[test]
fn a_log_that_is_replaced_does_not_wait_until_all_of_the_others_is_shown() {
    const LINES: usize = 60_000;
    let logs = LogDir::new();
    logs.write(NAME, log("out", &[("01.000000", "one")]));
    let long: Vec<String> = (0..LINES).map(|n| format!("long {n}")).collect();
    let long: Vec<(&str, &str)> = long.iter().map(|text| ("30.000000", &**text)).collect();
    logs.write("pkg/1.2.3/b.sh-2026-05-02-215100.log", log("out", &long));
    let new = logs.write("new", log("out", &[("02.000000", "new")]));
    let mut command = logs.logs(&["--follow"]);
    let mut following = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next = || shown.next().unwrap().unwrap();
    while !next().ends_with(" long 0") {}
    fs::rename(new, logs.path().join(NAME)).unwrap();
    let last = format!(" long {}", LINES - 1);
    let found =
        std::iter::repeat_with(next).find(|line| line.ends_with(" new") || line.ends_with(&last));
    kill(super::support::process::pid(&following), Signal::SIGTERM).unwrap();
    following.wait().unwrap();
    assert!(
        found.as_deref().is_some_and(|line| line.ends_with(" new")),
        "{found:?}"
    );
}

#[test]
fn it_ends_at_once_by_a_signal_also_if_nobody_reads() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let logs = one_run(&[("01.000000", "one")], &[("02.000000", "two")]);
        let path = logs.path().join(NAME);
        append(&path, &line("out", &"x".repeat(80)).repeat(20_000));
        // A shell starts what runs in its background without SIGINT.
        let default = ["env", "--default-signal"];
        let mut command = wrapped(&default, &logs.logs(&["--follow"]));
        command.stdout(std::process::Stdio::piped());
        let mut following = command.spawn().unwrap();
        let pid = super::support::process::pid(&following);
        // It waits for its reader.
        wait_for_state(pid, Some('S'));
        kill(pid, signal).unwrap();
        assert_eq!(following.wait().unwrap().signal(), Some(signal as i32));
    }
}

/// As the first process of a container, whom signals do nothing unless it handles them.
#[test]
fn it_ends_by_a_signal_as_pid_1_too() {
    if !is_root() {
        skip!(Skip::NotPossible(
            "only root makes a namespace of processes"
        ));
    }
    let logs = one_run(&[("01.000000", "one")], &[("02.000000", "two")]);
    let words = ["unshare", "--pid", "--fork", "--kill-child"];
    let mut probe = wrapped(&words, &std::process::Command::new("true"));
    let probed = super::support::skip::try_out(&mut probe, "this user may not unshare");
    or_skip!(probed);
    let mut following = Running::start(&mut wrapped(&words, &logs.logs(&["--follow"])));
    following.wait_for_line("two");
    let children = format!("/proc/{0}/task/{0}/children", following.pid());
    let child: i32 = fs::read_to_string(children)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    kill(nix::unistd::Pid::from_raw(child), Signal::SIGTERM).unwrap();
    let output = following.finish();
    assert_eq!(output.status.code(), Some(128 + 15), "{output:?}");
}

#[test]
fn it_ends_if_its_reader_leaves_and_that_is_no_failure() {
    let logs = one_run(&[("01.000000", "one")], &[("02.000000", "two")]);
    let mut command = logs.logs(&["--follow"]);
    let mut following = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = super::support::process::pid(&following);
    wait_for_state(pid, Some('S'));
    drop(following.stdout.take());
    assert!(following.wait().unwrap().success());
}

#[test]
fn it_sleeps_while_nothing_happens() {
    let logs = one_run(&[("01.000000", "one")], &[("02.000000", "two")]);
    let mut following = followed(&logs, &[]);
    following.wait_for_line("two");
    wait_for_state(following.pid(), Some('S'));
    let switches = || {
        let status = fs::read_to_string(format!("/proc/{}/status", following.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("voluntary_ctxt"));
        line.unwrap().to_owned()
    };
    std::thread::sleep(Duration::from_millis(50));
    let before = switches();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(switches(), before, "it has not woken up");
}
