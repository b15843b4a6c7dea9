//! Claiming log files, and removing old ones (contract §4, §10).

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use time::OffsetDateTime;

use super::log_name::{LogName, err_path, path};
use crate::error::Error;
use crate::host::{Dir, Root};
use crate::system::sys;

/// The number of runs of a step that keep their logs.
pub const LOGS_KEPT: usize = 5;

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
    /// Keeps other runs from removing the log; `None` if it cannot be locked.
    pub hold: Option<Hold>,
    dir: Rc<Dir>,
}

/// The mark of a log that a live run writes. Dropping it takes it off.
#[derive(Debug)]
pub struct Hold(File);

/// How the run that a log is of has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It has succeeded.
    Succeeded,
    /// It has failed.
    Failed,
}

/// The extended attribute of a log that has its [`Ended`]. The log itself has nothing
/// but what the run has said.
const ENDED: &CStr = c"user.skyhook-agent.outcome";

impl<'a> LogDir<'a> {
    /// Takes the log directory at `path` inside `root`, as
    /// [`log_name::dir`](super::log_name::dir) names it. Creates nothing.
    #[must_use]
    pub fn new(root: &'a Root, path: PathBuf) -> LogDir<'a> {
        LogDir {
            root,
            path,
            listings: RefCell::default(),
        }
    }

    /// The directory's path outside the root.
    #[must_use]
    pub fn host_path(&self) -> PathBuf {
        self.root.host_path(&self.path)
    }

    /// Fails if logs cannot be created in the directory, or the directory itself where
    /// there is none. Creates nothing.
    ///
    /// # Errors
    /// Names the first directory upwards that is there and cannot be used.
    pub fn expect_writable(&self) -> Result<(), Error> {
        for path in self.path.ancestors() {
            match self.root.open_dir(path) {
                Ok(dir) => {
                    return dir.expect_writable().map_err(|error| {
                        let path = self.root.host_path(path);
                        Error::io("write to the directory", path, error)
                    });
                }
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
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
                        hold: Hold::of(&stdout),
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
    /// [`LOGS_KEPT`] by modification time, and except those of live runs. The log at `own` counts as the newest: it
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
            if dir.open_file(&log).is_ok_and(|log| is_held(&log)) {
                names.push(log);
                continue;
            }
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

/// Creates both files or none. Both append, so that a log which is truncated goes on at
/// its start, without a hole.
fn create_both(dir: &Dir, log: &OsStr) -> io::Result<(File, File)> {
    let stdout = dir.create_new(log)?;
    match dir.create_new(err_path(Path::new(log)).as_os_str()) {
        Ok(stderr) => {
            append(&stdout)?;
            append(&stderr)?;
            Ok((stdout, stderr))
        }
        Err(error) => {
            // It is empty, and no other run has it.
            let _ = dir.remove(log);
            Err(error)
        }
    }
}

fn append(file: &File) -> io::Result<()> {
    fcntl(file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(())
}

impl Hold {
    /// Marks a log as that of a live run. Without the mark another run may remove the log
    /// too early. That is no reason not to write it.
    ///
    /// A write lock needs a descriptor that can write: a user who can only read logs cannot
    /// keep them from being removed.
    fn of(log: &File) -> Option<Hold> {
        let log = log.try_clone().ok()?;
        fcntl(&log, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))).ok()?;
        Some(Hold(log))
    }

    /// Notes how the run has ended. Not every file system can: then the log does not tell.
    pub fn note(&self, ended: Ended) {
        let _ = sys::set_xattr(self.0.as_fd(), ENDED, ended.name().as_bytes());
    }
}

impl Ended {
    fn name(self) -> &'static str {
        match self {
            Ended::Succeeded => "succeeded",
            Ended::Failed => "failed",
        }
    }

    /// Reads how the run has ended, from the log of its standard output; `None` if the log
    /// does not tell.
    #[must_use]
    pub fn of(log: &File) -> Option<Ended> {
        let noted = sys::get_xattr(log.as_fd(), ENDED).ok()?;
        let mut all = [Ended::Succeeded, Ended::Failed].into_iter();
        all.find(|ended| ended.name().as_bytes() == noted)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Not only by closing it: a process that is just being started has a copy of the
        // descriptor. If this fails, that copy is closed a moment later.
        let _ = fcntl(&self.0, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK)));
    }
}

/// Tells if a live run holds a log: the log of its standard output.
#[must_use]
pub fn is_held(log: &File) -> bool {
    let mut lock = whole_file(libc::F_RDLCK);
    let asked = fcntl(log, FcntlArg::F_OFD_GETLK(&mut lock));
    asked.is_ok() && i32::from(lock.l_type) == libc::F_WRLCK
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the constants are small, and the fields are shorts"
)]
fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}
