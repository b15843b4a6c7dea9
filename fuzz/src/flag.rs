//! The names of flags, read back: from any name, and from any text in base64.

use skyhook_agent::state::marker::{FlagName, Marker};

use super::base64;
use super::python::{By, check_strings};

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
            check_strings(strings, &arguments, By::AnyPython);
        }
    }
}
