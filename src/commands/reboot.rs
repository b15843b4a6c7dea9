//! A reboot of the node that an interrupt asks for (contract §11).
//!
//! The command `reboot` ends before the node does. So its success says nothing: only
//! another boot id of the kernel says that the node has rebooted. Two files tell the next
//! start what there is to do. It does the same whatever ended this agent: the shutdown, a
//! kill, a power cut.
//!
//! | `.complete` | `.boot` | the next start |
//! |---|---|---|
//! | missing | any | asks for the reboot |
//! | there | another boot's | the node has rebooted: removes `.boot`, and skips the command |
//! | there | this boot's | waits for the reboot, and asks again after that |
//! | there | no boot id | the same: one reboot too many is better than none |
//! | there | missing | skips the command: an agent without `.boot` has set the flag |
//!
//! `.complete` without `.boot` says that all is done. So `.boot` is written first and
//! removed last, each step on disk before the next:
//!
//! - Killed before `.complete` is there: nothing has been asked for, and the next start
//!   asks. It replaces the `.boot` that it finds.
//! - Killed after `.complete` is there, before `reboot` runs or while it runs: the next
//!   start cannot tell if it was asked for. It waits, and asks again. If the power was
//!   cut, that was a reboot, and the boot id says so.
//! - Killed during the wait: the same.
//! - Killed between the removal of `.complete` and of `.boot`, after a failure or at the
//!   end of a wait: the next start asks.
//! - Killed before `.boot` is removed after the reboot: the next start removes it.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::exec::tee::Runner;
use crate::host::Root;
use crate::state::{BOOT_ID, State, is_boot_id, is_reboot_pending};
use crate::system::cancel::Cancellation;

/// The means to watch a reboot.
#[derive(Clone, Debug)]
pub struct Watch<'a> {
    /// The agent's own root, for the boot id.
    pub own_root: &'a Root,
    /// The time for which a reboot is waited for (`SKYHOOK_AGENT_REBOOT_TIMEOUT`).
    pub timeout: Duration,
    /// The signals that end the wait: the shutdown sends SIGTERM.
    pub cancellation: Rc<Cancellation>,
}

/// The progress of a reboot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It has not been asked for.
    NotAskedFor,
    /// It may have been asked for, and the node has not rebooted.
    AskedFor,
    /// It is done.
    Done,
}

/// The end of a wait for a reboot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// A signal came: the shutdown has begun.
    Ended,
    /// The node still runs.
    InVain,
}

/// The two files of one reboot, by their paths inside the root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reboot<'a> {
    /// `{type}_{i}.complete`.
    pub(super) flag: &'a str,
    /// `{type}_{i}.boot`.
    pub(super) boot: &'a str,
}

impl Reboot<'_> {
    /// Finds out how far the reboot has come. A note of another boot that cannot be
    /// removed costs a notice: what counts is that the node has rebooted.
    pub(super) fn progress(
        self,
        state: &State<'_>,
        watch: &Watch<'_>,
        runner: &mut Runner<'_>,
    ) -> Result<Progress, Error> {
        if !state.is_set(self.flag)? {
            return Ok(Progress::NotAskedFor);
        }
        let Some(asked_in) = state.boot(self.boot)? else {
            return Ok(Progress::Done);
        };
        if is_reboot_pending(&asked_in, &watch.boot_id()?) {
            return Ok(Progress::AskedFor);
        }
        if let Err(error) = state.clear(self.boot) {
            runner.console().notice(&error.to_string());
        }
        Ok(Progress::Done)
    }

    /// Notes that the reboot is asked for in this boot. To be called before the flag is
    /// set.
    pub(super) fn note(self, state: &State<'_>, watch: &Watch<'_>) -> Result<(), Error> {
        state.set_boot(self.boot, &watch.boot_id()?)
    }

    /// Removes both files: the reboot has not been asked for, or in vain.
    pub(super) fn take_back(self, state: &State<'_>) -> Result<(), Error> {
        state.clear(self.flag)?;
        state.clear(self.boot)
    }
}

impl Watch<'_> {
    /// The time-out as people read it: `300 s`.
    pub(super) fn timeout(&self) -> String {
        format!("{} s", self.timeout.as_secs_f64())
    }

    /// Reads the id of this boot.
    fn boot_id(&self) -> Result<String, Error> {
        let path = Path::new(BOOT_ID);
        let content = self.own_root.read(path)?;
        let id = String::from_utf8_lossy(&content).trim().to_owned();
        if is_boot_id(&id) {
            return Ok(id);
        }
        let error = io::Error::other("expected a boot id");
        Err(Error::io("use", self.own_root.host_path(path), error))
    }

    /// Waits until a signal comes, or the time-out has passed.
    pub(super) fn wait(&self) -> Waited {
        let began = Instant::now();
        loop {
            let left = self.timeout.saturating_sub(began.elapsed());
            // A part of a millisecond counts as one: the kernel counts in whole ones.
            let least = Duration::from_millis(u64::from(!left.is_zero()));
            if self.cancellation.wait(left.max(least)) {
                return Waited::Ended;
            }
            if left.is_zero() {
                return Waited::InVain;
            }
        }
    }
}
