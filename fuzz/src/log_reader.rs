//! Compares the reader of logs with a plain implementation, which has the whole log.

use std::io::{self, Read};

use skyhook_agent::output::log_reader::{Found, LONGEST_TEXT, LineEnd, LogReader, Place};
use skyhook_agent::text;

/// A line: its time, its text, its bytes, and where it ends.
type Line = (Option<String>, Vec<u8>, Vec<u8>, LineEnd);

/// Checks the reader with any log, in reads of any length.
///
/// The first byte of `data` chooses the lengths. Then comes the log; in it, the byte 1
/// and the one after it, `n`, stand for a text of about `n` KiB.
pub fn check(data: &[u8]) {
    let Some((seed, rest)) = data.split_first() else {
        return;
    };
    let log = expand(rest);
    let expected = model(&log);
    let raw: Vec<u8> = expected
        .iter()
        .flat_map(|(.., raw, _)| raw.clone())
        .collect();
    assert!(raw == log, "the model has each byte");

    let whole = read(&log, *seed, false);
    assert!(
        whole == expected,
        "{:?}\nexpected {:?}",
        short(&whole),
        short(&expected)
    );
    let parked = read(&log, *seed, true);
    assert!(
        parked == expected,
        "{:?}\nexpected {:?}",
        short(&parked),
        short(&expected)
    );
    // A line that nothing stamps is given before it is known if something will.
    let timeless = |lines: &[Line]| -> Vec<Line> {
        let lines = lines.iter().cloned();
        lines
            .map(|(_, text, raw, end)| (None, text, raw, end))
            .collect()
    };
    let followed = follow(&log, *seed);
    assert!(
        timeless(&followed) == timeless(&expected),
        "{:?}\nexpected {:?}",
        short(&followed),
        short(&expected)
    );
    for (_, text, ..) in &expected {
        check_shown(text);
    }
}

/// Checks that a text is shown without anything that a terminal obeys.
fn check_shown(line: &[u8]) {
    let mut shown = Vec::new();
    text::add_line(line, &mut shown);
    let shown = String::from_utf8(shown).unwrap();
    let bad = shown
        .chars()
        .find(|c| *c != '\t' && text::is_unshowable(*c));
    assert_eq!(bad, None, "{shown:?}");
}

fn expand(data: &[u8]) -> Vec<u8> {
    let mut log = Vec::new();
    let mut bytes = data.iter();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.as_slice().first()) {
            // Never more than a few pieces.
            (1, Some(n)) if log.len() < 4 * LONGEST_TEXT => {
                log.extend("é雪x".repeat(usize::from(*n) * 1024 / 6).as_bytes());
                bytes.next();
            }
            _ => log.push(*byte),
        }
    }
    log
}

/// Reads that are as long as they like to be.
struct Reads<'l> {
    log: &'l [u8],
    seed: u8,
}

impl Read for Reads<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.seed = self.seed.wrapping_mul(5).wrapping_add(3);
        // Short ones alone would take long.
        let len = if self.log.len() > 10_000 {
            10_000
        } else {
            usize::from(self.seed % 40) + 1
        };
        let len = len.min(self.log.len()).min(buffer.len());
        let (read, rest) = self.log.split_at(len);
        buffer[..len].copy_from_slice(read);
        self.log = rest;
        Ok(len)
    }
}

/// Reads the whole log; if `parks`, with a new reader for each line.
fn read(log: &[u8], seed: u8, parks: bool) -> Vec<Line> {
    let start = |place: Place| {
        let log = &log[usize::try_from(place.offset).unwrap()..];
        LogReader::new(Reads { log, seed }, "[out]", place, true)
    };
    let mut reader = start(Place::default());
    let mut lines = Vec::new();
    while reader.find().unwrap() == Found::Line {
        if parks {
            reader = start(reader.place());
            assert_eq!(reader.find().unwrap(), Found::Line);
        }
        lines.push(line(&reader));
        reader.pass();
        if parks && lines.len() > 100 {
            // Enough of that: it takes the square of the time.
            reader = start(reader.place());
            while reader.find().unwrap() == Found::Line {
                lines.push(line(&reader));
                reader.pass();
            }
        }
    }
    assert_eq!(reader.find().unwrap(), Found::End);
    lines
}

/// Reads a log that grows.
fn follow(log: &[u8], seed: u8) -> Vec<Line> {
    struct Growing<'l> {
        log: &'l [u8],
        there: usize,
    }
    impl Read for Growing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.there.min(buffer.len()).min(self.log.len());
            let (read, rest) = self.log.split_at(len);
            buffer[..len].copy_from_slice(read);
            (self.log, self.there) = (rest, self.there - len);
            Ok(len)
        }
    }
    // The reader has the input for itself: a new one for each growth, at its place.
    let mut lines = Vec::new();
    let mut place = Place::default();
    let mut len = 0;
    let step = if log.len() > 10_000 {
        30_000
    } else {
        usize::from(seed % 50) + 1
    };
    while len < log.len() {
        len = log.len().min(len + step);
        let at = usize::try_from(place.offset).unwrap();
        let input = Growing {
            log: &log[at..],
            there: len - at,
        };
        let mut reader = LogReader::new(input, "[out]", place, false);
        loop {
            match reader.find().unwrap() {
                Found::Line => {
                    lines.push(line(&reader));
                    reader.pass();
                }
                Found::Nothing => break,
                Found::End => panic!("a log that is not final has no end"),
            }
        }
        place = reader.place();
    }
    let rest = &log[usize::try_from(place.offset).unwrap()..];
    let mut reader = LogReader::new(rest, "[out]", place, true);
    while reader.find().unwrap() == Found::Line {
        lines.push(line(&reader));
        reader.pass();
    }
    lines
}

fn line<R: Read>(reader: &LogReader<R>) -> Line {
    let line = reader.line().unwrap();
    let time = line.time.map(|time| time.as_str().to_owned());
    (time, line.text.to_vec(), line.raw.to_vec(), line.end)
}

/// The lines of a log that is complete.
fn model(log: &[u8]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut rest = log;
    while !rest.is_empty() {
        let newline = rest.iter().position(|byte| *byte == b'\n');
        let (raw, after) = rest.split_at(newline.map_or(rest.len(), |at| at + 1));
        let (front, prefix_len) = prefix(raw).unwrap_or_default();
        let front = (prefix_len > 0).then_some(front);
        let own = prefix(after).map(|(time, _)| time);
        let mut text = &raw[prefix_len..newline.map_or(raw.len(), |at| at)];
        let mut bytes = raw;
        // Pieces of a long line.
        while text.len() > LONGEST_TEXT {
            let is_start = |at: &usize| text[*at] & 0xc0 != 0x80;
            let cut = (LONGEST_TEXT - 3..=LONGEST_TEXT).rev().find(is_start);
            let cut = cut.unwrap_or(LONGEST_TEXT);
            let raw_len = cut + bytes.len() - text.len() - usize::from(newline.is_some());
            lines.push((
                front.clone(),
                text[..cut].to_vec(),
                bytes[..raw_len].to_vec(),
                LineEnd::Piece,
            ));
            text = &text[cut..];
            bytes = &bytes[raw_len..];
        }
        let is_cut_prefix = newline.is_none() && is_cut(raw);
        lines.push(if newline.is_none() && (text.is_empty() || is_cut_prefix) {
            (
                if is_cut_prefix { None } else { front },
                Vec::new(),
                bytes.to_vec(),
                LineEnd::Dangling,
            )
        } else if newline.is_none() {
            (front, text.to_vec(), bytes.to_vec(), LineEnd::End)
        } else if own.is_some() {
            (own, text.to_vec(), bytes.to_vec(), LineEnd::Newline)
        } else {
            let failed =
                prefix(text).filter(|(_, len)| text[*len..].starts_with(b"ERROR reading stream: "));
            match failed {
                Some((time, len)) => (
                    Some(time),
                    text[len..].to_vec(),
                    bytes.to_vec(),
                    LineEnd::Newline,
                ),
                None => (front, text.to_vec(), bytes.to_vec(), LineEnd::Newline),
            }
        });
        rest = after;
    }
    lines
}

/// The time of a prefix in full, and the length of the prefix.
fn prefix(bytes: &[u8]) -> Option<(String, usize)> {
    for shape in [
        "[out]dddd-dd-ddTdd:dd:dd.dddddd ",
        "[out]dddd-dd-ddTdd:dd:dd ",
    ] {
        if bytes.len() >= shape.len() && fits(bytes, shape.as_bytes()) {
            let time = String::from_utf8(bytes[5..shape.len() - 1].to_vec()).unwrap();
            let fraction = if time.len() == 19 { ".000000" } else { "" };
            return Some((time + fraction, shape.len()));
        }
    }
    None
}

/// Tells if these are the first bytes of a prefix, and not all.
fn is_cut(bytes: &[u8]) -> bool {
    let shape = b"[out]dddd-dd-ddTdd:dd:dd.dddddd ";
    bytes.len() < shape.len() && fits(bytes, shape)
}

fn fits(bytes: &[u8], shape: &[u8]) -> bool {
    bytes.iter().zip(shape).all(|(byte, shape)| match shape {
        b'd' => byte.is_ascii_digit(),
        _ => byte == shape,
    })
}

/// The lines, for a message: of long texts the length.
fn short(lines: &[Line]) -> Vec<String> {
    let lines = lines.iter();
    lines
        .map(|(time, text, raw, end)| {
            let text = if text.len() < 200 {
                String::from_utf8_lossy(text).into_owned()
            } else {
                text.len().to_string()
            };
            format!("{time:?} {text:?} {} {end:?}", raw.len())
        })
        .collect()
}
