//! The processes of the view, as this process sees them.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::Error;

/// The most rounds of signals. Processes that are started faster than that are left to the
/// end of the view.
const MOST_ROUNDS: usize = 50;

/// A pid namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Namespace(OsString);

impl Namespace {
    /// The namespace of a child that has not been waited for.
    pub(super) fn of(pid: u32) -> Result<Namespace, Error> {
        let link = Path::new("/proc").join(pid.to_string()).join("ns/pid");
        let namespace = fs::read_link(&link);
        let namespace = namespace.map_err(|error| Error::io("read", link, error))?;
        Ok(Namespace(namespace.into_os_string()))
    }

    /// Sends a signal to each process of the namespace, except its init. Returns how many
    /// there were.
    pub(super) fn signal(&self, signal: Signal) -> usize {
        let Ok(processes) = self.processes() else {
            return 0;
        };
        let sent = processes.iter().filter(|pid| kill(**pid, signal).is_ok());
        sent.count()
    }

    /// Ends all of them, also those that are started meanwhile.
    pub(super) fn kill(&self) {
        for _ in 0..MOST_ROUNDS {
            if self.signal(Signal::SIGKILL) == 0 {
                return;
            }
        }
    }

    fn processes(&self) -> io::Result<Vec<Pid>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            let pid = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            let Some(pid) = pid else {
                continue;
            };
            // A process of another user, or one that has just ended.
            let namespace = fs::read_link(entry.path().join("ns/pid"));
            if namespace.is_ok_and(|namespace| namespace.as_os_str() == self.0)
                && is_to_be_ended(&entry.path())
            {
                found.push(Pid::from_raw(pid));
            }
        }
        Ok(found)
    }
}

/// Tells if a process is neither the init of its namespace nor ended already.
fn is_to_be_ended(process: &Path) -> bool {
    let Ok(status) = fs::read_to_string(process.join("status")) else {
        return false;
    };
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default()
    };
    let is_init = field("NSpid:").split_whitespace().next_back() == Some("1");
    let has_ended = field("State:").trim_start().starts_with(['Z', 'X']);
    !is_init && !has_ended
}
