//! What a survey finds.

use serde::Serialize;

use super::flags::{Check, Mark, StepFlag};
use super::interrupts::InterruptFlag;
use super::logs::Logs;
use crate::state::Entry;
use crate::state::lock::Run;

/// Something that is not as the agent would have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file or directory, as the node names it.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What a state directory has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StateRoot {
    /// Its path on the node.
    pub path: String,
    /// The directory of its packages' logs.
    pub log_dir: String,
    /// The results of the last checks that ran, of whichever package.
    pub checks: Vec<Check>,
    /// The modes whose checks have all succeeded, of whichever package.
    pub all_checked: Vec<Mark>,
    /// What killed runs have left, as far as no package is known for it.
    pub leftovers: Vec<String>,
    /// What is wrong in the directory, as far as no package is known for it.
    pub problems: Vec<Problem>,
    /// Its packages, by name.
    #[serde(skip)]
    pub packages: Vec<Package>,
    /// Tells if all that is there was looked at.
    #[serde(skip)]
    pub is_whole: bool,
}

/// What a state directory has of one package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The version that the node has now; `None` without a history.
    pub version: Option<String>,
    /// The time since when it has that version: UTC, ISO-8601.
    pub since: Option<String>,
    /// Its versions, newest first.
    pub history: Vec<Entry>,
    /// Its steps that have finished, by version, path and arguments.
    pub steps: Vec<StepFlag>,
    /// The results of its last checks; none if they may be another package's.
    pub checks: Vec<Check>,
    /// Its interrupts.
    pub interrupts: Vec<InterruptFlag>,
    /// Its log files.
    pub logs: Logs,
    /// The run that is under way.
    pub running: Option<Run>,
    /// Tells if there is a lock, and processes that cannot be seen from here may hold it.
    pub may_run: bool,
    /// What killed runs have left.
    pub leftovers: Vec<String>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}
