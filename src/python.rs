//! Values printed as Python prints them (contract §6).
//!
//! The names of flags are made of this text. One byte more or less, and every step on
//! every node runs again.

mod read;

use std::fmt::Write;

use unicode_properties::{GeneralCategory as Category, UnicodeGeneralCategory};

pub use read::{read_integers, read_strings};

/// A list of strings: `['a', "it's"]`.
#[must_use]
pub fn strings<S: AsRef<str>>(list: &[S]) -> String {
    let items: Vec<String> = list.iter().map(|item| string(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// A list of integers: `[0, -15]`.
#[must_use]
pub fn integers(list: &[i64]) -> String {
    let items: Vec<String> = list.iter().map(i64::to_string).collect();
    format!("[{}]", items.join(", "))
}

/// `True` or `False`.
#[must_use]
pub fn boolean(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// A string in quotes: `'`, unless it holds a `'` and no `"`.
fn string(value: &str) -> String {
    let quote = if value.contains('\'') && !value.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::from(quote);
    for c in value.chars() {
        // Writing to a String cannot fail.
        let _ = match (c, u32::from(c)) {
            ('\t', _) => out.write_str("\\t"),
            ('\n', _) => out.write_str("\\n"),
            ('\r', _) => out.write_str("\\r"),
            ('\\', _) => out.write_str("\\\\"),
            _ if c == quote => write!(out, "\\{c}"),
            _ if is_printable(c) => out.write_char(c),
            (_, code @ ..=0xff) => write!(out, "\\x{code:02x}"),
            (_, code @ ..=0xffff) => write!(out, "\\u{code:04x}"),
            (_, code) => write!(out, "\\U{code:08x}"),
        };
    }
    out.push(quote);
    out
}

/// Tells if a character is printed as it is: no control or format character, not
/// private, not unassigned, and no separator except the space.
fn is_printable(c: char) -> bool {
    c == ' '
        || !matches!(
            c.general_category(),
            Category::Control
                | Category::Format
                | Category::Surrogate
                | Category::PrivateUse
                | Category::Unassigned
                | Category::LineSeparator
                | Category::ParagraphSeparator
                | Category::SpaceSeparator
        )
}
