//! What a step is given, and what it may return.

use serde_json::Value;

use super::super::{Code, Place};
use super::Notes;
use super::steps::Step;

pub(super) fn lint(steps: &[Step<'_>], notes: &mut Notes<'_>) {
    for step in steps {
        if step.get("on_host") == Some(&Value::Bool(false)) {
            let message = "the agent ignores this: the step runs on the host";
            notes.warn(Code::OnHost, &step.place.key("on_host"), message);
        }
        return_codes(step, notes);
        arguments(step, notes);
        variables(step, notes);
    }
}

fn return_codes(step: &Step<'_>, notes: &mut Notes<'_>) {
    let place = step.place.key("returncodes");
    for (i, code) in step.list("returncodes").iter().enumerate() {
        // Exit codes have 8 bits, and signals are numbered from 1 to 64.
        let is_possible = |code: f64| (-64.0..=255.0).contains(&code);
        if code.as_f64().is_some_and(|code| !is_possible(code)) {
            let message = format!("no process ends with {code}");
            notes.warn(Code::ReturnCode, &place.index(i), message);
        }
    }
}

fn arguments(step: &Step<'_>, notes: &mut Notes<'_>) {
    let place = step.place.key("arguments");
    let mut option = None;
    for (i, argument) in step.arguments() {
        let place = place.index(i);
        if argument.contains('\0') {
            let message = "this has a NUL, which no process can be given: the step does not run";
            notes.warn(Code::NulByte, &place, message);
        }
        if let Some(reference) = reference_inside(argument) {
            let message = format!("{reference:?} is not replaced here, and passed as it is");
            notes.warn(Code::EnvInArgument, &place, message);
        }
        let (name, value) = match (argument.split_once('='), option) {
            (Some((name, value)), _) => (Some(name), value),
            (None, option) => (option, argument),
        };
        if name.is_some_and(names_a_secret) && is_secret(value) {
            warn_of_secret(&place, "argument", notes);
        }
        option = argument.starts_with('-').then_some(argument);
    }
}

fn variables(step: &Step<'_>, notes: &mut Notes<'_>) {
    let place = step.place.key("env");
    let variables = step.get("env").and_then(Value::as_object);
    for (name, value) in variables.into_iter().flatten() {
        if names_a_secret(name) && value.as_str().is_some_and(is_secret) {
            warn_of_secret(&place.key(name), "variable", notes);
        }
    }
}

fn warn_of_secret(place: &Place, what: &str, notes: &mut Notes<'_>) {
    let message = format!("this {what} looks like a secret, and is not kept secret");
    notes.warn(Code::Secret, place, message);
}

/// Finds a reference to a variable that is not at the start of an argument.
fn reference_inside(argument: &str) -> Option<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    argument.match_indices("env:").find_map(|(at, prefix)| {
        let before = argument.get(..at)?.chars().next_back()?;
        let after = argument.get(at + prefix.len()..)?;
        let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
        let is_reference =
            !is_name(before) && after.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
        is_reference.then(|| argument.get(at..at + prefix.len() + end))?
    })
}

/// Tells if a variable or an option is called like a secret.
fn names_a_secret(name: &str) -> bool {
    const SECRETS: [&str; 9] = [
        "TOKEN",
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "SECRET",
        "APIKEY",
        "CREDENTIALS",
        "PRIVATEKEY",
        "ACCESSKEY",
    ];
    let letters = |c: &char| c.is_ascii_alphanumeric();
    let name: String = name.chars().filter(letters).collect();
    let name = name.to_ascii_uppercase();
    // The file that holds a secret is none.
    SECRETS.iter().any(|secret| name.ends_with(secret))
}

/// Tells if a value can be a secret: no reference, no path, no number, no switch.
fn is_secret(value: &str) -> bool {
    let is_word = ["true", "false", "yes", "no", "none"].contains(&value.to_lowercase().as_str());
    !(value.is_empty()
        || value.starts_with("env:")
        || value.starts_with(['/', '-', '$', '<'])
        || value.parse::<f64>().is_ok()
        || is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_counts_if_it_is_a_word_of_its_own_inside_the_argument() {
        for (argument, reference) in [
            ("--user=env:USER", Some("env:USER")),
            (" env:USER,x", Some("env:USER")),
            ("a,env:_B1", Some("env:_B1")),
            ("env:USER", None),
            ("myenv:USER", None),
            ("--env:", None),
            ("x env: y", None),
        ] {
            assert_eq!(reference_inside(argument), reference, "{argument}");
        }
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in [
            "TOKEN",
            "GITHUB_TOKEN",
            "db-password",
            "--api-key",
            "ClientSecret",
        ] {
            assert!(names_a_secret(name), "{name}");
        }
        for name in [
            "TOKEN_FILE",
            "TOKENS",
            "KEY",
            "PASSWORD_MIN_LENGTH",
            "MONKEY",
        ] {
            assert!(!names_a_secret(name), "{name}");
        }
        for value in [
            "",
            "env:TOKEN",
            "/run/secrets/token",
            "30",
            "true",
            "--next",
        ] {
            assert!(!is_secret(value), "{value}");
        }
        assert!(is_secret("hunter2"));
    }
}
