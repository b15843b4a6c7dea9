//! A package: its config.json, read and checked (contract §7).

mod json;
mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use crate::error::Error;
use crate::host::Root;
use crate::step::Step;

/// What a package's steps are run for (contract §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the operator's own")]
pub enum Mode {
    Uninstall,
    UninstallCheck,
    Upgrade,
    UpgradeCheck,
    Apply,
    ApplyCheck,
    Config,
    ConfigCheck,
    PostInterrupt,
    PostInterruptCheck,
    Interrupt,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Mode; 11] = [
        Mode::Apply,
        Mode::ApplyCheck,
        Mode::Config,
        Mode::ConfigCheck,
        Mode::PostInterrupt,
        Mode::PostInterruptCheck,
        Mode::Upgrade,
        Mode::UpgradeCheck,
        Mode::Uninstall,
        Mode::UninstallCheck,
        Mode::Interrupt,
    ];

    /// Its name in config.json and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Uninstall => "uninstall",
            Mode::UninstallCheck => "uninstall-check",
            Mode::Upgrade => "upgrade",
            Mode::UpgradeCheck => "upgrade-check",
            Mode::Apply => "apply",
            Mode::ApplyCheck => "apply-check",
            Mode::Config => "config",
            Mode::ConfigCheck => "config-check",
            Mode::PostInterrupt => "post-interrupt",
            Mode::PostInterruptCheck => "post-interrupt-check",
            Mode::Interrupt => "interrupt",
        }
    }

    /// The mode of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// The mode whose steps check those of this one. The checks themselves have
    /// none, and neither has the interrupt mode.
    #[must_use]
    pub fn check(self) -> Option<Mode> {
        match self {
            Mode::Uninstall => Some(Mode::UninstallCheck),
            Mode::Upgrade => Some(Mode::UpgradeCheck),
            Mode::Apply => Some(Mode::ApplyCheck),
            Mode::Config => Some(Mode::ConfigCheck),
            Mode::PostInterrupt => Some(Mode::PostInterruptCheck),
            _ => None,
        }
    }

    /// Whether its steps check those of another.
    #[must_use]
    pub fn is_check(self) -> bool {
        self.check().is_none() && self != Mode::Interrupt
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A package's config.json. Unknown keys are left alone, those of steps refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `v1`.
    pub schema_version: String,
    /// The package's name; one component of its log folder's path.
    pub package_name: String,
    /// The package's version, semver 2.0.0; another.
    pub package_version: String,
    /// Files that the package wants in its `configmaps` folder.
    pub expected_config_files: Vec<String>,
    /// The steps of each mode, in order.
    pub modes: BTreeMap<Mode, Vec<Step>>,
}

impl Config {
    /// Reads and checks the config.json at `file`, inside `root`. Its steps' files
    /// are expected in `skyhook_dir` beside it.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read; [`Error::Package`] with everything
    /// that is wrong with it.
    pub fn load(root: &Root, file: &Path) -> Result<Config, Error> {
        let json = root.read(file)?;
        let invalid = |problems| Error::Package {
            file: root.outside(file),
            problems,
        };
        let document = serde_json::from_slice(&json)
            .map_err(|error| invalid(vec![format!("expected JSON: {error}")]))?;
        let step_dir = file.with_file_name("skyhook_dir");
        let exists = |path: &str| root.exists(&step_dir.join(path));
        schema::read(&document, &exists).map_err(invalid)
    }

    /// What the reference warns of, word for word, its leading blank included: the
    /// files that would be named like checks of the steps and are nobody's step.
    /// Each once, in the order of modes and steps.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let steps = |of: fn(Mode) -> bool| {
            let modes = self.modes.iter().filter(move |(mode, _)| of(**mode));
            modes.flat_map(|(_, steps)| steps)
        };
        let mut known: BTreeSet<String> = steps(Mode::is_check)
            .map(|step| step.path.clone())
            .collect();
        steps(|mode| mode.check().is_some())
            .map(|step| check_path(&step.path))
            .filter(|path| known.insert(path.clone()))
            .map(|path| {
                format!(
                    " {path} doesn't exist. \
                     Checks ensure that all tasks in the step will complete."
                )
            })
            .collect()
    }
}

/// Where the reference looks for a step's check: `a.sh` has `a_check.sh`. The last
/// dot counts, even that of a folder.
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
    fn every_mode_has_a_name_and_a_check_or_is_one() {
        for mode in Mode::ALL {
            assert_eq!(Mode::from_name(mode.name()), Some(mode));
            match mode.check() {
                Some(check) => assert_eq!(check.name(), format!("{mode}-check")),
                None => assert_eq!(mode.is_check(), mode.name().ends_with("-check")),
            }
            assert!(!mode.is_check() || mode.check().is_none());
        }
        assert_eq!(Mode::from_name("bogus"), None);
    }

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
