//! Processes that a command leaves behind and that keep its output open
//! (contract §10): said, bounded, and no reason to spin.

mod support;

use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use skyhook_agent::reactor::{Event, Options, Reactor, Watch};
use skyhook_agent::stamp::Clock;
use support::{Fixture, unstamp};
use time::{OffsetDateTime, PrimitiveDateTime};

const SOON: Duration = Duration::from_millis(100);

/// A run that holds its pipes until the notice has come, then lets go.
fn hold_until_noticed(watch: Watch, hold: &str) -> (support::Ran, Duration) {
    let mut fixture = Fixture::new();
    let fifo = fixture.fifo("fifo");
    fixture.options.held_notice = SOON;
    fixture.options.watch = watch;
    let release = fixture.release_when_noticed(&fifo);
    let before = thread_cpu_time();
    let ran = fixture.tee(&[
        "/program",
        "out the step's own\n",
        &format!("{hold} {fifo}"),
        "exit 6",
    ]);
    let cpu_time = thread_cpu_time() - before;
    release.join().unwrap();
    (ran, cpu_time)
}

fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

#[test]
fn a_held_pipe_is_waited_for_and_its_holder_named() {
    for watch in [Watch::Pidfd, Watch::Poll] {
        let (ran, _) = hold_until_noticed(watch, "hold");
        assert_eq!(ran.code, 6);
        assert_eq!(unstamp("[out]", &ran.log), "the step's own\n");
        let notice = ran.stderr.trim_end();
        let expected = "skyhook-agent: /program ended 100ms ago, but its output is held open by ";
        let holder = notice
            .strip_prefix(expected)
            .unwrap_or_else(|| panic!("{notice}"));
        assert!(
            holder.ends_with(" (exe); waiting for that to end"),
            "{holder}"
        );
        assert_eq!(ran.stderr.matches("skyhook-agent:").count(), 1, "said once");
    }
}

/// The child's exit and the end of its streams are separate facts. A loop that
/// reads on at EAGAIN once the child is gone burns a core for as long as anybody
/// holds the pipe.
#[test]
fn a_held_pipe_costs_no_cpu_time() {
    let mut fixture = Fixture::new();
    let fifo = fixture.fifo("fifo");
    let started = Instant::now();
    let held_for = Duration::from_secs(1);
    let release = std::thread::spawn({
        let fifo = fifo.clone();
        move || {
            let writer = OpenOptions::new().write(true).open(fifo).unwrap();
            std::thread::sleep(held_for);
            drop(writer);
        }
    });
    let before = thread_cpu_time();
    fixture.tee(&["out x", &format!("hold {fifo}")]);
    let cpu_time = thread_cpu_time() - before;
    assert!(started.elapsed() >= held_for);
    // Starting a child costs a few milliseconds, and some more on an emulated machine;
    // spinning, the whole second.
    assert!(cpu_time < held_for / 2, "{cpu_time:?}");
    release.join().unwrap();
}

/// Nor does a child that says nothing, whatever the loop waits for besides.
#[test]
fn a_silent_child_costs_no_cpu_time() {
    let silent_for = Duration::from_secs(1);
    for watch in [Watch::Pidfd, Watch::Poll] {
        let options = Options {
            watch,
            silence_notice: Some(silent_for / 4),
            time_limit: Some(10 * silent_for),
            ..Options::default()
        };
        let mut silences = 0;
        let before = thread_cpu_time();
        let mut command = Command::new("sleep");
        command.arg(silent_for.as_secs().to_string());
        let reactor = Reactor::spawn(command, options).unwrap();
        let count = |event: Event<'_>| silences += i32::from(matches!(event, Event::Silent(_)));
        assert!(reactor.run(count).unwrap().success());
        let cpu_time = thread_cpu_time() - before;
        assert!(cpu_time < silent_for / 2, "{watch:?}: {cpu_time:?}");
        assert!(silences > 0, "{watch:?}");
    }
}

#[test]
fn a_drain_timeout_bounds_the_wait() {
    for timeout in [Duration::ZERO, SOON] {
        let mut fixture = Fixture::new();
        let fifo = fixture.fifo("fifo");
        fixture.options.drain_timeout = Some(timeout);
        // Open in this thread, so that the holder gets past its own opening.
        let writer = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&fifo)
            .unwrap();
        let ran = fixture.tee(&[
            "mib 1",
            "out mine",
            "err mine too",
            &format!("hold {fifo}"),
            "exit 6",
        ]);
        drop(writer);
        assert_eq!(ran.code, 6);
        assert!(ran.log.ends_with(" mine"), "all of the step's own is there");
        assert!(ran.err_log.ends_with(" mine too"));
        assert_eq!(unstamp("[out]", &ran.log).len(), (1 << 20) + 4);
        assert!(
            ran.stderr.contains("(exe); not waiting any longer"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_drain_timeout_bounds_one_who_writes_for_ever() {
    let mut fixture = Fixture::new();
    fixture.options.drain_timeout = Some(SOON);
    let ran = fixture.tee(&["out mine\n", "babble", "exit 6"]);
    assert_eq!(ran.code, 6);
    assert!(
        ran.stderr.contains("(exe); not waiting any longer"),
        "{}",
        ran.stderr
    );
    assert!(unstamp("[out]", &ran.log).starts_with("mine\nbabble\n"));
}

#[test]
fn output_that_has_ended_needs_no_time_out() {
    let mut fixture = Fixture::new();
    fixture.options.drain_timeout = Some(Duration::ZERO);
    let ran = fixture.tee(&["mib 1", "exit 6"]);
    assert_eq!(ran.stderr, ran.err_log, "and nothing is said of it");
}

/// The notice goes by the child's exit, not by the start of the run.
#[test]
fn a_child_that_runs_long_brings_no_notice() {
    let mut sleep = Command::new("/bin/sleep");
    sleep.arg("0.3");
    let options = Options {
        held_notice: Duration::from_millis(1),
        ..Options::default()
    };
    let reactor = Reactor::spawn(sleep, options).unwrap();
    let mut notices = 0;
    reactor
        .run(|event| notices += u32::from(matches!(event, Event::PipesHeldOpen(_))))
        .unwrap();
    assert_eq!(notices, 0);
}

/// Runs a child that has written more than a wake reads, and ended, before the loop
/// begins. Returns what was said of held pipes, and how many bytes came.
fn slow_to_read(options: Options) -> (Vec<String>, usize) {
    let fixture = Fixture::new();
    let done = fixture.fifo("done");
    let command = fixture.command(&["wide", "mib 1", &format!("tell {done}")]);
    let reactor = Reactor::spawn(command, options).unwrap();
    let child = fs::read_to_string(done).unwrap().parse().unwrap();
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(Pid::from_raw(child)), ended).unwrap();
    let (mut said, mut read) = (Vec::new(), 0);
    reactor
        .run(|event| match event {
            Event::Read(_, bytes) => read += bytes.len(),
            Event::PipesHeldOpen(_) | Event::GivenUp(_) => said.push(format!("{event:?}")),
            _ => {}
        })
        .unwrap();
    (said, read)
}

#[test]
fn being_slow_to_read_is_not_taken_for_a_holder() {
    let (said, read) = slow_to_read(Options {
        held_notice: Duration::ZERO,
        ..Options::default()
    });
    assert_eq!((said, read), (vec![], 2 << 20));
}

#[test]
fn what_a_pipe_holds_at_the_time_out_is_read_to_its_end() {
    let (said, read) = slow_to_read(Options {
        drain_timeout: Some(Duration::ZERO),
        ..Options::default()
    });
    assert_eq!((said, read), (vec![], 2 << 20));
}

/// A clock that stands still at its first reading until two named pipes have been
/// opened.
struct Stalled(Vec<String>, Cell<bool>);

impl Clock for Stalled {
    fn utc(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH
    }

    fn local(&self) -> PrimitiveDateTime {
        if !self.1.replace(true) {
            for fifo in &self.0 {
                fs::read(fifo).unwrap();
            }
        }
        PrimitiveDateTime::new(self.utc().date(), self.utc().time())
    }
}

/// Each system call reads all that it can, and no pause is told at the end: what was
/// kept back, to be written together, is written all the same.
#[test]
fn what_a_pipe_holds_at_the_time_out_reaches_every_sink() {
    let mut fixture = Fixture::new();
    let (first, done) = (fixture.fifo("first"), fixture.fifo("done"));
    fixture.clock = Box::new(Stalled(vec![first.clone(), done.clone()], Cell::default()));
    // The exit is seen after a wake's reads then, and the time-out with it.
    fixture.options.watch = Watch::Poll;
    fixture.options.drain_timeout = Some(Duration::ZERO);
    let ran = fixture.tee(&[
        "out x",
        &format!("tell {first}"),
        "wide",
        "mib 1",
        &format!("tell {done}"),
    ]);
    assert_eq!(unstamp("[out]", &ran.log).len(), 1 + (1 << 20));
    assert_eq!(unstamp("[err]", &ran.err_log).len(), 1 << 20);
    assert_eq!(ran.stdout, ran.log);
    assert_eq!(ran.stderr, ran.err_log, "nothing is said of it");
}
