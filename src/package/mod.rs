//! A package: its config.json, read and checked (contract §7).

mod interrupt;
mod json;
mod mode;
mod schema;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::Error;
use crate::host::Root;

pub use interrupt::Interrupt;
pub use mode::Mode;
pub use step::Step;

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
