//! No allocation per read: neither in the stamper nor in a whole run.

mod support;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::rc::Rc;
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use skyhook_agent::exec::tee::{Command, Logs};
use skyhook_agent::stamp::{Clock, Stamper};
use support::{Fixture, parse_time};
use time::{OffsetDateTime, PrimitiveDateTime};

/// What one read brings here; a pipe's page, so that every read brings as much.
const READ_LEN: usize = 4096;

/// A clock that is read once per read, and counts. The second changes with
/// every fourth read.
#[derive(Clone, Default)]
struct ReadCounter(Rc<Cell<u32>>);

impl Clock for ReadCounter {
    fn utc(&self) -> OffsetDateTime {
        self.local().assume_utc()
    }

    fn local(&self) -> PrimitiveDateTime {
        let reads = self.0.get();
        self.0.set(reads + 1);
        parse_time("2026-05-02T21:51:23") + Duration::from_millis(250) * reads
    }
}

#[test]
fn the_stamper_allocates_for_its_first_read_only() {
    let clock = ReadCounter::default();
    let mut stamper = Stamper::new("[out]");
    let mut out = Vec::new();
    let read = b"a line, gr\xfc\xdfe, \xe6\x9d\n".repeat(200);
    let mut stamp = || {
        out.clear();
        stamper.stamp(&read, clock.local(), &mut out);
    };
    assert_ne!(measure(&mut stamp).count_total, 0, "nothing is counted");

    let rest = measure(|| (0..10_000).for_each(|_| stamp()));
    assert_eq!(rest, AllocationInfo::default());
}

#[test]
fn a_run_with_many_reads_allocates_as_much_as_one_with_few() {
    // What is set up once per process and thread.
    run("mib 1");

    let (few_reads, few) = run("mib 1");
    let (many_reads, many) = run("mib 9");
    // From each stream.
    assert_eq!(few_reads, 2 * (1 << 20) / READ_LEN);
    assert_eq!(many_reads, 9 * few_reads);
    assert_eq!(many, few);
}

/// Newlines grow most when they are stamped: 33 bytes each.
#[test]
fn a_large_limit_takes_little_more_memory_than_its_buffer() {
    const LARGEST_BUFFER: u64 = 1 << 20;
    let script = format!("out {}", "\n".repeat(60_000));
    let (_, allocations) = run_with_limit(&script, usize::MAX);
    let most = allocations.bytes_max;
    assert!(most > LARGEST_BUFFER, "{most}");
    assert!(most < LARGEST_BUFFER + (768 << 10), "{most}");
}

/// Runs a command through tee; returns its reads, and the allocations meanwhile.
fn run(script: &str) -> (usize, AllocationInfo) {
    run_with_limit(script, READ_LEN)
}

fn run_with_limit(script: &str, limit: usize) -> (usize, AllocationInfo) {
    let reads = ReadCounter::default();
    let mut fixture = Fixture::new();
    fixture.clock = Box::new(reads.clone());
    fixture.options.buffer_limit = limit.try_into().unwrap();
    let command = Command {
        chroot_dir: OsStr::new("local"),
        cmd: &[script.to_owned()],
        copy_dir: "/copy",
        env: &BTreeMap::new(),
        no_chmod: false,
        write_cmds: false,
    };
    let mut runner = fixture.runner();
    let allocations = measure(|| {
        let end = runner.tee(&command, Logs::none()).unwrap();
        assert_eq!(end.code(), 0);
    });
    (reads.0.get() as usize, allocations)
}
