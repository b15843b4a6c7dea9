//! What processes wrote, as text.

use std::process::Output;

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asserts that `text` has every one of these in it.
#[track_caller]
pub fn assert_says(text: &str, expected: &[&str]) {
    for part in expected {
        assert!(text.contains(part), "expected {part:?} in {text:?}");
    }
}

/// `text` with every stamp taken out, each looked at: label, date, `T`, time,
/// six digits, space.
pub fn unstamp(label: &str, text: &str) -> String {
    let mut pieces = text.split(label);
    let mut out = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let (stamp, rest) = piece.split_at(27);
        let shape: String = stamp
            .chars()
            .map(|c| if c.is_ascii_digit() { 'd' } else { c })
            .collect();
        assert_eq!(shape, "dddd-dd-ddTdd:dd:dd.dddddd ", "in {piece:?}");
        out.push_str(rest);
    }
    out
}
