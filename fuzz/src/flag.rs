//! The names of flags, read back: from any name, and from any text in base64.

use skyhook_agent::state::marker::{FlagName, Marker};

use super::base64;

/// Checks the input as the path of a flag, and as the text that a marker is made of.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    check_name(&text);
    check_name(&format!("steps/a_b.sh_{}", base64::encode(data)));
}

fn check_name(path: &str) {
    let Some(name) = FlagName::parse(path) else {
        return;
    };
    let marker = path
        .strip_prefix(&name.step)
        .and_then(|rest| rest.strip_prefix('_'))
        .unwrap();
    assert!(!marker.contains('_'), "{path:?}");
    match name.marker {
        Marker::Hash => {
            let hash = marker.strip_prefix("sha256-").unwrap();
            assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
        Marker::Values {
            arguments,
            returncodes,
        } => {
            let text = String::from_utf8(base64::decode(marker).unwrap()).unwrap();
            let codes: Vec<String> = returncodes.iter().map(i64::to_string).collect();
            let strings = text
                .strip_suffix(&format!("_[{}]", codes.join(", ")))
                .unwrap_or_else(|| panic!("{text:?} has {returncodes:?}"));
            check_strings(strings, &arguments);
        }
    }
}

/// Checks that a version of Python prints `strings` as `printed`.
fn check_strings(printed: &str, strings: &[String]) {
    let mut rest = printed.strip_prefix('[').unwrap();
    for (i, string) in strings.iter().enumerate() {
        if i > 0 {
            rest = rest.strip_prefix(", ").unwrap();
        }
        rest = check_string(rest, string);
    }
    assert_eq!(rest, "]", "{printed}");
}

/// Checks the same for a string at the start of `printed`; returns the rest.
fn check_string<'p>(printed: &'p str, string: &str) -> &'p str {
    let quote = match (string.find('\''), string.find('"')) {
        (Some(_), None) => '"',
        _ => '\'',
    };
    let mut rest = printed.strip_prefix(quote).unwrap();
    for c in string.chars() {
        let form = forms(c, quote)
            .into_iter()
            .find(|form| rest.starts_with(form))
            .unwrap_or_else(|| panic!("expected {c:?} in {printed:?}"));
        rest = &rest[form.len()..];
    }
    rest.strip_prefix(quote).unwrap()
}

/// The forms in which versions of Python print a character.
fn forms(c: char, quote: char) -> Vec<String> {
    let code = c as u32;
    let escaped = match c {
        '\t' => "\\t".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\\' => "\\\\".to_owned(),
        c if c == quote => format!("\\{c}"),
        ' '..='~' => return vec![c.to_string()],
        _ if code < 0x100 => format!("\\x{code:02x}"),
        _ if code < 0x10000 => format!("\\u{code:04x}"),
        _ => format!("\\U{code:08x}"),
    };
    // Versions differ in what they know; none prints these as they are.
    let is_never_raw = c.is_ascii() || c.is_control() || c.is_whitespace();
    if is_never_raw {
        vec![escaped]
    } else {
        vec![c.to_string(), escaped]
    }
}
