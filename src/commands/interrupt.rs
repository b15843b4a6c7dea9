//! Runs an interrupt: an action on the node itself that a package asks for
//! (contract §8).

use std::collections::BTreeMap;

use super::Outcome;
use crate::error::Error;
use crate::exec::ExecContext;
use crate::exec::logged::Ready;
use crate::exec::tee::{Command, Runner};
use crate::package::Interrupt;
use crate::python;
use crate::settings::ResourceId;
use crate::state::State;

/// Runs the commands of an interrupt that have not run for this resource yet.
///
/// A command's flag is set before it runs, durably: a reboot that has begun must
/// not begin again after it. The flag of a command that fails is removed.
///
/// # Errors
/// If a flag cannot be set, or a command cannot be started.
pub fn run(
    interrupt: &Interrupt,
    context: ExecContext<'_>,
    resource: &ResourceId,
    state: &State<'_>,
    runner: &mut Runner<'_>,
) -> Result<Outcome, Error> {
    let resource = &resource.whole;
    if *interrupt == (Interrupt::NoOp {}) {
        let flag = state.layout.interrupt_flag(resource, interrupt.name());
        state.set_interrupted(&flag)?;
        return Ok(Outcome::Succeeded);
    }
    for (i, cmd) in interrupt.commands().iter().enumerate() {
        let id = format!("{}_{i}", interrupt.name());
        let flag = state.layout.interrupt_flag(resource, &id);
        if state.is_set(&flag)? {
            runner.console().print(&skipping(&id, resource));
            continue;
        }
        let log_name = format!("interrupts/{id}");
        let Some(ready) = Ready::claim(context, &log_name, runner) else {
            let notice = format!("cancelled: interrupt {id} does not start");
            runner.console().notice(&notice);
            return Ok(Outcome::Cancelled);
        };
        // Whatever it found above: of all agents, one alone gets the flag.
        match state.claim_interrupt(&flag) {
            Ok(true) => {}
            Ok(false) => {
                ready.discard();
                runner.console().print(&skipping(&id, resource));
                continue;
            }
            Err(error) => {
                ready.discard();
                return Err(take_back(&flag, error, state, runner));
            }
        }
        let command = Command {
            chroot_dir: context.chroot_dir,
            cmd,
            copy_dir: context.copy_dir,
            env: &BTreeMap::new(),
            no_chmod: true,
            write_cmds: true,
        };
        let code = match ready.run(&command, runner) {
            Ok(end) => end.code(),
            // It has begun, and how it ends is not known.
            Err(error @ Error::Lost { .. }) => return Err(error),
            Err(error) => return Err(take_back(&flag, error, state, runner)),
        };
        // The shutdown that the command asked for has ended it: the reboot has begun,
        // and the next start must not begin another.
        if *interrupt == (Interrupt::NodeRestart {}) && code == -15 {
            return Ok(Outcome::Failed);
        }
        if code != 0 {
            let cmd = python::strings(cmd);
            let line = format!("INTERRUPT FAILED: {cmd} return_code: {code}");
            runner.console().print(&line);
            state.clear(&flag)?;
            return Ok(Outcome::Failed);
        }
    }
    Ok(Outcome::Succeeded)
}

/// The line about a command that has its flag.
fn skipping(id: &str, resource: &str) -> String {
    format!("Skipping interrupt {id} because it was already run for {resource}")
}

/// Removes the flag of a command that did not begin because of `error`.
fn take_back(flag: &str, error: Error, state: &State<'_>, runner: &mut Runner<'_>) -> Error {
    if let Err(second) = state.clear(flag) {
        runner.console().notice(&second.to_string());
    }
    error
}
