//! One command (contract §2): control file, spawn, reactor → stamper → sinks,
//! exit code.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::error::Error;
use crate::exec::chroot_exec::{self, Control};
pub use crate::exec::relay::Logs;
use crate::exec::relay::Relay;
use crate::output::Console;
use crate::reactor::{self, Event, GRACE, Reactor};
use crate::stamp::Clock;
use crate::system::exit;
use crate::system::pipe_writers::PipeWriter;

/// The binary that runs again as chroot-exec: this one.
pub const SELF: &str = "/proc/self/exe";

/// Runs commands. All commands of a run share it.
pub struct Runner<'a> {
    console: &'a mut Console,
    clock: &'a dyn Clock,
    chroot_exec: PathBuf,
    temp_dirs: Vec<PathBuf>,
    reactor: reactor::Options,
    has_stdin: bool,
}

/// A command to run.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// The root it runs in; [`chroot_exec::LOCAL`] for this one.
    pub chroot_dir: &'a OsStr,
    /// The program and its arguments.
    pub cmd: &'a [String],
    /// Its working directory, absolute, inside that root.
    pub copy_dir: &'a str,
    /// Variables that are set over the environment it inherits.
    pub env: &'a BTreeMap<String, String>,
    /// Leaves the program's mode as it is.
    pub no_chmod: bool,
    /// Writes the command, joined by spaces, before its output.
    pub write_cmds: bool,
}

/// The end of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It ran, and ended with this exit code, or `-signum`.
    Ran {
        /// The code.
        code: i32,
    },
    /// chroot-exec could not start it, and has said why on its stderr.
    NotStarted {
        /// The exit code of chroot-exec, or `-signum`.
        code: i32,
    },
    /// It was ended, since its time was over.
    OutOfTime {
        /// Its exit code, or `-signum`.
        code: i32,
    },
}

impl End {
    /// The exit code, or `-signum`.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            End::Ran { code } | End::NotStarted { code } | End::OutOfTime { code } => code,
        }
    }
}

impl<'a> Runner<'a> {
    /// Takes what the commands of a run share.
    ///
    /// - `console`: the agent's own stdout and stderr.
    /// - `clock`: the source of stamps.
    /// - `chroot_exec`: the program that is started as `PROGRAM chroot-exec CONTROL_FILE
    ///   CHROOT_DIR`, usually [`SELF`].
    /// - `temp_dirs`: the directories for control files; the first that can be written
    ///   to is used.
    /// - `reactor`: how the streams are read and the child is waited for.
    #[must_use]
    pub fn new(
        console: &'a mut Console,
        clock: &'a dyn Clock,
        chroot_exec: PathBuf,
        temp_dirs: Vec<PathBuf>,
        reactor: reactor::Options,
    ) -> Runner<'a> {
        Runner {
            console,
            clock,
            chroot_exec,
            temp_dirs,
            reactor,
            has_stdin: true,
        }
    }

    /// Gives the commands /dev/null as their standard input, not the agent's own.
    pub fn close_stdin(&mut self) {
        self.has_stdin = false;
    }

    /// Ends each command, with its group, that takes longer than this. It cannot read
    /// from a terminal then.
    pub fn limit_time(&mut self, limit: Duration) {
        let options = &mut self.reactor;
        options.time_limit = Some(limit);
        // What Ctrl-C would have reached.
        options.interrupts = !options.own_group;
        options.own_group = true;
    }

    /// Tells the view, if there is one, each time that a command has been silent for so
    /// long again.
    pub fn notice_silence(&mut self, silence: Duration) {
        if self.console.view.is_some() {
            self.reactor.silence_notice = Some(silence);
        }
    }

    /// The agent's own stdout and stderr.
    pub fn console(&mut self) -> &mut Console {
        self.console
    }

    /// The source of stamps.
    #[must_use]
    pub fn clock(&self) -> &'a dyn Clock {
        self.clock
    }

    /// Tells if the run has been cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let cancellation = self.reactor.cancellation.as_ref();
        cancellation.is_some_and(|cancellation| cancellation.is_cancelled())
    }

    /// Runs one command: its stdout to the parent's and `logs.stdout`, labelled
    /// `[out]`; its stderr to the parent's and `logs.stderr`, labelled `[err]`.
    ///
    /// Sinks that fail are dropped with one notice each on stderr; at the end
    /// another says how much a log lost.
    ///
    /// # Errors
    /// If chroot-exec cannot be started, or its end is not known. If it cannot start the
    /// command, that is [`End::NotStarted`].
    pub fn tee(&mut self, command: &Command<'_>, mut logs: Logs) -> Result<End, Error> {
        let control = write_control(command, &self.temp_dirs)?;
        if command.write_cmds {
            let line = command.cmd.join(" ");
            self.console.print(&line);
            let notice = logs.stdout.write(format!("{line}\n").as_bytes());
            notice.iter().for_each(|notice| self.console.notice(notice));
        }

        let mut child = process::Command::new(&self.chroot_exec);
        child
            .arg0(env!("CARGO_PKG_NAME"))
            .arg(chroot_exec::SUBCOMMAND)
            .arg(control.path())
            .arg(command.chroot_dir);
        if !self.has_stdin {
            child.stdin(Stdio::null());
        }
        let reactor = Reactor::spawn(child, self.reactor.clone())
            .map_err(|error| Error::io("start", &self.chroot_exec, error))?;
        let (status, is_out_of_time) =
            self.stream(reactor, command, &mut logs)
                .map_err(|source| Error::Lost {
                    program: command.cmd.first().cloned().unwrap_or_default(),
                    source,
                })?;

        // The console's loss is reported at the end of the run, once.
        for log in [&logs.stdout, &logs.stderr] {
            log.loss().iter().for_each(|loss| self.console.notice(loss));
        }
        let was_started = chroot_exec::was_started(control.as_file());
        let path = control.path().to_owned();
        // The step's variables are in it, which may be secret.
        if let Err(error) = control.close() {
            let error = Error::io("remove the control file", path, error);
            self.console.notice(&error.to_string());
        }
        let code = exit::code(status);
        Ok(if is_out_of_time {
            End::OutOfTime { code }
        } else if was_started {
            End::Ran { code }
        } else {
            End::NotStarted { code }
        })
    }

    /// Runs the loop, and passes each read on to its two sinks. Tells if the command was
    /// ended, since its time was over.
    fn stream(
        &mut self,
        reactor: Reactor,
        command: &Command<'_>,
        logs: &mut Logs,
    ) -> io::Result<(ExitStatus, bool)> {
        let limit = self.reactor.time_limit.unwrap_or_default();
        let mut is_out_of_time = false;
        let held_for = self.reactor.held_notice;
        let program = command.cmd.first().map_or("", String::as_str);
        let mut relay = Relay::new(self.console, logs, self.clock);
        let status = reactor.run(|event| match event {
            Event::Read(stream, bytes) => relay.read(stream, bytes),
            Event::ReadError(stream, error) => relay.read_error(stream, &error),
            Event::Idle => relay.flush(),
            Event::End(_) => {}
            Event::Cancelled => relay.notice(&format!(
                "cancelled: {program} finishes, nothing further starts"
            )),
            Event::Silent(time) => relay.silent(time),
            Event::OutOfTime(signal) => {
                let notice = if is_out_of_time {
                    format!("{program} is still there {GRACE:?} later; its group gets {signal}")
                } else {
                    format!("{program} has not ended within {limit:?}; its group gets {signal}")
                };
                is_out_of_time = true;
                relay.notice(&notice);
            }
            Event::PipesHeldOpen(writers) => {
                let writers = list(writers);
                relay.notice(&format!(
                    "{program} ended {held_for:?} ago, but its output is held open by \
                     {writers}; waiting for that to end"
                ));
            }
            Event::GivenUp(writers) => {
                let writers = list(writers);
                relay.notice(&format!(
                    "{program} has ended, but its output is held open by {writers}; \
                     not waiting any longer, what is still written there is lost"
                ));
            }
        });
        // However it has ended.
        relay.flush();
        Ok((status?, is_out_of_time))
    }
}

/// Writes the control file into the first of `dirs` that accepts it. Only its owner can
/// read it, since steps get secrets in their environment. Dropping it removes it.
fn write_control(command: &Command<'_>, dirs: &[PathBuf]) -> Result<NamedTempFile, Error> {
    let control = Control {
        cmd: command.cmd.to_vec(),
        no_chmod: command.no_chmod,
        env: command.env.clone(),
        copy_dir: Some(command.copy_dir.to_owned()),
    };
    let mut first_error = None;
    for dir in dirs {
        match write_control_in(dir, &control) {
            Ok(file) => return Ok(file),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    let names: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    let error = first_error.unwrap_or_else(|| io::Error::other("no directory for it"));
    Err(Error::io(
        "write a control file in any of",
        names.join(", "),
        error,
    ))
}

fn write_control_in(dir: &Path, control: &Control) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix("skyhook-agent-")
        .suffix(".json")
        .tempfile_in(dir)?;
    file.write_all(&serde_json::to_vec(control)?)?;
    Ok(file)
}

fn list(writers: &[PipeWriter]) -> String {
    if writers.is_empty() {
        return "processes that /proc does not show".to_owned();
    }
    let writers: Vec<String> = writers.iter().map(PipeWriter::to_string).collect();
    writers.join(", ")
}
