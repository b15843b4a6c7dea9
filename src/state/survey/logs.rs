//! The log files of packages.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::{Package, Packages, StateRoot, Survey, add, is_package, join};
use crate::host::Kind;
use crate::output::log_name::LogName;
use crate::state::outcomes::RunOutcome;

/// The most names of one package's logs that are looked at.
const MOST_LOGS: usize = 100_000;

/// The log files of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Logs {
    /// Their number; a run of a step has two.
    pub files: u64,
    /// Their bytes in all.
    pub bytes: u64,
    /// The path of the newest, by the time in its name; `None` if there is none.
    pub newest: Option<String>,
    /// How the run of the newest has ended, if the agent has noted that with it.
    pub newest_outcome: Option<RunOutcome>,
    /// The paths of the steps that have logs.
    #[serde(skip)]
    pub(super) steps: BTreeSet<String>,
}

impl Survey<'_> {
    /// Finds packages that have logs: one whose first step failed has nothing else. Only
    /// a package's directory has those of versions, which begin with a digit.
    pub(super) fn log_root(&self, found: &mut StateRoot, packages: &mut Packages) {
        for entry in self.list(self.log_dir, &mut found.problems) {
            let Some(name) = entry.path.to_str().filter(|name| is_package(name)) else {
                continue;
            };
            let path = join(self.log_dir, &entry.path);
            if packages.contains_key(name) || entry.kind != Kind::Directory {
                continue;
            }
            let is_version = |name: Option<&str>| {
                name.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_digit()))
            };
            let versions = self.list(&path, &mut Vec::new());
            if versions.iter().any(|entry| is_version(entry.path.to_str())) {
                add(packages, name);
            }
        }
    }

    /// Counts the logs of a package.
    pub(super) fn logs(&self, package: &mut Package) {
        let dir = format!("{}/{}", self.log_dir, package.name);
        let mut newest = None;
        for entry in self.list_all(&dir, MOST_LOGS, &mut package.problems) {
            let Some(name) = entry.path.file_name().and_then(LogName::parse) else {
                continue;
            };
            if entry.kind != Kind::File {
                continue;
            }
            package.logs.files += 1;
            package.logs.bytes = package.logs.bytes.saturating_add(entry.len);
            if !name.is_err {
                newest = newest.max(Some((name.time, entry.modified, join(&dir, &entry.path))));
                package.logs.steps.extend(step_path(&entry.path, name));
            }
        }
        package.logs.newest = newest.map(|(_, _, path)| path);
        package.logs.newest_outcome = package.logs.newest.as_deref().map(|log| self.outcome(log));
    }

    fn outcome(&self, log: &str) -> RunOutcome {
        let log = Path::new(log);
        let dir = self.root.open_dir(log.parent().unwrap_or(log)).ok();
        let log = dir.and_then(|dir| dir.open_file(log.file_name()?).ok());
        log.map_or(RunOutcome::Unknown, |log| RunOutcome::noted_with(&log))
    }
}

/// Names the step of a log, whose path begins with the version.
fn step_path(log: &Path, name: LogName<'_>) -> Option<String> {
    let above = log.parent()?.to_str()?;
    let step = name.step.to_str()?;
    Some(match above.split_once('/') {
        Some((_, above)) => format!("{above}/{step}"),
        None => step.to_owned(),
    })
}
