//! How one step of a package runs (contract §4).

use std::ffi::OsStr;
use std::path::Path;

use crate::error::Error;
use crate::exec::tee::{Command, Logs, Runner};
use crate::output::log_file::{self, Claim, LogDir};
use crate::output::sink::Sink;
use crate::package::Step;

/// What an argument starts with to stand for a variable.
const ENV_ARGUMENT: &str = "env:";

/// Where a step runs.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The root, or `local`.
    pub chroot_dir: &'a OsStr,
    /// The package's folder, absolute, inside that root.
    pub copy_dir: &'a str,
    /// The log folder of this version of the package; `None`: no log files.
    pub log_dir: Option<LogDir<'a>>,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its code is one of its `returncodes`.
    Succeeded,
    /// It is not.
    Failed {
        /// The exit code, or `-signum`.
        code: i32,
    },
    /// It did not run: variables of its arguments cannot be used.
    NotRun,
    /// It did not run: the run was cancelled before.
    Cancelled,
}

/// Runs one step and prints how it ended: `SUCEEDED: {path} {arguments}` or
/// `FAILED: {path} {arguments} {code}`, unstamped, right behind its output.
///
/// `lookup` finds the variables of `env:` arguments. For each that is missing
/// `{path}: Expected environment variable did not exist: {NAME}` is printed
/// instead, and the step does not run.
///
/// A log file that cannot be created is a sink that has failed before it began:
/// a notice on stderr, and the step runs (contract §10).
///
/// # Errors
/// Where the step could not be started.
pub fn run_step<'e>(
    step: &Step,
    place: &Place<'_>,
    lookup: impl Fn(&str) -> Option<&'e OsStr>,
    runner: &mut Runner<'_>,
) -> Result<Verdict, Error> {
    let arguments = match resolve(&step.arguments, lookup) {
        Ok(arguments) => arguments,
        Err(problems) => {
            for problem in problems {
                runner.console().print(&format!("{}: {problem}", step.path));
            }
            return Ok(Verdict::NotRun);
        }
    };

    let step_root = format!("{}/skyhook_dir", place.copy_dir);
    let cmd: Vec<String> = std::iter::once(format!("{step_root}/{}", step.path))
        .chain(arguments.iter().cloned())
        .collect();
    let mut env = step.env.clone();
    env.insert("STEP_ROOT".to_owned(), step_root);
    env.insert("SKYHOOK_DIR".to_owned(), place.copy_dir.to_owned());

    let claim = claim_logs(place.log_dir, &step.path, runner);
    // As late as can be: the claim may have waited for its second.
    if runner.is_cancelled() {
        claim.into_iter().for_each(Claim::discard);
        let path = &step.path;
        runner
            .console()
            .notice(&format!("cancelled: {path} does not start"));
        return Ok(Verdict::Cancelled);
    }
    let log = claim.as_ref().map(|claim| claim.path.clone());
    let code = runner.tee(
        &Command {
            chroot_dir: place.chroot_dir,
            cmd: &cmd,
            copy_dir: place.copy_dir,
            env: &env,
            no_chmod: false,
            write_cmds: false,
        },
        claim.map_or_else(Logs::none, Logs::from),
    );
    let verdict = code.map(|code| judge(step, &arguments.join(" "), code, runner));
    reap_logs(place.log_dir, &step.path, log.as_deref(), runner);
    verdict
}

/// Prints how the step ended.
fn judge(step: &Step, arguments: &str, code: i32, runner: &mut Runner<'_>) -> Verdict {
    let path = &step.path;
    if step.returncodes.contains(&code.into()) {
        runner
            .console()
            .print(&format!("SUCEEDED: {path} {arguments}"));
        Verdict::Succeeded
    } else {
        runner
            .console()
            .print(&format!("FAILED: {path} {arguments} {code}"));
        Verdict::Failed { code }
    }
}

/// The log files of a run that starts now. Where they cannot be had, a notice
/// says so and the run goes without: a sink that failed before it began (§10).
pub(crate) fn claim_logs(
    dir: Option<LogDir<'_>>,
    name: &str,
    runner: &mut Runner<'_>,
) -> Option<Claim> {
    match dir?.claim(name, runner.clock()) {
        Ok(claim) => Some(claim),
        Err(error) => {
            let notice = format!("{error}; {name} runs without a log file");
            runner.console().notice(&notice);
            None
        }
    }
}

/// Removes old logs, never `log`, the run's own. Also where a command could not be
/// started, again and again, or where a full disk kept the new log away; only then
/// nothing is said.
pub(crate) fn reap_logs(
    dir: Option<LogDir<'_>>,
    name: &str,
    log: Option<&Path>,
    runner: &mut Runner<'_>,
) {
    if let Some(Err(error)) = dir.map(|dir| dir.reap(name, log))
        && log.is_some()
    {
        runner.console().notice(&error.to_string());
    }
}

impl From<Claim> for Logs {
    fn from(claim: Claim) -> Logs {
        Logs {
            stderr: Sink::file(&log_file::err_path(&claim.path), claim.stderr),
            stdout: Sink::file(&claim.path, claim.stdout),
        }
    }
}

/// The arguments with each `env:NAME` replaced by the variable's value, which is
/// not looked at again; or what is wrong with every variable that has none.
fn resolve<'e>(
    arguments: &[String],
    lookup: impl Fn(&str) -> Option<&'e OsStr>,
) -> Result<Vec<String>, Vec<String>> {
    let mut problems = Vec::new();
    let mut resolved = Vec::with_capacity(arguments.len());
    for argument in arguments {
        // The reference splits at every `env:` and takes what is behind the first.
        let mut parts = argument.split(ENV_ARGUMENT);
        let (Some(""), Some(name)) = (parts.next(), parts.next()) else {
            resolved.push(argument.clone());
            continue;
        };
        match lookup(name).map(OsStr::to_str) {
            Some(Some(value)) => resolved.push(value.to_owned()),
            Some(None) => {
                problems.push(format!("Expected environment variable to be UTF-8: {name}"));
            }
            None => {
                problems.push(format!(
                    "Expected environment variable did not exist: {name}"
                ));
            }
        }
    }
    if problems.is_empty() {
        Ok(resolved)
    } else {
        Err(problems)
    }
}
