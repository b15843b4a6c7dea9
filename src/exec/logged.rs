//! One command with log files of its own: claim them, look for a cancellation, run,
//! remove old ones (contract §4, §8).

use super::ExecContext;
use super::tee::{Command, End, Logs, Runner};
use crate::error::Error;
use crate::output::Sink;
use crate::output::log_file::{Claim, Ended};
use crate::output::log_name::err_path;

/// A command that may start now. Its log files, if it has any, exist and are empty.
#[derive(Debug)]
pub struct Ready<'a> {
    context: ExecContext<'a>,
    name: &'a str,
    claim: Option<Claim>,
}

impl<'a> Ready<'a> {
    /// Claims the log files that are named `name`. Returns `None`, and leaves no log
    /// file, if the run has been cancelled.
    ///
    /// If the log files cannot be created, a notice says so and the command runs
    /// without them: they count as sinks that failed before it began (contract §10).
    #[must_use]
    pub fn claim(
        context: ExecContext<'a>,
        name: &'a str,
        runner: &mut Runner<'_>,
    ) -> Option<Ready<'a>> {
        let claimed = context
            .log_dir
            .map(|dir| dir.claim(name, runner.clock().utc()));
        let claim = match claimed {
            Some(Ok(claim)) => Some(claim),
            Some(Err(error)) => {
                let notice = format!("{error}; {name} runs without a log file");
                runner.console().notice(&notice);
                None
            }
            None => None,
        };
        let ready = Ready {
            context,
            name,
            claim,
        };
        // As late as possible, so that no command starts after a cancellation.
        if runner.is_cancelled() {
            ready.discard();
            return None;
        }
        Some(ready)
    }

    /// Removes the log files again: the command does not start.
    pub fn discard(self) {
        if let Some(claim) = self.claim {
            claim.discard();
        }
    }

    /// Runs the command, notes with its log if its end `is_success`, and removes old logs
    /// of the same name.
    ///
    /// # Errors
    /// If the command cannot be started, or its end is not known.
    pub fn run(
        self,
        command: &Command<'_>,
        is_success: impl Fn(End) -> bool,
        runner: &mut Runner<'_>,
    ) -> Result<End, Error> {
        runner.console().failures.last_lines.clear();
        let own_log = self.claim.as_ref().map(|claim| claim.path.clone());
        let (logs, hold) = match self.claim {
            Some(claim) => {
                let logs = Logs {
                    stderr: Sink::file(&err_path(&claim.path), claim.stderr),
                    stdout: Sink::file(&claim.path, claim.stdout),
                };
                (logs, claim.hold)
            }
            None => (Logs::none(), None),
        };
        let end = runner.tee(command, logs);
        if let (Some(hold), Ok(end)) = (&hold, &end) {
            hold.note(if is_success(*end) {
                Ended::Succeeded
            } else {
                Ended::Failed
            });
        }
        drop(hold);
        // Also if the command could not be started, time after time, or if a full
        // disk prevented the new log. Only in that case a failure is not reported.
        if let Some(dir) = self.context.log_dir
            && let Err(error) = dir.reap(self.name, own_log.as_deref())
            && own_log.is_some()
        {
            runner.console().notice(&error.to_string());
        }
        end
    }
}
