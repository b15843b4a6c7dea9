//! The reason of a failure where Kubernetes looks for it (contract §12): `kubectl
//! describe pod` shows the file that a container leaves.
//!
//! Promises that a file is replaced as a whole if it is there and is a file, and that
//! nothing else is touched and no error comes of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::{O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_PATH};

use super::last_lines::{LastLines, MOST_BYTES};
use crate::system::sys;
use crate::text;

/// The most failures of one run that are described. Of more, the number is told.
const MOST_FAILURES: usize = 8;

/// The failures of a run. A check may fail while the run goes on.
#[derive(Debug, Default)]
pub struct Failures {
    /// The last lines of the command that runs, or ran last.
    pub last_lines: LastLines,
    /// The last lines of the agent's own.
    pub notices: LastLines,
    failures: Vec<Failure>,
    more: usize,
}

#[derive(Debug)]
struct Failure {
    what: String,
    lines: Vec<String>,
}

impl Failures {
    /// Notes that something failed, and keeps the last lines that it said.
    pub fn add(&mut self, what: String) {
        let lines = self.last_lines.take();
        if self.failures.len() < MOST_FAILURES {
            self.failures.push(Failure { what, lines });
        } else {
            self.more += 1;
        }
    }

    /// Composes the message of the run named `run`, which ends with `code`: for each
    /// failure a line that says what failed, and its last lines. If nothing of the run
    /// failed, or it could not go on (`is_broken_off`), the agent's own last lines say
    /// why.
    ///
    /// It has at most 3072 bytes, and ends in a newline. Only a line that alone would be
    /// too long is cut, which an ellipsis shows. What must not be shown is escaped.
    #[must_use]
    pub fn message(mut self, run: &str, code: u8, is_broken_off: bool) -> String {
        if self.failures.is_empty() || is_broken_off {
            self.failures.push(Failure {
                what: format!("exit code {code}"),
                lines: self.notices.take(),
            });
        }
        let more = match self.more {
            0 => String::new(),
            more => fit(&format!("{run}: {more} more failed"), MOST_BYTES).0,
        };
        let mut message = String::new();
        for (i, failure) in self.failures.iter().enumerate() {
            // Each has an equal part of the room that is left.
            let left = MOST_BYTES.saturating_sub(more.len() + message.len());
            failure.describe(run, left / (self.failures.len() - i), &mut message);
        }
        message + &more
    }
}

impl Failure {
    fn describe(&self, run: &str, mut room: usize, message: &mut String) {
        let (headline, _) = fit(&format!("{run}: {}", self.what), room);
        room = room.saturating_sub(headline.len());
        message.push_str(&headline);
        let mut lines = Vec::new();
        for line in self.lines.iter().rev() {
            let (shown, is_whole) = fit(line, room);
            // A cut line is better than none.
            if is_whole || lines.is_empty() {
                room = room.saturating_sub(shown.len());
                lines.push(shown);
            }
            if !is_whole {
                break;
            }
        }
        message.extend(lines.into_iter().rev());
    }
}

/// The end of a line that was cut.
const CUT: &str = " …\n";

/// Makes a line of at most `room` bytes, its newline counted, and tells if that is all of
/// it. An empty text if not even its beginning has room.
fn fit(line: &str, room: usize) -> (String, bool) {
    let mut shown = String::new();
    for (i, part) in line.split('\t').enumerate() {
        // A tab does no harm.
        shown.push_str(if i > 0 { "\t" } else { "" });
        shown.push_str(&text::escape(part));
    }
    if shown.len() < room {
        return (shown + "\n", true);
    }
    let Some(mut end) = room.checked_sub(CUT.len()).filter(|end| *end > 0) else {
        return (String::new(), false);
    };
    while !shown.is_char_boundary(end) {
        end -= 1;
    }
    shown.truncate(end);
    (shown + CUT, false)
}

/// Replaces the content of the file at `path`. Does nothing if there is no file that can
/// be written: none is created, and no link, device or fifo is opened.
pub fn replace(path: &Path, message: &str) {
    // Past a limit of file size, a write fails. The signal would end the agent.
    sys::set_up_signals();
    // There is nowhere to report an error, and the run has one to report already.
    let _ = try_replace(path, message.as_bytes());
}

fn try_replace(path: &Path, message: &[u8]) -> io::Result<()> {
    // A descriptor that opens nothing: opening a device can do something already.
    let found = OpenOptions::new()
        .read(true)
        .custom_flags(O_PATH | O_NOFOLLOW)
        .open(path)?;
    if !found.metadata()?.is_file() {
        return Err(io::Error::other("expected a file"));
    }
    // The file that was looked at, whatever has its name by now.
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(O_NONBLOCK | O_NOCTTY)
        .open(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
    file.set_len(0)?;
    write_lines(&file, message)
}

/// Writes all of `message`, or as many of its lines as there is room for.
fn write_lines(file: &File, message: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while let Some(rest) = message.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write_at(rest, written as u64) {
            Ok(0) => break,
            Ok(len) => written += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let is_whole = written == message.len();
    let end = message
        .get(..written)
        .and_then(|text| memchr::memrchr(b'\n', text));
    let end = if is_whole {
        written
    } else {
        end.map_or(0, |end| end + 1)
    };
    file.set_len(end as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(failures: &mut Failures, what: &str, lines: &str) {
        failures.last_lines.add(0, lines.as_bytes());
        failures.add(what.to_owned());
    }

    #[test]
    fn a_message_has_each_failure_with_its_last_lines() {
        let mut failures = Failures::default();
        failed(&mut failures, "a failed with code 3", "one\ntwo\n");
        failed(&mut failures, "b failed with code 4", "");
        let message = failures.message("apply-check pkg 1", 1, false);
        assert_eq!(
            message,
            "apply-check pkg 1: a failed with code 3\none\ntwo\n\
             apply-check pkg 1: b failed with code 4\n"
        );
    }

    #[test]
    fn without_a_failure_of_its_own_a_run_s_notices_say_why() {
        let mut failures = Failures::default();
        failures.notices.add(0, b"skyhook-agent: cannot\n");
        let message = failures.message("apply pkg 1", 1, false);
        assert_eq!(message, "apply pkg 1: exit code 1\nskyhook-agent: cannot\n");

        let mut failures = Failures::default();
        failed(&mut failures, "a failed with code 3", "");
        failures.notices.add(0, b"skyhook-agent: cannot\n");
        let message = failures.message("apply-check pkg 1", 1, true);
        assert_eq!(
            message,
            "apply-check pkg 1: a failed with code 3\n\
             apply-check pkg 1: exit code 1\nskyhook-agent: cannot\n"
        );
    }

    #[test]
    fn a_message_is_never_too_long_and_has_whole_lines() {
        for count in [1, 2, 8, 9, 300] {
            for len in [1, 20, 500, 4000] {
                let mut failures = Failures::default();
                for n in 0..count {
                    let line = format!("{n} {}\n", "ü".repeat(len));
                    failed(&mut failures, &format!("{n} failed"), &line.repeat(100));
                }
                let message = failures.message(&"r".repeat(len), 1, false);
                assert!(
                    message.len() <= MOST_BYTES,
                    "{count} {len}: {}",
                    message.len()
                );
                assert!(message.ends_with('\n') || message.is_empty());
                if len < 500 {
                    let told = message.lines().filter(|line| line.contains(" failed"));
                    assert_eq!(told.count(), count.min(9), "{message}");
                    let more = format!(": {} more failed\n", count.max(8) - 8);
                    assert!(count <= 8 || message.ends_with(&more), "{message}");
                }
            }
        }
    }

    #[test]
    fn what_must_not_be_shown_is_escaped_and_the_last_line_alone_is_cut() {
        let mut failures = Failures::default();
        failed(
            &mut failures,
            "a",
            &format!("one\n\u{1b}[2J\t{}\n", "x".repeat(9000)),
        );
        let message = failures.message("run", 1, false);
        assert!(message.starts_with("run: a\n\\u{1b}[2J\txxx"), "{message}");
        assert!(message.ends_with("xxx …\n") && message.len() == MOST_BYTES);
    }
}
