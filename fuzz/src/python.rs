//! Lists of strings as Python prints them. Read back as Python does, with a check that each
//! character is written in a form that Python chooses.

/// Who has printed a list.
#[derive(Clone, Copy)]
pub enum By {
    /// The agent.
    Agent,
    /// Any version of Python: they differ in the characters that they know.
    AnyPython,
}

/// Checks that Python prints `strings` as `printed`.
pub fn check_strings(printed: &str, strings: &[String], by: By) {
    let mut rest = printed.strip_prefix('[').unwrap();
    for (i, string) in strings.iter().enumerate() {
        if i > 0 {
            rest = rest.strip_prefix(", ").unwrap();
        }
        rest = check_string(rest, string, by);
    }
    assert_eq!(rest, "]", "{printed}");
}

/// Checks the same for a string at the start of `printed`; returns the rest.
fn check_string<'p>(printed: &'p str, string: &str, by: By) -> &'p str {
    let quote = match (string.find('\''), string.find('"')) {
        (Some(_), None) => '"',
        _ => '\'',
    };
    let mut rest = printed.strip_prefix(quote).unwrap();
    for c in string.chars() {
        let can_be_raw = c != quote && c != '\\';
        let is_raw = can_be_raw && rest.starts_with(c);
        let is_right = match by {
            By::Agent => is_raw == (can_be_raw && is_printed(c, is_raw)),
            By::AnyPython if c.is_ascii() => is_raw == (can_be_raw && !c.is_ascii_control()),
            By::AnyPython => !is_raw || !(c.is_control() || c.is_whitespace()),
        };
        assert!(is_right, "{c:?} is not printed so: {printed:?}");
        let form = if is_raw {
            c.to_string()
        } else {
            escaped(c, quote)
        };
        rest = rest
            .strip_prefix(&*form)
            .unwrap_or_else(|| panic!("expected {form:?} in {printed:?}"));
    }
    rest.strip_prefix(quote).unwrap()
}

/// A character as it is escaped, if it is.
fn escaped(c: char, quote: char) -> String {
    match c {
        '\t' => "\\t".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\\' => "\\\\".to_owned(),
        c if c == quote => format!("\\{c}"),
        c if (c as u32) < 0x100 => format!("\\x{:02x}", c as u32),
        c if (c as u32) < 0x10000 => format!("\\u{:04x}", c as u32),
        c => format!("\\U{:08x}", c as u32),
    }
}

/// Tells if Python prints a character as it is. The standard library follows the same rule,
/// but its version of Unicode may differ from the agent's. If a character is new in one of
/// the two, both answers are accepted.
fn is_printed(c: char, by_agent: bool) -> bool {
    // Not as the first character: the library escapes combining characters there.
    let debug = format!("{:?}", format!("a{c}"));
    let by_std = c == '"' || !debug.contains('\\');
    let (agent, std) = (unicode_properties::UNICODE_VERSION, char::UNICODE_VERSION);
    let std = (std.0.into(), std.1.into(), std.2.into());
    let is_new = (by_agent && !by_std && agent > std) || (!by_agent && by_std && agent < std);
    if is_new && !c.is_control() && !c.is_whitespace() {
        by_agent
    } else {
        by_std
    }
}
