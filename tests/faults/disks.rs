//! Disks that are full, read-only or failing, and a fifo in a file's place.

use std::fs;
use std::process::Output;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use skyhook_agent::output::log_name;
use time::OffsetDateTime;

use crate::notices::{bytes_lost, log_name as name_of_log, notices, sink_failed};
use crate::strace::{Traced, traced};
use crate::support::{
    LEAVES_A_MARK, Node, Running, Skip, assert_says, in_mount_namespace, log_in, or_skip, stderr,
    stdout, unstamp,
};

#[test]
fn a_log_dir_that_cannot_be_created_loses_only_the_log() {
    let node = Node::one_step();
    fs::write(node.path("log"), "in the way").unwrap();
    let output = node.run("apply").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_says(&stdout(&output), &["SUCEEDED: a.sh \n"]);
    assert_says(&stderr(&output), &["a.sh runs without a log file"]);
    assert!(node.flag("a.sh").exists());
}

#[test]
fn a_read_only_log_dir_loses_only_the_log() {
    let node = Node::one_step();
    fs::create_dir(node.path("log")).unwrap();
    let script = "mount -t tmpfs -o ro none \"$0\" && exec \"$@\"";
    let mut command = or_skip!(in_mount_namespace(
        script,
        &node.path("log"),
        &node.run("apply")
    ));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_says(&stdout(&output), &["SUCEEDED: a.sh \n"]);
    assert_says(
        &stderr(&output),
        &["Read-only file system", "a.sh runs without a log file"],
    );
    assert!(node.flag("a.sh").exists());
}

#[test]
fn a_full_disk_for_the_state_fails_the_run_and_sets_no_flag() {
    let node = Node::one_step().step("b.sh", LEAVES_A_MARK);
    fs::create_dir(node.path("state")).unwrap();
    let script = "mount -t tmpfs -o size=64k none \"$0\" || exit 98
        head -c 100k /dev/zero > \"$0/fill\"
        \"$@\"; code=$?
        find \"$0\" -type f | sort
        exit $code";
    let mut command = or_skip!(in_mount_namespace(
        script,
        &node.path("state"),
        &node.run("apply")
    ));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let flag = node.flag("a.sh");
    let refusal = format!(
        "skyhook-agent: cannot write /{}: No space left",
        flag.display()
    );
    // The path is absolute, and must not begin with two slashes.
    assert_says(&stderr(&output), &[&refusal.replace("//", "/")]);
    let left = stdout(&output);
    let state = node.path("state");
    let state = state.display();
    assert!(
        left.ends_with(&format!("{state}/fill\n{state}/flags/START\n")),
        "{left}"
    );
    // Without its flag the step will run again, and the next one waits for that.
    assert!(node.has_run("a.sh") && !node.has_run("b.sh"));
}

/// An agent that opened it would wait for a writer that never comes.
#[test]
fn a_fifo_in_the_place_of_a_file_is_refused() {
    let node = Node::one_step();
    let config = node.text("copy/config.json");
    for file in ["copy/config.json", "state/history/pkg.json"] {
        let path = node.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let output = node.run("apply-check").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_says(
            &stderr(&output),
            &["skyhook-agent: cannot read ", file, "expected a file"],
        );
        fs::remove_file(&path).unwrap();
        fs::write(node.path("copy/config.json"), &config).unwrap();
    }
}

/// 200000 bytes of words.
const CHATTY: &str = "#!/bin/sh\nyes words | head -c 200000\n";

/// The run's stdout without the verdict at its end.
#[track_caller]
fn shown(output: &Output, verdict: &str) -> String {
    let stdout = stdout(output);
    stdout.strip_suffix(verdict).unwrap().to_owned()
}

#[test]
fn a_log_on_a_disk_that_is_full_and_freed_again_misses_as_many_bytes_as_reported() {
    // The step frees the disk after the agent has said that it is full.
    let node = Node::new()
        .step(
            "a.sh",
            "#!/bin/sh\nyes words | head -c 200000\nread -r word\n\
             rm \"$LOGS/fill\"\nyes words | head -c 20000\necho freed >&2\nexit 0\n",
        )
        .step("b.sh", "#!/bin/sh\nyes words | head -c 20000\n");
    fs::create_dir(node.path("log")).unwrap();
    let script = "mount -t tmpfs -o size=256k none \"$0\" || exit 98
        head -c 192k /dev/zero > \"$0/fill\"
        \"$@\"; code=$?
        cp -R \"$0/pkg\" \"$0/../saved\"
        exit $code";
    let mut command = or_skip!(in_mount_namespace(
        script,
        &node.path("log"),
        node.run_step().arg("--stdin")
    ));
    let mut run = Running::start(command.env("LOGS", node.path("log")));
    while !run.wait_for_notice().starts_with("cannot write to ") {}
    run.send("freed");
    let output = run.finish();
    assert_eq!(output.status.code(), Some(0));

    let (first, second) = {
        let all = shown(&output, "SUCEEDED: b.sh \n");
        let (first, second) = all.split_once("SUCEEDED: a.sh \n").unwrap();
        (first.to_owned(), second.to_owned())
    };
    assert_eq!(unstamp("[out]", &first).len(), 220_000);
    let saved = node.path("saved/1.2.3");
    let log = log_in(&saved, "a.sh", ".log");
    assert!(first.starts_with(&log), "{} bytes", log.len());
    assert!((1..=65536).contains(&log.len()), "{} bytes", log.len());
    let err_log = log_in(&saved, "a.sh", ".log.err");
    assert_eq!(unstamp("[err]", &err_log), "freed\n");
    // The sink stays dropped after the disk is freed; the next step has another log.
    let missed = first.len() - log.len();
    let notices = notices(&output);
    let [full, count] = &notices[..] else {
        panic!("{notices:?}");
    };
    assert_says(full, &["/a.sh-", ".log: No space left on device"]);
    assert_says(count, &[&format!("{missed} bytes lost on "), "/a.sh-"]);
    assert_eq!(log_in(&saved, "b.sh", ".log"), second);
    assert_eq!(unstamp("[out]", &second).len(), 20_000);
}

/// `-P` for every name that a step's log may have if it starts within two minutes.
fn log_paths(node: &Node, step: &str) -> Vec<String> {
    let dir = log_name::dir(node.path("log").as_os_str(), "pkg", "1.2.3");
    let now = OffsetDateTime::now_utc();
    let path = |second| {
        let path = log_name::path(&dir, step, now + Duration::from_secs(second));
        path.to_str().unwrap().replace("//", "/")
    };
    (0..120)
        .flat_map(|second| ["-P".to_owned(), path(second)])
        .collect()
}

/// Runs `a.sh`, and has strace do what `inject` says to the writes to its log.
fn run_with_log_writes(node: &Node, inject: &str) -> Result<Traced, Skip> {
    let paths = log_paths(node, "a.sh");
    let mut options: Vec<&str> = paths.iter().map(String::as_str).collect();
    options.extend(["-e", "trace=write", "-e", inject]);
    let run = traced(&options, &node.run_step())?;
    assert!(run.injected() > 0, "{:#?}", run.trace);
    assert_eq!(run.output.status.code(), Some(0), "{:?}", run.output);
    Ok(run)
}

#[test]
fn a_log_on_a_failing_disk_misses_as_many_bytes_as_reported() {
    for (error, name) in [
        (Errno::EIO, "EIO"),
        (Errno::ENOSPC, "ENOSPC"),
        (Errno::EDQUOT, "EDQUOT"),
    ] {
        let node = Node::new().step("a.sh", CHATTY);
        let inject = format!("inject=write:error={name}:when=3");
        let run = or_skip!(run_with_log_writes(&node, &inject));
        let shown = shown(&run.output, "SUCEEDED: a.sh \n");
        assert_eq!(unstamp("[out]", &shown).len(), 200_000);
        let log = node.log("a.sh", ".log");
        assert!(!log.is_empty() && shown.starts_with(&log));
        let sink = name_of_log(&node, "a.sh");
        assert_eq!(
            notices(&run.output),
            [
                sink_failed(&sink, error),
                bytes_lost(&sink, shown.len() - log.len())
            ]
        );
    }
}

#[test]
fn a_write_that_fails_with_eintr_or_eagain_loses_nothing() {
    for error in ["EINTR", "EAGAIN"] {
        let node = Node::new().step("a.sh", CHATTY);
        let inject = format!("inject=write:error={error}:when=1+2");
        let run = or_skip!(run_with_log_writes(&node, &inject));
        let shown = shown(&run.output, "SUCEEDED: a.sh \n");
        assert_eq!(unstamp("[out]", &shown).len(), 200_000);
        assert!(node.log("a.sh", ".log") == shown, "{error}");
        assert_eq!(stderr(&run.output), "");
    }
}

#[test]
fn a_log_dir_that_is_removed_during_the_step_loses_only_the_log_and_is_reported() {
    let node = Node::new()
        .step(
            "a.sh",
            "#!/bin/sh\necho before\nrm -rf \"$LOGS\"\necho after\nexit 3\n",
        )
        .step("b.sh", "#!/bin/sh\necho words\n");
    let mut command = node.run_step();
    command.env("LOGS", node.path("log"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let shown = unstamp("[out]", &stdout(&output));
    assert_eq!(shown, "before\nafter\nFAILED: a.sh  3\n");
    let dir = node.package_logs();
    let notice = format!("cannot find the log {}/a.sh-", dir.display());
    assert_says(&notices(&output)[0], &[&notice, ".log: No such file"]);
    assert_eq!(notices(&output).len(), 1);

    let output = command.args(["--step", "b"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "");
    assert_eq!(unstamp("[out]", &node.log("b.sh", ".log")), "words\n");
}
