//! The record of the calls of stand-ins: a file with a line of JSON for each. Steps can write
//! to it, so nothing in it is relied on.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The most bytes of a line. A longer one is none that a stand-in has written: all that a
/// program can be given is shorter, also as JSON.
const LONGEST: u64 = 16 * 1024 * 1024;

/// The most calls that are read at a time.
const MOST: usize = 100_000;

/// The most bytes that are read at a time.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// What is said where there were more.
pub(super) const LEFT_OUT: &str =
    "a step has called programs that are replaced too often: only the first calls are listed";

/// A call of a stand-in.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Call {
    /// The name that it was called by.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The kernel's parameters that it would have set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<Parameter>,
}

/// A parameter of the kernel: its path below /proc/sys, and a value.
pub type Parameter = (String, String);

impl Call {
    /// What stands in the record for a reboot.
    pub(super) fn boot() -> Call {
        Call {
            program: String::new(),
            arguments: Vec::new(),
            set: Vec::new(),
        }
    }

    /// Tells if it stands for a reboot.
    pub(super) fn is_boot(&self) -> bool {
        self.program.is_empty()
    }

    /// Adds the call to the record.
    pub(super) fn record(&self, record: &Path) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        // One write: several may be called at once.
        OpenOptions::new()
            .append(true)
            .open(record)?
            .write_all(&line)
    }
}

/// What was read of a record.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) calls: Vec<Call>,
    /// The number of bytes of the record that have been read, or passed over.
    pub(super) read: u64,
    /// Tells if there were more calls than are read at a time. They are passed over.
    pub(super) has_more: bool,
}

/// Reads the calls that are recorded after the first `read` bytes.
pub(super) fn read(record: &Path, read: u64) -> io::Result<Found> {
    let mut file = BufReader::new(File::open(record)?);
    let len = file.get_ref().metadata()?.len();
    // A step may have emptied the file.
    let start = if len < read { 0 } else { read };
    file.seek(SeekFrom::Start(start))?;
    let mut found = Found {
        read: start,
        ..Found::default()
    };
    let mut line = Vec::new();
    loop {
        if found.calls.len() >= MOST || found.read - start >= MOST_BYTES {
            found.has_more = found.read < len;
            found.read = found.read.max(len);
            return Ok(found);
        }
        line.clear();
        let len = file.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        let len = u64::try_from(len).unwrap_or_default();
        if !line.ends_with(b"\n") && len < LONGEST {
            return Ok(found);
        }
        found.read += len;
        // A step may have written anything.
        found.calls.extend(serde_json::from_slice::<Call>(&line));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn call(program: &str) -> Call {
        Call {
            program: program.to_owned(),
            ..Call::boot()
        }
    }

    #[test]
    fn calls_are_read_once_and_what_a_step_wrote_between_them_is_none() {
        let dir = TempDir::new().unwrap();
        let record = dir.path().join("calls");
        fs::write(&record, "hello\n{}\n").unwrap();
        call("a").record(&record).unwrap();
        let found = read(&record, 0).unwrap();
        assert_eq!(found.calls, [call("a")]);
        call("b").record(&record).unwrap();
        let more = read(&record, found.read).unwrap();
        assert_eq!(more.calls, [call("b")]);
        assert_eq!(read(&record, more.read).unwrap().calls, []);
        // It was emptied.
        fs::write(&record, "").unwrap();
        call("c").record(&record).unwrap();
        assert_eq!(read(&record, more.read).unwrap().calls, [call("c")]);
    }

    #[test]
    fn a_line_that_has_not_ended_is_waited_for() {
        let dir = TempDir::new().unwrap();
        let record = dir.path().join("calls");
        let line = serde_json::to_string(&call("a")).unwrap();
        fs::write(&record, &line).unwrap();
        let found = read(&record, 0).unwrap();
        assert_eq!((found.calls.len(), found.read), (0, 0));
        fs::write(&record, line + "\n").unwrap();
        assert_eq!(read(&record, 0).unwrap().calls, [call("a")]);
    }

    /// It would be taken into memory, again at each look.
    #[test]
    fn a_line_without_an_end_is_passed_over_and_calls_after_it_are_read() {
        let dir = TempDir::new().unwrap();
        let record = dir.path().join("calls");
        let file = File::create(&record).unwrap();
        file.set_len(LONGEST + 10).unwrap();
        let found = read(&record, 0).unwrap();
        assert_eq!((found.calls.len(), found.read), (0, LONGEST));
        fs::OpenOptions::new()
            .append(true)
            .open(&record)
            .unwrap()
            .write_all(b"\n")
            .unwrap();
        call("a").record(&record).unwrap();
        assert_eq!(read(&record, found.read).unwrap().calls, [call("a")]);
        // More than that is not even read.
        file.set_len(64 * MOST_BYTES).unwrap();
        let found = read(&record, 0).unwrap();
        assert_eq!((found.read, found.has_more), (64 * MOST_BYTES, true));
    }

    #[test]
    fn of_too_many_calls_the_first_are_read_and_the_others_passed_over() {
        let dir = TempDir::new().unwrap();
        let record = dir.path().join("calls");
        let line = serde_json::to_string(&call("a")).unwrap() + "\n";
        fs::write(&record, line.repeat(MOST)).unwrap();
        assert!(!read(&record, 0).unwrap().has_more);
        call("b").record(&record).unwrap();
        let found = read(&record, 0).unwrap();
        assert_eq!((found.calls.len(), found.has_more), (MOST, true));
        call("c").record(&record).unwrap();
        assert_eq!(read(&record, found.read).unwrap().calls, [call("c")]);
    }
}
