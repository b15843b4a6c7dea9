//! What a config.json must be (contract §7): the reference's schema, what it asks
//! beyond that, and that no name or path in it leads elsewhere.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Step;
use super::json::{Node, Problems};
use super::{Config, Mode};
use crate::error::Error;

/// The keys of a step. Here alone an unknown one is refused.
const STEP_KEYS: [&str; 9] = [
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

/// The longest name of a file.
const LONGEST_NAME: usize = 255;

/// How many problems are told one by one.
const MOST_PROBLEMS: usize = 100;

/// Whether there is something at a path inside skyhook_dir.
pub(super) type Exists<'e> = &'e dyn Fn(&str) -> Result<bool, Error>;

/// The config that `document` is, or everything that is wrong with it.
pub(super) fn read(document: &Value, exists: Exists<'_>) -> Result<Config, Vec<String>> {
    let problems = Problems::default();
    let config = config(&Node::document(document, &problems), exists);
    match (config, problems.into_inner()) {
        (Some(config), problems) if problems.is_empty() => Ok(config),
        (_, mut problems) => {
            let more = problems.len().saturating_sub(MOST_PROBLEMS);
            if more > 0 {
                problems.truncate(MOST_PROBLEMS);
                problems.push(format!("{more} more values are not as expected"));
            }
            Err(problems)
        }
    }
}

// Every field is read before a `?` gives up, so that each can say what is wrong.

fn config(node: &Node<'_>, exists: Exists<'_>) -> Option<Config> {
    // What is no object does not miss its fields one by one.
    node.fields()?;
    let schema_version = node.field("schema_version", |version| {
        version.string_that("\"v1\"", |version| version == "v1")
    });
    let package_name = node.field("package_name", |node| {
        let name = node.string_that("a name without /", is_file_name)?;
        check_length(node, &name, ".json.backup");
        Some(name)
    });
    let package_version = node.field("package_version", |node| {
        let version = node.string_that("a semantic version such as 1.2.3", is_semver)?;
        check_length(node, &version, "");
        Some(version)
    });
    let expected_config_files =
        node.field("expected_config_files", |files| files.list(Node::string));
    let modes = node.field("modes", |modes| self::modes(modes, exists));
    Some(Config {
        schema_version: schema_version?,
        package_name: package_name?,
        package_version: package_version?,
        expected_config_files: expected_config_files?,
        modes: modes?,
    })
}

fn modes(node: &Node<'_>, exists: Exists<'_>) -> Option<BTreeMap<Mode, Vec<Step>>> {
    let mut modes = BTreeMap::new();
    for (name, steps) in node.fields()? {
        if let Some(mode) = Mode::from_name(name) {
            let steps = steps.list(|node| step(node, mode, exists));
            modes.insert(mode, steps.unwrap_or_default());
        } else {
            let names = Mode::ALL.map(Mode::name).join(", ");
            steps.note(&format!("unknown mode, expected one of {names}"));
        }
    }
    check_coverage(node);
    Some(modes)
}

/// Something is to be done, and what is done is checked. Looks at the document,
/// where a step that cannot be read counts too.
fn check_coverage(modes: &Node<'_>) {
    let steps = |mode: Mode| modes.optional(mode.name());
    let has_steps = |mode: Mode| steps(mode).is_some_and(|steps| steps.has_items());
    if !Mode::ALL.into_iter().any(has_steps) {
        modes.note("expected at least one step, got none");
    }
    // Even one without steps will do, but the interrupt mode, which has no checks,
    // does not.
    let checked = || Mode::ALL.into_iter().filter(|mode| mode.check().is_some());
    if !checked().any(|mode| steps(mode).is_some()) {
        let names: Vec<&str> = checked().map(Mode::name).collect();
        modes.note(&format!("expected at least one of {}", names.join(", ")));
    }
    for mode in checked().filter(|mode| has_steps(*mode)) {
        if let Some(check) = mode.check().filter(|check| !has_steps(*check)) {
            modes.note(&format!("expected a step in {check}, to check {mode}"));
        }
    }
}

fn step(node: &Node<'_>, mode: Mode, exists: Exists<'_>) -> Option<Step> {
    for (key, value) in node.fields()? {
        if !STEP_KEYS.contains(&key) {
            let keys = STEP_KEYS.join(", ");
            value.note(&format!("unknown key, expected one of {keys}"));
        }
    }
    let name = node.field("name", |name| {
        name.string_that("letters, digits, _, - and .", is_step_name)
    });
    let path = node.field("path", |path| {
        let file = path.string_that("a file inside skyhook_dir", is_inside)?;
        let name = file.rsplit('/').next().unwrap_or_default();
        check_length(path, name, &format!("_sha256-{}", "0".repeat(64)));
        match exists(&file) {
            Ok(true) => {}
            Ok(false) => path.note(&format!(
                "expected a file inside skyhook_dir, which has no {file:?}"
            )),
            Err(error) => path.note(&error.to_string()),
        }
        Some(file)
    });
    let arguments = node.field("arguments", |arguments| arguments.list(Node::string));
    let returncodes = node.field("returncodes", |codes| {
        let integers = codes.list(Node::integer)?;
        if !codes.has_items() {
            codes.note("expected at least one, got none");
        }
        Some(integers)
    });
    let on_host = node.field("on_host", Node::bool);
    let idempotence = node.field("idempotence", Node::bool);
    let upgrade_step = node.field("upgrade_step", |upgrade_step| {
        let is_upgrade = upgrade_step.bool()?;
        if is_upgrade && !matches!(mode, Mode::Upgrade | Mode::UpgradeCheck) {
            upgrade_step.note("expected false but in upgrade and upgrade-check");
        }
        Some(is_upgrade)
    });
    if upgrade_step == Some(true)
        && let Some(arguments) = node.optional("arguments")
        && arguments.has_items()
    {
        arguments.note("expected none, for an upgrade step is given the versions");
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
        idempotence: idempotence?,
        upgrade_step: upgrade_step?,
        env: env?,
        // The schema does not speak of it: anything will do.
        requires_interrupt: node
            .optional("requires_interrupt")
            .is_some_and(|value| value.is_true()),
    })
}

fn env(node: &Node<'_>) -> Option<BTreeMap<String, String>> {
    let variable = |(name, value): (&str, Node<'_>)| Some((name.to_owned(), value.string()?));
    Some(node.fields()?.into_iter().filter_map(variable).collect())
}

/// What is made a file's name of, with a suffix behind it: were it too long, this would
/// show only when a step has run and its state cannot be kept.
fn check_length(node: &Node<'_>, name: &str, suffix: &str) {
    let (most, length) = (LONGEST_NAME - suffix.len(), name.len());
    if length > most {
        node.note(&format!("expected at most {most} bytes, got {length}"));
    }
}

/// The package's name is one component of its log folder's path.
fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

fn is_step_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    !name.is_empty() && name.chars().all(is_allowed)
}

/// Whether a path names a file and cannot lead out of its folder.
fn is_inside(path: &str) -> bool {
    let leads_out = path.starts_with('/') || path.split('/').any(|name| name == "..");
    let is_file = !matches!(path.rsplit('/').next(), None | Some("" | "."));
    !leads_out && is_file && !path.contains('\0')
}

/// Whether this is a version of semver.org's 2.0.0, without a `v` in front.
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

/// The text before the first `separator`, and that behind it.
fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, behind)) => (before, Some(behind)),
        None => (text, None),
    }
}
