//! What this binary does when it is started to take part: the step whose output is
//! measured, and two loops that do the least possible.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use skyhook_agent::settings::DEFAULT_BUFFER_LIMIT;
use skyhook_agent::stamp::{Clock, Stamper, SystemClock};

/// The first argument of a step.
pub const PRODUCE: &str = "produce";
/// Reads, stamps and writes, blocking.
pub const MINIMAL: &str = "minimal";
/// Reads and writes.
pub const COPY: &str = "copy";

/// What is written by one call in big writes.
const BLOCK_LEN: usize = 1 << 20;

/// Plays the role that the arguments name; false where they name none.
pub fn play(arguments: &[String]) -> bool {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [PRODUCE, "blocks", line_len, len] => {
            let line_len: usize = line_len.parse().unwrap();
            blocks(&line_of(line_len), len.parse().unwrap());
        }
        [PRODUCE, "utf-8", len] => {
            let line = "Größe 12 µm, 温度 41 °C, Straße ➜ ok: plain words up to the end of the line here\n";
            blocks(line.as_bytes(), len.parse().unwrap());
        }
        [PRODUCE, "lines", count] => lines(count.parse().unwrap()),
        [PRODUCE, "ticks", count] => ticks(count.parse().unwrap()),
        [PRODUCE, "one"] => io::stdout().write_all(b"one\n").unwrap(),
        [MINIMAL, log] => minimal(log),
        [COPY, log] => copy(log),
        _ => return false,
    }
    true
}

fn line_of(len: usize) -> Vec<u8> {
    let mut line = vec![b'x'; len];
    line[len - 1] = b'\n';
    line
}

/// Big writes of whole lines, `len` bytes or somewhat more.
fn blocks(line: &[u8], len: usize) {
    let block = line.repeat(BLOCK_LEN.div_ceil(line.len()));
    let mut stdout = io::stdout().lock();
    // Past the buffer, which would look for newlines.
    for _ in 0..len.div_ceil(block.len()) {
        write_all(&block, &mut stdout);
    }
}

/// One write for each line.
fn lines(count: usize) {
    let line = line_of(100);
    let mut stdout = io::stdout().lock();
    for _ in 0..count {
        write_all(&line, &mut stdout);
    }
}

fn write_all(bytes: &[u8], stdout: &mut io::StdoutLock<'_>) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let len = nix::unistd::write(&mut *stdout, rest).unwrap();
        rest = &rest[len..];
    }
}

/// A line every millisecond that says when it was written; after a moment in which
/// the other side can get ready.
fn ticks(count: u32) {
    std::thread::sleep(Duration::from_millis(500));
    let start = now();
    let mut stdout = io::stdout().lock();
    for tick in 1..=count {
        let at = start + Duration::from_millis(1) * tick;
        std::thread::sleep(at.saturating_sub(now()));
        let line = format!("tick={};\n", now().as_nanos());
        write_all(line.as_bytes(), &mut stdout);
    }
}

/// The time of a clock that all processes share.
pub fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap().into()
}

fn minimal(log: &str) {
    let clock = SystemClock::default();
    let mut stamper = Stamper::new("[out]");
    let mut stamped = Vec::new();
    for_each_read(log, |read, write| {
        stamped.clear();
        stamper.stamp(read, clock.local(), &mut stamped);
        write(&stamped);
    });
}

fn copy(log: &str) {
    for_each_read(log, |read, write| write(read));
}

fn for_each_read(log: &str, mut on_read: impl FnMut(&[u8], &mut dyn FnMut(&[u8]))) {
    let mut log = File::create(log).unwrap();
    let mut stdin = io::stdin().lock();
    let mut stdout = io::stdout().lock();
    let mut write = |bytes: &[u8]| {
        write_all(bytes, &mut stdout);
        log.write_all(bytes).unwrap();
    };
    let mut buffer = vec![0; DEFAULT_BUFFER_LIMIT.get()];
    loop {
        match nix::unistd::read(&stdin, &mut buffer).unwrap() {
            0 => break,
            len => on_read(&buffer[..len], &mut write),
        }
    }
    // Nothing was read ahead.
    assert_eq!(stdin.read(&mut buffer).unwrap(), 0);
}
