//! One command (contract §2): control file, spawn, reactor → stamper → sinks,
//! exit code.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, ExitStatus};

use tempfile::NamedTempFile;

use crate::error::Error;
use crate::exec::chroot_exec::{self, Control};
use crate::exec::relay::Relay;
use crate::output::{Console, Sink};
use crate::reactor::{self, Event, Reactor};
use crate::stamp::Clock;
use crate::system::exit;
use crate::system::pipe_writers::PipeWriter;

/// The binary that runs again as chroot-exec: this one.
pub const SELF: &str = "/proc/self/exe";

/// What every command of a run shares.
pub struct Runner<'a> {
    console: &'a mut Console,
    clock: &'a dyn Clock,
    chroot_exec: PathBuf,
    temp_dir: PathBuf,
    reactor: reactor::Options,
}

/// One command to run.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// The root it runs in; [`chroot_exec::LOCAL`] for this one.
    pub chroot_dir: &'a OsStr,
    /// The program and its arguments.
    pub cmd: &'a [String],
    /// Its working directory, absolute, inside that root.
    pub copy_dir: &'a str,
    /// What goes over the environment it inherits.
    pub env: &'a BTreeMap<String, String>,
    /// Leaves the program's mode as it is.
    pub no_chmod: bool,
    /// Puts the command, joined by spaces, in front of its output.
    pub write_cmds: bool,
}

/// Where a command's output goes besides the console. Open before it starts.
#[derive(Debug)]
pub struct Logs {
    /// For its standard output.
    pub stdout: Sink,
    /// For its standard error.
    pub stderr: Sink,
}

impl Logs {
    /// No log files.
    #[must_use]
    pub fn none() -> Logs {
        Logs {
            stdout: Sink::nowhere(),
            stderr: Sink::nowhere(),
        }
    }
}

impl<'a> Runner<'a> {
    /// Takes what every command of a run shares.
    ///
    /// - `console`: the agent's own stdout and stderr.
    /// - `clock`: where stamps come from.
    /// - `chroot_exec`: the program started as `PROGRAM chroot-exec CONTROL_FILE
    ///   CHROOT_DIR`, usually [`SELF`].
    /// - `temp_dir`: where control files go.
    /// - `reactor`: how the streams are read and the child is waited for.
    #[must_use]
    pub fn new(
        console: &'a mut Console,
        clock: &'a dyn Clock,
        chroot_exec: PathBuf,
        temp_dir: PathBuf,
        reactor: reactor::Options,
    ) -> Runner<'a> {
        Runner {
            console,
            clock,
            chroot_exec,
            temp_dir,
            reactor,
        }
    }

    /// The agent's own stdout and stderr.
    pub fn console(&mut self) -> &mut Console {
        self.console
    }

    /// Where stamps come from.
    #[must_use]
    pub fn clock(&self) -> &'a dyn Clock {
        self.clock
    }

    /// Whether the run has been cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let cancellation = self.reactor.cancellation.as_ref();
        cancellation.is_some_and(|cancellation| cancellation.is_cancelled())
    }

    /// Runs one command: its stdout to the parent's and `logs.stdout`, labelled
    /// `[out]`; its stderr to the parent's and `logs.stderr`, labelled `[err]`.
    /// Returns its exit code, or `-signum`.
    ///
    /// Sinks that fail are dropped with one notice each on stderr; at the end
    /// another says how much a log lost.
    ///
    /// # Errors
    /// Where the command could not be started. Its own failure is a code, and so is
    /// that of chroot-exec to start it (1).
    pub fn tee(&mut self, command: &Command<'_>, mut logs: Logs) -> Result<i32, Error> {
        let control = write_control(command, &self.temp_dir)
            .map_err(|error| Error::io("write a control file in", &self.temp_dir, error))?;
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
        let reactor = Reactor::spawn(child, self.reactor.clone())
            .map_err(|error| Error::io("start", &self.chroot_exec, error))?;
        let status = self
            .stream(reactor, command, &mut logs)
            .map_err(|source| Error::Lost {
                program: command.cmd.first().cloned().unwrap_or_default(),
                source,
            })?;

        // The console's are told at the end of the run, once.
        for log in [&logs.stdout, &logs.stderr] {
            log.loss().iter().for_each(|loss| self.console.notice(loss));
        }
        Ok(exit::code(status))
    }

    /// Runs the loop, every read going to its two sinks.
    fn stream(
        &mut self,
        reactor: Reactor,
        command: &Command<'_>,
        logs: &mut Logs,
    ) -> io::Result<ExitStatus> {
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
        status
    }
}

/// Writes the control file into `dir`: readable by its owner alone, since steps are
/// given secrets in their environment. Dropping it removes it.
fn write_control(command: &Command<'_>, dir: &Path) -> io::Result<NamedTempFile> {
    let control = Control {
        cmd: command.cmd.to_vec(),
        no_chmod: command.no_chmod,
        env: command.env.clone(),
        copy_dir: Some(command.copy_dir.to_owned()),
    };
    let mut file = tempfile::Builder::new()
        .prefix("skyhook-agent-")
        .suffix(".json")
        .tempfile_in(dir)?;
    file.write_all(&serde_json::to_vec(&control)?)?;
    Ok(file)
}

fn list(writers: &[PipeWriter]) -> String {
    if writers.is_empty() {
        return "processes that /proc does not show".to_owned();
    }
    let writers: Vec<String> = writers.iter().map(PipeWriter::to_string).collect();
    writers.join(", ")
}
