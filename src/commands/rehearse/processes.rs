//! The processes of the view, as this process sees them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::Error;
use crate::system::sys::{pidfd_open, pidfd_send_signal};

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
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let sent = entries.filter(|entry| self.signal_one(&entry.path(), signal));
        sent.count()
    }

    /// Sends it to a process if it is of the namespace. Tells if it was sent.
    fn signal_one(&self, process: &Path, signal: Signal) -> bool {
        let name = process.file_name().and_then(OsStr::to_str);
        let Some(pid) = name.and_then(|name| name.parse().ok()) else {
            return false;
        };
        if !self.has(process) || !is_to_be_ended(process) {
            return false;
        }
        // It is held first and looked at again: its number may be that of a process of the
        // machine by now.
        let held = pidfd_open(pid);
        if !self.has(process) {
            return false;
        }
        match held {
            Ok(held) => pidfd_send_signal(held.as_fd(), signal as i32).is_ok(),
            // It has ended.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => false,
            // The kernel has no such thing.
            Err(_) => {
                let pid = i32::try_from(pid).map(Pid::from_raw);
                pid.is_ok_and(|pid| kill(pid, signal).is_ok())
            }
        }
    }

    /// Ends all of them, also those that are started meanwhile.
    pub(super) fn kill(&self) {
        for _ in 0..MOST_ROUNDS {
            if self.signal(Signal::SIGKILL) == 0 {
                return;
            }
        }
    }

    /// Tells if a process is in it. Not one that has ended, or of another user.
    fn has(&self, process: &Path) -> bool {
        let namespace = fs::read_link(process.join("ns/pid"));
        namespace.is_ok_and(|namespace| namespace.as_os_str() == self.0)
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
