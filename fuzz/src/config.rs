//! Reading config.json. A refusal has complete lines, and an accepted config keeps all
//! rules that the rest of the agent relies on.

use std::path::{Component, Path};

use serde_json::Value;
use skyhook_agent::package::{Config, Finding, Idempotence, Mode, Severity, Step, inspect};

use super::package::{Package, STEP_FILES};

/// Checks any bytes as the config.json of a package.
pub fn check(package: &Package, json: &[u8]) {
    let file = package.set_config(json);
    let inspection = inspect(&package.root, file).unwrap_or_else(
        // Only a file that is too long cannot be read here.
        |error| panic!("{error}"),
    );
    match &inspection.config {
        Some(config) => {
            let document = serde_json::from_slice(json).unwrap();
            check_accepted(config, &document);
            check_warnings(&inspection.findings);
        }
        None => check_refused(&inspection.findings),
    }
}

fn check_refused(findings: &[Finding]) {
    assert!(!findings.is_empty());
    for finding in findings {
        assert_eq!(finding.severity, Severity::Error);
        let is_told = ["expected", "cannot"]
            .iter()
            .any(|word| finding.message.contains(word));
        assert!(is_told, "{finding:?}");
    }
}

fn check_warnings(findings: &[Finding]) {
    for finding in findings {
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.message.contains(" doesn't exist. "), "{finding:?}");
    }
}

fn check_accepted(config: &Config, document: &Value) {
    assert_eq!(config.schema_version, "v1");
    assert_eq!(document["package_name"], *config.package_name);
    assert_eq!(document["package_version"], *config.package_version);
    assert!(is_one_name(&config.package_name), "{config:?}");
    assert!(is_one_name(&config.package_version), "{config:?}");
    let digits_and_letters = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
    assert!(
        config
            .package_version
            .starts_with(|c: char| c.is_ascii_digit())
    );
    assert!(config.package_version.chars().all(digits_and_letters));

    let known = document["modes"].as_object().unwrap();
    assert_eq!(config.modes.len(), known.len());
    assert!(config.modes.values().any(|steps| !steps.is_empty()));
    for (mode, steps) in &config.modes {
        let entries = known[mode.name()].as_array().unwrap();
        assert_eq!(steps.len(), entries.len());
        for (step, entry) in steps.iter().zip(entries) {
            check_step(step, entry, *mode);
        }
        if let Some(check) = mode.check() {
            let is_checked = config
                .modes
                .get(&check)
                .is_some_and(|checks| !checks.is_empty());
            assert!(is_checked || steps.is_empty(), "{mode} without checks");
        }
    }
}

fn check_step(step: &Step, entry: &Value, mode: Mode) {
    assert!(step.name.chars().all(|c| c.is_ascii_graphic() && c != '/'));
    assert_ne!(step.name, "");

    assert_eq!(entry["path"], *step.path);
    let path = Path::new(&step.path);
    let stays = |name| matches!(name, Component::Normal(_) | Component::CurDir);
    assert!(path.components().all(stays), "{step:?}");
    let plain: Vec<_> = path
        .components()
        .filter(|name| *name != Component::CurDir)
        .collect();
    let plain = plain.iter().collect::<std::path::PathBuf>();
    let is_there = STEP_FILES
        .iter()
        .chain(&["steps"])
        .any(|file| plain == Path::new(file));
    assert!(is_there && !step.path.ends_with(['/']), "{step:?}");

    assert_eq!(entry["arguments"], Value::from(step.arguments.clone()));
    assert!(!step.returncodes.is_empty());
    for (code, number) in step
        .returncodes
        .iter()
        .zip(entry["returncodes"].as_array().unwrap())
    {
        // Integers first: a float has fewer digits than an integer of 64 bits.
        let is_same = number.as_i64() == Some(*code) || number.as_f64() == Some(*code as f64);
        assert!(is_same, "{code} from {number}");
    }
    if step.upgrade_step {
        assert!(matches!(mode, Mode::Upgrade | Mode::UpgradeCheck));
        assert!(step.arguments.is_empty());
    }
    assert_eq!(entry["on_host"], step.on_host);
    assert_eq!(
        entry["idempotence"],
        step.idempotence == Idempotence::Disabled
    );
    assert_eq!(
        step.env.len(),
        entry["env"].as_object().map_or(0, |env| env.len())
    );
    for (name, value) in &step.env {
        assert_eq!(entry["env"][name], **value);
        assert!(
            !name.contains(['=', '\0']) && !value.contains('\0'),
            "{step:?}"
        );
    }
}

/// Returns whether `name` is a single file name.
fn is_one_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    components.next() == Some(Component::Normal(name.as_ref()))
        && components.next().is_none()
        && !name.contains(['/', '\0'])
        && name.len() <= 255
}
