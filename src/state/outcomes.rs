//! How the runs that have logs on a node have ended, as far as its state tells.
//!
//! The agent notes with a log how its run has ended. Where it has not, since an older one
//! or the reference wrote the log, or the file system keeps no notes, these tell: the flag
//! of a step that has succeeded, the results of the last checks, and the flag of an
//! interrupt. Each of these files was written right after, or right before, the run that it
//! is of: that is how the run is found.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

use super::survey;
use crate::error::Error;
use crate::host::{Dir, Listed, Root};
use crate::output::log_file::{self, Ended};
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

impl RunOutcome {
    /// What the agent has noted with the log of a run's standard output.
    #[must_use]
    pub fn noted_with(log: &File) -> RunOutcome {
        match Ended::of(log) {
            _ if log_file::is_held(log) => RunOutcome::Running,
            Some(Ended::Succeeded) => RunOutcome::Succeeded,
            Some(Ended::Failed) => RunOutcome::Failed,
            None => RunOutcome::Unknown,
        }
    }

    /// Its name: `running`, `succeeded`, `failed` or `unknown`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RunOutcome::Running => "running",
            RunOutcome::Succeeded => "succeeded",
            RunOutcome::Failed => "failed",
            RunOutcome::Unknown => "unknown",
        }
    }
}

impl Serialize for RunOutcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What is known of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// How it has ended.
    pub outcome: RunOutcome,
    /// When its logs were last written to.
    pub written: Option<OffsetDateTime>,
    /// The size of the log of standard output; `None` if there is none, or it cannot be
    /// opened.
    pub stdout_len: Option<u64>,
    /// The size of the log of standard error, likewise.
    pub stderr_len: Option<u64>,
}

/// Tells what is known of each of these runs: all that have logs on the node, the oldest
/// first. Looks into these state directories, inside the root; one may be missing. Returns
/// what could not be looked at, too.
#[must_use]
pub fn of(root: &Root, state_dirs: &[String], runs: &[Run]) -> (Vec<Known>, Vec<Error>) {
    let mut found = Outcomes {
        root,
        runs,
        known: Vec::new(),
        errors: Vec::new(),
    };
    for run in runs {
        let known = found.look_at(run);
        found.known.push(known);
    }
    for dir in state_dirs {
        let steps = found.steps(dir);
        let dir = Path::new(dir);
        found.take_flags(dir, &steps);
        found.take_checks(dir, &steps);
        found.take_interrupts(dir, &steps);
    }
    (found.known, found.errors)
}

struct Outcomes<'a> {
    root: &'a Root,
    runs: &'a [Run],
    known: Vec<Known>,
    errors: Vec<Error>,
}

/// The places of the runs of each step, the oldest first. A step is a package, a version and
/// a path.
type Steps<'a> = BTreeMap<(&'a str, &'a str, &'a str), Vec<usize>>;

impl<'a> Outcomes<'a> {
    /// Looks at the logs of a run.
    fn look_at(&mut self, run: &Run) -> Known {
        let mut known = Known {
            outcome: RunOutcome::Unknown,
            written: None,
            stdout_len: None,
            stderr_len: None,
        };
        for stream in [Stream::Stdout, Stream::Stderr] {
            let log = run.open(self.root, stream);
            let Some(log) = self.unless_missing(log).flatten() else {
                continue;
            };
            let metadata = log.metadata().ok();
            let len = metadata.as_ref().map(std::fs::Metadata::len);
            let modified = metadata.and_then(|metadata| metadata.modified().ok());
            known.written = known.written.max(modified.map(OffsetDateTime::from));
            match stream {
                Stream::Stdout => {
                    known.stdout_len = len;
                    known.outcome = RunOutcome::noted_with(&log);
                }
                Stream::Stderr => known.stderr_len = len,
            }
        }
        known
    }

    /// The runs that a state directory may tell of.
    fn steps(&self, state: &str) -> Steps<'a> {
        let mut steps = Steps::new();
        for (at, run) in self.runs.iter().enumerate() {
            if survey::may_have_logs_in(state, run.log_dir()) {
                let step = (&*run.package, &*run.version, &*run.step);
                steps.entry(step).or_default().push(at);
            }
        }
        steps
    }

    /// The flag of a step is written when it has succeeded.
    fn take_flags(&mut self, state: &Path, steps: &Steps<'_>) {
        let flags = state.join("flags");
        if self.open_dir(&flags).is_none() {
            return;
        }
        // The steps whose flags are in one directory.
        let mut dirs: BTreeMap<PathBuf, Vec<(OsString, &[usize])>> = BTreeMap::new();
        for ((package, version, step), runs) in steps {
            let path = flags.join(package).join(version).join(step);
            if let (Some(above), Some(name)) = (path.parent(), path.file_name()) {
                let steps = dirs.entry(above.to_owned()).or_default();
                steps.push((name.to_owned(), runs));
            }
        }
        for (above, steps) in dirs {
            let Some(dir) = self.open_dir(&above) else {
                continue;
            };
            for (name, runs) in steps {
                for time in self.times_of_flags(&above, &dir, &name) {
                    self.note_last_ended(runs, time, RunOutcome::Succeeded);
                }
            }
        }
    }

    /// The results are written when all checks of a mode have run. They do not say of which
    /// package: two that have a check of the same path are not told apart.
    fn take_checks(&mut self, state: &Path, steps: &Steps<'_>) {
        let path = state.join("flags/check_results");
        let results = self.root.read(&path);
        let Some(results) = self.unless_missing(results) else {
            return;
        };
        let Some(time) = self.modified(&path) else {
            return;
        };
        // Of each path, the package and the runs; no package if there are several.
        let mut checks: BTreeMap<&str, (Option<&str>, Vec<usize>)> = BTreeMap::new();
        for ((package, _, step), runs) in steps {
            let (owner, all) = checks.entry(step).or_insert((Some(package), Vec::new()));
            *owner = owner.filter(|owner| owner == package);
            all.extend(runs);
        }
        for line in String::from_utf8_lossy(&results).lines() {
            let Some((step, result)) = line.rsplit_once(' ') else {
                continue;
            };
            let outcome = match result {
                "True" => RunOutcome::Failed,
                "False" => RunOutcome::Succeeded,
                _ => continue,
            };
            // The second line of a step says nothing new.
            if let Some((Some(_), mut runs)) = checks.remove(step) {
                runs.sort_unstable();
                self.note_last_ended(&runs, time, outcome);
            }
        }
    }

    /// The flag of an interrupt is written right before the first line of its log, and
    /// removed if its command has failed.
    fn take_interrupts(&mut self, state: &Path, steps: &Steps<'_>) {
        let flags = state.join("interrupts/flags");
        let Some(dir) = self.open_dir(&flags) else {
            return;
        };
        let resources = self.list(&flags, &dir, |_| false).dirs;
        for ((package, version, step), runs) in steps {
            let Some(command) = step.strip_prefix("interrupts/") else {
                continue;
            };
            let suffix = format!("_{package}_{version}");
            for resource in &resources {
                if !resource.to_string_lossy().ends_with(&suffix) {
                    continue;
                }
                let flag = flags.join(resource).join(format!("{command}.complete"));
                let Some(time) = self.modified(&flag) else {
                    continue;
                };
                // The first that was written to after its flag: earlier ones had ended.
                let is_first = |at: &&usize| {
                    let known = self.known.get(**at);
                    known.is_some_and(|known| known.written.is_some_and(|written| written >= time))
                };
                if let Some(at) = runs.iter().find(is_first) {
                    self.note(*at, RunOutcome::Succeeded);
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

    /// Tells when the flags of a step were written. Their names are the step's and a marker
    /// for arguments and return codes. A slash in the marker makes directories.
    fn times_of_flags(&mut self, above: &Path, dir: &Dir, step: &OsStr) -> Vec<OffsetDateTime> {
        let step = step.to_string_lossy();
        // Base64 of what begins with `[`, or a hash.
        let is_flag = |name: &OsStr| {
            let name = name.to_string_lossy();
            let marker = name.strip_prefix(&*step).and_then(|m| m.strip_prefix('_'));
            marker.is_some_and(|marker| marker.starts_with('W') || marker.starts_with("sha256-"))
        };
        let listed = self.list(above, dir, is_flag);
        let files = listed.files.iter();
        let mut times: Vec<OffsetDateTime> = files.filter_map(|name| modified(dir, name)).collect();
        let dirs = listed.dirs.iter().filter(|name| is_flag(name));
        let mut dirs: Vec<PathBuf> = dirs.map(|name| above.join(name)).collect();
        while let Some(path) = dirs.pop() {
            let Some(dir) = self.open_dir(&path) else {
                continue;
            };
            let listed = self.list(&path, &dir, |_| true);
            times.extend(listed.files.iter().filter_map(|name| modified(&dir, name)));
            dirs.extend(listed.dirs.iter().map(|name| path.join(name)));
        }
        times
    }
}

// What cannot be looked at is noted, and left out.
impl Outcomes<'_> {
    /// What was found; `None` if it is missing or cannot be looked at.
    fn unless_missing<T>(&mut self, found: Result<T, Error>) -> Option<T> {
        match found {
            Ok(found) => Some(found),
            Err(error) => {
                self.errors.extend((!error.is_missing()).then_some(error));
                None
            }
        }
    }

    fn open_dir(&mut self, path: &Path) -> Option<Dir> {
        let dir = self.root.open_dir(path);
        self.unless_missing(dir)
    }

    fn list(&mut self, path: &Path, dir: &Dir, wanted: impl Fn(&OsStr) -> bool) -> Listed {
        let listed = dir.list(wanted);
        let listed = listed.map_err(|error| Error::io("list", self.root.host_path(path), error));
        self.unless_missing(listed).unwrap_or_default()
    }

    fn modified(&mut self, path: &Path) -> Option<OffsetDateTime> {
        let dir = self.open_dir(path.parent()?)?;
        modified(&dir, path.file_name()?)
    }
}

fn modified(dir: &Dir, name: &OsStr) -> Option<OffsetDateTime> {
    let (seconds, nanoseconds) = dir.modified(name).ok()?;
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    Some(time + time::Duration::nanoseconds(nanoseconds))
}
