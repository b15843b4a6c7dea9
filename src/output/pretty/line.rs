//! The unfinished line of one stream, and what of it may be shown.

use std::borrow::Cow;

use time::PrimitiveDateTime;
use unicode_width::UnicodeWidthChar;

use crate::text;

/// The most bytes of a line. A longer one is shown as several.
const LONGEST: usize = 4096;

/// The columns from one tab stop to the next.
const TAB: usize = 8;

/// A line whose end has not come yet.
#[derive(Debug, Default)]
pub(super) struct Line {
    bytes: Vec<u8>,
    /// Tells if a `\r` was the last that came: what follows replaces the line.
    is_returned: bool,
    /// The time at which the newest of it came.
    pub(super) at: Option<PrimitiveDateTime>,
}

impl Line {
    /// Takes bytes without `\n`. Returns those that the line has no room for.
    ///
    /// What comes after a `\r` is drawn over the line by a terminal, and so replaces it
    /// here.
    pub(super) fn add<'b>(&mut self, bytes: &'b [u8], at: PrimitiveDateTime) -> &'b [u8] {
        self.at = Some(at);
        let mut rest = bytes;
        while let Some((first, after)) = rest.split_first() {
            if *first == b'\r' {
                self.is_returned = true;
                rest = after;
                continue;
            }
            if self.is_returned {
                self.is_returned = false;
                self.bytes.clear();
            }
            let end = memchr::memchr(b'\r', rest).unwrap_or(rest.len());
            let room = LONGEST.saturating_sub(self.bytes.len());
            let taken = if end <= room { end } else { cut(rest, room) };
            if taken == 0 {
                return rest;
            }
            let (part, after) = rest.split_at_checked(taken).unwrap_or((rest, b""));
            self.bytes.extend_from_slice(part);
            rest = after;
            if taken < end {
                return rest;
            }
        }
        rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The line as it may be shown.
    pub(super) fn text(&self) -> String {
        clean(&self.bytes)
    }

    /// Begins the next line.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.is_returned = false;
    }
}

/// Finds the place to cut at `len` or a little before, so that no character is cut.
fn cut(bytes: &[u8], len: usize) -> usize {
    let begins = |at: &usize| bytes.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80);
    let found = (len.saturating_sub(3)..=len).rev().find(begins);
    found.unwrap_or(len)
}

/// Makes foreign bytes one line that a terminal may show: without the sequences that
/// colour text or move the cursor, tabs as spaces, other control characters escaped.
pub(crate) fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut cleaned = String::with_capacity(text.len());
    let mut column = 0;
    let mut rest = &*text;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = after_sequence(rest) {
            rest = after;
            continue;
        }
        rest = rest.get(c.len_utf8()..).unwrap_or("");
        if c == '\t' {
            let spaces = TAB - column % TAB;
            cleaned.extend(std::iter::repeat_n(' ', spaces));
            column += spaces;
        } else {
            let shown = text::escape(c.encode_utf8(&mut [0; 4])).into_owned();
            column += columns(&shown);
            cleaned.push_str(&shown);
        }
    }
    cleaned
}

/// Takes a control sequence off the beginning: `ESC [`, parameters, a letter.
fn after_sequence(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("\u{1b}[")?;
    let end = rest.find(|c: char| !matches!(c, ' '..='?'))?;
    let last = rest.get(end..)?.chars().next()?;
    matches!(last, '@'..='~').then(|| rest.get(end + 1..))?
}

fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or_default()).sum()
}

/// The beginning of a text that takes at most `width` columns.
pub(crate) fn fit(text: &str, width: usize) -> Cow<'_, str> {
    let mut column = 0;
    for (at, c) in text.char_indices() {
        column += c.width().unwrap_or_default();
        if column > width {
            return text.get(..at).unwrap_or("").into();
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: PrimitiveDateTime = PrimitiveDateTime::MIN;

    fn line(reads: &[&[u8]]) -> String {
        let mut line = Line::default();
        for read in reads {
            assert!(line.add(read, AT).is_empty());
        }
        line.text()
    }

    #[test]
    fn what_follows_a_carriage_return_replaces_the_line() {
        assert_eq!(line(&[b"10%\r20%", b"\r", b"30%\r"]), "30%");
        assert_eq!(line(&[b"words\r"]), "words");
        assert_eq!(line(&[b"\r\r"]), "");
    }

    #[test]
    fn a_character_that_reads_cut_is_whole() {
        assert_eq!(line(&[b"caf\xc3", b"\xa9"]), "café");
        assert_eq!(line(&[b"\xff"]), "\u{fffd}");
    }

    #[test]
    fn a_long_line_is_parted_between_characters() {
        let mut line = Line::default();
        let text = "é".repeat(LONGEST);
        let text = format!("a{text}");
        let mut rest = text.as_bytes();
        let mut whole = String::new();
        loop {
            rest = line.add(rest, AT);
            assert!(line.bytes.len() <= LONGEST);
            whole.push_str(&line.text());
            line.clear();
            if rest.is_empty() {
                break;
            }
        }
        assert_eq!(whole, text);
        // However invalid it is.
        assert!(line.add(&[0x80; LONGEST + 1], AT).len() < 8);
    }

    #[test]
    fn sequences_go_tabs_are_spaces_and_other_controls_are_escaped() {
        for (bytes, shown) in [
            (&b"\x1b[1;31mred\x1b[0m\x1b[K"[..], "red"),
            (b"a\tb", "a       b"),
            (b"\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            (b"\x1b[", "\\u{1b}["),
            ("\u{9b}2J".as_bytes(), "\\u{9b}2J"),
        ] {
            assert_eq!(clean(bytes), shown);
        }
    }

    #[test]
    fn a_text_is_cut_at_columns() {
        assert_eq!(fit("abc", 3), "abc");
        assert_eq!(fit("abcd", 3), "abc");
        assert_eq!(fit("雪雪", 3), "雪");
    }
}
