//! The names of log files (contract §4).
//!
//! A run of a step has two: `{dir}//{step path}-{UTC time}.log` for its standard
//! output, and the same name with `.err` appended for its standard error. `{dir}` is
//! `{SKYHOOK_LOG_DIR}/{package}/{version}` inside the root mount.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

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

/// The time of a run as its log names have it, `%Y-%m-%d-%H%M%S`.
#[must_use]
pub fn timestamp(utc: OffsetDateTime) -> String {
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
