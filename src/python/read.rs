//! Reads back what Python has printed.
//!
//! Exact: a text that Python would not print for these values is refused. Which
//! characters are printed as they are depends on Python's version of Unicode. So both
//! forms of a character that is not ASCII are accepted, except of one that no version
//! prints as it is.

use unicode_properties::{GeneralCategory as Category, UnicodeGeneralCategory};

/// Reads a list of strings at the start of `text`, as [`strings`](super::strings) prints
/// it. Returns the list and the rest; `None` if there is no such list.
#[must_use]
pub fn read_strings(text: &str) -> Option<(Vec<String>, &str)> {
    read_list(text, read_string)
}

/// Reads a list of integers at the start of `text`, as [`integers`](super::integers)
/// prints it.
#[must_use]
pub fn read_integers(text: &str) -> Option<(Vec<i64>, &str)> {
    read_list(text, read_integer)
}

fn read_list<T>(text: &str, read: fn(&str) -> Option<(T, &str)>) -> Option<(Vec<T>, &str)> {
    let mut rest = text.strip_prefix('[')?;
    let mut items = Vec::new();
    loop {
        if let Some(rest) = rest.strip_prefix(']') {
            return Some((items, rest));
        }
        if !items.is_empty() {
            rest = rest.strip_prefix(", ")?;
        }
        let (item, after) = read(rest)?;
        items.push(item);
        rest = after;
    }
}

fn read_integer(text: &str) -> Option<(i64, &str)> {
    let end = text.find(|c: char| c != '-' && !c.is_ascii_digit())?;
    let (digits, rest) = text.split_at_checked(end)?;
    let value: i64 = digits.parse().ok()?;
    // Python prints no zeros in front, and no sign of zero.
    (value.to_string() == digits).then_some((value, rest))
}

fn read_string(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut chars = text.get(1..)?.chars();
    let mut value = String::new();
    loop {
        match chars.next()? {
            '\\' => value.push(read_escape(&mut chars, quote)?),
            c if c == quote => break,
            c if is_always_escaped(c) => return None,
            c => value.push(c),
        }
    }
    // Python chooses the other quote if that one alone is in the string.
    let chosen = if value.contains('\'') && !value.contains('"') {
        '"'
    } else {
        '\''
    };
    (quote == chosen).then_some((value, chars.as_str()))
}

/// Reads an escape after its `\`.
fn read_escape(chars: &mut std::str::Chars<'_>, quote: char) -> Option<char> {
    let (digits, least) = match chars.next()? {
        't' => return Some('\t'),
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        '\\' => return Some('\\'),
        c if c == quote => return Some(c),
        'x' => (2, 0),
        'u' => (4, 0x100),
        'U' => (8, 0x1_0000),
        _ => return None,
    };
    let mut code = 0;
    for _ in 0..digits {
        let digit = chars.next().filter(|c| !c.is_ascii_uppercase())?;
        code = code * 16 + digit.to_digit(16)?;
    }
    let c = char::from_u32(code).filter(|_| code >= least)?;
    // These have a shorter form.
    let is_shorter = matches!(c, '\t' | '\n' | '\r' | ' '..='~');
    (!is_shorter).then_some(c)
}

/// Tells if a character is escaped by each version of Python. Versions differ in the
/// characters that they do not know yet.
fn is_always_escaped(c: char) -> bool {
    !super::is_printable(c) && c.general_category() != Category::Unassigned
}

#[cfg(test)]
mod tests {
    use super::super::{integers, strings};
    use super::*;

    #[test]
    fn what_is_printed_can_be_read_back() {
        for list in [
            &[][..],
            &[""],
            &["a", "b c", "it's", "\"", "it's \"", "\\", "\\n", "], ['"],
            &[
                "\t\n\r\0\u{1b}\u{7f}\u{80}\u{ff}\u{a0}\u{ad}",
                "é雪\u{200b}",
            ],
            &[
                "\u{2028}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}\u{1f600}",
                "env:A_B",
            ],
        ] {
            let printed = strings(list);
            let (read, rest) = read_strings(&printed).unwrap();
            assert_eq!(
                (read, rest),
                (list.iter().map(|s| (*s).to_owned()).collect(), "")
            );
        }
        for list in [&[][..], &[0], &[0, -15, 255], &[i64::MIN, i64::MAX]] {
            assert_eq!(read_integers(&integers(list)).unwrap(), (list.to_vec(), ""));
        }
        assert_eq!(read_integers("[0]_x"), Some((vec![0], "_x")));
    }

    #[test]
    fn what_python_would_not_print_is_no_list() {
        for text in [
            "",
            "[",
            "]",
            "['a'",
            "['a',]",
            "['a','b']",
            "['a', ]",
            "[ 'a']",
            "[a]",
            "[\"a\"]",
            "['it\\'s']",
            "['\\x41']",
            "['\\x0a']",
            "['\\u0080']",
            "['\\U0000ffff']",
            "['\\x7F']",
            "['\\ud800']",
            "['\\U00110000']",
            "['\\x7']",
            "['\\\"']",
            "['\n']",
            "['\u{200b}']",
            "['\\",
            "['\\a']",
            "['é",
        ] {
            assert_eq!(read_strings(text), None, "{text}");
        }
        for text in [
            "[-0]",
            "[00]",
            "[+1]",
            "[--1]",
            "[-]",
            "[1,2]",
            "[9223372036854775808]",
            "[1",
        ] {
            assert_eq!(read_integers(text), None, "{text}");
        }
    }

    /// By a version that knows a character which this one does not, or the other way round.
    #[test]
    fn both_forms_of_a_character_that_a_version_may_not_know_are_read() {
        for text in ["['\\u8a9e']", "['語']", "['\u{378}']", "['\\u0378']"] {
            assert!(read_strings(text).is_some(), "{text}");
        }
    }
}
