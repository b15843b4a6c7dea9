//! Deciding if a step runs or is skipped (contract §7.7).

use crate::package::{Idempotence, Mode, Step};

/// Tells if a step runs, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It runs.
    Run(Why),
    /// It is skipped.
    Skip(Why),
}

/// The reason of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The mode is a check: all its steps run.
    IsCheck,
    /// The step has no flag: it has not succeeded before.
    NoFlag,
    /// The step has a flag, and steps with a flag are skipped.
    FlagIsSet,
    /// The step has a flag, but `OVERLAY_ALWAYS_RUN_STEP` is set.
    Forced,
    /// The step has a flag, but the mode ignores flags: config, uninstall, upgrade.
    ModeIgnoresFlags,
    /// The step has a flag, but its idempotence is disabled: it always runs.
    AlwaysRuns,
}

impl Decision {
    /// Decides for a step of `mode`. `is_set` tells if the step has its flag, `forced`
    /// is `OVERLAY_ALWAYS_RUN_STEP`.
    #[must_use]
    pub fn of(step: &Step, mode: Mode, is_set: bool, forced: bool) -> Decision {
        if mode.is_check() {
            Decision::Run(Why::IsCheck)
        } else if !is_set {
            Decision::Run(Why::NoFlag)
        } else if forced {
            Decision::Run(Why::Forced)
        } else if matches!(mode, Mode::Config | Mode::Uninstall | Mode::Upgrade) {
            Decision::Run(Why::ModeIgnoresFlags)
        } else if step.idempotence == Idempotence::Disabled {
            Decision::Run(Why::AlwaysRuns)
        } else {
            Decision::Skip(Why::FlagIsSet)
        }
    }
}
