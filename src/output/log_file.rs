//! Naming, claiming and removing log files (contract §4, §10).
//!
//! A run of a step has two: `{dir}//{step path}-{UTC time}.log` for its standard
//! output, and the same name with `.err` appended for its standard error. `{dir}` is
//! `{SKYHOOK_LOG_DIR}/{package}/{version}` inside the root mount.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

use crate::error::Error;
use crate::host::{Dir, Root};

/// The number of runs of a step that keep their logs.
pub const LOGS_KEPT: usize = 5;

/// Names the log directory of one version of a package, inside the root mount.
#[must_use]
pub fn dir(log_root: &OsStr, package: &str, version: &str) -> PathBuf {
    let mut dir = log_root.to_owned();
    dir.push(format!("/{package}/{version}"));
    dir.into()
}

/// Names the log file of the run of `step_path` at `utc`. The two slashes are the
/// reference's.
#[must_use]
pub fn path(dir: &Path, step_path: &str, utc: OffsetDateTime) -> PathBuf {
    let mut path = dir.as_os_str().to_owned();
    path.push(format!("//{step_path}-{}.log", timestamp(utc)));
    path.into()
}

/// Names the file beside `log` for standard error.
#[must_use]
pub fn err_path(log: &Path) -> PathBuf {
    let mut path = log.as_os_str().to_owned();
    path.push(".err");
    path.into()
}

/// `%Y-%m-%d-%H%M%S`.
fn timestamp(utc: OffsetDateTime) -> String {
    let (year, month, day) = utc.to_calendar_date();
    let month = u8::from(month);
    let (hour, minute, second) = utc.to_hms();
    format!("{year:04}-{month:02}-{day:02}-{hour:02}{minute:02}{second:02}")
}

/// A log file's name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogName<'n> {
    /// The file name of the step.
    pub step: &'n OsStr,
    /// The start of the run, in UTC, to the second.
    pub time: PrimitiveDateTime,
    /// Tells if it is the log of standard error.
    pub is_err: bool,
}

impl<'n> LogName<'n> {
    /// Reads a file name of the form `{step}-{time}.log` or `{step}-{time}.log.err`;
    /// `None` if it has another form.
    #[must_use]
    pub fn parse(name: &'n OsStr) -> Option<LogName<'n>> {
        let bytes = name.as_bytes();
        let (log, is_err) = match bytes.strip_suffix(b".err") {
            Some(log) => (log, true),
            None => (bytes, false),
        };
        let stem = log.strip_suffix(b".log")?;
        let (step, time) = stem.split_at_checked(stem.len().checked_sub(TIMESTAMP.len() + 1)?)?;
        Some(LogName {
            step: OsStr::from_bytes(step),
            time: parse_timestamp(time.strip_prefix(b"-")?)?,
            is_err,
        })
    }
}

/// The shape of a timestamp: `d` stands for a digit.
const TIMESTAMP: &[u8] = b"dddd-dd-dd-dddddd";

fn parse_timestamp(text: &[u8]) -> Option<PrimitiveDateTime> {
    let fits = text.iter().zip(TIMESTAMP).all(|(byte, kind)| match kind {
        b'd' => byte.is_ascii_digit(),
        _ => byte == kind,
    });
    if !fits || text.len() != TIMESTAMP.len() {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let part = |at: usize, len: usize| text.get(at..at + len)?.parse::<u16>().ok();
    let small = |at: usize| u8::try_from(part(at, 2)?).ok();
    let month = Month::try_from(small(5)?).ok()?;
    Some(PrimitiveDateTime::new(
        Date::from_calendar_date(part(0, 4)?.into(), month, small(8)?).ok()?,
        Time::from_hms(small(11)?, small(13)?, small(15)?).ok()?,
    ))
}

/// The log directory of one version of a package, inside a root, during one run.
///
/// A directory of it is listed once, after its first step. A run of many steps would
/// otherwise list all their logs again after each step.
#[derive(Debug)]
pub struct LogDir<'a> {
    root: &'a Root,
    path: PathBuf,
    listings: RefCell<BTreeMap<PathBuf, Listing>>,
}

/// A directory of logs.
#[derive(Debug)]
struct Listing {
    dir: Rc<Dir>,
    is_listed: bool,
    steps: BTreeMap<OsString, StepLogs>,
}

/// The logs of one step in a directory.
#[derive(Debug, Default)]
struct StepLogs {
    /// Those of standard output; none until the directory has been listed.
    names: Vec<OsString>,
    /// The earliest time that the next log may have in its name.
    next: Option<OffsetDateTime>,
}

/// The two log files of a run, open and empty. No other run has them.
#[derive(Debug)]
pub struct Claim {
    /// For standard output.
    pub stdout: File,
    /// For standard error.
    pub stderr: File,
    /// The path of `stdout` outside the root; [`err_path`] gives that of `stderr`.
    pub path: PathBuf,
    dir: Rc<Dir>,
}

impl<'a> LogDir<'a> {
    /// Takes the log directory at `path` inside `root`: [`dir`] names it. Creates
    /// nothing.
    #[must_use]
    pub fn new(root: &'a Root, path: PathBuf) -> LogDir<'a> {
        LogDir {
            root,
            path,
            listings: RefCell::default(),
        }
    }

    /// Creates the log files of a run of `step_path` that starts at `now`, and their
    /// directories.
    ///
    /// No two runs get the same name: if the one of this second is taken, the next
    /// free second's is used. Nothing waits (contract §10). The names that one step
    /// gets here are in the order of its runs, even if old logs were removed or the
    /// clock went back in between.
    ///
    /// # Errors
    /// If a directory or a file cannot be created.
    pub fn claim(&self, step_path: &str, now: OffsetDateTime) -> Result<Claim, Error> {
        let (parent, step) = self.parent_and_step(step_path);
        let mut time = now;
        let mut is_new = false;
        loop {
            let mut listing = self.listing(&parent)?;
            let logs = listing.of_step(step);
            time = logs.next.map_or(time, |next| next.max(time));
            let log = path(&self.path, step_path, time);
            let name = log.file_name().unwrap_or_default();
            let host_path = self.root.host_path(&log);
            match create_both(&listing.dir, name) {
                Ok((stdout, stderr)) => {
                    listing.add(step, name, time);
                    return Ok(Claim {
                        stdout,
                        stderr,
                        path: host_path,
                        dir: Rc::clone(&listing.dir),
                    });
                }
                // Unless this is the last second that a date can have.
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && later(time) > time =>
                {
                    time = later(time);
                }
                // The directory was removed during the run.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !is_new => {
                    drop(listing);
                    self.listings.borrow_mut().remove(&parent);
                    is_new = true;
                }
                Err(error) => return Err(Error::io("create the log file", host_path, error)),
            }
        }
    }

    /// Removes the logs of `step_path`, each with its `.err`, except the newest
    /// [`LOGS_KEPT`] by modification time. The log at `own` counts as the newest: it
    /// is that of the run that has just ended, and the clock may have gone back.
    ///
    /// # Errors
    /// If the log at `own` is gone: something removed it during the run. Else the
    /// first removal that failed, after all were tried.
    pub fn reap(&self, step_path: &str, own: Option<&Path>) -> Result<(), Error> {
        let (parent, step) = self.parent_and_step(step_path);
        let host_path = self.root.host_path(&parent);
        let own = own.and_then(Path::file_name);
        let mut listing = self.listing(&parent)?;
        let dir = Rc::clone(&listing.dir);
        if let Some(own) = own
            && let Err(error) = dir.modified(own)
        {
            return Err(Error::io("find the log", host_path.join(own), error));
        }
        listing
            .list()
            .map_err(|error| Error::io("list", &host_path, error))?;
        let names = &mut listing.of_step(step).names;
        if names.len() <= LOGS_KEPT {
            return Ok(());
        }
        let mut dated: Vec<(bool, (i64, i64), OsString)> = std::mem::take(names)
            .into_iter()
            .filter_map(|name| Some((Some(&*name) == own, dir.modified(&name).ok()?, name)))
            .collect();
        // Newest first. The time in the name decides between equal ones.
        dated.sort_by(|a, b| b.cmp(a));
        let old = dated.split_off(dated.len().min(LOGS_KEPT));
        names.extend(dated.into_iter().map(|(_, _, name)| name));

        let mut outcome = Ok(());
        for (_, _, log) in old {
            for name in [err_path(Path::new(&log)).as_os_str(), &log] {
                let removed = dir
                    .remove(name)
                    .map_err(|error| Error::io("remove the old log", host_path.join(name), error));
                outcome = outcome.and(removed);
            }
        }
        outcome
    }

    /// Names the directory of a step's logs, and the step as its logs' names have it.
    fn parent_and_step<'s>(&self, step_path: &'s str) -> (PathBuf, &'s OsStr) {
        // The time does not matter here.
        let sample = path(&self.path, step_path, OffsetDateTime::UNIX_EPOCH);
        let parent = sample.parent().unwrap_or(Path::new("/")).to_owned();
        let step = Path::new(step_path).file_name().unwrap_or_default();
        (parent, step)
    }

    /// Opens the directory of logs at `path`, and creates it if it is missing.
    fn listing(&self, path: &Path) -> Result<RefMut<'_, Listing>, Error> {
        let listings = self.listings.borrow_mut();
        RefMut::filter_map(listings, |listings| listings.get_mut(path)).or_else(|listings| {
            let listing = Listing {
                dir: Rc::new(self.root.create_dir_all(path)?),
                is_listed: false,
                steps: BTreeMap::new(),
            };
            Ok(RefMut::map(listings, |listings| {
                listings.entry(path.to_owned()).or_insert(listing)
            }))
        })
    }
}

impl Listing {
    fn of_step(&mut self, step: &OsStr) -> &mut StepLogs {
        self.steps.entry(step.to_owned()).or_default()
    }

    /// Adds a log that has been created, with the time in its name.
    fn add(&mut self, step: &OsStr, name: &OsStr, time: OffsetDateTime) {
        let is_listed = self.is_listed;
        let logs = self.of_step(step);
        logs.next = Some(later(time));
        if is_listed {
            logs.names.push(name.to_owned());
        }
    }

    /// Lists the directory, if that was not done before.
    fn list(&mut self) -> io::Result<()> {
        if self.is_listed {
            return Ok(());
        }
        let is_log = |name: &OsStr| LogName::parse(name).is_some_and(|log| !log.is_err);
        for name in self.dir.names(is_log)? {
            if let Some(log) = LogName::parse(&name) {
                self.of_step(log.step).names.push(name.clone());
            }
        }
        self.is_listed = true;
        Ok(())
    }
}

impl Claim {
    /// Removes the files again: the run did not start.
    pub fn discard(self) {
        let log = self.path.file_name().unwrap_or_default();
        for name in [err_path(Path::new(log)).as_os_str(), log] {
            // If one cannot be removed, it stays, and it is empty.
            let _ = self.dir.remove(name);
        }
    }
}

/// Adds a second.
fn later(time: OffsetDateTime) -> OffsetDateTime {
    time.saturating_add(time::Duration::SECOND)
}

/// Creates both files or none.
fn create_both(dir: &Dir, log: &OsStr) -> io::Result<(File, File)> {
    let stdout = dir.create_new(log)?;
    match dir.create_new(err_path(Path::new(log)).as_os_str()) {
        Ok(stderr) => Ok((stdout, stderr)),
        Err(error) => {
            // It is empty, and no other run has it.
            let _ = dir.remove(log);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_name_can_be_read_back() {
        let time = OffsetDateTime::from_unix_timestamp(1_777_758_683).unwrap();
        for step in ["a.sh", "a-2026-05-02-215123.log", "-", "", "é"] {
            let log = path(Path::new("/d"), step, time);
            let err = err_path(&log);
            for (file, is_err) in [(&log, false), (&err, true)] {
                let name = LogName::parse(file.file_name().unwrap()).unwrap();
                let time = PrimitiveDateTime::new(time.date(), time.time());
                let step = OsStr::new(step);
                assert_eq!(name, LogName { step, time, is_err });
            }
        }
    }

    #[test]
    fn other_names_are_no_log_names() {
        for name in [
            "",
            ".log",
            "a.log",
            "2026-05-02-215123.log",
            "a-2026-05-02-215123",
            "a-2026-05-02-215123.log.bak",
            "a-2026-05-02-21512.log",
            "a-2026-05-02-2151233.log",
            "a-2026-05-32-215123.log",
            "a-2026-13-02-215123.log",
            "a-2026-05-02-245123.log",
            "a-2026-05-02-21512x.log",
            "a-2026-05-02-215123.err",
        ] {
            assert_eq!(LogName::parse(OsStr::new(name)), None, "{name}");
        }
    }
}
