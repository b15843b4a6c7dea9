//! The versions a package has had on a host: `history/{package}.json`, newest
//! first.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use super::State;
use super::history_json::Document;
use crate::error::Error;
use crate::stamp::Iso8601;

pub use super::history_json::{Entry, History};

/// The version of a package that has been uninstalled.
pub const UNINSTALLED: &str = "uninstalled";

/// A history file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryFile {
    /// There is none.
    Missing,
    /// It is no history, or larger than 1 MiB.
    Corrupt,
    /// It is a history.
    Found(History),
}

impl HistoryFile {
    /// The version that an upgrade comes from: the current one, `unknown` if there is no
    /// history, nothing if it is corrupt.
    #[must_use]
    pub fn version(self) -> String {
        match self {
            HistoryFile::Found(history) => history.current_version,
            HistoryFile::Missing => "unknown".to_owned(),
            HistoryFile::Corrupt => String::new(),
        }
    }
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

/// The text of a history file.
enum Text {
    Missing,
    TooLarge,
    Found(Vec<u8>),
}

impl State<'_> {
    /// Reads the history. Changes nothing and needs no lock.
    ///
    /// # Errors
    /// If there is a file that cannot be read.
    pub fn read_history(&self) -> Result<HistoryFile, Error> {
        Ok(match self.read_history_text()? {
            Text::Missing => HistoryFile::Missing,
            Text::TooLarge => HistoryFile::Corrupt,
            Text::Found(text) => Document::parse(&text).map_or(HistoryFile::Corrupt, |document| {
                HistoryFile::Found(document.history())
            }),
        })
    }

    /// Reads the version that an upgrade comes from: the current one of the history,
    /// `unknown` if there is no history, nothing if it was corrupt. A corrupt history
    /// is moved aside.
    ///
    /// # Errors
    /// If the history cannot be read, or a corrupt one not moved aside.
    pub fn previous_version(&self) -> Result<(String, Prior), Error> {
        let history = self.read_history()?;
        let prior = match &history {
            HistoryFile::Found(_) => Prior::Found,
            HistoryFile::Missing => Prior::Missing,
            HistoryFile::Corrupt => {
                self.move_history_aside()?;
                Prior::MovedAside
            }
        };
        Ok((history.version(), prior))
    }

    /// Puts `version` on top of the history, as the current one. What else the history
    /// has is kept as it is. A corrupt history is moved aside first.
    ///
    /// # Errors
    /// If the history cannot be read or written. It is unchanged then.
    pub fn add_version(&self, version: &str) -> Result<Prior, Error> {
        let text = self.read_history_text()?;
        let document = match &text {
            Text::Found(text) => Document::parse(text),
            Text::Missing | Text::TooLarge => None,
        };
        let prior = match (&text, &document) {
            (_, Some(_)) => Prior::Found,
            (Text::Missing, None) => Prior::Missing,
            (Text::TooLarge | Text::Found(_), None) => {
                self.move_history_aside()?;
                Prior::MovedAside
            }
        };
        let utc = self.clock.utc();
        let utc = time::PrimitiveDateTime::new(utc.date(), utc.time());
        let time = format!("{}+00:00", Iso8601(utc));
        let json = document.unwrap_or_default().with_version(version, &time);
        self.write(&self.layout.history_file(), &json)?;
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

    /// Reads the history file. Links are followed, inside the root.
    fn read_history_text(&self) -> Result<Text, Error> {
        match self.root.read(Path::new(&self.layout.history_file())) {
            Ok(text) => Ok(Text::Found(text)),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Text::Missing)
            }
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::FileTooLarge => {
                Ok(Text::TooLarge)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives a history that cannot be used another name. A link moves itself.
    fn move_history_aside(&self) -> Result<(), Error> {
        let (path, backup) = (self.layout.history_file(), self.layout.history_backup());
        let (dir, name) = self.dir_and_name(&path)?;
        let backup = Path::new(&backup).file_name().map(OsStr::to_owned);
        dir.rename(name, &backup.unwrap_or_default())
            .map_err(|error| Error::io("move aside", self.root.host_path(Path::new(&path)), error))
    }
}
