//! Which runs are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::output::runs::Run;

/// The runs to show, as the command line has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Only of this package.
    pub package: Option<String>,
    /// Only of this version.
    pub version: Option<String>,
    /// Only of this step: its path, or the name of its file with or without extension.
    pub step: Option<String>,
    /// How many runs of each step.
    pub count: Count,
}

/// How many runs of each step are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Nothing was said: the newest one, or all if a time or a list was asked for.
    Default,
    /// The newest ones.
    Newest(usize),
    /// All.
    All,
}

impl Selection {
    /// Chooses among all runs, which come with the oldest first. `all` is the default if
    /// no number was given. Each custom resource has steps of its own.
    #[must_use]
    pub fn choose<'r>(&self, runs: &'r [Run], all: bool) -> Vec<&'r Run> {
        let most = match self.count {
            Count::Newest(count) => count,
            Count::Default if !all => 1,
            Count::Default | Count::All => usize::MAX,
        };
        let mut counts: BTreeMap<(&Path, &str, &str), usize> = BTreeMap::new();
        let newest_first = runs.iter().rev().filter(|run| {
            if !self.is_of(run) {
                return false;
            }
            let step = (run.log_dir(), &*run.package, &*run.step);
            let count = counts.entry(step).or_default();
            *count += 1;
            *count <= most
        });
        let mut chosen: Vec<&Run> = newest_first.collect();
        chosen.reverse();
        chosen
    }

    /// Tells if a run is of the package, version and step that were named.
    #[must_use]
    pub fn is_of(&self, run: &Run) -> bool {
        let is = |wanted: &Option<String>, name: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == name)
        };
        is(&self.package, &run.package)
            && is(&self.version, &run.version)
            && self
                .step
                .as_deref()
                .is_none_or(|step| is_step(step, &run.step))
    }

    /// Tells if a package or a step was named.
    #[must_use]
    pub fn names_something(&self) -> bool {
        self.package.is_some() || self.step.is_some()
    }

    /// Says which runs are meant: ` of pkg@1.2.3, step a.sh`.
    pub(super) fn describe(&self) -> String {
        let mut described = String::new();
        if let Some(package) = &self.package {
            described += &format!(" of {package}");
        }
        if let Some(version) = &self.version {
            described += &format!("@{version}");
        }
        if let Some(step) = &self.step {
            let comma = if described.is_empty() { " of" } else { "," };
            described += &format!("{comma} step {step}");
        }
        described
    }

    /// Names what there is instead of what was asked for.
    pub(super) fn instead(&self, runs: &[Run]) -> String {
        let of_package = |run: &&Run| self.package.as_ref().is_none_or(|p| *p == run.package);
        let of_version = |run: &&Run| self.version.as_ref().is_none_or(|v| *v == run.version);
        let (what, names): (_, BTreeSet<&str>) = if !runs.iter().any(|run| of_package(&run)) {
            let packages = runs.iter().map(|run| &*run.package);
            ("packages", packages.collect())
        } else if !runs.iter().any(|run| of_package(&run) && of_version(&run)) {
            let runs = runs.iter().filter(of_package);
            ("versions", runs.map(|run| &*run.version).collect())
        } else {
            let runs = runs.iter().filter(of_package).filter(of_version);
            ("steps", runs.map(|run| &*run.step).collect())
        };
        if names.is_empty() {
            return String::new();
        }
        let names: Vec<&str> = names.into_iter().collect();
        format!("; {what} that have logs: {}", names.join(", "))
    }
}

/// Tells if a step is meant by this word.
fn is_step(word: &str, step: &str) -> bool {
    let file = step.rsplit('/').next().unwrap_or(step);
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    word == step || word == file || word == stem
}
