//! The names of flags, made of arguments and return codes as Python prints them.

use std::collections::BTreeMap;

use skyhook_agent::package::{Idempotence, Step};
use skyhook_agent::python;
use skyhook_agent::state::Layout;
use skyhook_agent::state::marker::{FlagName, Marker};

use super::base64;

/// Checks any arguments and return codes.
///
/// In `data`, a byte says how many codes follow, eight bytes each. The rest are the
/// arguments, separated by a byte that UTF-8 does not use.
pub fn check(data: &[u8]) {
    let [count, rest @ ..] = data else {
        return;
    };
    let (codes, rest) = rest.split_at(rest.len().min(8 * usize::from(count % 4)));
    let codes = codes.as_chunks::<8>().0;
    let codes: Vec<i64> = codes.iter().map(|code| i64::from_le_bytes(*code)).collect();
    let arguments = rest.split(|byte| *byte == 0xff);
    let arguments = arguments.map(|text| String::from_utf8_lossy(text).into_owned());
    check_flag(arguments.collect(), codes);
}

fn check_flag(arguments: Vec<String>, returncodes: Vec<i64>) {
    let printed = python::strings(&arguments);
    check_strings(&printed, &arguments);
    let codes: Vec<String> = returncodes.iter().map(|code| format!("{code}")).collect();
    let printed = format!("{printed}_[{}]", codes.join(", "));

    let flag = flag(arguments.clone(), returncodes.clone());
    let below = flag.strip_prefix("/state/flags/pkg/1.0.0/").unwrap();
    let name = FlagName::parse(below).unwrap_or_else(|| panic!("{flag} cannot be read back"));
    assert_eq!(name.step, "steps/a.sh");
    let marker = flag
        .strip_prefix("/state/flags/pkg/1.0.0/steps/a.sh_")
        .unwrap();
    let has_names = flag
        .split('/')
        .all(|name| name.len() <= 255 && name != "..");
    assert!(has_names && flag.len() < 4096, "{flag}");
    if let Some(hash) = marker.strip_prefix("sha256-") {
        assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(base64::encode(printed.as_bytes()).len() > 200, "{printed}");
        assert_eq!(name.marker, Marker::Hash);
    } else {
        assert_eq!(base64::decode(marker).unwrap(), printed.as_bytes());
        let values = Marker::Values {
            arguments,
            returncodes,
        };
        assert_eq!(name.marker, values);
    }
}

fn flag(arguments: Vec<String>, returncodes: Vec<i64>) -> String {
    let layout = Layout {
        root_dir: "/state",
        package: "pkg",
        version: "1.0.0",
    };
    layout.step_flag(&Step {
        name: "a".to_owned(),
        path: "steps/a.sh".to_owned(),
        arguments,
        returncodes,
        on_host: true,
        idempotence: Idempotence::Auto,
        upgrade_step: false,
        env: BTreeMap::new(),
        requires_interrupt: false,
    })
}

/// Checks that Python prints `strings` as `printed`. Reads it back as Python does, and
/// checks that each character is written in the form that Python chooses.
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
        let escaped = match c {
            '\t' => "\\t".to_owned(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\\' => "\\\\".to_owned(),
            c if c == quote => format!("\\{c}"),
            c if (c as u32) < 0x100 => format!("\\x{:02x}", c as u32),
            c if (c as u32) < 0x10000 => format!("\\u{:04x}", c as u32),
            c => format!("\\U{:08x}", c as u32),
        };
        let is_escaped = c == quote || c == '\\' || !is_printed(c, rest.starts_with(c));
        let expected = if is_escaped { escaped } else { c.to_string() };
        rest = rest
            .strip_prefix(&*expected)
            .unwrap_or_else(|| panic!("expected {expected:?} in {printed:?}"));
    }
    rest.strip_prefix(quote).unwrap()
}

/// Returns whether Python prints a character as it is. The standard library follows the
/// same rule, but its version of Unicode may differ from the agent's. If a character is
/// new in one of the two, both answers are accepted.
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
