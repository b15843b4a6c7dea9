//! `skyhook-agent run-step`: runs a package's steps of one mode, in order, without
//! flags or history. For package authors.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::{Outcome, Process};
use crate::error::Error;
use crate::exec::ExecContext;
use crate::exec::chroot_exec::LOCAL;
use crate::exec::step::{Verdict, run_step};
use crate::host::Root;
use crate::package::{Config, Mode, Step};

/// The options of `run-step`, as the command line has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The mode whose steps to run.
    pub mode: Mode,
    /// Only the steps of these names; all if there is none.
    pub steps: Vec<String>,
    /// The root that steps run in; `local` for this one.
    pub chroot: OsString,
    /// The directory for log files; `None` for `SKYHOOK_LOG_DIR` inside the root.
    pub log_dir: Option<PathBuf>,
    /// The package's directory, inside the root.
    pub copy_dir: PathBuf,
}

/// Runs the steps. Stops at the first that fails, or when the run is cancelled.
///
/// # Errors
/// If there is nothing to run, or a step cannot be started.
pub fn run(options: &Options, process: &mut Process<'_>) -> Result<Outcome, Error> {
    let opened;
    let root = if options.chroot == LOCAL {
        process.own_root
    } else {
        opened = Root::open(Path::new(&options.chroot))?;
        &opened
    };
    let copy_dir = inside(&options.copy_dir, options.chroot == LOCAL)?;
    let config = process.load_config(root, Path::new(&copy_dir))?;
    let config_file = root.host_path(&Path::new(&copy_dir).join("config.json"));
    let steps = choose(&config, options, &config_file)?;
    if steps.is_empty() {
        let (file, mode) = (config_file.display(), options.mode);
        let notice = format!("{file}: no steps for mode {mode}");
        process.console.notice(&notice);
    }

    // A directory given by name is where its user sees it; the variable's is inside
    // the root.
    let absolute;
    let (log_root, log_mount) = match &options.log_dir {
        Some(dir) => {
            absolute =
                std::path::absolute(dir).map_err(|error| Error::io("make absolute", dir, error))?;
            (absolute.as_os_str(), process.own_root)
        }
        None => (OsStr::new(&process.settings.log_dir), root),
    };
    let log_dir = process.log_dir(
        log_mount,
        log_root,
        &config.package_name,
        &config.package_version,
    );
    let context = ExecContext {
        chroot_dir: &options.chroot,
        copy_dir: &copy_dir,
        log_dir: log_dir.as_ref(),
    };
    let settings = process.settings;
    let mut runner = process.runner();
    for step in steps {
        let lookup = |name: &str| settings.variable(name);
        match run_step(step, context, lookup, &mut runner)? {
            Verdict::Succeeded => {}
            Verdict::Cancelled => return Ok(Outcome::Cancelled),
            Verdict::Failed { .. } | Verdict::NotStarted | Verdict::NotRun => {
                return Ok(Outcome::Failed);
            }
        }
    }
    Ok(Outcome::Succeeded)
}

/// Makes the package's directory an absolute path inside the root: from the working
/// directory in this root, from `/` in another root.
fn inside(copy_dir: &Path, is_local: bool) -> Result<String, Error> {
    let absolute = if is_local {
        std::path::absolute(copy_dir)
            .map_err(|error| Error::io("make absolute", copy_dir, error))?
    } else {
        Path::new("/").join(copy_dir)
    };
    // Without the slash that a shell's completion leaves at the end.
    let absolute: PathBuf = absolute.components().collect();
    // The control file is JSON, which holds UTF-8 alone.
    absolute
        .into_os_string()
        .into_string()
        .map_err(|path| Error::Usage(format!("COPY_DIR: expected UTF-8, got {}", path.display())))
}

/// Chooses the steps to run: all of the mode, or those asked for, in the config's
/// order.
fn choose<'c>(
    config: &'c Config,
    options: &Options,
    config_file: &Path,
) -> Result<Vec<&'c Step>, Error> {
    let steps = config
        .modes
        .get(&options.mode)
        .map_or(&[][..], Vec::as_slice);
    for name in &options.steps {
        if !steps.iter().any(|step| step.name == *name) {
            let names: Vec<&str> = steps.iter().map(|step| &*step.name).collect();
            return Err(Error::Usage(format!(
                "--step {name}: expected a step of mode {} in {}, which has: {}",
                options.mode,
                config_file.display(),
                if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                }
            )));
        }
    }
    let is_chosen = |step: &&Step| options.steps.is_empty() || options.steps.contains(&step.name);
    Ok(steps.iter().filter(is_chosen).collect())
}
