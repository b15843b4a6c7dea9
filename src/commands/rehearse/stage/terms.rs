//! What a stage is given, and what comes of it.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use crate::commands::rehearse::channel::Event;
use crate::commands::rehearse::report::Step;
use crate::error::Error;
use crate::system::sys::seccomp::Reports;
use crate::view::View;

/// What to run.
#[derive(Clone, Debug)]
pub(in crate::commands::rehearse) struct Run {
    /// The words after the hidden command.
    pub(in crate::commands::rehearse) arguments: Vec<String>,
    pub(in crate::commands::rehearse) environment: Vec<(String, String)>,
    /// The time that it may take.
    pub(in crate::commands::rehearse) limit: Duration,
    /// Tells if the changes of its steps are counted.
    pub(in crate::commands::rehearse) is_counted: bool,
    pub(in crate::commands::rehearse) cut: Option<Cut>,
    /// Tells if it is an interrupt, which can ask for a reboot.
    pub(in crate::commands::rehearse) is_interrupt: bool,
}

impl Run {
    /// What the kernel is to report.
    pub(super) fn reports(&self) -> Option<Reports> {
        match self.cut.map(|cut| cut.after) {
            Some(After::Changes(_)) => Some(Reports::ChangesAndExits),
            _ => self.is_counted.then_some(Reports::Changes),
        }
    }
}

/// When to cut the stage off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands::rehearse) struct Cut {
    /// The step, counted from 0 among those that start.
    pub(in crate::commands::rehearse) step: usize,
    pub(in crate::commands::rehearse) after: After,
}

/// How far a step comes before it is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands::rehearse) enum After {
    /// This number of changes of files.
    Changes(u64),
    /// This time from its start.
    Time(Duration),
}

/// What came of it.
#[derive(Debug)]
pub(in crate::commands::rehearse) struct Ended {
    pub(in crate::commands::rehearse) status: ExitStatus,
    pub(in crate::commands::rehearse) why: Why,
    pub(in crate::commands::rehearse) time: Duration,
    pub(in crate::commands::rehearse) steps: Vec<Step>,
    /// The number of changes of each step that started, if they are counted.
    pub(in crate::commands::rehearse) changes: Vec<u64>,
    /// Why they could not be counted.
    pub(in crate::commands::rehearse) uncounted: Option<io::Error>,
    /// The last of what was said: by the last step, or by the agent if there was none.
    pub(in crate::commands::rehearse) said: Vec<u8>,
}

/// Why a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands::rehearse) enum Why {
    ByItself,
    OutOfTime,
    Cut,
    /// It waited for the reboot that it had asked for.
    Reboot,
    /// What sent events is not the agent.
    NotTheAgent,
}

/// Follows a stage.
pub(in crate::commands::rehearse) trait Follower {
    /// Something happened. The stage waits.
    fn event(&mut self, event: &Event, view: &mut View) -> Result<(), Error>;

    /// Something was said.
    fn said(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// Time has passed.
    fn tick(&mut self) -> Result<(), Error>;

    /// Tells if the stage has asked for a reboot.
    fn is_reboot_asked_for(&mut self, view: &mut View) -> Result<bool, Error>;
}
