//! How the runs that have logs on a node have ended, as far as its state tells.
//!
//! The agent notes with a log how its run has ended. Where it has not, since an older one
//! or the reference wrote the log, or the file system keeps no notes, these tell: the flag
//! of a step that has succeeded, the results of the last checks, and the flag of an
//! interrupt. Each of these files was written right after, or right before, the run that it
//! is of: that is how the run is found.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use crate::error::Error;
use crate::host::{Dir, Root};
use crate::output::log_file::Ended;
use crate::output::runs::Run;
use crate::reactor::Stream;

/// How a run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// It is under way.
    Running,
    /// It has succeeded.
    Succeeded,
    /// It has failed.
    Failed,
    /// The node does not tell.
    Unknown,
}

/// What is known of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// How it has ended.
    pub outcome: RunOutcome,
    /// When its logs were last written to.
    pub written: Option<OffsetDateTime>,
}

/// Tells what is known of each of these runs: all that have logs on the node, the oldest
/// first. Looks into these state directories, inside the root; one may be missing. Returns
/// what could not be looked at, too.
#[must_use]
pub fn of(root: &Root, state_dirs: &[String], runs: &[Run]) -> (Vec<Known>, Vec<Error>) {
    let mut errors = Vec::new();
    let known = runs
        .iter()
        .map(|run| {
            let is_under_way = run.is_under_way(root).unwrap_or_else(|error| {
                errors.push(error);
                false
            });
            Known {
                outcome: match run.ended(root) {
                    _ if is_under_way => RunOutcome::Running,
                    Some(Ended::Succeeded) => RunOutcome::Succeeded,
                    Some(Ended::Failed) => RunOutcome::Failed,
                    None => RunOutcome::Unknown,
                },
                written: [Stream::Stdout, Stream::Stderr]
                    .iter()
                    .filter_map(|stream| run.modified(root, *stream))
                    .max(),
            }
        })
        .collect();
    let mut found = Outcomes { root, runs, known };
    for dir in state_dirs.iter().map(Path::new) {
        found.take_flags(dir);
        found.take_checks(dir);
        found.take_interrupts(dir);
    }
    (found.known, errors)
}

struct Outcomes<'a> {
    root: &'a Root,
    runs: &'a [Run],
    known: Vec<Known>,
}

impl Outcomes<'_> {
    /// The flag of a step is written when it has succeeded.
    fn take_flags(&mut self, state: &Path) {
        let mut steps: BTreeMap<(&str, &str, &str), Vec<usize>> = BTreeMap::new();
        for (at, run) in self.runs.iter().enumerate() {
            let step = (&*run.package, &*run.version, &*run.step);
            steps.entry(step).or_default().push(at);
        }
        for ((package, version, step), runs) in steps {
            let path = state.join("flags").join(package).join(version).join(step);
            let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
                continue;
            };
            let mut times = Vec::new();
            if let Ok(dir) = self.root.open_dir(above) {
                times_of_flags(self.root, above, &dir, name, &mut times);
            }
            for time in times {
                self.note_last_ended(&runs, time, RunOutcome::Succeeded);
            }
        }
    }

    /// The results are written when all checks of a mode have run. They do not say of which
    /// package: two that have a check of the same path are not told apart.
    fn take_checks(&mut self, state: &Path) {
        let path = state.join("flags/check_results");
        let Ok(results) = self.root.read(&path) else {
            return;
        };
        let Some(time) = self.modified(&path) else {
            return;
        };
        for line in String::from_utf8_lossy(&results).lines() {
            let Some((step, result)) = line.rsplit_once(' ') else {
                continue;
            };
            let outcome = match result {
                "True" => RunOutcome::Failed,
                "False" => RunOutcome::Succeeded,
                _ => continue,
            };
            let runs = self.runs.iter().enumerate();
            let of_step: Vec<(usize, &Run)> = runs.filter(|(_, run)| run.step == step).collect();
            let mut packages = of_step.iter().map(|(_, run)| &*run.package);
            let first = packages.next();
            if packages.all(|package| Some(package) == first) {
                let runs: Vec<usize> = of_step.iter().map(|(at, _)| *at).collect();
                self.note_last_ended(&runs, time, outcome);
            }
        }
    }

    /// The flag of an interrupt is written right before the first line of its log, and
    /// removed if its command has failed.
    fn take_interrupts(&mut self, state: &Path) {
        let flags = state.join("interrupts/flags");
        let Ok(dir) = self.root.open_dir(&flags) else {
            return;
        };
        let resources = dir.list(|_| false).unwrap_or_default().dirs;
        for at in 0..self.runs.len() {
            let Some(run) = self.runs.get(at) else {
                continue;
            };
            let Some(command) = run.step.strip_prefix("interrupts/") else {
                continue;
            };
            let suffix = format!("_{}_{}", run.package, run.version);
            let is_same = |other: &Run| {
                (&other.package, &other.version, &other.step)
                    == (&run.package, &run.version, &run.step)
            };
            for resource in &resources {
                if !resource.to_string_lossy().ends_with(&suffix) {
                    continue;
                }
                let flag = flags.join(resource).join(format!("{command}.complete"));
                let Some(time) = self.modified(&flag) else {
                    continue;
                };
                // The first that was written to after its flag: earlier ones had ended.
                let mut runs = self.runs.iter().zip(&self.known).enumerate();
                let first = runs.find(|(_, (other, known))| {
                    is_same(other) && known.written.is_some_and(|written| written >= time)
                });
                if first.is_some_and(|(first, _)| first == at) {
                    self.note(at, RunOutcome::Succeeded);
                }
            }
        }
    }

    /// Notes the outcome of the run that had ended last at this time.
    fn note_last_ended(&mut self, runs: &[usize], time: OffsetDateTime, outcome: RunOutcome) {
        let has_ended = |at: &&usize| {
            self.known.get(**at).is_some_and(|known| {
                known.outcome != RunOutcome::Running
                    && known.written.is_some_and(|written| written <= time)
            })
        };
        if let Some(at) = runs.iter().rev().find(has_ended) {
            self.note(*at, outcome);
        }
    }

    fn note(&mut self, at: usize, outcome: RunOutcome) {
        if let Some(known) = self.known.get_mut(at)
            && known.outcome == RunOutcome::Unknown
        {
            known.outcome = outcome;
        }
    }

    fn modified(&self, path: &Path) -> Option<OffsetDateTime> {
        let dir = self.root.open_dir(path.parent()?).ok()?;
        modified(&dir, path.file_name()?)
    }
}

/// Adds the times at which the flags of a step were written. Their names are the step's and a
/// marker for arguments and return codes. A slash in the marker makes directories.
fn times_of_flags(
    root: &Root,
    above: &Path,
    dir: &Dir,
    step: &OsStr,
    times: &mut Vec<OffsetDateTime>,
) {
    let step = step.to_string_lossy();
    // Base64 of what begins with `[`, or a hash.
    let is_flag = |name: &OsStr| {
        let name = name.to_string_lossy();
        let marker = name.strip_prefix(&*step).and_then(|m| m.strip_prefix('_'));
        marker.is_some_and(|marker| marker.starts_with('W') || marker.starts_with("sha256-"))
    };
    let Ok(listed) = dir.list(is_flag) else {
        return;
    };
    times.extend(listed.files.iter().filter_map(|name| modified(dir, name)));
    let mut dirs: Vec<PathBuf> = listed
        .dirs
        .iter()
        .filter(|name| is_flag(name))
        .map(|name| above.join(name))
        .collect();
    while let Some(path) = dirs.pop() {
        let Ok(dir) = root.open_dir(&path) else {
            continue;
        };
        let Ok(listed) = dir.list(|_| true) else {
            continue;
        };
        times.extend(listed.files.iter().filter_map(|name| modified(&dir, name)));
        dirs.extend(listed.dirs.iter().map(|name| path.join(name)));
    }
}

fn modified(dir: &Dir, name: &OsStr) -> Option<OffsetDateTime> {
    let (seconds, nanoseconds) = dir.modified(name).ok()?;
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    Some(time + time::Duration::nanoseconds(nanoseconds))
}
