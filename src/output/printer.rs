//! What a command says to a person or a program that reads it on stdout.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::os::fd::AsFd;

use anstream::ColorChoice;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use serde_json::ser::Formatter;

use super::Palette;
use crate::error::Error;
use crate::text::is_unshowable;

/// The standard output of a command that answers a question: buffered, with colours if
/// they are wanted there.
///
/// Foreign text must be [escaped](crate::text::escape) before it is written.
#[derive(Debug)]
pub struct Printer {
    out: BufWriter<Stdout>,
    /// The colours to use; all plain if none are wanted.
    pub palette: Palette,
    /// The width of the terminal in columns; `None` if stdout is none.
    pub width: Option<usize>,
}

impl Printer {
    /// Takes the process's stdout, with the colours of [`Palette::of`].
    #[must_use]
    pub fn stdout(color: ColorChoice) -> Printer {
        let stdout = io::stdout();
        let palette = Palette::of(color, &stdout);
        let width = stdout.is_terminal().then(terminal_size::terminal_size);
        Printer {
            out: BufWriter::with_capacity(64 * 1024, stdout),
            palette,
            width: width
                .flatten()
                .map(|(terminal_size::Width(columns), _)| columns.into()),
        }
    }

    /// Tells if a person watches: stdout is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.out.get_ref().is_terminal()
    }

    /// Writes one line.
    ///
    /// # Errors
    /// [`Error::ReaderLeft`] if stdout has no reader any more, [`Error::Io`] otherwise.
    pub fn line(&mut self, line: impl fmt::Display) -> Result<(), Error> {
        writeln!(self.out, "{line}").map_err(cannot_write)
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// As [`line`](Printer::line).
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(cannot_write)
    }

    /// Writes a value as one line of JSON, for programs. Characters that must not reach a
    /// terminal are escaped as JSON does: the value is the same.
    ///
    /// # Errors
    /// As [`line`](Printer::line).
    pub fn json(&mut self, value: &impl serde::Serialize) -> Result<(), Error> {
        let mut json = serde_json::Serializer::with_formatter(&mut self.out, Showable);
        let written = value.serialize(&mut json);
        written.map_err(|error| cannot_write(error.into()))?;
        self.bytes(b"\n")
    }

    /// Passes on what is held in the buffer, and waits until `fd` has something to read.
    ///
    /// # Errors
    /// [`Error::ReaderLeft`] if the reader leaves during the wait.
    pub fn wait_for(&mut self, fd: &impl AsFd) -> Result<(), Error> {
        self.flush()?;
        loop {
            let mut fds = [
                PollFd::new(fd.as_fd(), PollFlags::POLLIN),
                // Of a pipe without a reader, the kernel tells unasked.
                PollFd::new(self.out.get_ref().as_fd(), PollFlags::empty()),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                waited => waited.map_err(|error| Error::io("wait for", "changes", error))?,
            };
            let [fd, stdout] = fds.map(|fd| fd.any().unwrap_or_default());
            if stdout {
                return Err(Error::ReaderLeft);
            }
            if fd {
                return Ok(());
            }
        }
    }

    /// Passes on what is held in the buffer: before a command waits, and at its end.
    ///
    /// # Errors
    /// As [`line`](Printer::line).
    pub fn flush(&mut self) -> Result<(), Error> {
        self.out.flush().map_err(cannot_write)
    }
}

/// Writes JSON that may be shown.
struct Showable;

impl Formatter for Showable {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_unshowable) {
            let (before, after) = rest.split_at(at);
            out.write_all(before.as_bytes())?;
            let mut chars = after.chars();
            // All of them are in Unicode's first plane, and have one unit.
            let mut units = [0; 2];
            for unit in chars.next().unwrap_or_default().encode_utf16(&mut units) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = chars.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

fn cannot_write(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Error::ReaderLeft,
        _ => Error::io("write to", "stdout", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_nothing_that_must_not_be_shown_and_the_same_values() {
        let text = "a\n\u{1b}[2J\u{7f}\u{9b}b\u{202e}\u{2028}é雪\u{1f600}\"\\";
        let mut json = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut json, Showable);
        serde::Serialize::serialize(text, &mut serializer).unwrap();
        let json = String::from_utf8(json).unwrap();
        assert!(!json.contains(is_unshowable), "{json:?}");
        assert!(json.contains("é雪\u{1f600}"), "{json:?}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
