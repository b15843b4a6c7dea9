//! The signals of the whole process: what ends a run, and what tells PID 1 that
//! somebody's orphan has ended.

use nix::sys::signal::Signal;

use crate::error::Error;
use crate::system::cancel::Cancellation;
use crate::system::orphans::Orphans;
use crate::system::sys;

/// The signals that cancel a run: the running step finishes, and no further one
/// starts (contract §7.9).
const ENDS: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

/// What a run is told by signals.
#[derive(Debug)]
pub struct Signals {
    /// To end.
    pub cancellation: Cancellation,
    /// That there may be orphans to reap, where this process has to.
    pub orphans: Option<Orphans>,
}

impl Signals {
    /// Sets up the process's signals. To be called before there are threads.
    ///
    /// # Errors
    /// [`Error::Signals`] where the system has no descriptor left.
    pub fn of_process() -> Result<Signals, Error> {
        sys::set_up_signals();
        Ok(Signals {
            cancellation: Cancellation::on_signals(&ENDS).map_err(Error::Signals)?,
            orphans: Orphans::of_pid_1().map_err(Error::Signals)?,
        })
    }
}
