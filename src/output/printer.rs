//! What a command says to a person or a program that reads it on stdout.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use anstream::{AutoStream, ColorChoice};

use super::Palette;
use crate::error::Error;

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
    /// Takes the process's stdout. With [`ColorChoice::Auto`] the terminal and the
    /// environment (`NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE`, `TERM`) decide on colours.
    #[must_use]
    pub fn stdout(color: ColorChoice) -> Printer {
        let stdout = io::stdout();
        let choice = match color {
            ColorChoice::Auto => AutoStream::choice(&stdout),
            decided => decided,
        };
        let width = stdout.is_terminal().then(terminal_size::terminal_size);
        Printer {
            out: BufWriter::with_capacity(64 * 1024, stdout),
            palette: match choice {
                ColorChoice::Never => Palette::PLAIN,
                _ => Palette::COLORED,
            },
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
    /// [`Error::ReaderLeft`] if nobody reads any more, [`Error::Io`] otherwise.
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

    /// Writes a value as one line of JSON, for programs.
    ///
    /// # Errors
    /// As [`line`](Printer::line).
    pub fn json(&mut self, value: &impl serde::Serialize) -> Result<(), Error> {
        serde_json::to_writer(&mut self.out, value).map_err(|error| cannot_write(error.into()))?;
        self.bytes(b"\n")
    }

    /// Passes on what is held in the buffer: before a command waits, and at its end.
    ///
    /// # Errors
    /// As [`line`](Printer::line).
    pub fn flush(&mut self) -> Result<(), Error> {
        self.out.flush().map_err(cannot_write)
    }
}

fn cannot_write(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Error::ReaderLeft,
        _ => Error::io("write to", "stdout", error),
    }
}
