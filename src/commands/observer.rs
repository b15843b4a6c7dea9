//! Following the steps of a run from outside. A rehearsal does; a node's run does not.

use crate::error::Error;
use crate::exec::step::Verdict;
use crate::package::Step;

/// Follows the steps of a run. An error ends the run.
#[allow(
    clippy::missing_errors_doc,
    reason = "the errors are those of the one that follows"
)]
pub trait Observer {
    /// A step is about to start. It does not start before this returns.
    fn begins(&mut self, step: &Step) -> Result<(), Error>;

    /// A step does not run, since its flag is set.
    fn skips(&mut self, step: &Step) -> Result<(), Error>;

    /// A step has ended, or has not started after all. Nothing further is done before this
    /// returns.
    fn ended(&mut self, step: &Step, verdict: Verdict) -> Result<(), Error>;
}
