//! The options of the operator's forms of the command line (contract §7).

use crate::package::{Interrupt, Mode};

/// The options of a run, as the command line has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The task.
    pub task: Task,
    /// The directory at which the host's root is mounted.
    pub root_mount: String,
    /// The package's directory on the host, absolute.
    pub copy_dir: String,
}

/// The task of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// It runs the steps of a mode.
    Steps(Mode),
    /// It runs an interrupt.
    Interrupt {
        /// The interrupt.
        interrupt: Interrupt,
        /// The same as the operator gave it: base64 of JSON.
        data: String,
    },
    /// It does nothing: this version does not know the mode of this name.
    Unknown(String),
}

impl Task {
    /// The mode's name on the command line.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Task::Steps(mode) => mode.name(),
            Task::Interrupt { .. } => Mode::Interrupt.name(),
            Task::Unknown(name) => name,
        }
    }
}
