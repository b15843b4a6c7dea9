//! The versions a package has had on a host: `history/{package}.json`, newest
//! first.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::ser::Formatter;
use serde_json::{Map, Value};

use super::State;
use crate::error::Error;
use crate::host::Dir;
use crate::stamp::Iso8601;

/// The version of a package that has been uninstalled.
pub const UNINSTALLED: &str = "uninstalled";

/// The history of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct History {
    /// The version that the host has now, or [`UNINSTALLED`].
    #[serde(rename = "current-version")]
    pub current_version: String,
    /// The versions, newest first.
    pub history: Vec<Entry>,
    /// Other keys of the file. They are kept.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// One version in a history.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Entry {
    /// The version, or [`UNINSTALLED`].
    pub version: String,
    /// The time at which it came: UTC, ISO-8601 with `+00:00`.
    pub time: String,
    /// Other keys of the entry. They are kept.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A history file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryFile {
    /// There is none.
    Missing,
    /// It is no history.
    Corrupt,
    /// It is a history.
    Found(History),
}

/// The history file as it was before it was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prior {
    /// No history.
    Missing,
    /// A corrupt one, which was moved aside.
    MovedAside,
    /// A history.
    Found,
}

impl State<'_> {
    /// Reads the history. Changes nothing and needs no lock.
    ///
    /// # Errors
    /// If there is a file that cannot be read.
    pub fn read_history(&self) -> Result<HistoryFile, Error> {
        let dir = self.layout.history_dir();
        let dir = Path::new(&dir);
        if !self.root.exists(dir)? {
            return Ok(HistoryFile::Missing);
        }
        self.read_history_in(&self.root.open_dir(dir)?)
    }

    /// Reads the version that an upgrade comes from: the current one of the history,
    /// `unknown` if there is no history, nothing if it was corrupt. A corrupt history
    /// is moved aside.
    ///
    /// # Errors
    /// If the history cannot be read, or a corrupt one not moved aside.
    pub fn previous_version(&self) -> Result<(String, Prior), Error> {
        let dir = self.create_history_dir()?;
        let _lock = self.lock(&dir)?;
        let (history, prior) = self.load(&dir)?;
        Ok((history.current_version, prior))
    }

    /// Puts `version` on top of the history, as the current one. A corrupt history is
    /// moved aside first.
    ///
    /// # Errors
    /// If the history cannot be read or written. It is unchanged then.
    pub fn add_version(&self, version: &str) -> Result<Prior, Error> {
        let dir = self.create_history_dir()?;
        let _lock = self.lock(&dir)?;
        let (mut history, prior) = self.load(&dir)?;
        version.clone_into(&mut history.current_version);
        let utc = self.clock.utc();
        let utc = time::PrimitiveDateTime::new(utc.date(), utc.time());
        let entry = Entry {
            version: version.to_owned(),
            time: format!("{}+00:00", Iso8601(utc)),
            rest: Map::new(),
        };
        history.history.insert(0, entry);
        let path = self.layout.history_file();
        dir.write_atomic(file_name(&path), &to_json(&history))
            .map_err(|error| Error::io("write", self.root.host_path(Path::new(&path)), error))?;
        Ok(prior)
    }

    /// Says what the reference says of the history that was there; `None` if nothing.
    #[must_use]
    pub fn prior_line(&self, prior: Prior) -> Option<String> {
        match prior {
            Prior::Missing => Some(format!(
                "no existing history found for {}, could be first installation...",
                self.layout.package
            )),
            Prior::MovedAside => Some(format!(
                "Failed to load existing history, corrupt history file moved to {}...",
                self.reference_path(&self.layout.history_backup())
            )),
            Prior::Found => None,
        }
    }

    /// Reads the history to be used. A corrupt one is moved aside.
    fn load(&self, dir: &Dir) -> Result<(History, Prior), Error> {
        match self.read_history_in(dir)? {
            HistoryFile::Found(history) => Ok((history, Prior::Found)),
            HistoryFile::Missing => {
                let history = History {
                    current_version: "unknown".to_owned(),
                    ..History::default()
                };
                Ok((history, Prior::Missing))
            }
            HistoryFile::Corrupt => {
                let (path, backup) = (self.layout.history_file(), self.layout.history_backup());
                dir.rename(file_name(&path), file_name(&backup))
                    .map_err(|error| {
                        Error::io("move aside", self.root.host_path(Path::new(&path)), error)
                    })?;
                Ok((History::default(), Prior::MovedAside))
            }
        }
    }

    fn read_history_in(&self, dir: &Dir) -> Result<HistoryFile, Error> {
        let path = self.layout.history_file();
        match dir.read(file_name(&path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HistoryFile::Missing),
            Err(error) => Err(Error::io(
                "read",
                self.root.host_path(Path::new(&path)),
                error,
            )),
            Ok(json) => {
                Ok(serde_json::from_slice(&json).map_or(HistoryFile::Corrupt, HistoryFile::Found))
            }
        }
    }

    fn create_history_dir(&self) -> Result<Dir, Error> {
        self.root
            .create_durable_dir_all(Path::new(&self.layout.history_dir()))
    }

    /// Locks the histories: two agents on one node must not lose each other's entry.
    fn lock(&self, dir: &Dir) -> Result<impl Drop + use<>, Error> {
        let path = self.layout.history_dir();
        dir.lock()
            .map_err(|error| Error::io("lock", self.root.host_path(Path::new(&path)), error))
    }
}

fn file_name(path: &str) -> &OsStr {
    Path::new(path).file_name().unwrap_or_default()
}

/// Writes JSON as Python's `json.dumps` does: a blank after `,` and `:`, ASCII.
fn to_json(history: &History) -> Vec<u8> {
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, PythonFormatter);
    // Writing strings and lists to a Vec cannot fail.
    let _ = history.serialize(&mut serializer);
    json
}

struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for c in fragment.chars() {
            if (' '..='~').contains(&c) {
                write!(out, "{c}")?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}
