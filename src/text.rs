//! Text from outside, as it may be shown to a person.

use std::borrow::Cow;

/// Tells if a character must not reach a terminal as it is.
///
/// These are the control characters, C1 too: they move the cursor, clear the screen
/// and forge lines. So do the line and paragraph separators of Unicode for some
/// programs. The characters that change the direction of the text around them make a
/// line read as another one. Other characters without a shape, such as a joiner, are
/// parts of words in some scripts.
#[must_use]
pub fn is_unshowable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{2028}' | '\u{2029}'
            | '\u{61c}' | '\u{200e}' | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}')
}

/// Escapes each character that [must not be shown](is_unshowable) as Rust does:
/// `\n`, `\u{1b}`.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unshowable) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unshowable(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_cursor_or_turns_text_around_is_escaped_and_words_are_not() {
        assert_eq!(
            escape("a\n\u{1b}[2J\u{9b}\u{7f}\u{202e}b\u{2028}"),
            "a\\n\\u{1b}[2J\\u{9b}\\u{7f}\\u{202e}b\\u{2028}"
        );
        for text in ["/var/lib/grüße 雪", "می\u{200c}خواهم", "a\\nb"] {
            assert_eq!(escape(text), text);
        }
    }
}
