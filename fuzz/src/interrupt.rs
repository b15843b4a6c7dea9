//! Reading the interrupt data of the operator.

use serde_json::Value;
use skyhook_agent::package::Interrupt;

use super::base64;

/// Checks `data` as an argument of the command line, and as the JSON inside one.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    check_payload(text);
    check_payload(&base64::encode(data));
}

fn check_payload(payload: &str) {
    let expected = base64::decode(payload).and_then(|json| commands(&json));
    match Interrupt::parse(payload) {
        Ok(interrupt) => assert_eq!(Some(interrupt.commands()), expected, "{payload}"),
        Err(error) => {
            assert_eq!(expected, None, "{payload}: {error}");
            assert_eq!(error.exit_code(), 2);
            let [line] = &error.lines()[..] else {
                panic!("expected one line: {error}");
            };
            assert!(line.starts_with("interrupt data: expected "), "{line}");
        }
    }
}

/// Control characters, line separators, and what changes the direction of text.
fn is_unshowable(c: char) -> bool {
    let others = "\u{2028}\u{2029}\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\
                  \u{2066}\u{2067}\u{2068}\u{2069}";
    c.is_control() || others.contains(c)
}

/// Lists the commands that contract §8 has for an interrupt; `None` if it has no such
/// interrupt.
fn commands(json: &[u8]) -> Option<Vec<Vec<String>>> {
    let Value::Object(mut interrupt) = serde_json::from_slice(json).ok()? else {
        return None;
    };
    let name = interrupt.remove("type")?;
    let mut commands = match name.as_str()? {
        "no_op" | "script_interrupt" => vec![],
        "node_restart" => vec!["reboot".to_owned()],
        "restart_all_services" => vec!["service procps force-reload".to_owned()],
        "service_restart" => vec!["systemctl daemon-reload".to_owned()],
        _ => return None,
    };
    let mut commands: Vec<Vec<String>> = commands
        .drain(..)
        .map(|command| command.split(' ').map(str::to_owned).collect())
        .collect();
    if name == "service_restart" {
        for service in interrupt.remove("services")?.as_array()? {
            let service = service.as_str()?;
            if service.starts_with('-') || service.contains(is_unshowable) {
                return None;
            }
            commands.push(["systemctl", "restart", service].map(str::to_owned).into());
        }
    }
    interrupt.is_empty().then_some(commands)
}
