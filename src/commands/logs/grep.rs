//! Lines that match a pattern.

use std::str::FromStr;

use memchr::memmem;
use regex_lite::Regex;

/// The characters that mean something else than themselves in a pattern, or more: U+FFFD
/// also means bytes that are no UTF-8.
const SPECIAL: &[char] = &[
    '\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$', '\u{fffd}',
];

/// A regular expression, to look for in lines.
#[derive(Clone, Debug)]
pub struct Grep {
    pattern: String,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    /// The pattern means itself: most do, and are found much faster.
    Text(Box<memmem::Finder<'static>>),
    Regex(Regex),
}

impl Grep {
    /// Tells if some part of the text matches. Invalid UTF-8 matches as U+FFFD.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        match &self.matcher {
            Matcher::Text(finder) => finder.find(text).is_some(),
            Matcher::Regex(regex) => regex.is_match(&String::from_utf8_lossy(text)),
        }
    }
}

impl FromStr for Grep {
    type Err = String;

    fn from_str(pattern: &str) -> Result<Grep, String> {
        let matcher = if pattern.contains(SPECIAL) {
            let regex = Regex::new(pattern)
                .map_err(|error| format!("expected a regular expression: {error}"))?;
            Matcher::Regex(regex)
        } else {
            let finder = memmem::Finder::new(pattern).into_owned();
            Matcher::Text(Box::new(finder))
        };
        Ok(Grep {
            pattern: pattern.to_owned(),
            matcher,
        })
    }
}

impl PartialEq for Grep {
    fn eq(&self, other: &Grep) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for Grep {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_text_or_a_regular_expression() {
        for (pattern, matching, other) in [
            ("fail", &b"it failed"[..], &b"it went well"[..]),
            ("", b"", b"\xff\n"),
            ("a-b#c", b"xa-b#cx", b"a b c"),
            ("^b.*d$", b"bcd", b"abcd"),
            ("(?i)error", b"an ERROR", b"a n"),
            (r"\d{3}", b"x123", b"12"),
            ("\u{fffd}", b"a\xffb", b"ab"),
            ("\u{fffd}$", b"a\xff", b"a"),
        ] {
            let grep: Grep = pattern.parse().unwrap();
            assert!(grep.matches(matching), "{pattern}");
            assert_eq!(grep.matches(other), pattern.is_empty(), "{pattern}");
        }
        let error = "(".parse::<Grep>().unwrap_err();
        assert!(
            error.starts_with("expected a regular expression: "),
            "{error}"
        );
    }
}
