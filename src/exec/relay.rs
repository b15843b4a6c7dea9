//! The way of a command's output from reads to sinks.
//!
//! Promises that each read is stamped with its own time, and reaches the console
//! and the log whole and in the order in which it was read.

use std::io;
use std::time::Duration;

use crate::output::{Console, Sink};
use crate::reactor::Stream;
use crate::stamp::{self, Clock, Stamper};

/// The logs of a command. They are open before it starts.
#[derive(Debug)]
pub struct Logs {
    /// For its standard output.
    pub stdout: Sink,
    /// For its standard error.
    pub stderr: Sink,
}

impl Logs {
    /// Has no log files.
    #[must_use]
    pub fn none() -> Logs {
        Logs {
            stdout: Sink::nowhere(),
            stderr: Sink::nowhere(),
        }
    }
}

/// Stamps reads and writes them to their two sinks.
///
/// While a stream has more at hand, what was stamped is kept back up to
/// [`FLUSH_THRESHOLD`] bytes, and one write to each sink does for several reads. That
/// is where most of the time goes otherwise.
pub(super) struct Relay<'a> {
    console: &'a mut Console,
    logs: &'a mut Logs,
    clock: &'a dyn Clock,
    stdout: Stamper,
    stderr: Stamper,
    /// Kept back, all of one stream: the two stay in the order in which they were
    /// read.
    stamped: Vec<u8>,
    /// Which one.
    stream: Stream,
}

/// The most stamped bytes that are kept back while more is at hand.
const FLUSH_THRESHOLD: usize = 128 << 10;

/// The most bytes of a read that are stamped at once: all of them unless the limit was
/// raised. It
/// bounds what is kept back, since a byte takes up to 33 when it is stamped.
const PIECE_LEN: usize = 8 << 10;

impl<'a> Relay<'a> {
    /// A relay with nothing kept back.
    pub(super) fn new(
        console: &'a mut Console,
        logs: &'a mut Logs,
        clock: &'a dyn Clock,
    ) -> Relay<'a> {
        Relay {
            console,
            logs,
            clock,
            stdout: Stamper::new("[out]"),
            stderr: Stamper::new("[err]"),
            // Room for a piece more, so that it grows for none but short lines.
            stamped: Vec::with_capacity(FLUSH_THRESHOLD + 4 * PIECE_LEN),
            stream: Stream::Stdout,
        }
    }

    /// Takes what one read of a stream brought.
    pub(super) fn read(&mut self, stream: Stream, bytes: &[u8]) {
        self.turn_to(stream);
        let at = self.clock.local();
        if let Some(view) = &mut self.console.view {
            view.read(stream, bytes, at);
        }
        for piece in stamp::pieces(bytes, PIECE_LEN) {
            let (stamper, stamped) = self.stamper();
            stamper.stamp(piece, at, stamped);
            self.flush_when_full();
        }
    }

    /// Says in the stream itself that reading it failed.
    pub(super) fn read_error(&mut self, stream: Stream, error: &io::Error) {
        self.turn_to(stream);
        let at = self.clock.local();
        if let Some(view) = &mut self.console.view {
            let line = format!("ERROR reading stream: {error}\n");
            view.read(stream, line.as_bytes(), at);
        }
        let (stamper, stamped) = self.stamper();
        stamper.stamp_error(error, at, stamped);
        self.flush_when_full();
    }

    /// Tells the view that both streams have been silent for this long.
    pub(super) fn silent(&mut self, time: Duration) {
        self.console.show(|view| view.silent(time));
    }

    /// Says something on stderr, after what was read before.
    pub(super) fn notice(&mut self, notice: &str) {
        self.flush();
        self.console.notice(notice);
    }

    /// Writes what was kept back.
    pub(super) fn flush(&mut self) {
        if self.stamped.is_empty() {
            return;
        }
        let (parent, log) = match self.stream {
            Stream::Stdout => (&mut self.console.stdout, &mut self.logs.stdout),
            Stream::Stderr => (&mut self.console.stderr, &mut self.logs.stderr),
        };
        let shown = match &mut self.console.view {
            Some(view) => view.draw(|bytes| self.console.stdout.write(bytes)),
            None => parent.write(&self.stamped),
        };
        let notices = [shown, log.write(&self.stamped)];
        let last_lines = &mut self.console.failures.last_lines;
        last_lines.add(usize::from(self.stream == Stream::Stderr), &self.stamped);
        self.stamped.clear();
        for notice in notices.iter().flatten() {
            self.console.notice(notice);
        }
    }

    fn flush_when_full(&mut self) {
        if self.stamped.len() >= FLUSH_THRESHOLD {
            self.flush();
        }
    }

    /// Makes `stream` the one whose reads are kept back.
    fn turn_to(&mut self, stream: Stream) {
        if stream != self.stream {
            self.flush();
            self.stream = stream;
        }
    }

    /// The stamper of the stream whose reads are kept back, and its output.
    fn stamper(&mut self) -> (&mut Stamper, &mut Vec<u8>) {
        let stamper = match self.stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        (stamper, &mut self.stamped)
    }
}
