//! What the steps of a stage do to files: counted, and held at the place of a cut.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::poll::PollFlags;
use nix::sys::signal::Signal;

use super::streams::poll_for;
use crate::error::Error;
use crate::system::sys::seccomp::{self, Call, Listener, What};

/// The most calls in a row before the other streams have their turn.
const MOST_CALLS: usize = 256;

/// Paths that are no files of a node.
const DEVICES: &[u8] = b"/dev/";

/// The calls of a stage that the kernel reports.
#[derive(Debug)]
pub(super) struct Notices {
    /// None if there are no reports.
    listener: Option<Listener>,
    agent: u32,
    /// The agent's program. What runs it is no step, or not yet.
    program: Option<FileId>,
    /// The number of changes of the step that runs, or ran last.
    changes: u64,
    /// The number of changes after which the step is to be cut off.
    cut_after: Option<u64>,
    /// The process that made the last change before the cut.
    changer: Option<u32>,
    /// The call at which the step is cut off. It waits.
    held: Option<Call>,
    /// If the place of the cut has been reached.
    is_cut: bool,
}

/// Device and inode of a file.
type FileId = (u64, u64);

impl Notices {
    /// Takes the reports of the stage whose agent has this id.
    pub(super) fn of(listener: Option<Listener>, agent: u32) -> Notices {
        Notices {
            listener,
            agent,
            program: program(agent),
            changes: 0,
            cut_after: None,
            changer: None,
            held: None,
            is_cut: false,
        }
    }

    /// A step begins, to be cut off after this number of changes.
    pub(super) fn begin(&mut self, cut_after: Option<u64>) {
        self.changes = 0;
        self.cut_after = cut_after;
        self.changer = None;
    }

    /// A step has ended. Returns how many changes it made.
    pub(super) fn end(&mut self) -> u64 {
        self.cut_after = None;
        self.changes
    }

    /// What to wait for.
    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    /// Lets the calls go on that wait. Tells if the place of the cut is reached: then one
    /// is held until [`Notices::let_go`].
    pub(super) fn answer(&mut self) -> Result<bool, Error> {
        for _ in 0..MOST_CALLS {
            let Some(listener) = &self.listener else {
                break;
            };
            let events = poll_for(listener.as_fd(), Duration::ZERO)?;
            if events.is_empty() {
                break;
            }
            if !events.contains(PollFlags::POLLIN) {
                // All that was reported has ended.
                self.listener = None;
                break;
            }
            let Some(call) = listener.call().map_err(failed)? else {
                continue;
            };
            let is_change = self.is_of_step(&call) && is_change(&call);
            if self.is_place_of_cut(&call, is_change) {
                self.cut_after = None;
                self.held = Some(call);
                return Ok(true);
            }
            let is_last = is_change && self.cut_after == Some(self.changes + 1);
            // As long as it waits it is there.
            let changer = is_last.then(|| process_of(call.thread)).flatten();
            if self.is_cut && is_killed(call.thread) {
                continue;
            }
            // One that waited no longer did nothing: its process was killed, or makes the
            // call again.
            if listener.go_on(call.id).map_err(failed)? && is_change {
                self.changes += 1;
                self.changer = changer;
            }
        }
        Ok(false)
    }

    /// The same, and never cuts off. Waits this long for the first call.
    pub(super) fn wait_and_answer(&mut self, wait: Duration) -> Result<(), Error> {
        match &self.listener {
            Some(listener) => drop(poll_for(listener.as_fd(), wait)?),
            None => std::thread::sleep(wait),
        }
        self.cut_after = None;
        self.answer()?;
        Ok(())
    }

    /// Lets the call go on at which the step was cut off, unless its process was killed.
    pub(super) fn let_go(&mut self) -> Result<(), Error> {
        self.is_cut = true;
        if let (Some(listener), Some(held)) = (&self.listener, self.held.take())
            && !is_killed(held.thread)
        {
            listener.go_on(held.id).map_err(failed)?;
        }
        Ok(())
    }

    /// Tells if a step made this call. The child's side of the agent makes some before it
    /// becomes the step's program.
    fn is_of_step(&self, call: &Call) -> bool {
        call.thread != self.agent && program(call.thread) != self.program
    }

    /// A step is cut off at its next change, or at the end of the process that made the last
    /// one. Other processes may end sooner or later from one run to another, and what the
    /// step writes would be written or not.
    fn is_place_of_cut(&self, call: &Call, is_change: bool) -> bool {
        let is_end = || call.what == What::Exits && process_of(call.thread) == self.changer;
        self.cut_after == Some(self.changes) && (is_change || is_end())
    }
}

fn failed(error: io::Error) -> Error {
    Error::io("follow the system calls of", "a stage", error)
}

/// The program that a thread runs.
fn program(thread: u32) -> Option<FileId> {
    let program = fs::metadata(format!("/proc/{thread}/exe")).ok()?;
    Some((program.dev(), program.ino()))
}

/// The process that a thread is of.
fn process_of(thread: u32) -> Option<u32> {
    status(thread, "Tgid:")?.parse().ok()
}

/// Tells if a thread was sent a signal that ends it, or is gone. If its call went on, it
/// would do its work before that.
fn is_killed(thread: u32) -> bool {
    // The kernel adds SIGKILL to each signal that ends a process.
    let pending = status(thread, "SigPnd:").and_then(|set| u64::from_str_radix(&set, 16).ok());
    pending.is_none_or(|pending| pending & (1 << (Signal::SIGKILL as u32 - 1)) != 0)
}

/// A field of what the kernel tells of a thread.
fn status(thread: u32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(value.trim().to_owned())
}

/// Tells if a call changes files. One whose arguments cannot be read does.
fn is_change(call: &Call) -> bool {
    match call.what {
        What::Exits => false,
        What::Changes => true,
        What::Opens { path } => !is_device(call.thread, path),
        What::OpensHow { path, flags } => {
            writes(call.thread, flags) && !is_device(call.thread, path)
        }
    }
}

fn is_device(thread: u32, path: u64) -> bool {
    let mut start = [0; DEVICES.len()];
    let read = seccomp::read_memory(thread, path, &mut start);
    read.is_ok_and(|read| read == start.len()) && start == DEVICES
}

fn writes(thread: u32, flags: u64) -> bool {
    let mut bytes = [0; size_of::<u64>()];
    let read = seccomp::read_memory(thread, flags, &mut bytes);
    let writes = u64::try_from(seccomp::WRITES).unwrap_or_default();
    !read.is_ok_and(|read| read == bytes.len()) || u64::from_ne_bytes(bytes) & writes != 0
}
