//! Naming, claiming and reaping log files (contract §4, §10).
//!
//! A run of a step has two: `{dir}//{step path}-{UTC time}.log` for its stdout
//! and the same with `.err` appended for its stderr. `{dir}` is
//! `{root mount}{SKYHOOK_LOG_DIR}/{package}/{version}`.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

use crate::error::Error;
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

/// The two log files of a run, open and empty, and its alone.
#[derive(Debug)]
pub struct Claim {
    /// Where standard output goes.
    pub stdout: File,
    /// Where standard error goes.
    pub stderr: File,
    /// The name of `stdout`; [`err_path`] has that of `stderr`.
    pub path: PathBuf,
}

/// Creates the log files of a run of `step_path` that starts now, and their
/// folders.
///
/// No two runs get the same name: where the files of this second exist, the
/// next second is waited for.
///
/// # Errors
/// Where a folder or a file cannot be created.
pub fn claim(dir: &Path, step_path: &str, clock: &dyn Clock) -> Result<Claim, Error> {
    loop {
        let now = clock.utc();
        let log = path(dir, step_path, now);
        let err = err_path(&log);
        if let Some(parent) = log.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create the log folder", parent))?;
        }
        match create_new(&log) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => {
                let stdout = created.map_err(Error::io("create the log file", &log))?;
                match create_new(&err) {
                    Ok(stderr) => {
                        return Ok(Claim {
                            stdout,
                            stderr,
                            path: log,
                        });
                    }
                    // Half a claim is none. What cannot be removed is empty.
                    Err(error) => {
                        let _ = fs::remove_file(&log);
                        if error.kind() != io::ErrorKind::AlreadyExists {
                            return Err(Error::io("create the log file", &err)(error));
                        }
                    }
                }
            }
        }
        let into_second = Duration::from_nanos(now.nanosecond().into());
        clock.sleep(Duration::from_secs(1).saturating_sub(into_second));
    }
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Removes the logs of `step_path` but for the newest [`KEPT`] by modification
/// time, each with its `.err`.
///
/// # Errors
/// The first removal that failed, after all were tried.
pub fn reap(dir: &Path, step_path: &str) -> Result<(), Error> {
    // Any time will do: only the folder and the front of the name are wanted.
    let sample = path(dir, step_path, OffsetDateTime::UNIX_EPOCH);
    let (Some(folder), Some(step_name)) = (sample.parent(), Path::new(step_path).file_name())
    else {
        return Ok(());
    };
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let mut logs: Vec<(SystemTime, OsString)> = entries
        .flatten()
        .filter(|entry| is_log_of(step_name, &entry.file_name()))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.file_name())))
        .collect();
    // Newest first; runs with the same time go by the time in the name.
    logs.sort_by(|a, b| b.cmp(a));
    let mut outcome = Ok(());
    for (_, name) in logs.into_iter().skip(KEPT) {
        let log = folder.join(name);
        for file in [err_path(&log), log] {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    outcome = outcome.and(Err(Error::io("remove the old log", file)(error)));
                }
                _ => {}
            }
        }
    }
    outcome
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
