//! Runs an interrupt: an action on the node itself that a package asks for
//! (contract §8, §11).

use std::collections::BTreeMap;

use super::Outcome;
use super::reboot::{Progress, Reboot, Waited, Watch};
use crate::error::Error;
use crate::exec::ExecContext;
use crate::exec::logged::Ready;
use crate::exec::tee::{Command, End, Runner};
use crate::package::Interrupt;
use crate::python;
use crate::settings::ResourceId;
use crate::state::State;

/// Runs the commands of an interrupt that have not run for this resource yet.
///
/// A command's flag is set before it runs, durably: a reboot that has begun must
/// not begin again after it. The flag of a command that fails is removed. If a reboot was
/// asked for, waits for it.
///
/// # Errors
/// If a flag cannot be set, or a command cannot be started.
pub fn run(
    interrupt: &Interrupt,
    context: ExecContext<'_>,
    resource: &ResourceId,
    state: &State<'_>,
    watch: &Watch<'_>,
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
        let boot = state.layout.interrupt_boot(resource, &id);
        let one = One {
            flag: &flag,
            reboot: (*interrupt == Interrupt::NodeRestart {}).then_some(Reboot {
                flag: &flag,
                boot: &boot,
            }),
            id: &id,
            resource,
            cmd,
            context,
            state,
            watch,
        };
        let progress = one.progress(runner)?;
        match progress {
            Progress::Done => {
                one.skip(runner);
                continue;
            }
            Progress::AskedFor => {
                let notice = format!(
                    "interrupt {id}: {} has run in this boot of the node already; waiting up to \
                     {} for the node to go down before it runs again",
                    cmd.join(" "),
                    watch.timeout()
                );
                runner.console().notice(&notice);
                if watch.wait() == Waited::Ended {
                    return Ok(one.ended(runner));
                }
            }
            Progress::NotAskedFor => {}
        }
        match one.run(progress, runner)? {
            Outcome::Succeeded => {}
            outcome => return Ok(outcome),
        }
    }
    Ok(Outcome::Succeeded)
}

/// One command of an interrupt.
struct One<'a> {
    id: &'a str,
    /// The resource that it runs for.
    resource: &'a str,
    cmd: &'a [String],
    /// The path of its flag.
    flag: &'a str,
    /// The files of a reboot, if it is one.
    reboot: Option<Reboot<'a>>,
    context: ExecContext<'a>,
    state: &'a State<'a>,
    watch: &'a Watch<'a>,
}

impl One<'_> {
    fn progress(&self, runner: &mut Runner<'_>) -> Result<Progress, Error> {
        match self.reboot {
            Some(reboot) => reboot.progress(self.state, self.watch, runner),
            None if self.state.is_set(self.flag)? => Ok(Progress::Done),
            None => Ok(Progress::NotAskedFor),
        }
    }

    /// Sets the flag, durably, and of a reboot what has to be there before it. Returns
    /// `false` if another agent has set the flag since it was looked for: of all agents,
    /// one alone gets it. A reboot that is asked for again has its flag already.
    fn set(&self, progress: Progress) -> Result<bool, Error> {
        if let Some(reboot) = self.reboot {
            reboot.note(self.state, self.watch)?;
        }
        if progress == Progress::AskedFor {
            return Ok(true);
        }
        self.state.claim_interrupt(self.flag)
    }

    /// Says that the command is skipped.
    fn skip(&self, runner: &mut Runner<'_>) {
        let (id, resource) = (self.id, self.resource);
        runner.console().print(&format!(
            "Skipping interrupt {id} because it was already run for {resource}"
        ));
    }

    /// Removes what [`set`](Self::set) has written.
    fn take_back(&self) -> Result<(), Error> {
        match self.reboot {
            Some(reboot) => reboot.take_back(self.state),
            None => self.state.clear(self.flag),
        }
    }

    /// Does the same because of an error. Returns that error.
    fn take_back_for(&self, error: Error, runner: &mut Runner<'_>) -> Error {
        if let Err(second) = self.take_back() {
            runner.console().notice(&second.to_string());
        }
        error
    }

    fn run(&self, progress: Progress, runner: &mut Runner<'_>) -> Result<Outcome, Error> {
        let log_name = format!("interrupts/{}", self.id);
        let Some(ready) = Ready::claim(self.context, &log_name, runner) else {
            let notice = format!("cancelled: interrupt {} does not start", self.id);
            runner.console().notice(&notice);
            return Ok(Outcome::Cancelled);
        };
        match self.set(progress) {
            Ok(true) => {}
            Ok(false) => {
                ready.discard();
                // The other agent asks for the reboot now.
                if self.reboot.is_some() {
                    return self.await_reboot(runner);
                }
                self.skip(runner);
                return Ok(Outcome::Succeeded);
            }
            Err(error) => {
                ready.discard();
                return Err(self.take_back_for(error, runner));
            }
        }
        let command = Command {
            chroot_dir: self.context.chroot_dir,
            cmd: self.cmd,
            copy_dir: self.context.copy_dir,
            env: &BTreeMap::new(),
            no_chmod: true,
            write_cmds: true,
        };
        let is_success = |end| match end {
            End::Ran { code: 0 } => true,
            // The shutdown that the command asked for has ended it: the reboot has begun.
            // An operator must not take it for a failure.
            End::Ran { code: -15 } => self.reboot.is_some(),
            _ => false,
        };
        match ready.run(&command, is_success, runner) {
            Ok(End::Ran { code: 0 }) if self.reboot.is_some() => self.await_reboot(runner),
            Ok(end) if is_success(end) => Ok(Outcome::Succeeded),
            Ok(end) => {
                let (cmd, code) = (python::strings(self.cmd), end.code());
                let line = format!("INTERRUPT FAILED: {cmd} return_code: {code}");
                runner.console().print(&line);
                let what = format!("{} failed with code {code}", self.cmd.join(" "));
                runner.console().failures.add(what);
                self.take_back()?;
                Ok(Outcome::Failed)
            }
            // It has begun, and how it ends is not known.
            Err(error @ Error::Lost { .. }) => Err(error),
            Err(error) => Err(self.take_back_for(error, runner)),
        }
    }

    /// Waits for the reboot that has been asked for. If it does not come, the next start
    /// asks again.
    fn await_reboot(&self, runner: &mut Runner<'_>) -> Result<Outcome, Error> {
        let (id, timeout) = (self.id, self.watch.timeout());
        runner.console().notice(&format!(
            "interrupt {id}: waiting up to {timeout} for the node to go down"
        ));
        if self.watch.wait() == Waited::Ended {
            return Ok(self.ended(runner));
        }
        let what = format!("interrupt {id}: the node has not gone down within {timeout}");
        self.take_back()?;
        let notice = format!("{what}; the next start asks for the reboot again");
        runner.console().notice(&notice);
        runner.console().failures.add(what);
        Ok(Outcome::Failed)
    }

    /// A signal has ended the wait: the node goes down. The flag stays.
    fn ended(&self, runner: &mut Runner<'_>) -> Outcome {
        let notice = format!(
            "interrupt {}: a signal ended the wait; a start in the same boot of the node waits again",
            self.id
        );
        runner.console().notice(&notice);
        Outcome::Succeeded
    }
}
