//! Commands that run in a view.

use std::ffi::{CStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns};

use super::init::Init;
use crate::error::Error;
use crate::system::sys::namespaces::{Joining, close_before_exec, join_before_exec};

/// A command that runs in a view, as its root user.
#[derive(Debug)]
pub struct ViewCommand {
    command: Command,
    program: &'static str,
    pids: Arc<OwnedFd>,
}

impl ViewCommand {
    /// A command in the namespaces of a view: `program`, with `root` as its root directory.
    pub(super) fn new(init: &Init, program: &'static str, root: Option<&'static CStr>) -> Self {
        let mut command = Command::new(program);
        command.env_clear();
        let joining = Joining {
            namespaces: Arc::clone(&init.namespaces),
            root,
            // A shell is opened for the person at the terminal; a step is not.
            leaves_terminal: root.is_none(),
        };
        join_before_exec(&mut command, joining);
        ViewCommand {
            command,
            program,
            pids: Arc::clone(&init.pids),
        }
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl Into<OsString>) -> &mut ViewCommand {
        self.command.arg(argument.into());
        self
    }

    /// The command itself, for arguments, environment and descriptors. Its program, its
    /// directory and what runs before its start are the view's.
    pub fn as_std(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Starts it: a child of this process, in the namespaces of the view.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&mut self) -> Result<Child, Error> {
        let (pids, command) = (&self.pids, &mut self.command);
        close_before_exec(command);
        // The pid namespace is that of the children of one thread. An ordinary user has no
        // way back to the own one: so this thread starts the command, and ends.
        let spawned = thread::scope(|scope| {
            let starting = thread::Builder::new().spawn_scoped(scope, || {
                setns(pids, CloneFlags::CLONE_NEWPID)?;
                command.spawn()
            })?;
            let gone = io::Error::from(io::ErrorKind::Interrupted);
            starting.join().unwrap_or(Err(gone))
        });
        spawned.map_err(|error| Error::Exec {
            program: self.program.to_owned(),
            problem: error.to_string(),
        })
    }
}
