//! Takes a package's lock, and says so if that takes long (contract §10).

use std::ops::ControlFlow;

use super::Process;
use crate::error::Error;
use crate::host::Root;
use crate::state::lock::{Held, NOTICE_AFTER, Request, take};
use crate::state::{Layout, Lock};

/// Takes a lock of the layout's package for a run that does `task`. Returns `None`, and
/// has said so, if the run was cancelled while another agent held the lock.
///
/// # Errors
/// If the lock cannot be taken at all.
pub(super) fn lock_package<'r>(
    root: &'r Root,
    layout: Layout<'_>,
    lock: Lock,
    task: &str,
    process: &mut Process<'_>,
) -> Result<Option<Held<'r>>, Error> {
    let request = Request {
        task,
        clock: process.clock,
        cancellation: &process.signals.cancellation,
        notice_after: NOTICE_AFTER,
    };
    let package = layout.package;
    let console = &mut *process.console;
    let held = take(root, layout, lock, request, |holder| {
        console.notice(&format!(
            "package {package} is in use by {holder}; waiting for that to end"
        ));
        ControlFlow::Continue(())
    })?;
    if held.is_none() {
        process.console.notice(&format!(
            "cancelled: another agent runs for package {package}; {task} does not start"
        ));
    }
    Ok(held)
}
