//! The stamper's properties, and the local time it is given.

mod support;

#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "the fuzz targets' too"
)]
#[path = "../fuzz/src/stamper.rs"]
mod model;

use std::process::Command;

use proptest::prelude::*;
use skyhook_agent::stamp::{self, Iso8601, LocalZone, Stamper};
use support::parse_time;
use time::{Duration, PrimitiveDateTime};

const AT: &str = "2026-05-02T21:51:23.456789";

/// The stamped form of a stream of reads that all came at one time.
fn stamp<'r>(reads: impl IntoIterator<Item = &'r [u8]>) -> Vec<u8> {
    let mut stamper = Stamper::new("[out]");
    let mut out = Vec::new();
    for read in reads {
        stamper.stamp(read, parse_time(AT), &mut out);
    }
    out
}

/// Text with many newlines and characters of every length.
fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof![Just('\n'), Just('\r'), any::<char>()], 0..200)
        .prop_map(String::from_iter)
}

/// Bytes in which characters are cut short, overlong and out of place.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..8),
        any::<char>().prop_map(|c| c.to_string().into_bytes()),
        any::<char>().prop_map(|c| c.to_string().into_bytes()[..c.len_utf8() - 1].to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf".to_vec()),
        // Much valid text.
        Just("é\n漢 plain ".repeat(50).into_bytes()),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn time_of_read() -> impl Strategy<Value = PrimitiveDateTime> {
    // Close together and far apart, in no order: the clock may be set back.
    prop_oneof![
        0..3_000_000_i64,
        any::<i32>().prop_map(|s| i64::from(s) * 1_000_003)
    ]
    .prop_map(|micros| parse_time(AT) + Duration::microseconds(micros))
}

proptest! {
    #[test]
    fn taking_the_prefixes_out_gives_valid_text_back(text in text()) {
        // A label that the text cannot hold by chance, or the test would lie.
        let mut out = Vec::new();
        let label = "\u{10fffd}label\u{10fffd}";
        prop_assume!(!text.contains('\u{10fffd}'));
        Stamper::new(label).stamp(text.as_bytes(), parse_time(AT), &mut out);
        let stamped = String::from_utf8(out).unwrap();
        prop_assert_eq!(support::unstamp(label, &stamped), text);
    }

    #[test]
    fn reads_split_at_character_borders_give_the_same_lines(
        text in text(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let borders: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.get(&borders)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let reads = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]);
        prop_assert_eq!(stamp(reads), stamp([text.as_bytes()]));
    }

    #[test]
    fn a_read_in_pieces_is_stamped_as_the_whole_of_it(read in bytes(), len in 0..20_usize) {
        prop_assert_eq!(stamp(stamp::pieces(&read, len)), stamp([&*read]));
        for piece in stamp::pieces(&read, len) {
            prop_assert!((1..=len.max(4)).contains(&piece.len()));
        }
    }

    #[test]
    fn any_reads_at_any_times_are_stamped_as_the_model_says(
        label in "[a-z\\[\\]é]{0,6}",
        reads in prop::collection::vec((time_of_read(), bytes()), 0..8),
    ) {
        model::check_reads(&label, &reads);
    }
}

#[test]
fn a_stream_that_brings_nothing_writes_nothing() {
    assert_eq!(stamp([]), b"");
    assert_eq!(stamp([&b""[..], b""]), b"");
}

#[test]
fn what_is_in_the_output_already_stays() {
    let mut out = b"before ".to_vec();
    Stamper::new("[err]").stamp(b"x", parse_time(AT), &mut out);
    assert_eq!(out, b"before [err]2026-05-02T21:51:23.456789 x");
}

#[test]
fn a_failing_read_is_a_line_of_its_own() {
    let mut stamper = Stamper::new("[out]");
    let mut out = Vec::new();
    stamper.stamp_error(&"Input/output error", parse_time(AT), &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "[out]2026-05-02T21:51:23.456789 ERROR reading stream: Input/output error\n"
    );
}

#[test]
fn the_ends_of_time_are_no_reason_to_panic() {
    for at in [PrimitiveDateTime::MIN, PrimitiveDateTime::MAX] {
        let mut out = Vec::new();
        Stamper::new("[out]").stamp(b"x\n", at, &mut out);
        assert!(out.ends_with(b" "));
    }
}

/// TZ belongs to the process, so the test runs itself again with another one.
#[test]
fn local_time_is_right_across_a_daylight_saving_change() {
    const CHILD: &str = "SKYHOOK_TEST_IS_CHILD";
    if std::env::var_os(CHILD).is_none() {
        let name = "local_time_is_right_across_a_daylight_saving_change";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(CHILD, "1")
            // Central Europe as a rule, which needs no zone files.
            .env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
            .output()
            .unwrap();
        let said = support::stdout(&output);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
        return;
    }
    // One zone for all, as in one run: what it remembers must not mislead it.
    let zone = LocalZone::default();
    for (utc, local) in [
        ("2026-01-01T00:00:00.000000", "2026-01-01T01:00:00.000000"),
        ("2026-03-29T00:59:59.000001", "2026-03-29T01:59:59.000001"),
        ("2026-03-29T00:59:59.999999", "2026-03-29T01:59:59.999999"),
        ("2026-03-29T01:00:00.000000", "2026-03-29T03:00:00.000000"),
        ("2026-03-29T01:00:00.000001", "2026-03-29T03:00:00.000001"),
        ("2026-10-25T00:59:59.999999", "2026-10-25T02:59:59.999999"),
        ("2026-10-25T01:00:00.000000", "2026-10-25T02:00:00.000000"),
        // And back: the clock may be set.
        ("2026-10-25T00:59:59.999999", "2026-10-25T02:59:59.999999"),
    ] {
        assert_eq!(
            zone.local(parse_time(utc).assume_utc()),
            parse_time(local),
            "at {utc}"
        );
    }
}

proptest! {
    #[test]
    fn a_prefix_can_be_read_back(at in time_of_read(), read in bytes()) {
        let mut out = Vec::new();
        Stamper::new("[err]").stamp(&read, at, &mut out);
        match stamp::split_prefix("[err]", &out) {
            Some((time, _)) => prop_assert_eq!(time, at),
            None => prop_assert!(read.is_empty()),
        }
        prop_assert_eq!(stamp::split_prefix("[out]", &out), None);
    }
}

#[test]
fn only_the_form_that_is_written_is_read_as_a_time() {
    let read = |text: &str| Iso8601::parse(text.as_bytes()).map(|Iso8601(time)| time);
    assert_eq!(read(AT), Some(parse_time(AT)));
    for text in [
        "",
        "2026-05-02T21:51:23",
        "2026-05-02T21:51:23.45678",
        "2026-05-02T21:51:23.4567890",
        "2026-05-02 21:51:23.456789",
        "2026-05-02T21:51:23,456789",
        "2026-13-02T21:51:23.456789",
        "2026-02-30T21:51:23.456789",
        "2026-05-02T24:51:23.456789",
        "2026-05-02T21:51:60.456789",
        "+026-05-02T21:51:23.456789",
        "2026-05-02T21:51:23.45678é",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}
