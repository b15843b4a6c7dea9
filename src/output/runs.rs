//! Finds the runs that have logs on a node.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use time::PrimitiveDateTime;

use super::log_file;
use super::log_name::{self, LogName, err_path};
use crate::error::Error;
use crate::host::Root;
use crate::reactor::Stream;

/// The most directories inside each other that are looked at.
const DEEPEST: usize = 64;

/// A run of a step, or of a command of an interrupt: it has a log of its standard output
/// and one of its standard error. One of them may be missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// Its start, in UTC, to the second, as its logs' names have it.
    pub time: PrimitiveDateTime,
    /// The package.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The path of the step in the package; `interrupts/{type}_{i}` for an interrupt.
    pub step: String,
    /// The directory of the logs, inside the root.
    dir: PathBuf,
    /// The name of the log of standard output.
    log: OsString,
}

impl Run {
    /// Names the run: the time of its start in UTC, as its logs' names have it.
    #[must_use]
    pub fn id(&self) -> String {
        log_name::timestamp(self.time.assume_utc())
    }

    /// The path of one of its logs, inside the root.
    #[must_use]
    pub fn path(&self, stream: Stream) -> PathBuf {
        let log = self.dir.join(&self.log);
        match stream {
            Stream::Stdout => log,
            Stream::Stderr => err_path(&log),
        }
    }

    /// The directory of logs that has its package's directory, inside the root. The operator
    /// has one for each custom resource.
    #[must_use]
    pub fn log_dir(&self) -> &Path {
        // Below it are package and version, and the directories of the step.
        let below = 2 + self.step.matches('/').count();
        let mut above = self.dir.ancestors();
        above.nth(below).unwrap_or(Path::new("/"))
    }

    /// Opens one of its logs; `None` if there is none. No link is followed.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(&self, root: &Root, stream: Stream) -> Result<Option<File>, Error> {
        let path = self.path(stream);
        let dir = match root.open_dir(&self.dir) {
            Err(error) if error.is_missing() => return Ok(None),
            dir => dir?,
        };
        match dir.open_file(path.file_name().unwrap_or_default()) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("open the log", root.host_path(&path), error)),
        }
    }

    /// The size of one of its logs; `None` if there is none, or it cannot be opened.
    #[must_use]
    pub fn len(&self, root: &Root, stream: Stream) -> Option<u64> {
        let log = self.open(root, stream).ok().flatten()?;
        Some(log.metadata().ok()?.len())
    }

    /// Tells if the run is under way: the agent has marked its log. The reference marks
    /// none.
    ///
    /// # Errors
    /// If the log cannot be opened.
    pub fn is_under_way(&self, root: &Root) -> Result<bool, Error> {
        let log = self.open(root, Stream::Stdout)?;
        Ok(log.is_some_and(|log| log_file::is_held(&log)))
    }
}

/// What was found in the log directories of a node.
#[derive(Debug, Default)]
pub struct Runs {
    /// The runs, the oldest first.
    pub runs: Vec<Run>,
    /// Each directory that was looked at, inside the root.
    pub dirs: Vec<PathBuf>,
    /// What could not be looked at.
    pub errors: Vec<Error>,
}

impl Runs {
    /// Finds the runs in these directories, inside `root`. Reads only names.
    #[must_use]
    pub fn find(root: &Root, log_dirs: &[PathBuf]) -> Runs {
        let mut found = Runs::default();
        for log_dir in log_dirs {
            found.find_in(root, log_dir);
        }
        found.runs.sort();
        // A directory may have been given twice, or inside another one.
        found.runs.dedup();
        found
    }

    fn find_in(&mut self, root: &Root, log_dir: &Path) {
        let mut dirs = vec![PathBuf::new()];
        while let Some(below) = dirs.pop() {
            // Without a slash at its end.
            let path = if below.as_os_str().is_empty() {
                log_dir.to_owned()
            } else {
                log_dir.join(&below)
            };
            let listed = match root.open_dir(&path) {
                Err(error) if error.is_missing() => continue,
                dir => dir.and_then(|dir| {
                    dir.list(|name| LogName::parse(name).is_some())
                        .map_err(|error| Error::io("list", root.host_path(&path), error))
                }),
            };
            let listed = match listed {
                Ok(listed) => listed,
                Err(error) => {
                    self.errors.push(error);
                    continue;
                }
            };
            if let Some(owner) = Owner::of(log_dir, &below) {
                let files = listed.files.iter();
                self.runs
                    .extend(files.filter_map(|file| owner.run(&path, file)));
            }
            if below.components().count() < DEEPEST {
                dirs.extend(listed.dirs.iter().map(|dir| below.join(dir)));
            }
            self.dirs.push(path);
        }
    }
}

/// Whose logs are in a directory.
#[derive(Debug, PartialEq, Eq)]
struct Owner {
    package: String,
    version: String,
    /// The directory of the steps in the package; empty, or with a slash at its end.
    above: String,
}

impl Owner {
    /// Reads a directory's path: `{package}/{version}`, and the directories of steps below.
    ///
    /// The operator has the logs of each custom resource in a directory of their own, so
    /// there may be others above. What tells is the version. The log directory may itself be
    /// that of a package or of a version.
    fn of(log_dir: &Path, below: &Path) -> Option<Owner> {
        let names = |path: &Path| -> Vec<String> {
            let names = path.components().map(|name| name.as_os_str());
            names
                .map(|name| name.to_string_lossy().into_owned())
                .collect()
        };
        let (above, mut below) = (names(log_dir), names(below));
        let mut at = below.iter().skip(1).position(|name| is_version(name));
        if at.is_none() && below.first().is_some_and(|name| is_version(name)) {
            below.insert(0, above.last()?.clone());
            at = Some(0);
        } else if at.is_none()
            && let [.., package, version] = &above[..]
            && is_version(version)
        {
            below.splice(0..0, [package.clone(), version.clone()]);
            at = Some(0);
        }
        let steps = below.split_off(below.len().min(at.unwrap_or_default() + 2));
        let version = below.pop()?;
        Some(Owner {
            package: below.pop()?,
            version,
            above: steps.iter().map(|name| format!("{name}/")).collect(),
        })
    }

    /// The run that a log belongs to.
    fn run(&self, dir: &Path, file: &OsStr) -> Option<Run> {
        let name = LogName::parse(file)?;
        let log = if name.is_err {
            Path::new(file).file_stem()?
        } else {
            file
        };
        Some(Run {
            time: name.time,
            package: self.package.clone(),
            version: self.version.clone(),
            step: format!("{}{}", self.above, name.step.to_string_lossy()),
            dir: dir.to_owned(),
            log: log.to_owned(),
        })
    }
}

/// Tells if a directory's name begins as a semantic version does: `1.2.3`.
fn is_version(name: &str) -> bool {
    let mut parts = name.splitn(3, '.');
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (major, minor, rest) = (parts.next(), parts.next(), parts.next());
    major.is_some_and(is_number)
        && minor.is_some_and(is_number)
        && rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_tells_whose_logs_are_in_a_directory() {
        for (log_dir, below, owner) in [
            ("/l", "pkg/1.2.3", Some(("pkg", "1.2.3", ""))),
            ("/l", "pkg/1.2.3/a/b", Some(("pkg", "1.2.3", "a/b/"))),
            ("/l", "pkg/1.2.3-rc.1+b", Some(("pkg", "1.2.3-rc.1+b", ""))),
            ("/l", "my-scr/pkg/1.2.3/a", Some(("pkg", "1.2.3", "a/"))),
            ("/l", "scr/x.2.3/4.5.6", Some(("x.2.3", "4.5.6", ""))),
            ("/l", "scr/1.x.3/4.5.6", Some(("1.x.3", "4.5.6", ""))),
            ("/l", "scr/1.2.x/4.5.6", Some(("1.2.x", "4.5.6", ""))),
            ("/l", "pkg/1.2.3/4.5.6", Some(("pkg", "1.2.3", "4.5.6/"))),
            ("/l", "pkg/latest/a", Some(("pkg", "latest", "a/"))),
            ("/l/pkg", "1.2.3/a", Some(("pkg", "1.2.3", "a/"))),
            ("/l/pkg/1.2.3", "", Some(("pkg", "1.2.3", ""))),
            ("/l/pkg/1.2.3", "a", Some(("pkg", "1.2.3", "a/"))),
            ("/l/1.2.3", "pkg/4.5.6", Some(("pkg", "4.5.6", ""))),
            ("/l", "", None),
            ("/l", "pkg", None),
            ("/", "", None),
            ("/", "1.2.3", Some(("/", "1.2.3", ""))),
        ] {
            let found = Owner::of(Path::new(log_dir), Path::new(below));
            let found = found
                .as_ref()
                .map(|owner| (&*owner.package, &*owner.version, &*owner.above));
            assert_eq!(found, owner, "{log_dir} {below}");
        }
    }
}
