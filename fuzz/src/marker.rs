//! The names of flags, made of arguments and return codes as Python prints them.

use std::collections::BTreeMap;

use skyhook_agent::package::{Idempotence, Step};
use skyhook_agent::python;
use skyhook_agent::state::Layout;
use skyhook_agent::state::marker::{FlagName, Marker};

use super::base64;
use super::python::{By, check_strings};

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
    check_strings(&printed, &arguments, By::Agent);
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
