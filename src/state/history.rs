//! The versions a package has had on a host: `history/{package}.json`, newest
//! first.

use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::ser::Formatter;
use serde_json::{Map, Value};

use super::State;
use crate::error::Error;
use crate::host::Dir;
use crate::output::sink::Console;
use crate::stamp::Iso8601;

/// The version of a package that is not there any more.
pub const UNINSTALLED: &str = "uninstalled";

#[derive(Debug, Default, Deserialize, Serialize)]
struct History {
    #[serde(rename = "current-version")]
    current_version: String,
    history: Vec<Entry>,
    /// What others keep there.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Entry {
    version: String,
    time: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl State<'_> {
    /// The version that an upgrade comes from: what the history has as current,
    /// `unknown` where there is no history, nothing where it was corrupt.
    ///
    /// # Errors
    /// Where the history cannot be read, or a corrupt one not moved aside.
    pub fn previous_version(&self, console: &mut Console) -> Result<String, Error> {
        let folder = self.history_folder()?;
        let _lock = self.lock(&folder)?;
        Ok(self.load(&folder, console)?.current_version)
    }

    /// Puts `version` on top of the history, as current from now on.
    ///
    /// # Errors
    /// Where the history cannot be read or written; it is as it was then.
    pub fn add_version(&self, version: &str, console: &mut Console) -> Result<(), Error> {
        let folder = self.history_folder()?;
        let _lock = self.lock(&folder)?;
        let mut history = self.load(&folder, console)?;
        version.clone_into(&mut history.current_version);
        let utc = self.clock.utc();
        let utc = time::PrimitiveDateTime::new(utc.date(), utc.time());
        let entry = Entry {
            version: version.to_owned(),
            time: format!("{}+00:00", Iso8601(utc)),
            rest: Map::new(),
        };
        history.history.insert(0, entry);
        folder
            .replace(self.file_name().as_ref(), &to_json(&history))
            .map_err(Error::io("write", self.outside(&self.file_name())))
    }

    /// The history there is. One that cannot be understood is moved aside.
    fn load(&self, folder: &Dir, console: &mut Console) -> Result<History, Error> {
        let file = self.file_name();
        let json = match folder.read(file.as_ref()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let package = self.package;
                console.print(&format!(
                    "no existing history found for {package}, could be first installation..."
                ));
                return Ok(History {
                    current_version: "unknown".to_owned(),
                    ..History::default()
                });
            }
            read => read.map_err(Error::io("read", self.outside(&file)))?,
        };
        if let Ok(history) = serde_json::from_slice(&json) {
            return Ok(history);
        }
        let backup = format!("{file}.backup");
        folder
            .rename(file.as_ref(), backup.as_ref())
            .map_err(Error::io("move aside", self.outside(&file)))?;
        let shown = self.shown(&format!("{}/history/{backup}", self.dir));
        console.print(&format!(
            "Failed to load existing history, corrupt history file moved to {shown}..."
        ));
        Ok(History::default())
    }

    fn history_folder(&self) -> Result<Dir, Error> {
        let path = format!("{}/history", self.dir);
        self.root.create_dir_all(Path::new(&path))
    }

    /// Two agents on one node must not lose each other's entry.
    fn lock(&self, folder: &Dir) -> Result<impl Drop + use<>, Error> {
        folder.lock().map_err(Error::io("lock", self.outside("")))
    }

    fn file_name(&self) -> String {
        format!("{}.json", self.package)
    }

    fn outside(&self, name: &str) -> std::path::PathBuf {
        let path = format!("{}/history/{name}", self.dir);
        self.root.outside(Path::new(&path))
    }
}

/// JSON as Python's `json.dumps` writes it: a blank behind `,` and `:`, ASCII.
fn to_json(history: &History) -> Vec<u8> {
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, PythonFormatter);
    // Strings and lists into a Vec: nothing in there can fail.
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
