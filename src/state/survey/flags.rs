//! The flags of steps, and what checks have left.

use std::path::Path;

use serde::Serialize;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::super::marker::{FlagName, Marker};
use super::{
    MOST_NAMES, MOST_OF_FLAG, MOST_OF_RESULTS, Package, Packages, StateRoot, Survey, add,
    is_package, join, problem,
};
use crate::host::{self, Kind};
use crate::package::{Mode, OWN_NAME};
use crate::stamp::Iso8601;

/// The flag of a step: the step has succeeded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct StepFlag {
    /// The package's version.
    pub version: String,
    /// The step's path below `skyhook_dir`.
    pub path: String,
    /// Its arguments; `None` if the flag's name is a hash.
    pub arguments: Option<Vec<String>>,
    /// The codes that meant success; `None` if the flag's name is a hash.
    pub returncodes: Option<Vec<i64>>,
    /// The time at which it last succeeded: the node's local time, ISO-8601; `None` if
    /// the flag does not say it.
    pub last_run: Option<String>,
    /// Tells if it runs although it has the flag; `None` if the flag does not say it.
    pub always_runs: Option<bool>,
    /// The flag's path on the node.
    pub flag: String,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The path of the check's step.
    pub path: String,
    /// Tells if it failed.
    pub failed: bool,
}

/// The mark that all checks of a mode have succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// The mode.
    pub mode: String,
    /// The time at which they did: UTC, ISO-8601.
    pub time: Option<String>,
}

impl Survey<'_> {
    /// Looks at what is directly in `flags`.
    pub(super) fn flag_root(&self, found: &mut StateRoot, packages: &mut Packages) {
        let layout = self.layout("");
        let dir = layout.flag_root();
        for entry in self.list(&dir, &mut found.problems) {
            let path = join(&dir, &entry.path);
            let Some(name) = entry.path.to_str() else {
                found
                    .problems
                    .push(problem(path, "expected a name in UTF-8"));
                continue;
            };
            if let Some(mode) = name.strip_suffix("_ALL_CHECKED") {
                match Mode::from_name(mode) {
                    Some(_) => found.all_checked.push(Mark {
                        mode: mode.to_owned(),
                        time: utc(entry.modified.0, entry.modified.1),
                    }),
                    None => found
                        .problems
                        .push(problem(path, "expected the mark of a mode")),
                }
            } else if name == "check_results" {
                self.checks(&path, found);
            } else if name == "START" || self.is_new_file(name, path.clone(), found, packages) {
            } else if self.is_dir(&path, entry.kind) && is_package(name) {
                add(packages, name);
            } else {
                let text = format!("the agent has no such flag; this is {}", entry.kind.name());
                found.problems.push(problem(path, &text));
            }
        }
    }

    fn checks(&self, path: &str, found: &mut StateRoot) {
        let Some(text) = self.read(path, MOST_OF_RESULTS, &mut found.problems) else {
            return;
        };
        for (i, line) in text.lines().enumerate() {
            match line.rsplit_once(' ') {
                Some((step, failed @ ("True" | "False"))) => found.checks.push(Check {
                    path: step.to_owned(),
                    failed: failed == "True",
                }),
                _ => {
                    let text = format!("line {}: expected a step's path and True or False", i + 1);
                    return found.problems.push(problem(path.to_owned(), &text));
                }
            }
        }
    }

    /// Looks at the flags of a package's steps.
    pub(super) fn steps(&self, package: &mut Package) {
        let dir = self.layout(&package.name).package_flag_dir();
        for entry in self.list_all(&dir, MOST_NAMES, &mut package.problems) {
            let path = join(&dir, &entry.path);
            match self.step(&path, &entry, package) {
                Ok(Some(flag)) => package.steps.push(flag),
                Ok(None) => {}
                Err(text) => package.problems.push(problem(path, &text)),
            }
        }
    }

    /// Reads one flag; nothing if it is none yet, since it is still being written.
    fn step(
        &self,
        path: &str,
        entry: &host::Entry,
        package: &mut Package,
    ) -> Result<Option<StepFlag>, String> {
        let below = entry.path.to_str().ok_or("expected a name in UTF-8")?;
        let name = below.rsplit('/').next().unwrap_or_default();
        if name.starts_with(OWN_NAME) && name.ends_with(".new") {
            if package.running.is_none() && !package.may_run {
                package.leftovers.push(path.to_owned());
            }
            return Ok(None);
        }
        let no_dir = || {
            format!(
                "expected the directory of a version, got {}",
                entry.kind.name()
            )
        };
        let (version, flag) = below.split_once('/').ok_or_else(no_dir)?;
        let flag = FlagName::parse(flag)
            .ok_or("expected a name of the form STEP_MARKER, as the flag of a step has")?;
        if entry.kind == Kind::Link {
            // The agent follows it, too.
            match self.root.exists(Path::new(path)) {
                Ok(true) => {}
                Ok(false) => return Err("this link leads nowhere: no flag is set".to_owned()),
                Err(error) => return Err(error.to_string()),
            }
        }
        let content = self.read(path, MOST_OF_FLAG, &mut package.problems);
        let content = content.as_deref().map(parse_content);
        if let Some((None, _) | (_, None)) = content {
            let text = "expected the flag to say last_run and step_always_runs";
            package.problems.push(problem(path.to_owned(), text));
        }
        let (last_run, always_runs) = content.unwrap_or_default();
        let (arguments, returncodes) = match flag.marker {
            Marker::Hash => (None, None),
            Marker::Values {
                arguments,
                returncodes,
            } => (Some(arguments), Some(returncodes)),
        };
        Ok(Some(StepFlag {
            version: version.to_owned(),
            path: flag.step,
            arguments,
            returncodes,
            last_run,
            always_runs,
            flag: path.to_owned(),
        }))
    }
}

/// Reads `last_run: {time}` and `step_always_runs: {True|False}`.
fn parse_content(content: &str) -> (Option<String>, Option<bool>) {
    let field = |name: &str| {
        let mut lines = content.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let always = match field("step_always_runs") {
        Some("True") => Some(true),
        Some("False") => Some(false),
        _ => None,
    };
    let time = field("last_run").filter(|time| !time.is_empty() && time.len() <= 40);
    (time.map(str::to_owned), always)
}

/// Writes a time as the history has it: UTC, ISO-8601 with `+00:00`.
pub(super) fn utc(seconds: i64, nanoseconds: i64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    let time = time.checked_add(time::Duration::nanoseconds(nanoseconds))?;
    let time = PrimitiveDateTime::new(time.date(), time.time());
    Some(format!("{}+00:00", Iso8601(time)))
}
