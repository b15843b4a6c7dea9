//! Naming, claiming and reaping log files (contract §4, §10).
//!
//! A run of a step has two: `{dir}//{step path}-{UTC time}.log` for its stdout
//! and the same with `.err` appended for its stderr. `{dir}` is
//! `{root mount}{SKYHOOK_LOG_DIR}/{package}/{version}`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use time::OffsetDateTime;

use crate::error::Error;
use crate::host::{Dir, Root};
use crate::stamp::Clock;

/// How many runs of a step keep their logs.
pub const KEPT: usize = 5;

/// The log folder of one version of a package.
#[must_use]
pub fn dir(root_mount: &OsStr, log_root: &OsStr, package: &str, version: &str) -> PathBuf {
    let mut dir = root_mount.to_owned();
    dir.push(log_root);
    dir.push(format!("/{package}/{version}"));
    dir.into()
}

/// The log file of the run of `step_path` at `utc`. The two slashes are the
/// reference's.
#[must_use]
pub fn path(dir: &Path, step_path: &str, utc: OffsetDateTime) -> PathBuf {
    let mut path = dir.as_os_str().to_owned();
    path.push(format!("//{step_path}-{}.log", timestamp(utc)));
    path.into()
}

/// The file beside `log` for standard error.
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

/// The log folder of one version of a package, inside a root.
#[derive(Clone, Copy, Debug)]
pub struct LogDir<'a> {
    /// The root.
    pub root: &'a Root,
    /// The folder inside it: [`dir`] without a root mount.
    pub path: &'a Path,
}

/// The two log files of a run, open and empty, and its alone.
#[derive(Debug)]
pub struct Claim {
    /// Where standard output goes.
    pub stdout: File,
    /// Where standard error goes.
    pub stderr: File,
    /// What `stdout` is called, outside the root; [`err_path`] has `stderr`.
    pub path: PathBuf,
    folder: Dir,
}

impl LogDir<'_> {
    /// Creates the log files of a run of `step_path` that starts now, and their
    /// folders.
    ///
    /// No two runs get the same name: where the files of this second exist, the
    /// next second is waited for.
    ///
    /// # Errors
    /// Where a folder or a file cannot be created.
    pub fn claim(&self, step_path: &str, clock: &dyn Clock) -> Result<Claim, Error> {
        loop {
            let now = clock.utc();
            let log = path(self.path, step_path, now);
            let outside = self.root.outside(&log);
            let (parent, name) = parent_and_name(&log);
            let folder = self.root.create_dir_all(parent)?;
            match create_both(&folder, name) {
                Ok((stdout, stderr)) => {
                    return Ok(Claim {
                        stdout,
                        stderr,
                        path: outside,
                        folder,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create the log file", outside)(error)),
            }
            let into_second = Duration::from_nanos(now.nanosecond().into());
            clock.sleep(Duration::from_secs(1).saturating_sub(into_second));
        }
    }

    /// Removes the logs of `step_path` but for the newest [`KEPT`] by
    /// modification time, each with its `.err`. `own` counts as the newest: it is
    /// that of the run that has just ended, and the clock may have gone back.
    ///
    /// # Errors
    /// The first removal that failed, after all were tried.
    pub fn reap(&self, step_path: &str, own: Option<&Path>) -> Result<(), Error> {
        // Any time will do: what counts is the folder, and how the name begins.
        let sample = path(self.path, step_path, OffsetDateTime::UNIX_EPOCH);
        let (parent, _) = parent_and_name(&sample);
        let (_, step_name) = parent_and_name(Path::new(step_path));
        let folder = self.root.open_dir(parent)?;
        let outside = self.root.outside(parent);
        let own = own.and_then(Path::file_name);
        let mut logs: Vec<(bool, (i64, i64), OsString)> = folder
            .names(|name| is_log_of(step_name, name))
            .map_err(Error::io("list", &outside))?
            .into_iter()
            .filter_map(|name| {
                let is_own = Some(name.as_os_str()) == own;
                Some((is_own, folder.modified(&name).ok()?, name))
            })
            .collect();
        // Newest first; runs with the same time go by the time in the name.
        logs.sort_by(|a, b| b.cmp(a));
        let mut outcome = Ok(());
        for (_, _, name) in logs.into_iter().skip(KEPT) {
            let err = err_path(Path::new(&name));
            for name in [err.as_os_str(), &name] {
                let removed = folder.remove(name);
                let removed = removed.map_err(Error::io("remove the old log", outside.join(name)));
                outcome = outcome.and(removed);
            }
        }
        outcome
    }
}

impl Claim {
    /// Takes the files away again: the run did not come about.
    pub fn discard(self) {
        let (_, log) = parent_and_name(&self.path);
        for name in [err_path(Path::new(log)).as_os_str(), log] {
            // What cannot be removed stays behind empty.
            let _ = self.folder.remove(name);
        }
    }
}

/// Both files or none.
fn create_both(folder: &Dir, log: &OsStr) -> io::Result<(File, File)> {
    let stdout = folder.create_new(log)?;
    match folder.create_new(err_path(Path::new(log)).as_os_str()) {
        Ok(stderr) => Ok((stdout, stderr)),
        Err(error) => {
            // It is empty, and nobody else's.
            let _ = folder.remove(log);
            Err(error)
        }
    }
}

fn parent_and_name(path: &Path) -> (&Path, &OsStr) {
    (
        path.parent().unwrap_or(Path::new("/")),
        path.file_name().unwrap_or_default(),
    )
}

/// Whether `name` is `{step_name}-{timestamp}.log`, and not that of a step whose
/// name merely begins alike.
fn is_log_of(step_name: &OsStr, name: &OsStr) -> bool {
    let time = name
        .as_bytes()
        .strip_prefix(step_name.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"-"))
        .and_then(|rest| rest.strip_suffix(b".log"));
    let shape = b"dddd-dd-dd-dddddd";
    time.is_some_and(|time| {
        time.len() == shape.len()
            && time.iter().zip(shape).all(|(byte, kind)| match kind {
                b'd' => byte.is_ascii_digit(),
                _ => byte == kind,
            })
    })
}
