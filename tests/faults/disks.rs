//! Disks that are full or read-only, and files that are something else.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use skyhook_agent::output::log_file;
use time::OffsetDateTime;

use crate::notices::{dropped, log_name, lost, notices};
use crate::strace::{Traced, traced};
use crate::support::node::{LEAVES_A_MARK, Node, marking, with_mounts};
use crate::support::{Package, assert_says, log_in, skipped, stderr, stdout, unstamp};

#[test]
fn a_log_folder_that_cannot_be_made_costs_the_log_alone() {
    let node = Node::new().step("a.sh", LEAVES_A_MARK);
    fs::write(node.path("log"), "in the way").unwrap();
    let output = node.run("apply").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_says(&stdout(&output), &["SUCEEDED: a.sh \n"]);
    assert_says(&stderr(&output), &["a.sh runs without a log file"]);
    assert!(node.flag("a.sh").exists());
}

#[test]
fn a_log_folder_that_is_read_only_costs_the_log_alone() {
    let node = Node::new().step("a.sh", LEAVES_A_MARK);
    fs::create_dir(node.path("log")).unwrap();
    let script = "mount -t tmpfs -o ro none \"$0\" && exec \"$@\"";
    let Some(mut command) = with_mounts(script, &node.path("log"), &node.run("apply")) else {
        let name = "a_log_folder_that_is_read_only_costs_the_log_alone";
        return skipped(name, "may not mount");
    };
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
    let node = Node::new()
        .step("a.sh", LEAVES_A_MARK)
        .step("b.sh", LEAVES_A_MARK);
    fs::create_dir(node.path("state")).unwrap();
    let script = "mount -t tmpfs -o size=64k none \"$0\" || exit 98
        head -c 100k /dev/zero > \"$0/fill\"
        \"$@\"; code=$?
        find \"$0\" -type f | sort
        exit $code";
    let Some(mut command) = with_mounts(script, &node.path("state"), &node.run("apply")) else {
        let name = "a_full_disk_for_the_state_fails_the_run_and_sets_no_flag";
        return skipped(name, "may not mount");
    };
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let flag = node.flag("a.sh");
    let refusal = format!(
        "skyhook-agent: cannot write /{}: No space left",
        flag.display()
    );
    // An absolute path below `/` has one slash.
    assert_says(&stderr(&output), &[&refusal.replace("//", "/")]);
    let left = stdout(&output);
    let state = node.path("state");
    let state = state.display();
    assert!(
        left.ends_with(&format!("{state}/fill\n{state}/flags/START\n")),
        "{left}"
    );
    // Without its flag it will run again; what follows it waits for that.
    assert!(node.has_run("a.sh") && !node.has_run("b.sh"));
}

/// An agent that opens it waits for a writer that never comes.
#[test]
fn a_fifo_in_a_file_s_place_is_refused() {
    let node = marking();
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

/// The step's stdout in the run's, without the verdict behind it.
#[track_caller]
fn shown(output: &Output, verdict: &str) -> String {
    let stdout = stdout(output);
    stdout.strip_suffix(verdict).unwrap().to_owned()
}

#[test]
fn a_log_disk_that_is_full_and_freed_again_costs_that_log_what_is_said() {
    const NAME: &str = "a_log_disk_that_is_full_and_freed_again_costs_that_log_what_is_said";
    // The step frees the disk when the agent has said that it is full.
    let package = Package::new()
        .step(
            "a.sh",
            "#!/bin/sh\nyes words | head -c 200000\nread -r word\n\
             rm \"$LOGS/fill\"\nyes words | head -c 20000\necho freed >&2\nexit 0\n",
        )
        .step("b.sh", "#!/bin/sh\nyes words | head -c 20000\n");
    fs::create_dir(package.logs()).unwrap();
    let script = "mount -t tmpfs -o size=256k none \"$0\" || exit 98
        head -c 192k /dev/zero > \"$0/fill\"
        \"$@\"; code=$?
        cp -R \"$0/pkg\" \"$0/../saved\"
        exit $code";
    let Some(mut command) = with_mounts(script, &package.logs(), &package.run_step()) else {
        return skipped(NAME, "may not mount");
    };
    let mut run = command
        .env("LOGS", package.logs())
        .stdin(Stdio::piped())
        .stdout(File::create(package.dir.path().join("stdout")).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(run.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("cannot write to ") {
        assert_ne!(reader.read_line(&mut said).unwrap(), 0, "{said}");
    }
    run.stdin.take().unwrap().write_all(b"freed\n").unwrap();
    reader.read_to_string(&mut said).unwrap();
    let output = Output {
        status: run.wait().unwrap(),
        stdout: fs::read(package.dir.path().join("stdout")).unwrap(),
        stderr: said.into(),
    };
    assert_eq!(output.status.code(), Some(0));

    let (first, second) = {
        let all = shown(&output, "SUCEEDED: b.sh \n");
        let (first, second) = all.split_once("SUCEEDED: a.sh \n").unwrap();
        (first.to_owned(), second.to_owned())
    };
    assert_eq!(unstamp("[out]", &first).len(), 220_000);
    let saved = package.dir.path().join("saved/1.2.3");
    let log = log_in(&saved, "a.sh", ".log");
    assert!(first.starts_with(&log), "{} bytes", log.len());
    assert!((1..=65536).contains(&log.len()), "{} bytes", log.len());
    let err_log = log_in(&saved, "a.sh", ".log.err");
    assert_eq!(unstamp("[err]", &err_log), "freed\n");
    // Freed or not, it has failed; the log of the next step is another.
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

/// `-P` for every name that the log of a step which starts soon may have.
fn log_paths(package: &Package, step: &str) -> Vec<String> {
    let folder = log_file::dir(package.logs().as_os_str(), "pkg", "1.2.3");
    let now = OffsetDateTime::now_utc();
    let path = |second| {
        let path = log_file::path(&folder, step, now + Duration::from_secs(second));
        path.to_str().unwrap().replace("//", "/")
    };
    (0..120)
        .flat_map(|second| ["-P".to_owned(), path(second)])
        .collect()
}

/// Runs the package's `a.sh` with what `inject` says done to the writes to its log.
fn injected(package: &Package, inject: &str) -> Option<Traced> {
    let paths = log_paths(package, "a.sh");
    let mut options: Vec<&str> = paths.iter().map(String::as_str).collect();
    options.extend(["-e", "trace=write", "-e", inject]);
    let run = traced(&options, &package.run_step())?;
    assert!(run.injected() > 0, "{:#?}", run.trace);
    assert_eq!(run.output.status.code(), Some(0), "{:?}", run.output);
    Some(run)
}

#[test]
fn an_error_of_the_log_s_disk_costs_that_log_what_is_said() {
    const NAME: &str = "an_error_of_the_log_s_disk_costs_that_log_what_is_said";
    for (error, name) in [
        (Errno::EIO, "EIO"),
        (Errno::ENOSPC, "ENOSPC"),
        (Errno::EDQUOT, "EDQUOT"),
    ] {
        let package = Package::new().step("a.sh", CHATTY);
        let inject = format!("inject=write:error={name}:when=3");
        let Some(run) = injected(&package, &inject) else {
            return skipped(NAME, "may not trace");
        };
        let shown = shown(&run.output, "SUCEEDED: a.sh \n");
        assert_eq!(unstamp("[out]", &shown).len(), 200_000);
        let log = package.log("a.sh", ".log");
        assert!(!log.is_empty() && shown.starts_with(&log));
        let sink = log_name(&package, "a.sh");
        assert_eq!(
            notices(&run.output),
            [dropped(&sink, error), lost(&sink, shown.len() - log.len())]
        );
    }
}

#[test]
fn a_write_that_is_interrupted_or_to_be_tried_again_loses_nothing() {
    const NAME: &str = "a_write_that_is_interrupted_or_to_be_tried_again_loses_nothing";
    for error in ["EINTR", "EAGAIN"] {
        let package = Package::new().step("a.sh", CHATTY);
        let inject = format!("inject=write:error={error}:when=1+2");
        let Some(run) = injected(&package, &inject) else {
            return skipped(NAME, "may not trace");
        };
        let shown = shown(&run.output, "SUCEEDED: a.sh \n");
        assert_eq!(unstamp("[out]", &shown).len(), 200_000);
        assert!(package.log("a.sh", ".log") == shown, "{error}");
        assert_eq!(stderr(&run.output), "");
    }
}

#[test]
fn a_log_folder_that_is_removed_meanwhile_costs_that_log_and_is_said() {
    let package = Package::new()
        .step(
            "a.sh",
            "#!/bin/sh\necho before\nrm -rf \"$LOGS\"\necho after\nexit 3\n",
        )
        .step("b.sh", "#!/bin/sh\necho words\n");
    let mut command = package.run_step();
    command.env("LOGS", package.logs());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = unstamp("[out]", &stdout(&output));
    assert_eq!(said, "before\nafter\nFAILED: a.sh  3\n");
    let folder = package.logs().join("pkg/1.2.3");
    let notice = format!("cannot find the log {}/a.sh-", folder.display());
    assert_says(&notices(&output)[0], &[&notice, ".log: No such file"]);
    assert_eq!(notices(&output).len(), 1);

    let output = command.args(["--step", "b"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "");
    assert_eq!(unstamp("[out]", &package.log("b.sh", ".log")), "words\n");
}
