//! Running one step of a package (contract §4).

use std::ffi::OsStr;
use std::fmt;

use super::ExecContext;
use super::logged::Ready;
use super::tee::{Command, End, Runner};
use crate::error::Error;
use crate::package::Step;

/// The start of an argument that stands for a variable.
const ENV_ARGUMENT: &str = "env:";

/// The end of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its code is one of its `returncodes`.
    Succeeded,
    /// Its code is none of them.
    Failed {
        /// The exit code, or `-signum`.
        code: i32,
    },
    /// It was ended, since its time was over, and has failed whatever its
    /// `returncodes` are.
    OutOfTime,
    /// It could not be started, and has failed whatever its `returncodes` are.
    NotStarted,
    /// It did not run: variables of its arguments cannot be used.
    NotRun,
    /// It did not run: the run was cancelled before.
    Cancelled,
}

/// Runs one step and prints how it ended: `SUCEEDED: {path} {arguments}` or
/// `FAILED: {path} {arguments} {code}`, unstamped, right after its output.
///
/// `lookup` finds the variables of `env:` arguments. For each that is missing
/// `{path}: Expected environment variable did not exist: {NAME}` is printed
/// instead, and the step does not run. If the run has been cancelled, a notice says
/// that the step does not start.
///
/// # Errors
/// If the step cannot be started, or its end is not known.
pub fn run_step<'e>(
    step: &Step,
    context: ExecContext<'_>,
    lookup: impl Fn(&str) -> Option<&'e OsStr>,
    runner: &mut Runner<'_>,
) -> Result<Verdict, Error> {
    let path = &step.path;
    let arguments = match resolve(&step.arguments, lookup) {
        Ok(arguments) => arguments,
        Err(problems) => {
            for problem in &problems {
                runner.console().print(&format!("{path}: {problem}"));
            }
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let what = format!("{path} did not run: {}", problems.join("; "));
            runner.console().failures.add(what);
            return Ok(Verdict::NotRun);
        }
    };
    let Some(ready) = Ready::claim(context, path, runner) else {
        let notice = format!("cancelled: {path} does not start");
        runner.console().notice(&notice);
        return Ok(Verdict::Cancelled);
    };

    let step_root = format!("{}/skyhook_dir", context.copy_dir);
    let cmd: Vec<String> = std::iter::once(format!("{step_root}/{path}"))
        .chain(arguments.iter().cloned())
        .collect();
    let mut env = step.env.clone();
    env.insert("STEP_ROOT".to_owned(), step_root);
    env.insert("SKYHOOK_DIR".to_owned(), context.copy_dir.to_owned());
    let command = Command {
        chroot_dir: context.chroot_dir,
        cmd: &cmd,
        copy_dir: context.copy_dir,
        env: &env,
        no_chmod: false,
        write_cmds: false,
    };
    let is_success = |end| judge(step, end) == Verdict::Succeeded;
    let end = ready.run(&command, is_success, runner)?;
    let verdict = judge(step, end);
    let arguments = arguments.join(" ");
    let line = match verdict {
        Verdict::Succeeded => format!("SUCEEDED: {path} {arguments}"),
        _ => format!("FAILED: {path} {arguments} {}", end.code()),
    };
    runner.console().print_unwatched(&line);
    if verdict != Verdict::Succeeded {
        let what = match verdict {
            Verdict::NotStarted => "was not started: chroot-exec ended",
            Verdict::OutOfTime => "was ended, since its time was over,",
            _ => "failed",
        };
        let what = format!("{path} {what} with code {}", end.code());
        runner.console().failures.add(what);
    }
    Ok(verdict)
}

/// Decides if a step succeeded. One that was not started has failed, even if its
/// `returncodes` have the code of chroot-exec (contract §10).
fn judge(step: &Step, end: End) -> Verdict {
    match end {
        End::NotStarted { .. } => Verdict::NotStarted,
        End::OutOfTime { .. } => Verdict::OutOfTime,
        End::Ran { code } if step.returncodes.contains(&code.into()) => Verdict::Succeeded,
        End::Ran { code } => Verdict::Failed { code },
    }
}

/// An argument that names a variable which cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// It is not there.
    Missing(String),
    /// Its value is not UTF-8.
    NotUtf8(String),
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unresolved::Missing(name) => {
                write!(f, "Expected environment variable did not exist: {name}")
            }
            Unresolved::NotUtf8(name) => {
                write!(f, "Expected environment variable to be UTF-8: {name}")
            }
        }
    }
}

/// Names the variable that an argument stands for; `None` if it stands for itself.
#[must_use]
pub fn variable(argument: &str) -> Option<&str> {
    // The reference splits at every `env:` and takes the part after the first.
    let mut parts = argument.split(ENV_ARGUMENT);
    match (parts.next(), parts.next()) {
        (Some(""), Some(name)) => Some(name),
        _ => None,
    }
}

/// Replaces each argument `env:NAME` by the variable's value, which is not resolved
/// again.
///
/// # Errors
/// Every variable that cannot be used, if there is one.
pub fn resolve<'e>(
    arguments: &[String],
    lookup: impl Fn(&str) -> Option<&'e OsStr>,
) -> Result<Vec<String>, Vec<Unresolved>> {
    let mut unresolved = Vec::new();
    let mut resolved = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let Some(name) = variable(argument) else {
            resolved.push(argument.clone());
            continue;
        };
        match lookup(name).map(OsStr::to_str) {
            Some(Some(value)) => resolved.push(value.to_owned()),
            Some(None) => unresolved.push(Unresolved::NotUtf8(name.to_owned())),
            None => unresolved.push(Unresolved::Missing(name.to_owned())),
        }
    }
    if unresolved.is_empty() {
        Ok(resolved)
    } else {
        Err(unresolved)
    }
}
