//! The stamper: bytes of one stream in, labelled and timed bytes out
//! (contract §1). Pure: no descriptor, no file, and the time is given.
//!
//! Also [`Clock`], the source of that time.

mod prefix;

use std::cell::Cell;
use std::fmt;
use std::io::Write;

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

use crate::system::sys;
pub use prefix::{Prefix, Stamp};

/// The replacement for each maximal invalid part of UTF-8: U+FFFD.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// The length of valid text after which validation at full speed is tried again. Text in
/// another encoding has an invalid byte every few bytes, and each try makes it slower.
const WORTH_A_TRY: usize = 512;

/// The length of a prefix whose label is `[out]` or `[err]`.
const USUAL_PREFIX_LEN: usize = "[out]2026-05-02T21:51:23.456789 ".len();

/// Stamps the reads of one stream (contract §1).
///
/// The prefix is the label, the local time as ISO-8601 without a zone and
/// always with six fraction digits, and one space. It comes before the
/// first read and after every `\n`, so a newline is followed by the time of the
/// read that brought it, and a stream that ends in `\n` ends in a dangling
/// prefix. Bytes are decoded as UTF-8 read by read; each maximal invalid part
/// becomes U+FFFD.
///
/// ```
/// use skyhook_agent::stamp::Stamper;
/// use time::{Date, Month, PrimitiveDateTime, Time};
///
/// let at = PrimitiveDateTime::new(
///     Date::from_calendar_date(2026, Month::May, 2).unwrap(),
///     Time::from_hms_micro(21, 51, 23, 456_789).unwrap(),
/// );
/// let mut out = Vec::new();
/// Stamper::new("[out]").stamp(b"hello\n", at, &mut out);
/// assert_eq!(
///     out,
///     b"[out]2026-05-02T21:51:23.456789 hello\n[out]2026-05-02T21:51:23.456789 ",
/// );
/// ```
#[derive(Debug)]
pub struct Stamper {
    /// Label, time and space, as of the newest read.
    prefix: Vec<u8>,
    /// The length of the label in `prefix`.
    label_len: usize,
    /// The whole second that `prefix` shows.
    second: Option<PrimitiveDateTime>,
    /// Tells if the stream has brought anything yet.
    started: bool,
}

impl Stamper {
    /// Makes a stamper for one stream; `label` is written as it is, usually `[out]`
    /// or `[err]`.
    #[must_use]
    pub fn new(label: &str) -> Stamper {
        Stamper {
            prefix: label.as_bytes().to_vec(),
            label_len: label.len(),
            second: None,
            started: false,
        }
    }

    /// Appends the stamped form of one read to `out`.
    ///
    /// `read` is what one read of the stream returned and `at` the local time
    /// when it did, used to the microsecond. An empty `read` adds nothing.
    ///
    /// Allocates only if `out` has to grow: at worst each byte of `read` is a newline and
    /// brings a prefix.
    pub fn stamp(&mut self, read: &[u8], at: PrimitiveDateTime, out: &mut Vec<u8>) {
        if read.is_empty() {
            return;
        }
        self.set_time(at);
        if !self.started {
            self.started = true;
            out.extend_from_slice(&self.prefix);
        }
        // The end of a character that the limit cut: each byte is an invalid part.
        let cut = read.iter().take(3).take_while(|b| is_continuation(**b));
        let cut = cut.count();
        (0..cut).for_each(|_| out.extend_from_slice(REPLACEMENT));
        let mut rest = read.get(cut..).unwrap_or(b"");
        loop {
            let Err(error) = simdutf8::compat::from_utf8(rest) else {
                return self.stamp_lines(rest, out);
            };
            let valid_len = error.valid_up_to();
            rest = self.stamp_part(rest, valid_len, error.error_len(), out);
            if valid_len < WORTH_A_TRY {
                break;
            }
        }
        while let Err(error) = std::str::from_utf8(rest) {
            rest = self.stamp_part(rest, error.valid_up_to(), error.error_len(), out);
        }
        self.stamp_lines(rest, out);
    }

    /// Appends the line that stands for a failing read:
    /// `{label}{time} ERROR reading stream: {error}\n`.
    pub fn stamp_error(
        &mut self,
        error: &dyn fmt::Display,
        at: PrimitiveDateTime,
        out: &mut Vec<u8>,
    ) {
        self.set_time(at);
        out.extend_from_slice(&self.prefix);
        // Writing to a Vec cannot fail.
        let _ = writeln!(out, "ERROR reading stream: {error}");
    }

    /// Takes the valid text that `read` begins with and the invalid part after it,
    /// which goes to the end of the read if it has no length: a character that was cut. Returns the rest.
    fn stamp_part<'r>(
        &self,
        read: &'r [u8],
        valid_len: usize,
        invalid_len: Option<usize>,
        out: &mut Vec<u8>,
    ) -> &'r [u8] {
        let (valid, rest) = read.split_at_checked(valid_len).unwrap_or((read, b""));
        self.stamp_lines(valid, out);
        out.extend_from_slice(REPLACEMENT);
        let invalid_len = invalid_len.unwrap_or(rest.len());
        rest.get(invalid_len..).unwrap_or(b"")
    }

    /// Copies valid text with the prefix after each newline.
    fn stamp_lines(&self, text: &[u8], out: &mut Vec<u8>) {
        // A copy whose length the compiler knows is two instructions, not a call: a
        // fifth off short lines.
        match <&[u8; USUAL_PREFIX_LEN]>::try_from(self.prefix.as_slice()) {
            Ok(prefix) => copy_lines(text, prefix, out),
            Err(_) => copy_lines(text, &self.prefix, out),
        }
    }

    /// Brings `prefix` to `at`; the date part is formatted only when the second
    /// changes.
    fn set_time(&mut self, at: PrimitiveDateTime) {
        let second = at.truncate_to_second();
        if self.second != Some(second) {
            self.second = Some(second);
            self.prefix.truncate(self.label_len);
            // Writing to a Vec cannot fail.
            let _ = write!(self.prefix, "{} ", Iso8601(at));
        }
        let mut left = at.microsecond();
        for digit in self.prefix.iter_mut().rev().skip(1).take(6) {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
    }
}

/// Tells if a byte can only be inside a character of UTF-8, never its first.
fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

fn copy_lines(text: &[u8], prefix: &(impl AsRef<[u8]> + ?Sized), out: &mut Vec<u8>) {
    let mut start = 0;
    // Only `\n` ends a line, and no byte of a longer character looks like one.
    for newline in memchr::memchr_iter(b'\n', text) {
        out.extend_from_slice(text.get(start..=newline).unwrap_or(b""));
        out.extend_from_slice(prefix.as_ref());
        start = newline + 1;
    }
    out.extend_from_slice(text.get(start..).unwrap_or(b""));
}

/// One read in pieces of at most `len` bytes, 4 or more, cut so that stamping them
/// one after another, with the time of the read, is stamping the read.
///
/// For a caller that bounds what it holds: a read takes up to 33 times its length
/// when it is stamped.
pub fn pieces(read: &[u8], len: usize) -> impl Iterator<Item = &[u8]> {
    let len = len.max(4);
    let mut rest = read;
    std::iter::from_fn(move || {
        let (piece, after) = rest
            .split_at_checked(piece_len(rest, len))
            .unwrap_or((rest, b""));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Finds the place to cut: at most at `len`, and not inside a character, even if it is
/// invalid.
fn piece_len(read: &[u8], len: usize) -> usize {
    if read.len() <= len {
        return read.len();
    }
    // Every byte but a continuation byte begins a character or is none. Where there
    // are four continuation bytes in a row, the last belongs to no character.
    let begins = |at: &usize| read.get(*at).is_some_and(|byte| !is_continuation(*byte));
    (len - 3..=len).rev().find(begins).unwrap_or(len)
}

/// A time as ISO-8601, without a zone and always with six fraction digits:
/// `2026-05-02T21:51:23.456789`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iso8601(pub PrimitiveDateTime);

impl Iso8601 {
    /// The length of the form that `Display` writes, for the years 0 to 9999.
    const LEN: usize = "2026-05-02T21:51:23.456789".len();

    /// Reads the form that `Display` writes; `None` for every other.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Iso8601> {
        let separators = [
            (4, b'-'),
            (7, b'-'),
            (10, b'T'),
            (13, b':'),
            (16, b':'),
            (19, b'.'),
        ];
        let is_separator = |at| separators.iter().find(|(place, _)| *place == at);
        let fits = text
            .iter()
            .enumerate()
            .all(|(at, byte)| match is_separator(at) {
                Some((_, separator)) => byte == separator,
                None => byte.is_ascii_digit(),
            });
        if !fits || text.len() != Iso8601::LEN {
            return None;
        }
        let number = |range| {
            std::str::from_utf8(text.get(range)?)
                .ok()?
                .parse::<u32>()
                .ok()
        };
        let small = |at: usize| u8::try_from(number(at..at + 2)?).ok();
        let month = Month::try_from(small(5)?).ok()?;
        let year = i32::try_from(number(0..4)?).ok()?;
        Some(Iso8601(PrimitiveDateTime::new(
            Date::from_calendar_date(year, month, small(8)?).ok()?,
            Time::from_hms_micro(small(11)?, small(14)?, small(17)?, number(20..26)?).ok()?,
        )))
    }
}

/// Takes the prefix off stamped output that begins with it, as the stamper of `label`
/// wrote it. Returns its time and the bytes after it; `None` if there is no prefix.
///
/// A stamped log is text, prefix after newline: the time of a line is in the prefix
/// after its newline (contract §1).
#[must_use]
pub fn split_prefix<'b>(label: &str, stamped: &'b [u8]) -> Option<(PrimitiveDateTime, &'b [u8])> {
    let rest = stamped.strip_prefix(label.as_bytes())?;
    let (time, rest) = rest.split_at_checked(Iso8601::LEN)?;
    Some((Iso8601::parse(time)?.0, rest.strip_prefix(b" ")?))
}

impl fmt::Display for Iso8601 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.0.to_calendar_date();
        let (hour, minute, second, micro) = self.0.as_hms_micro();
        let month = u8::from(month);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micro:06}"
        )
    }
}

/// The source of the time. Tests bring their own.
pub trait Clock {
    /// The time in UTC.
    fn utc(&self) -> OffsetDateTime;

    /// The local time, without its zone, as the stamper takes it.
    fn local(&self) -> PrimitiveDateTime;
}

/// The system's clock and time zone.
#[derive(Debug, Default)]
pub struct SystemClock {
    zone: LocalZone,
}

impl Clock for SystemClock {
    fn utc(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn local(&self) -> PrimitiveDateTime {
        self.zone.local(self.utc())
    }
}

/// The system's time zone: `TZ`, else /etc/localtime, as libc understands them.
///
/// libc is asked once per second of use, and looks at no file then. That is
/// right across a daylight-saving change too: they fall on whole seconds.
#[derive(Debug, Default)]
pub struct LocalZone {
    /// A time, in whole seconds since the epoch, and its local time.
    newest: Cell<Option<(i64, PrimitiveDateTime)>>,
}

impl LocalZone {
    /// The local time at `utc`; UTC itself if libc has no answer.
    #[must_use]
    pub fn local(&self, utc: OffsetDateTime) -> PrimitiveDateTime {
        let unix_time = utc.unix_timestamp();
        let second = match self.newest.get() {
            Some((newest, local)) if newest == unix_time => local,
            _ => {
                let local = sys::local_offset(unix_time)
                    .and_then(|seconds| UtcOffset::from_whole_seconds(seconds).ok())
                    .and_then(|offset| utc.checked_to_offset(offset))
                    .unwrap_or(utc);
                let local = PrimitiveDateTime::new(local.date(), local.time());
                self.newest.set(Some((unix_time, local)));
                local
            }
        };
        second
            .replace_nanosecond(utc.nanosecond())
            .unwrap_or(second)
    }
}
