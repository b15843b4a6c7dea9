//! The rules for a config.json (contract §7): the reference's schema, its further
//! checks, and that no name or path in it leads elsewhere.

use std::collections::BTreeMap;

use serde_json::Value;

use super::code::Code;
use super::finding::{Finding, Severity};
use super::json::{Findings, Node};
use super::place::Place;
use super::{Config, Mode, Step};
use crate::error::Error;

/// The keys of a step. Here alone an unknown one is refused.
pub(super) const STEP_KEYS: [&str; 9] = [
    "name",
    "path",
    "arguments",
    "returncodes",
    "on_host",
    "idempotence",
    "upgrade_step",
    "env",
    "requires_interrupt",
];

/// The most bytes of a file name, as in the kernel.
const NAME_MAX: usize = 255;

/// The start of the names of the agent's own files. No package has such a name.
pub const OWN_NAME: &str = ".skyhook-agent-";

/// The most findings that are listed one by one.
const MOST_FINDINGS: usize = 100;

/// Tells if there is something at a path inside skyhook_dir.
pub(super) type Exists<'e> = &'e dyn Fn(&str) -> Result<bool, Error>;

/// Reads the config that `document` holds, or finds everything that is wrong with it.
pub(super) fn read(document: &Value, exists: Exists<'_>) -> Result<Config, Vec<Finding>> {
    let findings = Findings::default();
    let config = config(&Node::document(document, &findings), exists);
    match (config, findings.into_inner()) {
        (Some(config), findings) if findings.is_empty() => Ok(config),
        (_, mut findings) => {
            let more = findings.len().saturating_sub(MOST_FINDINGS);
            if more > 0 {
                findings.truncate(MOST_FINDINGS);
                findings.push(Finding {
                    severity: Severity::Error,
                    code: Code::TooMany,
                    place: Place::DOCUMENT,
                    message: format!("{more} more values are not as expected"),
                });
            }
            Err(findings)
        }
    }
}

// Every field is read before a `?` gives up, so that each can say what is wrong.

fn config(node: &Node<'_>, exists: Exists<'_>) -> Option<Config> {
    // If this is no object, its fields are not reported as missing one by one.
    node.fields()?;
    let schema_version = node.field("schema_version", |version| {
        version.string_that(Code::SchemaVersion, "\"v1\"", |version| version == "v1")
    });
    let package_name = node.field("package_name", |node| {
        let name = node.string_that(Code::PackageName, "a name without /", is_file_name)?;
        check_characters(node, &name);
        check_not_reserved(node, &name);
        check_length(node, &name, ".json.backup");
        Some(name)
    });
    let package_version = node.field("package_version", |node| {
        let version = node.string_that(
            Code::PackageVersion,
            "a semantic version such as 1.2.3",
            is_semver,
        )?;
        check_length(node, &version, "");
        Some(version)
    });
    let expected_config_files =
        node.field("expected_config_files", |files| files.list(config_file));
    let modes = node.field("modes", |modes| self::modes(modes, exists));
    Some(Config {
        schema_version: schema_version?,
        package_name: package_name?,
        package_version: package_version?,
        expected_config_files: expected_config_files?,
        modes: modes?,
    })
}

/// Reads the path of a file in configmaps.
fn config_file(node: &Node<'_>) -> Option<String> {
    let path = node.string()?;
    if leads_out(&path) {
        node.note(
            Code::ConfigFilePath,
            format!("expected a file inside configmaps, got {}", node.shown()),
        );
    }
    check_characters(node, &path);
    Some(path)
}

fn modes(node: &Node<'_>, exists: Exists<'_>) -> Option<BTreeMap<Mode, Vec<Step>>> {
    let mut modes = BTreeMap::new();
    for (name, steps) in node.fields()? {
        if let Some(mode) = Mode::from_name(name) {
            let steps = steps.list(|node| step(node, mode, exists));
            modes.insert(mode, steps.unwrap_or_default());
        } else {
            let names = Mode::ALL.map(Mode::name).join(", ");
            steps.note(
                Code::UnknownMode,
                format!("unknown mode, expected one of {names}"),
            );
        }
    }
    check_coverage(node);
    Some(modes)
}

/// Checks that there is something to do, and that what is done is checked. Looks at
/// the document, so that a step that cannot be read counts too.
fn check_coverage(modes: &Node<'_>) {
    let steps = |mode: Mode| modes.optional(mode.name());
    let has_steps = |mode: Mode| steps(mode).is_some_and(|steps| steps.has_items());
    if !Mode::ALL.into_iter().any(has_steps) {
        modes.note(Code::NoStep, "expected at least one step, got none");
    }
    // A mode without steps is enough, except the interrupt mode, which has no checks.
    let checked = || Mode::ALL.into_iter().filter(|mode| mode.check().is_some());
    if !checked().any(|mode| steps(mode).is_some()) {
        let names: Vec<&str> = checked().map(Mode::name).collect();
        modes.note(
            Code::NoMode,
            format!("expected at least one of {}", names.join(", ")),
        );
    }
    for mode in checked().filter(|mode| has_steps(*mode)) {
        if let Some(check) = mode.check().filter(|check| !has_steps(*check)) {
            modes.note(
                Code::NoCheckStep,
                format!("expected a step in {check}, to check {mode}"),
            );
        }
    }
}

fn step(node: &Node<'_>, mode: Mode, exists: Exists<'_>) -> Option<Step> {
    for (key, value) in node.fields()? {
        if !STEP_KEYS.contains(&key) {
            let keys = STEP_KEYS.join(", ");
            value.note(
                Code::UnknownKey,
                format!("unknown key, expected one of {keys}"),
            );
        }
    }
    let name = node.field("name", |name| {
        name.string_that(Code::StepName, "letters, digits, _, - and .", is_step_name)
    });
    let path = node.field("path", |path| {
        let file = path.string_that(Code::StepPath, "a file inside skyhook_dir", is_inside)?;
        check_characters(path, &file);
        let name = file.rsplit('/').next().unwrap_or_default();
        check_length(path, name, &format!("_sha256-{}", "0".repeat(64)));
        match exists(&file) {
            Ok(true) => {}
            Ok(false) => path.note(
                Code::NoFile,
                format!("expected a file inside skyhook_dir, which has no {file:?}"),
            ),
            Err(error) => path.note(Code::Unreadable, error.to_string()),
        }
        Some(file)
    });
    let arguments = node.field("arguments", |arguments| {
        arguments.list(|argument| argument.string())
    });
    let returncodes = node.field("returncodes", |codes| {
        let integers = codes.list(|code| code.integer())?;
        if !codes.has_items() {
            codes.note(Code::NoReturnCode, "expected at least one, got none");
        }
        Some(integers)
    });
    let on_host = node.field("on_host", |on_host| on_host.bool());
    let idempotence = node.field("idempotence", |idempotence| idempotence.bool());
    let upgrade_step = node.field("upgrade_step", |upgrade_step| {
        let is_upgrade = upgrade_step.bool()?;
        if is_upgrade && !matches!(mode, Mode::Upgrade | Mode::UpgradeCheck) {
            upgrade_step.note(
                Code::UpgradeStep,
                "expected false, except in upgrade and upgrade-check",
            );
        }
        Some(is_upgrade)
    });
    if upgrade_step == Some(true)
        && let Some(arguments) = node.optional("arguments")
        && arguments.has_items()
    {
        arguments.note(
            Code::UpgradeArguments,
            "expected none, since an upgrade step is given the versions",
        );
    }
    let env = match node.optional("env") {
        Some(env) => self::env(&env),
        None => Some(BTreeMap::new()),
    };
    Some(Step {
        name: name?,
        path: path?,
        arguments: arguments?,
        returncodes: returncodes?,
        on_host: on_host?,
        idempotence: idempotence?.into(),
        upgrade_step: upgrade_step?,
        env: env?,
        // The schema does not mention it: any value is accepted.
        requires_interrupt: node
            .optional("requires_interrupt")
            .is_some_and(|value| value.is_true()),
    })
}

/// Reads variables. For the kernel a name ends at `=`, and a text at a NUL: with such a
/// variable a step never runs.
fn env(node: &Node<'_>) -> Option<BTreeMap<String, String>> {
    let variable = |(name, value): (&str, Node<'_>)| {
        if name.contains(['=', '\0']) {
            value.note(
                Code::VariableName,
                format!("expected a name without = and NUL, got {name:?}"),
            );
        }
        let text = value.string()?;
        if text.contains('\0') {
            let got = value.shown();
            value.note(Code::NulByte, format!("expected no NUL in it, got {got}"));
        }
        Some((name.to_owned(), text))
    };
    Some(node.fields()?.into_iter().filter_map(variable).collect())
}

/// Checks a name that becomes a file's name with a suffix. If it were too long, this
/// would show only after a step has run, when its state cannot be kept.
fn check_length(node: &Node<'_>, name: &str, suffix: &str) {
    let (most, length) = (NAME_MAX - suffix.len(), name.len());
    if length > most {
        node.note(
            Code::NameTooLong,
            format!("expected at most {most} bytes, got {length}"),
        );
    }
}

/// Checks a name or a path that is printed and becomes a file's name: control characters
/// would reach the terminal, and a newline would forge lines of the agent's files.
fn check_characters(node: &Node<'_>, text: &str) {
    if text.contains(char::is_control) {
        let got = node.shown();
        node.note(
            Code::ControlCharacter,
            format!("expected no control characters, got {got}"),
        );
    }
}

/// Checks that a package has no name of the agent's own files beside which its flags are.
fn check_not_reserved(node: &Node<'_>, name: &str) {
    let is_reserved = matches!(name, "START" | "check_results")
        || name.ends_with("_ALL_CHECKED")
        || name.starts_with(OWN_NAME);
    if is_reserved {
        let got = node.shown();
        node.note(
            Code::ReservedName,
            format!("expected a name that the agent does not use for its own files, got {got}"),
        );
    }
}

/// Tells if a package name can be one component of its log directory's path.
fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

fn is_step_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    !name.is_empty() && name.chars().all(is_allowed)
}

/// Tells if a path leads out of the directory that it is used in.
pub(super) fn leads_out(path: &str) -> bool {
    path.starts_with('/') || path.split('/').any(|name| name == "..")
}

/// Tells if a path names a file and cannot lead out of its directory.
fn is_inside(path: &str) -> bool {
    let is_file = !matches!(path.rsplit('/').next(), None | Some("" | "."));
    !leads_out(path) && is_file && !path.contains('\0')
}

/// Tells if this is a version of semver.org's 2.0.0, without a `v` in front.
fn is_semver(version: &str) -> bool {
    let (version, build) = split(version, '+');
    let (core, pre_release) = split(version, '-');
    let has_only_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = |part: &str| {
        !part.is_empty() && has_only_digits(part) && (part == "0" || !part.starts_with('0'))
    };
    let is_identifier = |part: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !part.is_empty() && part.bytes().all(is_allowed)
    };
    let is_pre_release =
        |part: &str| is_identifier(part) && (is_number(part) || !has_only_digits(part));

    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && pre_release.is_none_or(|parts| parts.split('.').all(is_pre_release))
        && build.is_none_or(|parts| parts.split('.').all(is_identifier))
}

/// Splits a text at the first `separator`.
fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}
