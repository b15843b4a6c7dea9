//! A package's config.json, read and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::code::Code;
use super::finding::{Finding, Severity};
use super::place::Place;
use super::{Mode, Step, schema};
use crate::error::Error;
use crate::host::Root;

/// A package's config.json. Unknown keys are ignored, except those of steps, which
/// are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `v1`.
    pub schema_version: String,
    /// The package's name; one component of its log directory's path.
    pub package_name: String,
    /// The package's version, semver 2.0.0; another component.
    pub package_version: String,
    /// Files that the package wants in its `configmaps` directory.
    pub expected_config_files: Vec<String>,
    /// The steps of each mode, in order.
    pub modes: BTreeMap<Mode, Vec<Step>>,
}

/// A config.json and all that was found in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The config; `None` if a finding is an error.
    pub config: Option<Config>,
    /// Everything that was found, errors and warnings.
    pub findings: Vec<Finding>,
}

/// Reads the config.json at `file`, inside `root`, and checks it. The files of its
/// steps are expected in `skyhook_dir` beside it.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read. What is wrong with its contents is in
/// the [`Inspection`].
pub fn inspect(root: &Root, file: &Path) -> Result<Inspection, Error> {
    let json = root.read(file)?;
    let document = match serde_json::from_slice(&json) {
        Ok(document) => document,
        Err(error) => {
            return Ok(Inspection::refused(vec![no_json(&error)]));
        }
    };
    let step_dir = file.with_file_name("skyhook_dir");
    let exists = |path: &str| root.exists(&step_dir.join(path));
    Ok(match schema::read(&document, &exists) {
        Ok(config) => Inspection {
            findings: missing_checks(&config),
            config: Some(config),
        },
        Err(findings) => Inspection::refused(findings),
    })
}

/// Says that a text is no JSON.
pub(super) fn no_json(error: &serde_json::Error) -> Finding {
    Finding {
        severity: Severity::Error,
        code: Code::Syntax,
        place: Place::DOCUMENT,
        message: format!("expected JSON: {error}"),
    }
}

impl Inspection {
    fn refused(findings: Vec<Finding>) -> Inspection {
        Inspection {
            config: None,
            findings,
        }
    }
}

/// Finds what the reference warns of, in its words: files that would be named like
/// checks of the steps and are no step. Each once, in the order of modes and steps.
fn missing_checks(config: &Config) -> Vec<Finding> {
    let steps = |of: fn(Mode) -> bool| {
        let modes = config.modes.iter().filter(move |(mode, _)| of(**mode));
        modes.flat_map(|(_, steps)| steps)
    };
    let mut known: BTreeSet<String> = steps(Mode::is_check)
        .map(|step| step.path.clone())
        .collect();
    steps(|mode| mode.check().is_some())
        .map(|step| check_path(&step.path))
        .filter(|path| known.insert(path.clone()))
        .map(|path| Finding {
            severity: Severity::Warning,
            code: Code::NoCheckFile,
            place: Place::DOCUMENT,
            message: format!(
                "{path} doesn't exist. Checks ensure that all tasks in the step will complete."
            ),
        })
        .collect()
}

/// Names the file that the reference expects as a step's check: `a.sh` has `a_check.sh`. The
/// last dot counts, even that of a directory.
fn check_path(path: &str) -> String {
    match path.rsplit_once('.') {
        Some((name, "")) => format!("{name}_check"),
        Some((name, extension)) => format!("{name}_check.{extension}"),
        None => format!("{path}_check"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_of_a_file_is_named_before_its_last_dot() {
        for (path, check) in [
            ("a.sh", "a_check.sh"),
            ("steps/a.tar.gz", "steps/a.tar_check.gz"),
            ("a", "a_check"),
            ("a.", "a_check"),
            (".a", "_check.a"),
            ("steps.d/a", "steps_check.d/a"),
        ] {
            assert_eq!(check_path(path), check);
        }
    }
}
