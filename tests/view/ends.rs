//! How a view ends: with the process that made it, by whatever.

use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::stage::{Maker, Stage, assert_unchanged, lines, makers};
use crate::support::or_skip;

/// A number of seconds that no other process sleeps for, to find the processes of one test.
fn seconds(maker: Maker, moment: u64) -> String {
    let pid = u64::from(std::process::id());
    format!("{}", 1_000_000 + pid * 1000 + moment * 2 + (maker as u64))
}

/// The processes that have a word in their command line.
fn with_word(word: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap();
    let command_lines = processes.filter_map(|process| {
        let path = process.ok()?.path().join("cmdline");
        let line = String::from_utf8_lossy(&fs::read(path).ok()?).into_owned();
        line.contains(word).then_some(line)
    });
    command_lines.collect()
}

fn expect_gone(word: &str) {
    let start = Instant::now();
    loop {
        let left = with_word(word);
        if left.is_empty() {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{left:?}");
        sleep(Duration::from_millis(5));
    }
}

fn mounts_and_directories(stage: &Stage) -> (String, Vec<String>) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut names = crate::support::names(stage.dir.path());
    names.extend(crate::support::names(std::path::Path::new("/sys")));
    (mounts, names)
}

#[test]
fn a_kill_of_the_maker_at_any_moment_leaves_nothing_behind() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let (before, checksum) = (mounts_and_directories(&stage), stage.checksum());
        for moment in 0..20 {
            let word = seconds(maker, moment);
            let script = format!("(setsid sleep {word} &); echo >/etc/new; exec sleep {word}");
            let mut view = stage.view_of(&stage.root(), &[&script]);
            view.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child: Child = view.spawn().unwrap();
            sleep(Duration::from_millis(moment * 15));
            child.kill().unwrap();
            child.wait().unwrap();
            // The driver, its init and all scripts have the word.
            expect_gone(&word);
        }
        assert_eq!(mounts_and_directories(&stage), before, "{maker:?}");
        assert_unchanged(&stage, &checksum);
    }
}

#[test]
fn what_outlives_its_script_ends_with_the_view() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let word = seconds(maker, 400);
        let script = format!("(setsid sleep {word} >/dev/null 2>&1 &)");
        lines(&stage.view_of(&stage.root(), &[&script]).output().unwrap());
        assert_eq!(with_word(&word), [""; 0]);
    }
}

#[test]
fn the_next_view_begins_anew() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let word = seconds(maker, 420);
        let first = format!("(setsid sleep {word} >/dev/null 2>&1 &); touch /etc/new /tmp/new");
        let second = "echo /etc/new* /tmp/new* /proc/[0-9]*; touch /etc/other";
        let ran = stage.run(&[&first, "again!", second, "again!", "echo /etc/other*"]);
        assert_eq!(ran[0].scan(), ["+ /etc/new"]);
        assert_eq!(
            ran[1].stdout_of_success(),
            "/etc/new* /tmp/new* /proc/1 /proc/2\n"
        );
        assert_eq!(ran[1].differences(), ["+ /etc/other"]);
        assert_eq!(ran[2].stdout_of_success(), "/etc/other*\n");
        assert_eq!(with_word(&word), [""; 0]);
    }
}

#[test]
fn what_cannot_be_viewed_is_named() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        for (root, problem) in [
            ("missing", "cannot open the root"),
            ("etc/config", "cannot lay a copy-on-write view of"),
        ] {
            let output = stage.view_of(&stage.path(root), &[]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.starts_with(problem) && said.contains(root), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}
