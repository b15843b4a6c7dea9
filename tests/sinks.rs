//! Sinks that fail: one notice, everything else goes on (contract §10).

mod support;

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use skyhook_agent::exec::tee::Logs;
use skyhook_agent::output::Sink;
use support::{Fixture, full_device, unstamp};

const MIB: usize = 1 << 20;

#[test]
fn a_full_log_disk_costs_that_log_alone() {
    let mut fixture = Fixture::new();
    let err_log = fixture.path("log.err");
    let logs = Logs {
        stdout: Sink::file(Path::new("/full/log"), full_device()),
        stderr: Sink::file(&err_log, File::create(&err_log).unwrap()),
    };
    let ran = fixture.tee_into(&["mib 1", "exit 5"], logs);
    assert_eq!(ran.code, 5);
    assert_eq!(unstamp("[out]", &ran.stdout).len(), MIB);
    assert_eq!(unstamp("[err]", &ran.err_log).len(), MIB);
    let bytes = ran.stdout.len();
    let notices: Vec<&str> = agents_lines(&ran.stderr);
    assert_eq!(notices.len(), 2, "{notices:?}");
    assert!(notices[0].starts_with("skyhook-agent: cannot write to /full/log: No space left"));
    assert_eq!(
        notices[1],
        format!("skyhook-agent: {bytes} bytes lost on /full/log"),
        "all that stdout got"
    );
}

#[test]
fn a_full_console_costs_no_log() {
    let mut fixture = Fixture::new();
    fixture.console.stdout = Sink::file(Path::new("stdout"), full_device());
    let ran = fixture.tee(&["mib 1"]);
    assert_eq!(unstamp("[out]", &ran.log).len(), MIB);
    assert_eq!(unstamp("[err]", &ran.err_log).len(), MIB);
    let loss = format!("{} bytes lost on stdout", ran.log.len());
    assert_eq!(fixture.console.stdout.loss(), Some(loss), "all of the log");
    let notices = agents_lines(&ran.stderr);
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].starts_with("skyhook-agent: cannot write to stdout: No space left"));
}

#[test]
fn with_every_sink_gone_the_child_still_finishes() {
    let mut fixture = Fixture::new();
    let full = || Sink::file(Path::new("full"), full_device());
    fixture.console.stdout = full();
    fixture.console.stderr = full();
    let logs = Logs {
        stdout: full(),
        stderr: full(),
    };
    let ran = fixture.tee_into(&["mib 4", "exit 3"], logs);
    assert_eq!(ran.code, 3);
    assert!(fixture.console.stdout.loss().is_some());
    assert!(fixture.console.stderr.loss().is_some());
}

#[test]
fn a_reader_that_leaves_costs_its_pipe_alone() {
    let mut fixture = Fixture::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    fixture.console.stdout = Sink::file(
        Path::new("stdout"),
        File::from(std::os::fd::OwnedFd::from(writer)),
    );
    let leaves = std::thread::spawn(move || reader.read_exact(&mut [0; 10_000]).unwrap());
    let ran = fixture.tee(&["mib 1", "exit 4"]);
    leaves.join().unwrap();
    assert_eq!(ran.code, 4);
    assert_eq!(unstamp("[out]", &ran.log).len(), MIB);
    let notices = agents_lines(&ran.stderr);
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains("cannot write to stdout: Broken pipe"));
}

/// Another process that shares stdout may have made it non-blocking, as node.js
/// does; the agent waits then, and leaves the flag alone.
#[test]
fn a_non_blocking_stdout_with_a_slow_reader_gets_everything() {
    let mut fixture = Fixture::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    fcntl(writer.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let watched = writer.try_clone().unwrap();
    fixture.console.stdout = Sink::file(
        Path::new("stdout"),
        File::from(std::os::fd::OwnedFd::from(writer)),
    );
    let slow = std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut piece = [0; 1000];
        loop {
            match reader.read(&mut piece).unwrap() {
                0 => return all,
                len => all.extend_from_slice(&piece[..len]),
            }
            std::thread::yield_now();
        }
    });
    let ran = fixture.tee(&["mib 6"]);
    let flags = OFlag::from_bits_retain(fcntl(watched.as_fd(), FcntlArg::F_GETFL).unwrap());
    assert!(flags.contains(OFlag::O_NONBLOCK));
    drop((fixture, watched));
    let read = String::from_utf8(slow.join().unwrap()).unwrap();
    assert_eq!(unstamp("[out]", &ran.log).len(), 6 * MIB);
    assert!(read == ran.log, "the pipe's reader got what the log got");
    assert_eq!(ran.stderr, ran.err_log, "nothing is said of it");
}

#[test]
fn a_failed_sink_gives_one_notice_and_counts_what_it_lost() {
    let mut sink = Sink::file(Path::new("/var/log/x"), full_device());
    assert_eq!(sink.write(b""), None, "nothing to write is no failure");
    let notice = sink.write(b"12345").unwrap();
    assert!(notice.starts_with("cannot write to /var/log/x: No space left on device"));
    assert_eq!(sink.write(b"678"), None);
    assert_eq!(sink.loss().unwrap(), "8 bytes lost on /var/log/x");
}

#[test]
fn write_logs_false_leaves_no_file() {
    let mut fixture = Fixture::new();
    fixture.write_logs = false;
    let ran = fixture.tee(&["out hello"]);
    assert_eq!(unstamp("[out]", &ran.stdout), "hello");
    let mut names: Vec<_> = fs::read_dir(fixture.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["stderr", "stdout"]);
}

/// What the agent itself said on stderr, each line without what stands before
/// it: it comes right after a dangling prefix.
fn agents_lines(stderr: &str) -> Vec<&str> {
    stderr
        .lines()
        .filter_map(|line| line.find("skyhook-agent: ").map(|at| &line[at..]))
        .collect()
}
