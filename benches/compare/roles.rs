//! Plays the roles for which the harness starts this binary: the step whose output is
//! measured, the loops that do the least possible, and conmon's client.

use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use skyhook_agent::settings::DEFAULT_BUFFER_LIMIT;
use skyhook_agent::stamp::{Clock, Stamper, SystemClock};

use crate::Result;
use crate::conmon;

/// The first argument of the step that writes.
pub const PRODUCE: &str = "produce";
/// Reads, stamps and writes, blocking.
pub const MINIMAL: &str = "minimal";
/// Reads and writes.
pub const COPY: &str = "copy";
/// Writes what conmon sends to its attach socket.
pub const ATTACH: &str = "attach";

/// The length of one write in big writes.
const BLOCK_LEN: usize = 1 << 20;

/// Plays the role that the arguments name; returns false if they name none.
pub fn play(arguments: &[String]) -> bool {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [PRODUCE, "blocks", line_len, len] => blocks(&line_of(number(line_len)), number(len)),
        [PRODUCE, "utf-8", len] => {
            let line = "Größe 12 µm, 温度 41 °C, Straße ➜ ok: plain words up to the end of the line here\n";
            blocks(line.as_bytes(), number(len))
        }
        [PRODUCE, "lines", count] => lines(number(count)),
        [PRODUCE, "ticks", count] => ticks(number(count)),
        [PRODUCE, "one"] => io::stdout().write_all(b"one\n").map_err(Into::into),
        [MINIMAL, log] => minimal(log),
        [COPY, read_len, log] => copy(number(read_len), log),
        [ATTACH, bundle] => conmon::attach(bundle),
        _ => return false,
    };
    if let Err(error) = done {
        eprintln!("compare {}: {error}", arguments.join(" "));
        std::process::exit(1);
    }
    true
}

/// The harness gives numbers only.
fn number(text: &str) -> usize {
    text.parse()
        .unwrap_or_else(|_| panic!("{text:?}: expected a number"))
}

fn line_of(len: usize) -> Vec<u8> {
    let mut line = vec![b'x'; len];
    line[len - 1] = b'\n';
    line
}

/// Big writes of whole lines, of `len` bytes or somewhat more.
fn blocks(line: &[u8], len: usize) -> Result<()> {
    let block = line.repeat(BLOCK_LEN.div_ceil(line.len()));
    let mut stdout = io::stdout().lock();
    for _ in 0..len.div_ceil(block.len()) {
        write_all(&block, &mut stdout)?;
    }
    Ok(())
}

/// One write for each line.
fn lines(count: usize) -> Result<()> {
    let line = line_of(100);
    let mut stdout = io::stdout().lock();
    for _ in 0..count {
        write_all(&line, &mut stdout)?;
    }
    Ok(())
}

/// Writes to the descriptor itself: the buffer of stdout would look for newlines.
pub fn write_all(bytes: &[u8], stdout: &mut io::StdoutLock<'_>) -> Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let len = nix::unistd::write(&mut *stdout, rest)?;
        rest = &rest[len..];
    }
    Ok(())
}

/// One line every millisecond that says when it was written. Waits a moment first, so
/// that the reader is ready.
fn ticks(count: usize) -> Result<()> {
    std::thread::sleep(Duration::from_millis(500));
    let start = now();
    let mut stdout = io::stdout().lock();
    for tick in 1..=count {
        let at = start + Duration::from_millis(tick as u64);
        std::thread::sleep(at.saturating_sub(now()));
        let line = format!("tick={};\n", now().as_nanos());
        write_all(line.as_bytes(), &mut stdout)?;
    }
    Ok(())
}

/// The time of a clock that all processes share.
pub fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .expect("every Linux has a monotonic clock")
        .into()
}

fn minimal(log: &str) -> Result<()> {
    let clock = SystemClock::default();
    let mut stamper = Stamper::new("[out]");
    let mut stamped = Vec::new();
    let mut sinks = Sinks::open(log)?;
    for_each_read(DEFAULT_BUFFER_LIMIT.get(), |read| {
        stamped.clear();
        stamper.stamp(read, clock.local(), &mut stamped);
        sinks.write(&stamped)
    })
}

fn copy(read_len: usize, log: &str) -> Result<()> {
    let mut sinks = Sinks::open(log)?;
    for_each_read(read_len, |read| sinks.write(read))
}

/// The console and the log.
struct Sinks {
    stdout: io::StdoutLock<'static>,
    log: File,
}

impl Sinks {
    fn open(log: &str) -> Result<Sinks> {
        Ok(Sinks {
            stdout: io::stdout().lock(),
            log: File::create(log)?,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        write_all(bytes, &mut self.stdout)?;
        self.log.write_all(bytes)?;
        Ok(())
    }
}

/// Reads the descriptor itself: the buffer of stdin would read ahead.
fn for_each_read(read_len: usize, mut on_read: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let stdin = io::stdin().lock();
    let mut buffer = vec![0; read_len];
    loop {
        match nix::unistd::read(&stdin, &mut buffer)? {
            0 => return Ok(()),
            len => on_read(&buffer[..len])?,
        }
    }
}
