//! Stdout, stderr and stdin are closed, full, slow, or without a reader. Nothing else
//! is lost, and the agent counts what stdout has missed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::notices::{bytes_lost, log_name, notices, sink_failed};
use crate::strace::traced;
use crate::support::{
    Node, after_banner, assert_says, files, full_device, names, or_skip, stderr, stdout, unstamp,
    with_prelude, wrapped,
};

/// Writes 20000 bytes to each stream, more than one read brings, and ends with 3.
const CHATTY: &str = "#!/bin/sh
yes words | head -c 20000
yes words | head -c 20000 >&2
exit 3
";

/// The verdict that the agent prints after it.
const VERDICT: &str = "FAILED: a.sh  3\n";

fn chatty() -> Node {
    Node::new().step("a.sh", CHATTY)
}

/// 20000 bytes of words.
fn words() -> String {
    let mut words = "words\n".repeat(3334);
    words.truncate(20000);
    words
}

/// The length of `text` with a stamp in front and after each newline.
fn stamped_len(text: &str) -> usize {
    text.len() + 32 * (text.matches('\n').count() + 1)
}

/// Has a shell redirect the streams of `command`.
fn redirected(redirections: &str, command: &Command) -> Command {
    let mut command = with_prelude(&format!("exec {redirections}"), command);
    command.stdin(Stdio::null());
    command
}

#[test]
fn closed_streams_lose_nothing_and_no_file_takes_their_descriptors() {
    for (closed, out, err) in [
        ("<&-", true, true),
        (">&-", false, true),
        ("2>&-", true, false),
        ("<&- >&-", false, true),
        (">&- 2>&-", false, false),
        ("<&- >&- 2>&-", false, false),
    ] {
        let node = Node::new().step("a.sh", "#!/bin/sh\ncat\necho out\necho err >&2\n");
        let output = redirected(closed, &node.run("apply")).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{closed}: {output:?}");
        let log = |ending| node.log("a.sh", ending);
        assert_eq!(unstamp("[out]", &log(".log")), "out\n", "{closed}");
        assert_eq!(unstamp("[err]", &log(".log.err")), "err\n", "{closed}");
        if out {
            assert_says(&after_banner(&output), &[&log(".log"), "SUCEEDED: a.sh \n"]);
        }
        if err {
            assert_eq!(stderr(&output), log(".log.err"), "{closed}");
        }
        assert_eq!(node.text("state/flags/START"), "", "{closed}");
        let flag = fs::read_to_string(node.flag("a.sh")).unwrap();
        assert_eq!(flag.lines().count(), 2, "{closed}: {flag}");
        assert_eq!(files(&node.path("state")).len(), 2, "{closed}");
    }
}

#[test]
fn what_a_full_stdout_misses_is_counted_over_all_steps() {
    let succeeds = serde_json::json!({ "returncodes": [3] });
    let node = Node::new()
        .step_with("a.sh", CHATTY, &succeeds)
        .step_with("b.sh", CHATTY, &succeeds);
    let mut command = node.run_step();
    let output = command.stdout(full_device()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let mut missed = 0;
    for step in ["a.sh", "b.sh"] {
        let log = node.log(step, ".log");
        assert_eq!(unstamp("[out]", &log), words());
        missed += log.len() + format!("SUCEEDED: {step} \n").len();
    }
    assert_eq!(
        notices(&output),
        [
            sink_failed("stdout", Errno::ENOSPC),
            bytes_lost("stdout", missed)
        ]
    );
}

#[test]
fn a_stdout_without_a_reader_misses_as_many_bytes_as_reported() {
    let node = chatty();
    let fifo = node.path("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    // The only reader is gone before the agent starts.
    let gone = format!("3<>'{0}' >'{0}' 3<&-", fifo.display());
    let output = redirected(&gone, &node.run_step()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let (log, err_log) = (node.log("a.sh", ".log"), node.log("a.sh", ".log.err"));
    assert_eq!(unstamp("[out]", &log), words());
    assert_eq!(unstamp("[err]", &err_log), words());
    assert_eq!(
        notices(&output),
        [
            sink_failed("stdout", Errno::EPIPE),
            bytes_lost("stdout", log.len() + VERDICT.len())
        ]
    );
}

#[test]
fn a_reader_of_stdout_that_leaves_midway_misses_as_many_bytes_as_reported() {
    let node = Node::new().step(
        "a.sh",
        "#!/bin/sh\necho first\nread -r word < \"$GO\"\nyes words | head -c 20000\nexit 3\n",
    );
    let go = node.path("go");
    mkfifo(&go, Mode::S_IRWXU).unwrap();
    // The step goes on after the reader has read its first line and left.
    let script = "{ \"$@\"; echo $? >&2; } |
        { read -r line; exec <&-; echo \"$line\"; echo word > \"$GO\"; }";
    let command = node.run_step();
    let mut sh = wrapped(&["/bin/sh", "-c", script, "sh"], &command);
    let output = sh.env("GO", &go).stdin(Stdio::null()).output().unwrap();

    let log = node.log("a.sh", ".log");
    assert_eq!(unstamp("[out]", &log), format!("first\n{}", words()));
    let read = stdout(&output);
    assert!(
        log.starts_with(&read) && read.ends_with(" first\n"),
        "{read}"
    );
    // The prefix after the first line was in the pipe by then.
    let taken = read.len() + 32;
    assert_eq!(
        notices(&output),
        [
            sink_failed("stdout", Errno::EPIPE),
            bytes_lost("stdout", log.len() + VERDICT.len() - taken)
        ]
    );
    assert!(stderr(&output).ends_with("\n1\n"), "the agent's exit code");
}

#[test]
fn a_stdout_on_a_failing_disk_misses_as_many_bytes_as_reported() {
    // Several writes: one does for all that the step's pipe holds.
    let node = Node::new().step("a.sh", "#!/bin/sh\nyes words | head -c 120000\nexit 3\n");
    let file = node.path("stdout");
    File::create(&file).unwrap();
    let to_file = redirected(&format!(">'{}'", file.display()), &node.run_step());
    let file = file.to_str().unwrap();
    let third_write = "inject=write:error=EIO:when=3";
    let run = or_skip!(traced(
        &["-P", file, "-e", "trace=write", "-e", third_write],
        &to_file,
    ));
    assert_eq!(run.injected(), 1, "{:#?}", run.trace);
    assert_eq!(run.output.status.code(), Some(1));
    let log = node.log("a.sh", ".log");
    assert_eq!(unstamp("[out]", &log), "words\n".repeat(20_000));
    let written = fs::read_to_string(file).unwrap();
    assert!(!written.is_empty() && log.starts_with(&written));
    assert_eq!(
        notices(&run.output),
        [
            sink_failed("stdout", Errno::EIO),
            bytes_lost("stdout", log.len() + VERDICT.len() - written.len())
        ]
    );
}

#[test]
fn with_stdout_and_stderr_full_the_logs_are_whole_and_the_code_is_right() {
    let node = chatty();
    let mut command = node.run_step();
    command.stdout(full_device()).stderr(full_device());
    assert_eq!(command.status().unwrap().code(), Some(1));
    assert_eq!(unstamp("[out]", &node.log("a.sh", ".log")), words());
    assert_eq!(unstamp("[err]", &node.log("a.sh", ".log.err")), words());
}

#[test]
fn with_both_sinks_of_a_stream_gone_the_other_stream_is_whole() {
    // Stderr's log stays below the limit of file size.
    let node = Node::new().step(
        "a.sh",
        "#!/bin/sh\nyes words | head -c 20000\necho err >&2\nexit 3\n",
    );
    // 8 blocks of 512 bytes. The limit does not apply to a device.
    let mut command = with_prelude("ulimit -f 8", &node.run_step());
    let output = command.stdout(full_device()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let all = stamped_len(&words());
    let (log, name) = (node.log("a.sh", ".log"), log_name(&node, "a.sh"));
    assert_eq!(log.len(), 4096);
    assert_eq!(
        notices(&output),
        [
            sink_failed("stdout", Errno::ENOSPC),
            sink_failed(&name, Errno::EFBIG),
            bytes_lost(&name, all - 4096),
            bytes_lost("stdout", all + VERDICT.len()),
        ]
    );
    let err_log = node.log("a.sh", ".log.err");
    assert_eq!(unstamp("[err]", &err_log), "err\n");
    assert!(stderr(&output).contains(err_log.lines().next().unwrap()));
    assert_eq!(names(&node.package_logs()).len(), 2);
}

/// Another process that shares the pipe may have made it non-blocking.
#[test]
fn a_non_blocking_and_slow_reader_gets_everything() {
    for slow_stdout in [true, false] {
        let node = Node::new().step(
            "a.sh",
            "#!/bin/sh\nyes words | head -c 200000\nyes words | head -c 200000 >&2\n",
        );
        let (mut reader, writer) = io::pipe().unwrap();
        fcntl(writer.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        fcntl(writer.as_fd(), FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        let writer = Stdio::from(OwnedFd::from(writer));
        let mut command = node.run_step();
        if slow_stdout {
            command.stdout(writer).stderr(Stdio::null());
        } else {
            command.stderr(writer).stdout(Stdio::null());
        }
        let mut run = command.spawn().unwrap();
        drop(command);
        let (mut read, mut piece) = (Vec::new(), [0; 1000]);
        loop {
            match reader.read(&mut piece).unwrap() {
                0 => break,
                len => read.extend_from_slice(&piece[..len]),
            }
            std::thread::yield_now();
        }
        assert_eq!(run.wait().unwrap().code(), Some(0));
        let expected = if slow_stdout {
            format!("{}SUCEEDED: a.sh \n", node.log("a.sh", ".log"))
        } else {
            node.log("a.sh", ".log.err")
        };
        assert!(read == expected.as_bytes(), "{} bytes", read.len());
        assert!(read.len() > 1_000_000);
    }
}
