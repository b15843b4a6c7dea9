//! The signals of the whole process: those that cancel a run, and SIGCHLD, which
//! tells PID 1 that an orphan has ended.

use std::rc::Rc;

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

/// The signals that a run heeds.
#[derive(Clone, Debug)]
pub struct Signals {
    /// Those that cancel the run.
    pub cancellation: Rc<Cancellation>,
    /// SIGCHLD of orphans, if this process has to reap them.
    pub orphans: Option<Rc<Orphans>>,
}

impl Signals {
    /// Sets up the process's signals. Call it before there are threads.
    ///
    /// # Errors
    /// [`Error::Signals`] if the system has no descriptor left.
    pub fn of_process() -> Result<Signals, Error> {
        sys::set_up_signals();
        Ok(Signals {
            cancellation: Rc::new(Cancellation::on_signals(&ENDS).map_err(Error::Signals)?),
            orphans: Orphans::of_pid_1().map_err(Error::Signals)?.map(Rc::new),
        })
    }
}
