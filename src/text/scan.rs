//! Goes over text quickly, eight bytes at a time: a log has a gigabyte of it, and the
//! binary is built for size, so the compiler does not do it.

use std::borrow::Cow;

use super::is_unshowable;

/// One in each of eight bytes.
const ONES: u64 = 0x0101_0101_0101_0101;

/// The highest bit of each of eight bytes.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// How tabs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tabs {
    /// As what may be shown.
    Shown,
    /// As every other control character.
    Unshowable,
}

impl Tabs {
    fn are_in(self, byte: u8) -> bool {
        byte == b'\t' && self == Tabs::Shown
    }

    /// The highest bit of each byte that is a tab and may be shown.
    fn of(self, word: u64) -> u64 {
        match self {
            // Zero in place of a tab. The sum has no carry.
            Tabs::Shown => {
                let word = word ^ (ONES * 0x09);
                !(((word & !HIGH) + !HIGH) | word) & HIGH
            }
            Tabs::Unshowable => 0,
        }
    }
}

/// The number of bytes at the start that are printable ASCII. It may be less, but not if all
/// of them are.
pub(super) fn plain_len(text: &[u8], tabs: Tabs) -> usize {
    let (words, rest) = text.as_chunks();
    let is_plain = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        // The highest bit of a byte is set if it is less than a space, or more than `~`.
        // The difference has no borrow. A carry only reaches bytes above one that is more.
        let low = !((word | HIGH) - ONES * 0x20);
        let high = word.wrapping_add(ONES) | word;
        ((low & !tabs.of(word)) | high) & HIGH == 0
    };
    let plain = words.iter().take_while(|word| is_plain(word)).count() * 8;
    if plain < words.len() * 8 {
        return plain;
    }
    let is_plain = |byte: &&u8| matches!(**byte, b' '..=b'~') || tabs.are_in(**byte);
    plain + rest.iter().take_while(is_plain).count()
}

/// Splits a text at the first character that must not be shown.
pub(super) fn split_at_unshowable(text: &str, tabs: Tabs) -> Option<(&str, char, &str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        at += plain_len(bytes.get(at..)?, tabs);
        // What stopped that is in the next eight bytes, or they begin inside a character.
        let end = bytes.len().min(at + 8);
        while at < end {
            let byte = *bytes.get(at)?;
            if may_begin_unshowable(byte)
                && !tabs.are_in(byte)
                && let Some(c) = text.get(at..).and_then(|rest| rest.chars().next())
                && is_unshowable(c)
            {
                let (before, from) = text.split_at_checked(at)?;
                return Some((before, c, from.get(c.len_utf8()..)?));
            }
            at += 1;
        }
        if at == bytes.len() {
            return None;
        }
    }
}

/// Tells if this byte begins a character in UTF-8 that [must not be shown](is_unshowable).
/// It may also begin others.
fn may_begin_unshowable(byte: u8) -> bool {
    // U+0080 to U+009F, U+061C, U+200E to U+2069.
    matches!(byte, ..b' ' | 0x7f | 0xc2 | 0xd8 | 0xe2)
}

/// Takes bytes as UTF-8, with U+FFFD in place of what is none.
pub(super) fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_at_each_place_is_plain_if_it_is_printable() {
        for len in 0..20 {
            for (at, byte) in (0..len).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
                let mut text = vec![b'~'; len];
                text[at] = byte;
                for tabs in [Tabs::Shown, Tabs::Unshowable] {
                    let plain = plain_len(&text, tabs);
                    if matches!(byte, b' '..=b'~') || tabs.are_in(byte) {
                        assert_eq!(plain, len, "{byte} at {at}");
                    } else {
                        assert!((at / 8 * 8..=at).contains(&plain), "{byte} at {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn each_character_that_must_not_be_shown_is_found_at_each_place() {
        let all = (0..=0x1_ffff).filter_map(char::from_u32);
        for c in all {
            for before in ["", "\t ", "0123456", "01234567雪"] {
                let text = format!("{before}{c}after");
                let found = split_at_unshowable(&text, Tabs::Shown);
                let is_found = is_unshowable(c) && c != '\t';
                assert_eq!(found, is_found.then_some((before, c, "after")), "{c:?}");
            }
        }
        assert_eq!(
            split_at_unshowable("a\tb", Tabs::Unshowable),
            Some(("a", '\t', "b"))
        );
    }
}
