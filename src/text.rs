//! Text from outside, as it may be shown to a person.

use std::borrow::Cow;
use std::time::Duration;

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

/// Writes arguments as a shell reads them, with a blank in front of each. What
/// [must not be shown](is_unshowable) is escaped.
#[must_use]
pub fn words(arguments: &[String]) -> String {
    let words = arguments.iter();
    words.map(|word| format!(" {}", quoted(word))).collect()
}

fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.into();
    }
    format!("'{}'", escape(word).replace('\'', r"'\''")).into()
}

/// Adds a line of a program's output to `out`, as a terminal may have it: what
/// [must not be shown](is_unshowable) is escaped, except tabs, which do no harm. Left out are
/// the sequences that set colours, and the `\r` of a line that ends as those of DOS.
pub fn add_line(line: &[u8], out: &mut Vec<u8>) {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    // Each byte is looked at, whatever the one before was: that is much faster.
    if line.iter().fold(true, |plain, byte| plain & is_plain(byte)) {
        out.extend_from_slice(line);
        return;
    }
    let text = String::from_utf8_lossy(line);
    let mut rest = text.strip_suffix('\r').unwrap_or(&text);
    while let Some((before, from)) = rest
        .find(is_unshowable)
        .and_then(|at| rest.split_at_checked(at))
    {
        out.extend_from_slice(before.as_bytes());
        let mut chars = from.chars();
        let first = chars.next().unwrap_or_default();
        rest = if let Some(after) = after_color(from) {
            after
        } else {
            if first == '\t' {
                out.push(b'\t');
            } else {
                out.extend(first.escape_default().map(|c| c as u8));
            }
            chars.as_str()
        };
    }
    out.extend_from_slice(rest.as_bytes());
}

/// The text after the sequence that sets a colour or a style, if `text` begins with one.
fn after_color(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    parameters
        .trim_start_matches(|c: char| c.is_ascii_digit() || c == ';' || c == ':')
        .strip_prefix('m')
}

/// Reads a duration: numbers, each with its unit, such as `90s` or `1h30m`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(unit)?;
        let seconds = match after.chars().next()? {
            's' => 1,
            'm' => 60,
            'h' => 60 * 60,
            'd' => 24 * 60 * 60,
            'w' => 7 * 24 * 60 * 60,
            _ => return None,
        };
        let seconds = number.parse::<u64>().ok()?.checked_mul(seconds)?;
        total = total.checked_add(Duration::from_secs(seconds))?;
        rest = after.get(1..)?;
    }
    (!text.is_empty()).then_some(total)
}

/// Writes a number of bytes for people: at most three digits, and a unit.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut scale, mut tenths) = (0, u128::from(bytes) * 10);
    while tenths >= 10_000 && scale + 1 < units.len() {
        tenths = tenths.div_ceil(1024);
        scale += 1;
    }
    let unit = units.get(scale).copied().unwrap_or_default();
    match (scale, tenths) {
        (0, _) | (_, 1000..) => format!("{} {unit}", tenths / 10),
        _ => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
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

    #[test]
    fn arguments_are_quoted_where_a_shell_needs_it() {
        let list = ["a=b", "", "y z", "it's", "$HOME", "grüße", "\u{1b}[2J"].map(str::to_owned);
        assert_eq!(
            words(&list),
            r" a=b '' 'y z' 'it'\''s' '$HOME' grüße '\u{1b}[2J'"
        );
        assert_eq!(words(&[]), "");
    }

    #[test]
    fn a_line_is_shown_without_colours_and_without_what_moves_the_cursor() {
        for (text, shown) in [
            (&b"plain\ttext ~"[..], "plain\ttext ~"),
            (b"", ""),
            ("grüße".as_bytes(), "grüße"),
            (b"dos\r", "dos"),
            (b"10%\r20%", "10%\\r20%"),
            (b"\x1b[1;31mred\x1b[0m!", "red!"),
            (
                b"\x1b[2J\x1b]0;x\x07\x1b[",
                "\\u{1b}[2J\\u{1b}]0;x\\u{7}\\u{1b}[",
            ),
            (
                b"a\0b\xffc\xc2\x9bd\t\x7f",
                "a\\u{0}b\u{fffd}c\\u{9b}d\t\\u{7f}",
            ),
        ] {
            let mut out = Vec::new();
            add_line(text, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), shown, "{text:?}");
        }
    }

    #[test]
    fn a_size_has_three_digits_and_a_unit() {
        for (bytes, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KiB"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (123 * 1024, "123 KiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(size(bytes), shown, "{bytes}");
        }
    }
}
