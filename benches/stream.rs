//! Measures how a step's output gets from its pipe to the console and the log: the
//! agent's loop, and loops that do the least possible.
//!
//! - `whole`: [`Runner::tee`], as the agent runs a step.
//! - `minimal`: one blocking read, a stamp, two writes, and again. It does not handle
//!   stderr or cancellation, and does not notice when the child exits.
//! - `copy`: the same without the stamp.
//!
//! The console is /dev/null, the log a file or /dev/null. The child is this binary,
//! in place of `skyhook-agent chroot-exec`.
//!
//! To compare the agent with other tools, use `compare`: there, whole processes take
//! turns.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use skyhook_agent::exec::chroot_exec::{LOCAL, SUBCOMMAND};
use skyhook_agent::exec::tee::{self, Logs, Runner, SELF};
use skyhook_agent::output::{Console, Sink};
use skyhook_agent::reactor::Options;
use skyhook_agent::settings::DEFAULT_BUFFER_LIMIT;
use skyhook_agent::stamp::{Clock, Stamper, SystemClock};

const LINE_LEN: usize = 100;
const LINES_PER_WRITE: usize = 10_000;
const WRITES: usize = 64;
/// The length of the child's output: 64 MB.
const OUTPUT_LEN: usize = LINE_LEN * LINES_PER_WRITE * WRITES;

/// A function that brings the child's stdout to the console and the log.
type Contender = fn(&mut Console, Sink);

const CONTENDERS: [(&str, Contender); 3] = [("whole", whole), ("minimal", minimal), ("copy", copy)];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == SUBCOMMAND) {
        return produce();
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let logs = [("file", &*file), ("null", Path::new("/dev/null"))];

    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .configure_from_args();
    measure(&mut criterion, logs);
    criterion.final_summary();
}

/// Plays the child. It writes a lot at once, so that the reading side takes the time.
fn produce() {
    let mut line = [b'x'; LINE_LEN];
    line[LINE_LEN - 1] = b'\n';
    let lines = line.repeat(LINES_PER_WRITE);
    for _ in 0..WRITES {
        io::stdout().write_all(&lines).unwrap();
    }
}

fn whole(console: &mut Console, log: Sink) {
    let clock = SystemClock::default();
    let mut runner = Runner::new(
        console,
        &clock,
        SELF.into(),
        vec![std::env::temp_dir()],
        Options::default(),
    );
    let command = tee::Command {
        chroot_dir: OsStr::new(LOCAL),
        cmd: &[],
        copy_dir: "/",
        env: &BTreeMap::new(),
        no_chmod: true,
        write_cmds: false,
    };
    let logs = Logs {
        stdout: log,
        stderr: Sink::nowhere(),
    };
    assert_eq!(runner.tee(&command, logs).unwrap().code(), 0);
}

fn minimal(console: &mut Console, mut log: Sink) {
    let clock = SystemClock::default();
    let mut stamper = Stamper::new("[out]");
    let mut stamped = Vec::new();
    for_each_read(|read| {
        stamped.clear();
        stamper.stamp(read, clock.local(), &mut stamped);
        write(console, &mut log, &stamped);
    });
}

fn copy(console: &mut Console, mut log: Sink) {
    for_each_read(|read| write(console, &mut log, read));
}

fn for_each_read(mut on_read: impl FnMut(&[u8])) {
    let mut command = Command::new(SELF);
    let mut child = command
        .arg(SUBCOMMAND)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut buffer = vec![0; DEFAULT_BUFFER_LIMIT.get()];
    loop {
        match stdout.read(&mut buffer).unwrap() {
            0 => break,
            len => on_read(&buffer[..len]),
        }
    }
    assert!(child.wait().unwrap().success());
}

fn write(console: &mut Console, log: &mut Sink, bytes: &[u8]) {
    assert_eq!(console.stdout.write(bytes), None);
    assert_eq!(log.write(bytes), None);
}

/// Returns how long one run takes, without opening and truncating the log.
fn time(contender: Contender, log: &Path) -> Duration {
    let open = |path: &Path| Sink::file(path, File::create(path).unwrap());
    let mut console = Console::new(open(Path::new("/dev/null")), Sink::stderr());
    let log = open(log);
    let start = Instant::now();
    contender(&mut console, log);
    start.elapsed()
}

fn measure(criterion: &mut Criterion, logs: [(&str, &Path); 2]) {
    let mut group = criterion.benchmark_group("stream");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(20)
        .throughput(Throughput::Bytes(OUTPUT_LEN as u64));
    for (log, path) in logs {
        for (name, contender) in CONTENDERS {
            group.bench_function(BenchmarkId::new(name, log), |bencher| {
                bencher.iter_custom(|runs| (0..runs).map(|_| time(contender, path)).sum());
            });
        }
    }
}
