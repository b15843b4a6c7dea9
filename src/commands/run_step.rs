//! `skyhook-agent run-step`: runs a package's steps of one mode, in order, without
//! flags or history. For package authors.

mod configmaps;
mod list;
mod package;
mod watch;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anstream::ColorChoice;

use super::{Outcome, Process};
use crate::error::Error;
use crate::exec::ExecContext;
use crate::exec::chroot_exec::LOCAL;
use crate::exec::step::{Verdict, run_step};
use crate::exec::tee::Runner;
use crate::host::{Root, inside};
use crate::output::log_file::LogDir;
use crate::package::{Config, Mode};
use crate::settings::Settings;
use crate::system::capabilities::may_change_root;
pub(super) use crate::text::words;
use configmaps::Configmaps;
use package::Steps;
use watch::Watch;

/// The options of `run-step`, as the command line has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The mode whose steps to run.
    pub mode: Mode,
    /// Only the steps of these names; all if there is none.
    pub steps: Vec<String>,
    /// Tells if the mode's checks run after it.
    pub check: bool,
    /// Prints the steps, and runs nothing.
    pub list: bool,
    /// The version before an upgrade.
    pub from: Option<String>,
    /// The root that steps run in; `local` for this one.
    pub chroot: OsString,
    /// The directory that stands for the package's `configmaps`, inside the root.
    pub configmaps: Option<PathBuf>,
    /// The directory for log files; `None` for `SKYHOOK_LOG_DIR` inside the root.
    pub log_dir: Option<PathBuf>,
    /// Tells if steps read the standard input of the agent.
    pub stdin: bool,
    /// The time that a step may take.
    pub timeout: Option<Duration>,
    /// How the run is shown.
    pub look: Look,
    /// Tells if colours are used.
    pub color: ColorChoice,
    /// The package's directory, inside the root.
    pub copy_dir: PathBuf,
}

/// The silence of a step after which a person is told that it still runs.
const SILENCE: Duration = Duration::from_secs(10);

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// To a person on a terminal as `Pretty`, otherwise as `Plain`.
    Auto,
    /// For people.
    Pretty,
    /// Stamped, as the agent's own runs are.
    Plain,
}

/// Runs the steps. Stops at the first that fails, or when the run is cancelled; checks
/// all run, as on a node.
///
/// # Errors
/// If there is nothing to run, or a step cannot be started.
pub fn run(options: &Options, process: &mut Process<'_>) -> Result<Outcome, Error> {
    let is_local = options.chroot == LOCAL;
    let opened;
    let root = if is_local {
        process.own_root
    } else {
        opened = Root::open(Path::new(&options.chroot))?;
        &opened
    };
    let copy_dir = package::copy_dir(root, &options.copy_dir, is_local)?;
    let file = Path::new(&copy_dir).join("config.json");
    let config = package::load(root, &file)?;
    let config_file = root.host_path(&file);
    let chosen = package::choose(&config, options, &config_file)?;
    package::warn(&config, options, &chosen, &config_file, process);
    let settings = process.settings;
    let lookup = |name: &str| settings.variable(name);
    if options.list {
        return Ok(list::print(&chosen, lookup, process.console));
    }

    if !is_local && !may_change_root() {
        return Err(Error::Usage(format!(
            "--chroot {}: only root, or a process with CAP_SYS_CHROOT, may change the root",
            options.chroot.display()
        )));
    }
    let _configmaps = meet_needs(root, Path::new(&copy_dir), &config, options, process)?;
    // A directory given by name is where its user sees it; the variable's is inside
    // the root.
    let absolute;
    let (log_root, log_mount) = match &options.log_dir {
        Some(dir) => {
            absolute =
                std::path::absolute(dir).map_err(|error| Error::io("make absolute", dir, error))?;
            (absolute.as_os_str(), process.own_root)
        }
        None => (OsStr::new(&settings.log_dir), root),
    };
    let log_dir = process.log_dir(
        log_mount,
        log_root,
        &config.package_name,
        &config.package_version,
    );
    let log_dir = log_dir.filter(|dir| is_usable(dir, process));
    let context = ExecContext {
        chroot_dir: &options.chroot,
        copy_dir: &copy_dir,
        log_dir: log_dir.as_ref(),
    };
    process.console.view = watch::view(options, settings);
    let mut watch = Watch::new(&chosen);
    let mut runner = process.runner();
    if !options.stdin {
        runner.close_stdin();
    }
    if let Some(limit) = options.timeout {
        runner.limit_time(limit);
    }
    runner.notice_silence(SILENCE);
    let outcome = run_steps(&chosen, context, settings, &mut watch, &mut runner)?;
    watch.finish(context.log_dir, runner.console());
    Ok(outcome)
}

/// Runs the steps of one mode after those of another.
fn run_steps(
    chosen: &[Steps],
    context: ExecContext<'_>,
    settings: &Settings,
    watch: &mut Watch,
    runner: &mut Runner<'_>,
) -> Result<Outcome, Error> {
    for Steps { mode, steps } in chosen {
        let mut outcome = Outcome::Succeeded;
        for step in steps {
            // A cancelled run says so instead.
            if !runner.is_cancelled() {
                watch.begin(*mode, step, runner.console());
            }
            let lookup = |name: &str| settings.variable(name);
            let verdict = run_step(step, context, lookup, runner)?;
            watch.end(step, verdict, runner.console());
            match verdict {
                Verdict::Succeeded => {}
                Verdict::Cancelled => return Ok(Outcome::Cancelled),
                _ => {
                    outcome = Outcome::Failed;
                    if !mode.is_check() {
                        break;
                    }
                }
            }
        }
        if outcome != Outcome::Succeeded {
            return Ok(outcome);
        }
    }
    Ok(Outcome::Succeeded)
}

/// Brings what steps find on a node beside the package, or says that it is not there.
fn meet_needs(
    root: &Root,
    copy_dir: &Path,
    config: &Config,
    options: &Options,
    process: &mut Process<'_>,
) -> Result<Option<Configmaps>, Error> {
    let configmaps = match &options.configmaps {
        Some(dir) => {
            let dir = inside(dir, options.chroot == LOCAL)?;
            Some(Configmaps::link(root, copy_dir, &dir)?)
        }
        None => None,
    };
    if options.mode.has_overlay() {
        package::expect_config_files(root, copy_dir, config, options, process)?;
        if root.exists(&copy_dir.join("root_dir"))? {
            process.console.notice(
                "warning: run-step does not copy the package's root_dir over the root; a run on \
                 a node does",
            );
        }
    }
    Ok(configmaps)
}

/// Tells if logs can be written to this directory, and says once if not.
fn is_usable(log_dir: &LogDir<'_>, process: &mut Process<'_>) -> bool {
    let Err(error) = log_dir.expect_writable() else {
        return true;
    };
    let notice =
        format!("warning: {error}; there are no log files; --log-dir DIR names another directory");
    process.console.notice(&notice);
    false
}
