//! `skyhook-agent logs`: shows what the steps of packages have said on a node.
//!
//! Changes nothing, and needs no lock. Lines of all logs are merged by their own time.

mod follow;
mod grep;
mod list;
mod selection;
mod show;
mod since;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use anstream::ColorChoice;

use super::Outcome;
use crate::error::Error;
use crate::host::{self, Root};
use crate::output::log_merge::Merge;
use crate::output::runs::{Run, Runs};
use crate::output::{Console, Printer};
use crate::reactor::Stream;
use crate::settings::Settings;
use crate::stamp::{Clock, Iso8601, LocalZone, Stamp};
use crate::system::sys;

pub use grep::Grep;
pub use selection::{Count, Selection};
use show::Show;
pub use since::Since;

/// The options of `logs`, as the command line has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The root of the node.
    pub root: PathBuf,
    /// The directories of logs; none for the usual one.
    pub log_dirs: Vec<PathBuf>,
    /// The runs to show.
    pub selection: Selection,
    /// Shows no line before this time.
    pub since: Option<Since>,
    /// Shows only standard error.
    pub stderr_only: bool,
    /// Shows only the lines that match.
    pub grep: Option<Grep>,
    /// Goes on with what is written from now on.
    pub follow: bool,
    /// Lists the runs, and shows none of their lines.
    pub list: bool,
    /// The form of the lines.
    pub form: Form,
    /// If colours are used.
    pub color: ColorChoice,
}

/// The form in which lines are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Human,
    /// One object of JSON a line.
    Json,
    /// The bytes of the logs.
    Raw,
}

/// The parts of the process that the command uses.
pub struct Context<'a> {
    /// Where lines go.
    pub printer: &'a mut Printer,
    /// Where notices go.
    pub console: &'a mut Console,
    /// The usual directories.
    pub settings: &'a Settings,
    /// The clock that `--since` counts from.
    pub clock: &'a dyn Clock,
}

/// Shows the logs. What cannot be read is told on stderr, and the rest is shown.
///
/// # Errors
/// If the root cannot be entered, or the lines cannot be written.
pub fn run(options: &Options, context: &mut Context<'_>) -> Result<Outcome, Error> {
    // As PID 1 of a container, the process would not end by a signal that it leaves alone.
    sys::end_at_once_on_signals();
    let root = Root::open(&options.root)?;
    let log_dirs = options.log_dirs(context.settings)?;
    let zone = LocalZone::default();
    let since = options
        .since
        .map(|since| since.stamp(context.clock.utc(), &zone));
    let mut logs = Logs {
        options,
        root: &root,
        log_dirs: &log_dirs,
        zone: &zone,
        show: Show::new(options, since, context.printer.palette),
        context,
        outcome: Outcome::Succeeded,
    };
    if options.follow {
        return Err(follow::run(&mut logs));
    }
    let found = Runs::find(&root, &log_dirs);
    logs.report(found.errors)?;
    let runs = options
        .selection
        .choose(&found.runs, since.is_some() || options.list);
    if runs.is_empty() {
        return logs.say_that_there_are_none(&found.runs);
    }
    if options.list {
        list::print(&mut logs, &found.runs, &runs, since)?;
    } else {
        logs.show.expect(&runs);
        let mut merge = Merge::new(&root);
        for run in runs {
            let streams = logs.streams();
            logs.add(&mut merge, &Rc::new(run.clone()), streams, true)?;
        }
        while logs.show_next(&mut merge)? {}
    }
    Ok(logs.outcome)
}

impl Options {
    /// The directories of logs, inside the root.
    fn log_dirs(&self, settings: &Settings) -> Result<Vec<PathBuf>, Error> {
        if self.log_dirs.is_empty() {
            return Ok(vec![Path::new("/").join(&settings.log_dir)]);
        }
        let is_own = self.root == Path::new("/");
        let dirs = self.log_dirs.iter();
        dirs.map(|dir| host::inside(dir, is_own)).collect()
    }
}

/// A run of the command.
struct Logs<'a, 'p> {
    options: &'a Options,
    root: &'a Root,
    log_dirs: &'a [PathBuf],
    zone: &'a LocalZone,
    show: Show,
    context: &'a mut Context<'p>,
    outcome: Outcome,
}

impl Logs<'_, '_> {
    /// Says on stderr what cannot be looked at. The rest is shown all the same.
    fn report(&mut self, errors: impl IntoIterator<Item = Error>) -> Result<(), Error> {
        for error in errors {
            self.notice(&error.to_string())?;
            self.outcome = Outcome::Failed;
        }
        Ok(())
    }

    /// Says something on stderr, after what has been shown so far.
    fn notice(&mut self, notice: &str) -> Result<(), Error> {
        self.context.printer.flush()?;
        self.context.console.notice(notice);
        Ok(())
    }

    /// Adds the logs of some streams of a run.
    fn add(
        &mut self,
        merge: &mut Merge<'_>,
        run: &Rc<Run>,
        streams: &[Stream],
        is_final: bool,
    ) -> Result<(), Error> {
        let start = local_stamp(self.zone, run);
        for stream in streams {
            let added = merge.add(run, *stream, start, is_final);
            self.report(added.err())?;
        }
        Ok(())
    }

    fn streams(&self) -> &'static [Stream] {
        if self.options.stderr_only {
            &[Stream::Stderr]
        } else {
            &[Stream::Stdout, Stream::Stderr]
        }
    }

    /// Shows the line that is due next. Returns `false` if there is none.
    fn show_next(&mut self, merge: &mut Merge<'_>) -> Result<bool, Error> {
        match merge.next_line() {
            Ok(Some(entry)) => self.show.entry(&entry, self.context.printer).map(|()| true),
            Ok(None) => Ok(false),
            Err(error) => self.report([error]).map(|()| true),
        }
    }

    /// Says that there is nothing to show. That is wrong only if something was named.
    fn say_that_there_are_none(&mut self, runs: &[Run]) -> Result<Outcome, Error> {
        let notice = self.there_are_none(runs);
        self.notice(&notice)?;
        Ok(if self.options.selection.names_something() {
            Outcome::Failed
        } else {
            self.outcome
        })
    }

    /// Says that none of these runs is one of those that were asked for.
    fn there_are_none(&self, runs: &[Run]) -> String {
        let dirs: Vec<String> = self
            .log_dirs
            .iter()
            .map(|dir| self.root.host_path(dir).display().to_string())
            .collect();
        let selection = &self.options.selection;
        format!(
            "no logs{} in {}{}",
            selection.describe(),
            dirs.join(", "),
            selection.instead(runs)
        )
    }
}

/// The start of a run as a stamp, in local time.
fn local_stamp(zone: &LocalZone, run: &Run) -> Stamp {
    stamp(Iso8601(zone.local(run.time.assume_utc())))
}

/// A time as a stamp. A year that has not four digits has none; then the earliest.
fn stamp(time: Iso8601) -> Stamp {
    Stamp::parse(time.to_string().as_bytes()).unwrap_or(Stamp::EARLIEST)
}
