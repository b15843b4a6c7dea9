//! Reads the log of one stream line by line.
//!
//! A log is text with a prefix after each newline (contract §1). The prefix in front of a
//! line has the time of the read that brought the newline *before* it. So the time of a
//! line is in the prefix that follows its newline.
//!
//! Promises that memory is bounded whatever the bytes are, that nothing is allocated for a
//! line, and that the lines together have every byte of the log.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::stamp::{self, Prefix, Stamp};

/// The most bytes of text that a [`Line`] has. A longer line comes in pieces.
pub const LONGEST_TEXT: usize = 64 * 1024;

/// Room for a line, the prefix in front of it and the one that follows it, and for
/// as much again, so that a move to the front is rare.
const BUFFER_LEN: usize = 2 * LONGEST_TEXT;

/// The size of the first read. Each later one is twice as large. A reader that is opened
/// for a look at its first line does not read much more.
const FIRST_READ: usize = 8 * 1024;

/// What the reader failed to read, as the agent has put it into the log.
const ERROR_LINE: &[u8] = b"ERROR reading stream: ";

/// Where a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// At its newline.
    Newline,
    /// Nowhere yet: this is a piece, and more of the line follows.
    Piece,
    /// At the end of the log, without a newline.
    End,
    /// It is no line: the prefix that follows the last newline, or the beginning of one.
    Dangling,
}

/// A line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'b> {
    /// The time at which the line was read from the step; `None` if the log does not tell.
    ///
    /// It is the stamp that follows the newline. A piece, a last line without a newline, or
    /// one that no stamp follows has the time of the stamp in front of it.
    pub time: Option<Stamp>,
    /// The text, without prefix and newline. It can hold any byte but `\n`.
    pub text: &'b [u8],
    /// The bytes in the log, with prefix and newline.
    pub raw: &'b [u8],
    /// Where it ends.
    pub end: LineEnd,
}

/// What a reader has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A line; [`LogReader::line`] has it.
    Line,
    /// Nothing for now: the log ends here, and may go on.
    Nothing,
    /// The end of the log.
    End,
}

/// A place in a log where a reader has stopped, to go on there later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The number of bytes before it.
    pub offset: u64,
    /// The stamp in front of the line that it is inside of, after a piece.
    inside: Option<Option<Stamp>>,
}

impl Place {
    /// The start of the line that the log was in when it had `len` bytes.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn of_line_at(log: &File, len: u64) -> io::Result<Place> {
        let from = len.saturating_sub(LONGEST_TEXT as u64);
        let mut before = Vec::new();
        let mut log = log;
        log.seek(SeekFrom::Start(from))?;
        log.take(len - from).read_to_end(&mut before)?;
        Ok(match memchr::memrchr(b'\n', &before) {
            Some(newline) => Place {
                offset: from + newline as u64 + 1,
                inside: None,
            },
            None if from == 0 => Place::default(),
            // A piece of a long line.
            None => Place {
                offset: len,
                inside: Some(None),
            },
        })
    }
}

/// Reads the log of one stream.
#[derive(Debug)]
pub struct LogReader<R> {
    input: R,
    label: &'static str,
    buffer: Box<[u8]>,
    /// What is in the buffer and not yet given: from `start` to `end`.
    start: usize,
    end: usize,
    /// The bytes from `start` in which no newline was found.
    searched: usize,
    place: Place,
    /// The prefix at `start`, if it is known.
    front: Option<(Option<Stamp>, usize)>,
    /// The prefix that was found last, as it is in the log.
    newest: ([u8; Prefix::LONGEST], usize, Option<Stamp>),
    next_read: usize,
    /// The newest read returned nothing.
    is_at_end: bool,
    /// Nothing more is written to the log.
    is_final: bool,
    head: Option<Head>,
}

/// The line that was found, in bytes from `start`.
#[derive(Clone, Copy, Debug)]
struct Head {
    time: Option<Stamp>,
    text: (usize, usize),
    len: usize,
    end: LineEnd,
    /// The prefix after it, if it is known.
    next: Option<(Option<Stamp>, usize)>,
}

impl<R: Read> LogReader<R> {
    /// Reads the log of the stream with this label, `[out]` or `[err]`. `input` has the
    /// bytes from `place` on.
    ///
    /// If the log `is_final`, nothing more is written to it: what its last bytes are is
    /// not left open.
    #[must_use]
    pub fn new(input: R, label: &'static str, place: Place, is_final: bool) -> LogReader<R> {
        LogReader {
            input,
            label,
            buffer: vec![0; BUFFER_LEN].into_boxed_slice(),
            start: 0,
            end: 0,
            searched: 0,
            front: place.inside.map(|stamp| (stamp, 0)),
            place,
            newest: ([0; Prefix::LONGEST], 0, None),
            next_read: FIRST_READ,
            is_at_end: false,
            is_final,
            head: None,
        }
    }

    /// Says if the log is final, and that there may be more to read.
    pub fn go_on(&mut self, is_final: bool) {
        self.is_final = is_final;
        self.is_at_end = false;
    }

    /// Starts again at the beginning of the log, where the input is by now.
    pub fn restart(&mut self) {
        (self.start, self.end, self.searched) = (0, 0, 0);
        (self.place, self.front, self.head) = (Place::default(), None, None);
        self.is_at_end = false;
    }

    /// The place of the line that was found, or of what was not given yet.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// The number of bytes of the log that have been read.
    #[must_use]
    pub fn read_len(&self) -> u64 {
        self.place.offset + (self.end - self.start) as u64
    }

    /// Tells if it has read text that it has not given: a line, or the beginning of one.
    #[must_use]
    pub fn has_text(&self) -> bool {
        match self.head {
            Some(head) => head.end != LineEnd::Dangling,
            None => self.end - self.start > self.front.map_or(0, |(_, len)| len),
        }
    }

    /// The input.
    pub fn input(&self) -> &R {
        &self.input
    }

    /// The line that was found; `None` before [`find`](Self::find).
    #[must_use]
    pub fn line(&self) -> Option<Line<'_>> {
        let head = self.head?;
        let raw = self.buffer.get(self.start..self.start + head.len)?;
        Some(Line {
            time: head.time,
            text: raw.get(head.text.0..head.text.1)?,
            raw,
            end: head.end,
        })
    }

    /// Goes on to the line after the one that was found.
    pub fn pass(&mut self) {
        let Some(head) = self.head.take() else {
            return;
        };
        self.place.offset += head.len as u64;
        self.place.inside = (head.end == LineEnd::Piece).then_some(head.time);
        self.start += head.len;
        self.searched = 0;
        self.front = head.next;
    }

    /// Finds the line at this place, and reads as much as it needs to.
    ///
    /// # Errors
    /// Those of the input.
    pub fn find(&mut self) -> io::Result<Found> {
        loop {
            if self.head.is_none() {
                self.head = self.find_in_buffer();
            }
            if self.head.is_some() {
                return Ok(Found::Line);
            }
            if self.is_at_end {
                return Ok(if self.is_final {
                    Found::End
                } else {
                    Found::Nothing
                });
            }
            self.read()?;
        }
    }

    /// Tells if the log has no more bytes than those in the buffer.
    fn is_over(&self) -> bool {
        self.is_final && self.is_at_end
    }

    /// Finds the line at `start`, if the buffer has all that has to be known of it.
    fn find_in_buffer(&mut self) -> Option<Head> {
        let len = self.end - self.start;
        if len == 0 {
            return None;
        }
        let (stamp, from) = match self.front {
            Some(front) => front,
            None => {
                let front = match self.prefix_at(0) {
                    Prefix::Found(stamp, len) => (Some(stamp), len),
                    Prefix::Missing => (None, 0),
                    Prefix::Cut if self.is_over() => {
                        return Some(Head {
                            time: None,
                            text: (len, len),
                            len,
                            end: LineEnd::Dangling,
                            next: None,
                        });
                    }
                    Prefix::Cut => return None,
                };
                self.front = Some(front);
                front
            }
        };
        let data = self.buffer.get(self.start..self.end).unwrap_or_default();
        // No further than it has to: what follows a piece is searched for the next one.
        let until = data.len().min(from + LONGEST_TEXT + 1);
        let unknown = data.get(self.searched.max(from)..until).unwrap_or_default();
        if let Some(newline) = memchr::memchr(b'\n', unknown) {
            let newline = newline + self.searched.max(from);
            return self.whole_line(stamp, from, newline);
        }
        self.searched = until;
        if len > from + LONGEST_TEXT {
            let text = data.get(from..).unwrap_or_default();
            let piece = stamp::pieces(text, LONGEST_TEXT).next();
            let len = from + piece.map_or(0, <[u8]>::len);
            return Some(Head {
                time: stamp,
                text: (from, len),
                len,
                end: LineEnd::Piece,
                next: Some((stamp, 0)),
            });
        }
        self.is_over().then_some(Head {
            time: stamp,
            text: (from, len),
            len,
            // After a piece there is a line, even if it ends there.
            end: if from == len {
                LineEnd::Dangling
            } else {
                LineEnd::End
            },
            next: None,
        })
    }

    /// The line that ends in the newline at this place, if the stamp after it is known.
    fn whole_line(&mut self, stamp: Option<Stamp>, from: usize, newline: usize) -> Option<Head> {
        let len = newline + 1;
        let mut head = Head {
            time: stamp,
            text: (from, newline),
            len,
            end: LineEnd::Newline,
            next: None,
        };
        match self.prefix_at(len) {
            Prefix::Found(own, prefix_len) => {
                head.time = Some(own);
                head.next = Some((Some(own), prefix_len));
            }
            // The agent writes a line with the stamp that follows it, except the command
            // of an interrupt, which has none in front either.
            Prefix::Cut if !self.is_over() => {
                let is_unstamped = stamp.is_none() && self.start + len == self.end;
                if !is_unstamped || !self.is_at_end {
                    return None;
                }
            }
            Prefix::Cut | Prefix::Missing => {
                // A read that failed: its stamp comes after the one that dangled there.
                if let Prefix::Found(own, prefix_len) = self.prefix_at(from)
                    && self
                        .buffer
                        .get(self.start + from + prefix_len..self.end)
                        .is_some_and(|text| text.starts_with(ERROR_LINE))
                {
                    head.time = Some(own);
                    head.text.0 = from + prefix_len;
                }
            }
        }
        Some(head)
    }

    /// Looks for a prefix so many bytes after `start`.
    fn prefix_at(&mut self, at: usize) -> Prefix {
        let bytes = self.buffer.get(self.start + at..self.end);
        let bytes = bytes.unwrap_or_default();
        // Lines that came in one read have one stamp.
        let (newest, len, stamp) = &self.newest;
        if let Some(stamp) = stamp
            && bytes.get(..*len) == newest.get(..*len)
        {
            return Prefix::Found(*stamp, *len);
        }
        let prefix = Prefix::of(self.label.as_bytes(), bytes);
        if let Prefix::Found(stamp, len) = prefix
            && let (Some(to), Some(from)) = (self.newest.0.get_mut(..len), bytes.get(..len))
        {
            to.copy_from_slice(from);
            self.newest = (self.newest.0, len, Some(stamp));
        }
        prefix
    }

    /// Reads on, or notes that the log is at its end.
    fn read(&mut self) -> io::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let until = self.buffer.len().min(self.end + self.next_read);
        let room = self.buffer.get_mut(self.end..until).unwrap_or_default();
        let len = loop {
            match self.input.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.next_read = self.buffer.len().min(2 * self.next_read);
        self.end += len;
        self.is_at_end = len == 0;
        Ok(())
    }
}
