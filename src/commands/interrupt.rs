//! Runs an interrupt: what a package asks to be done to the node itself (contract §8).

use std::collections::BTreeMap;
use std::ffi::OsStr;

use crate::error::Error;
use crate::exec::step::{claim_logs, reap_logs};
use crate::exec::tee::{Command, Logs, Runner};
use crate::output::log_file::{Claim, LogDir};
use crate::package::Interrupt;
use crate::python;
use crate::settings::ResourceId;
use crate::state::State;

/// Where an interrupt runs.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The root.
    pub chroot_dir: &'a OsStr,
    /// The package's folder, absolute, inside that root.
    pub copy_dir: &'a str,
    /// The log folder; `None`: no log files.
    pub log_dir: Option<LogDir<'a>>,
    /// What it is run for, once.
    pub resource: &'a ResourceId,
}

/// Runs the commands of an interrupt that have not run for this resource yet.
/// False where one failed, or the run was cancelled.
///
/// A command's flag is set before it runs, durably: a reboot that has begun must
/// not begin again after it. One that fails gets its flag taken back.
///
/// # Errors
/// Where a flag cannot be set, or a command not be started.
pub fn run(
    interrupt: &Interrupt,
    place: &Place<'_>,
    state: &State<'_>,
    runner: &mut Runner<'_>,
) -> Result<bool, Error> {
    let resource = &place.resource.whole;
    if *interrupt == (Interrupt::NoOp {}) {
        state.set_interrupted(&state.interrupt_flag(resource, interrupt.name()))?;
        return Ok(true);
    }
    for (i, cmd) in interrupt.commands().iter().enumerate() {
        let id = format!("{}_{i}", interrupt.name());
        let flag = state.interrupt_flag(resource, &id);
        if state.is_set(&flag)? {
            runner.console().print(&format!(
                "Skipping interrupt {id} because it was already run for {resource}"
            ));
            continue;
        }
        let log_name = format!("interrupts/{id}");
        let claim = claim_logs(place.log_dir, &log_name, runner);
        if runner.is_cancelled() {
            claim.into_iter().for_each(Claim::discard);
            runner
                .console()
                .notice(&format!("cancelled: interrupt {id} does not start"));
            return Ok(false);
        }
        let log = claim.as_ref().map(|claim| claim.path.clone());
        if let Err(error) = state.set_interrupted(&flag) {
            claim.into_iter().for_each(Claim::discard);
            return Err(take_back(&flag, error, state, runner));
        }
        let command = Command {
            chroot_dir: place.chroot_dir,
            cmd,
            copy_dir: place.copy_dir,
            env: &BTreeMap::new(),
            no_chmod: true,
            write_cmds: true,
        };
        let code = match runner.tee(&command, claim.map_or_else(Logs::none, Logs::from)) {
            Ok(code) => code,
            // It has begun, and how it ends nobody will know.
            Err(error @ Error::Lost { .. }) => return Err(error),
            Err(error) => return Err(take_back(&flag, error, state, runner)),
        };
        reap_logs(place.log_dir, &log_name, log.as_deref(), runner);
        // Ended by the shutdown that it brought about: the reboot has begun, and
        // the next start must not begin another.
        if *interrupt == (Interrupt::NodeRestart {}) && code == -15 {
            return Ok(false);
        }
        if code != 0 {
            let cmd = python::strings(cmd);
            let line = format!("INTERRUPT FAILED: {cmd} return_code: {code}");
            runner.console().print(&line);
            state.clear(&flag)?;
            return Ok(false);
        }
    }
    Ok(!runner.is_cancelled())
}

/// Takes back the flag of a command that did not begin because of `error`.
fn take_back(flag: &str, error: Error, state: &State<'_>, runner: &mut Runner<'_>) -> Error {
    if let Err(second) = state.clear(flag) {
        runner.console().notice(&second.to_string());
    }
    error
}
