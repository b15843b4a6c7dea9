//! Text from outside, as it may be shown to a person.

mod scan;

use std::borrow::Cow;
use std::time::Duration;

use scan::Tabs;

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
    if scan::plain_len(line, Tabs::Shown) == line.len() {
        out.extend_from_slice(line);
        return;
    }
    let text = scan::utf8(line);
    let mut rest = text.strip_suffix('\r').unwrap_or(&text);
    while let Some((before, first, after)) = scan::split_at_unshowable(rest, Tabs::Shown) {
        out.extend_from_slice(before.as_bytes());
        rest = after;
        if first == '\u{1b}'
            && let Some(after) = after_color(after)
        {
            rest = after;
        } else {
            out.extend(first.escape_default().map(|c| c as u8));
        }
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Adds bytes to `out` as a string of JSON, with U+FFFD for what is no UTF-8. What
/// [must not be shown](is_unshowable) is escaped, too: the value is the same.
pub fn add_json(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let text = scan::utf8(bytes);
    let mut rest = &*text;
    while let Some((before, first, after)) = scan::split_at_unshowable(rest, Tabs::Unshowable) {
        add_quoted(before.as_bytes(), out);
        rest = after;
        match first {
            '\t' => out.extend_from_slice(b"\\t"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            // All are in Unicode's first plane, and have one unit of UTF-16.
            _ => out.extend_from_slice(format!("\\u{:04x}", u32::from(first)).as_bytes()),
        }
    }
    add_quoted(rest.as_bytes(), out);
    out.push(b'"');
}

/// Adds text, with a backslash in front of what JSON wants one for.
fn add_quoted(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest)
        && let Some((before, after)) = rest.split_at_checked(at)
        && let Some((special, after)) = after.split_first()
    {
        out.extend_from_slice(before);
        out.extend_from_slice(&[b'\\', *special]);
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// The text after the sequence that sets a colour or a style, if `text` is the rest of one
/// after its escape character.
fn after_color(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix('[')?;
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

    /// As serde_json has it, which escapes less.
    #[test]
    fn a_string_of_json_has_nothing_that_must_not_be_shown_and_the_same_value() {
        for text in [
            "",
            "plain",
            "\"\\\"",
            "a\n\t\r\u{8}\u{c}\0\u{1b}[2J\u{7f}\u{9b}b\u{202e}\u{2028}é雪\u{1f600}\"\\",
        ] {
            let mut json = Vec::new();
            add_json(text.as_bytes(), &mut json);
            let json = String::from_utf8(json).unwrap();
            assert!(!json.contains(is_unshowable), "{json:?}");
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
        let mut json = Vec::new();
        add_json(b"a\xffb", &mut json);
        assert_eq!(String::from_utf8(json).unwrap(), "\"a\u{fffd}b\"");
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
