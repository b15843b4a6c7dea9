//! Follows logs: goes on with what is written from now on, also by new runs.
//!
//! The kernel tells what happens in the directories of logs (inotify). Nothing is looked at
//! again and again.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{Logs, local_stamp};
use crate::error::Error;
use crate::host::{Event, Watcher};
use crate::output::log_merge::{Finding, Log, Merge};
use crate::output::log_name::LogName;
use crate::output::runs::{Run, Runs};
use crate::reactor::Stream;

/// The most lines that are shown before the changes are looked at again. A log that is
/// written to all the time must not hide the others.
const LINES_AT_A_TIME: usize = 10_000;

/// The most times that new directories are looked into at once. If there are still new ones,
/// the kernel has told of them.
const MOST_LOOKS: usize = 8;

/// Shows the logs and what is written to them, until a signal ends the process.
pub(super) fn run(logs: &mut Logs<'_, '_>) -> Error {
    match Follow::start(logs) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

struct Follow<'f, 'a, 'p> {
    logs: &'f mut Logs<'a, 'p>,
    watcher: Watcher,
    merge: Merge<'a>,
    /// All runs that were there when it was last looked.
    known: BTreeSet<Run>,
    /// Logs that are asked for, but not what they had at the start.
    old: HashMap<PathBuf, Old>,
}

/// A log that is left out until more is written to it.
struct Old {
    run: Rc<Run>,
    stream: Stream,
    /// Its length at the start.
    len: u64,
}

/// What has changed.
#[derive(Default)]
struct Changes {
    /// Logs that were written to.
    written: BTreeSet<PathBuf>,
    /// Logs that a writer has closed.
    closed: BTreeSet<PathBuf>,
    /// Names of logs that came or went.
    named: BTreeSet<PathBuf>,
    /// Directories may have come or gone.
    look: bool,
    /// Anything may have happened.
    all: bool,
}

impl<'f, 'a, 'p> Follow<'f, 'a, 'p> {
    fn start(logs: &'f mut Logs<'a, 'p>) -> Result<Infallible, Error> {
        let mut follow = Follow {
            merge: Merge::new(logs.root),
            watcher: Watcher::new()?,
            known: BTreeSet::new(),
            old: HashMap::new(),
            logs,
        };
        let mut found = follow.look()?;
        follow.logs.report(found.errors.drain(..))?;
        let options = follow.logs.options;
        let selection = &options.selection;
        if !found.runs.iter().any(|run| selection.is_of(run)) {
            let none = follow.logs.there_are_none(&found.runs);
            follow.logs.notice(&format!("{none}; waiting for them"))?;
        }
        let chosen = selection.choose(&found.runs, options.since.is_some());
        follow.logs.show.expect(&chosen);
        let (package, step) = (&selection.package, &selection.step);
        follow
            .logs
            .show
            .expect_others(package.is_none(), step.is_none());
        follow.logs.show.widen(&chosen);
        for run in &chosen {
            follow.add(run)?;
        }
        let chosen: BTreeSet<&Run> = chosen.into_iter().collect();
        let others = found.runs.iter().filter(|run| selection.is_of(run));
        for run in others.filter(|run| !chosen.contains(run)) {
            follow.leave_out(run);
        }
        follow.known = found.runs.into_iter().collect();
        loop {
            follow.go_on()?;
        }
    }

    /// Shows what there is, waits for a change, and takes it in.
    fn go_on(&mut self) -> Result<(), Error> {
        let mut shown = 0;
        while shown < LINES_AT_A_TIME && self.logs.show_next(&mut self.merge)? {
            shown += 1;
        }
        if shown < LINES_AT_A_TIME {
            self.forget();
            self.logs.context.printer.wait_for(&self.watcher)?;
        }
        let changes = self.changes()?;
        let gone = if changes.look || changes.all || !changes.named.is_empty() {
            self.take_in_names(&changes)?
        } else {
            BTreeSet::new()
        };
        self.take_in_old(&changes)?;
        let is_in = |paths: &BTreeSet<PathBuf>| {
            let paths = paths.clone();
            move |log: &Log| paths.contains(&log.path())
        };
        let all = changes.all;
        let (is_written, is_closed) = (is_in(&changes.written), is_in(&changes.closed));
        self.read_on(|log| all || is_written(log), false)?;
        self.read_on(is_closed, true)?;
        self.read_on(|log| gone.contains(&*log.run), true)
    }

    /// Reads on in the logs that are `chosen`.
    fn read_on(&mut self, chosen: impl Fn(&Log) -> bool, is_final: bool) -> Result<(), Error> {
        let findings = self.merge.go_on(chosen, is_final);
        self.take_in_findings(findings)
    }

    fn take_in_findings(&mut self, findings: Vec<Finding>) -> Result<(), Error> {
        for finding in findings {
            match finding {
                Finding::Truncated(path) => {
                    let notice = "is shorter than before; reading it from its start";
                    self.notice_of(&path, notice)?;
                }
                Finding::Replaced(run, stream) => {
                    let notice = "was replaced; reading the new one";
                    self.notice_of(&run.path(stream), notice)?;
                    let has_ended = self.has_ended(&run);
                    self.logs.add(&mut self.merge, &run, &[stream], has_ended)?;
                }
                Finding::Failed(error) => self.logs.report([error])?,
            }
        }
        Ok(())
    }

    /// Says something of a log, whose path is inside the root.
    fn notice_of(&mut self, path: &Path, notice: &str) -> Result<(), Error> {
        let path = self.logs.root.host_path(path);
        self.logs.notice(&format!("{} {notice}", path.display()))
    }

    /// Takes in that logs have come or gone. Returns the runs whose logs have gone.
    fn take_in_names(&mut self, changes: &Changes) -> Result<BTreeSet<Run>, Error> {
        let replaced = self
            .merge
            .take_leave(|log| changes.named.contains(&log.path()));
        self.take_in_findings(replaced)?;
        let runs: BTreeSet<Run> = self.look()?.runs.into_iter().collect();
        let gone: BTreeSet<Run> = self.known.difference(&runs).cloned().collect();
        self.old.retain(|_, old| !gone.contains(&*old.run));
        let known = std::mem::replace(&mut self.known, runs);
        let selection = &self.logs.options.selection;
        let came: Vec<Run> = self
            .known
            .difference(&known)
            .filter(|run| selection.is_of(run))
            .cloned()
            .collect();
        for run in &came {
            self.logs.show.widen(&[run]);
            self.add(run)?;
        }
        // A log of standard error comes a moment after the other one.
        let named = changes.named.clone();
        self.read_on(move |log| named.contains(&log.path()), false)?;
        Ok(gone)
    }

    /// Leaves out what the logs of a run have so far.
    fn leave_out(&mut self, run: &Run) {
        let run = Rc::new(run.clone());
        for stream in self.logs.streams() {
            let old = Old {
                run: Rc::clone(&run),
                stream: *stream,
                len: run.len(self.logs.root, *stream).unwrap_or_default(),
            };
            self.old.insert(run.path(*stream), old);
        }
    }

    /// Adds logs that were left out, and have been written to or replaced.
    fn take_in_old(&mut self, changes: &Changes) -> Result<(), Error> {
        let paths: Vec<PathBuf> = if changes.all {
            self.old.keys().cloned().collect()
        } else {
            let changed = changes.named.union(&changes.written);
            changed.cloned().collect()
        };
        for path in paths {
            let Some(old) = self.old.get_mut(&path) else {
                continue;
            };
            if changes.named.contains(&path) {
                old.len = 0;
            }
            let (run, stream, len) = (Rc::clone(&old.run), old.stream, old.len);
            let is_new = |now| now != len;
            if run.len(self.logs.root, stream).is_some_and(is_new) {
                self.old.remove(&path);
                self.logs.show.widen(&[&run]);
                let start = local_stamp(self.logs.zone, &run);
                let added = self.merge.add_rest(&run, stream, start, len);
                self.logs.report(added.err())?;
            }
        }
        Ok(())
    }

    /// Adds the logs of a run.
    fn add(&mut self, run: &Run) -> Result<(), Error> {
        let (streams, has_ended) = (self.logs.streams(), self.has_ended(run));
        self.logs
            .add(&mut self.merge, &Rc::new(run.clone()), streams, has_ended)
    }

    /// Tells if a run has ended: its writer may have closed its logs before they were
    /// watched.
    fn has_ended(&self, run: &Run) -> bool {
        let root = self.logs.root;
        let is_under_way = run.is_under_way(root).unwrap_or_default();
        let is_written = |stream| run.len(root, stream) > Some(0);
        !is_under_way && (is_written(Stream::Stdout) || is_written(Stream::Stderr))
    }

    /// Forgets logs that are gone, once all of them has been shown.
    fn forget(&mut self) {
        let known = &self.known;
        self.merge.retain(|log| known.contains(&*log.run));
    }

    /// Watches all directories in which something can happen, and finds the runs there.
    fn look(&mut self) -> Result<Runs, Error> {
        let mut dirs = BTreeSet::new();
        for _ in 0..MOST_LOOKS {
            let mut now = BTreeSet::new();
            for log_dir in self.logs.log_dirs {
                // Where it is missing, the directory in which it will be.
                for (i, dir) in log_dir.ancestors().enumerate() {
                    if self.watcher.watch(self.logs.root, dir, i == 0)? {
                        now.insert(dir.to_owned());
                        break;
                    }
                }
            }
            let found = Runs::find(self.logs.root, self.logs.log_dirs);
            for dir in &found.dirs {
                self.watcher.watch(self.logs.root, dir, true)?;
                now.insert(dir.clone());
            }
            // What came before a directory was watched has to be looked for.
            if now == dirs {
                return Ok(found);
            }
            dirs = now;
        }
        Ok(Runs::find(self.logs.root, self.logs.log_dirs))
    }

    /// Takes the changes from the kernel.
    fn changes(&mut self) -> Result<Changes, Error> {
        let mut changes = Changes::default();
        let happened = self.watcher.changes();
        for change in happened.map_err(|error| Error::io("watch", "the log directories", error))? {
            match change {
                Event::Written(path) => {
                    changes.written.insert(path);
                }
                Event::Closed(path) => {
                    changes.closed.insert(path);
                }
                Event::Named { path, is_dir: true } => changes.look |= self.is_on_the_way(&path),
                Event::Named { path, .. } => {
                    if path.file_name().and_then(LogName::parse).is_some() {
                        changes.named.insert(path);
                    }
                }
                Event::Overflow => changes.all = true,
            }
        }
        Ok(changes)
    }

    /// Tells if logs can be in a directory, or in one below it.
    fn is_on_the_way(&self, dir: &Path) -> bool {
        let mut log_dirs = self.logs.log_dirs.iter();
        log_dirs.any(|log_dir| log_dir.starts_with(dir) || dir.starts_with(log_dir))
    }
}
