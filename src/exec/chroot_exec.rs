//! The child's side of a command (contract §3): reads the control file, enters
//! the root, and becomes the step, so that the step's exit code and signals are
//! the child's own.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::unistd::{Pid, chroot, execve, getpgrp};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::system::sys;

/// The name of the subcommand that calls [`run`].
pub const SUBCOMMAND: &str = "chroot-exec";

/// The root that means: stay in this one.
pub const LOCAL: &str = "local";

/// The search path for a program without a `/`, if there is no PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The control file: the parent tells the child its command in this JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// The program and its arguments.
    pub cmd: Vec<String>,
    /// Leaves the program's mode as it is. Otherwise it is made executable for all.
    #[serde(default)]
    pub no_chmod: bool,
    /// Variables that are set over the inherited environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The working directory, an absolute path in the new root.
    pub copy_dir: Option<String>,
}

/// Becomes the command of `control_file` inside the root `chroot_dir`.
///
/// The variables of the control file are set over the `inherited` ones. The step sees
/// an empty signal mask, default dispositions and no descriptors except 0, 1 and 2.
///
/// # Errors
/// Returns only if the step could not be started. Nothing of it has run then.
pub fn run(
    control_file: &Path,
    chroot_dir: &OsStr,
    inherited: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Infallible, Error> {
    forget_signals_to_the_agent();
    let (file, json) = read_control(control_file)
        .map_err(|error| Error::io("read the control file", control_file, error))?;
    let prepared = Prepared::parse(&json, inherited).map_err(|problem| Error::ControlFile {
        file: control_file.to_owned(),
        problem,
    })?;
    prepared.run(chroot_dir, &file)
}

/// Tells if the command of a control file was started, after chroot-exec has ended.
///
/// The exit code cannot tell: a command may have any code. The modification time of the
/// control file can be set even if the disk is full, and takes no further descriptor.
#[must_use]
pub fn was_started(control_file: &File) -> bool {
    let modified = control_file.metadata().and_then(|file| file.modified());
    modified.is_ok_and(|modified| modified == STARTED)
}

/// The modification time of a control file whose command has been started.
const STARTED: SystemTime = SystemTime::UNIX_EPOCH;

/// The modification time of one whose command could not be started.
fn not_started() -> SystemTime {
    STARTED + Duration::from_secs(1)
}

fn read_control(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let mut file = File::open(path)?;
    let mut json = Vec::new();
    file.read_to_end(&mut json)?;
    Ok((file, json))
}

/// Discards pending blocked signals, if this process leads a process group of its own.
///
/// Before it did, it was in the agent's group, and signals to that group were not meant
/// for the step. A pending one would end the step. A signal that was meant for the step
/// at that moment is lost too: the step has not begun.
fn forget_signals_to_the_agent() {
    if getpgrp() == Pid::this()
        && let Ok(blocked) = SigSet::thread_get_mask()
    {
        for signal in &blocked {
            sys::discard_pending(signal as i32);
        }
    }
}

/// A control file that has been understood: everything needed to become its command.
#[derive(Debug)]
pub struct Prepared {
    program: String,
    argv: Vec<CString>,
    envp: Vec<CString>,
    /// The search path for the program.
    path: Option<OsString>,
    copy_dir: PathBuf,
    no_chmod: bool,
}

impl Prepared {
    /// Reads a control file's JSON. Its variables are set over the `inherited` ones.
    ///
    /// # Errors
    /// Says what was expected, and what was found.
    pub fn parse(
        json: &[u8],
        inherited: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Prepared, String> {
        let control: Control = serde_json::from_slice(json)
            .map_err(|error| format!("expected a control file's JSON: {error}"))?;
        let copy_dir = match control.copy_dir {
            Some(dir) if dir.contains('\0') => return Err("copy_dir: expected no NUL byte in it")?,
            Some(dir) if dir.starts_with('/') => dir.into(),
            Some(_) => return Err("copy_dir: expected an absolute path")?,
            None => return Err("copy_dir: expected an absolute path, got none")?,
        };
        let Some(program) = control.cmd.first().cloned() else {
            return Err("cmd: expected a program, got an empty list")?;
        };
        let argv = to_c_strings(control.cmd.into_iter().map(String::into_bytes))
            .ok_or("cmd: expected no NUL byte in it")?;
        // The reference refuses these too: they would set another variable.
        if control.env.keys().any(|name| name.contains('=')) {
            return Err("env: expected no = in a name")?;
        }
        let mut env = merge(inherited, control.env);
        let envp = to_c_strings(
            env.iter()
                .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat()),
        )
        .ok_or("env: expected no NUL byte in it")?;
        Ok(Prepared {
            program,
            argv,
            envp,
            path: env.remove(OsStr::new("PATH")),
            copy_dir,
            no_chmod: control.no_chmod,
        })
    }

    /// The program as the control file has it, and its arguments.
    #[must_use]
    pub fn argv(&self) -> &[CString] {
        &self.argv
    }

    /// The whole environment, as `NAME=VALUE`.
    #[must_use]
    pub fn envp(&self) -> &[CString] {
        &self.envp
    }

    /// The working directory, an absolute path in the new root.
    #[must_use]
    pub fn copy_dir(&self) -> &Path {
        &self.copy_dir
    }

    /// Enters the root and becomes the command.
    fn run(self, chroot_dir: &OsStr, control_file: &File) -> Result<Infallible, Error> {
        let program = Path::new(&self.program);
        let fail = |problem| Error::Exec {
            program: self.program.clone(),
            problem,
        };
        // Before the chroot: the new root may have no /proc.
        sys::cloexec_above_stderr().map_err(|error| Error::io("read", "/proc/self/fd", error))?;
        if chroot_dir != LOCAL {
            // The root it has already needs no privilege.
            if chroot_dir != "/" {
                chroot(chroot_dir)
                    .map_err(|error| Error::io("change the root to", chroot_dir, error))?;
            }
            std::env::set_current_dir("/").map_err(|error| Error::io("enter", "/", error))?;
        }
        if !self.no_chmod {
            make_executable(program)?;
        }
        std::env::set_current_dir(&self.copy_dir)
            .map_err(|error| Error::io("enter", &self.copy_dir, error))?;

        // Last of all, so that failures before this are reported as usual.
        sys::default_signals();
        SigSet::empty()
            .thread_set_mask()
            .map_err(|error| fail(io::Error::from(error).to_string()))?;
        // Through the descriptor: the path may not exist in the new root.
        let mark = |time| {
            let marked = control_file.set_modified(time);
            marked.map_err(|error| fail(format!("cannot mark its control file: {error}")))
        };
        mark(STARTED)?;
        let error = exec(&self.program, self.path.as_deref(), &self.argv, &self.envp);
        mark(not_started())?;
        Err(fail(explain(error, program)))
    }
}

/// Sets the control file's variables over the inherited ones.
fn merge(
    inherited: impl IntoIterator<Item = (OsString, OsString)>,
    over: BTreeMap<String, String>,
) -> BTreeMap<OsString, OsString> {
    let mut env: BTreeMap<OsString, OsString> = inherited.into_iter().collect();
    env.extend(over.into_iter().map(|(k, v)| (k.into(), v.into())));
    env
}

fn to_c_strings(strings: impl Iterator<Item = Vec<u8>>) -> Option<Vec<CString>> {
    strings.map(|string| CString::new(string).ok()).collect()
}

/// Adds u+x, g+x and o+x. Does not touch a program that has them, since a package may
/// lie on a read-only file system.
fn make_executable(program: &Path) -> Result<(), Error> {
    let failed = |error| Error::io("make executable", program, error);
    let mut permissions = fs::metadata(program).map_err(failed)?.permissions();
    let mode = permissions.mode();
    if mode & 0o111 == 0o111 {
        return Ok(());
    }
    permissions.set_mode(mode | 0o111);
    fs::set_permissions(program, permissions).map_err(failed)
}

/// Replaces this process. Looks the program up in `path` if its name has no `/`.
/// Returns the reason if it could not.
///
/// Not execvp, which hands a file without `#!` to a shell, against the contract, and
/// uses the parent's PATH.
fn exec(program: &str, path: Option<&OsStr>, argv: &[CString], envp: &[CString]) -> Errno {
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes();
    let candidates: Vec<PathBuf> = if program.contains('/') {
        vec![program.into()]
    } else {
        path.split(|byte| *byte == b':')
            .map(|dir| Path::new(OsStr::from_bytes(dir)).join(program))
            .collect()
    };
    let mut reason = Errno::ENOENT;
    for candidate in candidates {
        let Ok(candidate) = CString::new(candidate.into_os_string().into_vec()) else {
            continue;
        };
        let Err(error) = execve(&candidate, argv, envp);
        // A missing file is the least useful reason to report.
        if !matches!(error, Errno::ENOENT | Errno::ENOTDIR) {
            reason = error;
        }
    }
    reason
}

/// Gives the system's reason, and what it usually means for a step.
fn explain(error: Errno, program: &Path) -> String {
    let hint = match error {
        Errno::ENOENT if program.is_absolute() && program.exists() => {
            ": the interpreter its #! line names is not there"
        }
        Errno::ENOEXEC => ": expected a binary, or a script with a #! line",
        Errno::EACCES => ": is it executable, and on a file system without noexec?",
        _ => "",
    };
    format!("{}{hint}", io::Error::from(error))
}
