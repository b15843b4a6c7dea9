//! Compares the stamper with a plain implementation of contract §1.

use skyhook_agent::stamp::Stamper;
use time::{Date, Duration, Month, PrimitiveDateTime};

/// Checks the stamper with any reads at any times.
///
/// In `data`, a read is one byte for its length, four for its time, then its bytes.
pub fn check(data: &[u8]) {
    let mut reads = Vec::new();
    let mut rest = data;
    while let Some(([len, time @ ..], after)) = rest.split_first_chunk::<5>() {
        let (read, after) = after.split_at(after.len().min((*len).into()));
        reads.push((time_of_read(i32::from_le_bytes(*time)), read.to_vec()));
        rest = after;
    }
    check_reads("[out]", &reads);
}

/// Checks that stamper and model write the same for these reads, and for a read that
/// fails after them.
pub fn check_reads(label: &str, reads: &[(PrimitiveDateTime, Vec<u8>)]) {
    let mut stamper = Stamper::new(label);
    let mut out = Vec::new();
    for (at, read) in reads {
        stamper.stamp(read, *at, &mut out);
    }
    let mut expected = model(label, reads);
    assert_eq!(String::from_utf8_lossy(&out), expected);

    let at = reads.last().map_or(PrimitiveDateTime::MIN, |(at, _)| *at);
    stamper.stamp_error(&"it broke", at, &mut out);
    expected += &format!("{}ERROR reading stream: it broke\n", prefix(label, at));
    assert_eq!(out, expected.as_bytes());
}

/// Writes the bytes that contract §1 demands for these reads.
fn model(label: &str, reads: &[(PrimitiveDateTime, Vec<u8>)]) -> String {
    let mut out = String::new();
    for (at, read) in reads.iter().filter(|(_, read)| !read.is_empty()) {
        if out.is_empty() {
            out.push_str(&prefix(label, *at));
        }
        for c in String::from_utf8_lossy(read).chars() {
            out.push(c);
            if c == '\n' {
                out.push_str(&prefix(label, *at));
            }
        }
    }
    out
}

fn prefix(label: &str, at: PrimitiveDateTime) -> String {
    let (y, mo, d) = (at.year(), u8::from(at.month()), at.day());
    let (h, mi, s, us) = at.time().as_hms_micro();
    format!("{label}{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}.{us:06} ")
}

/// Makes times that are close together or far apart, in any order: clocks can be set
/// back.
fn time_of_read(number: i32) -> PrimitiveDateTime {
    let day = Date::from_calendar_date(2026, Month::May, 2).unwrap();
    let micros = i64::from(number) * if number % 2 == 0 { 1 } else { 1_000_003 };
    day.midnight() + Duration::microseconds(micros)
}
