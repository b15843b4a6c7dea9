//! `skyhook-agent run-step`: a package's steps of one mode, in order, without
//! flags or history. For package authors and for trying things out.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::exec::chroot_exec::LOCAL;
use crate::exec::step::{Place, Verdict, run_step};
use crate::host::Root;
use crate::output::log_file::{self, LogDir};
use crate::output::sink::Console;
use crate::package::{Config, Mode, Step};
use crate::settings::Settings;
use crate::stamp::SystemClock;
use crate::system::signals::Signals;

/// What to run, as the command line has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whose steps.
    pub mode: Mode,
    /// Only the steps of these names; all where there is none.
    pub steps: Vec<String>,
    /// The root that steps run in; `local` for this one.
    pub chroot: OsString,
    /// Where log files go; `None`: `SKYHOOK_LOG_DIR` inside the root.
    pub log_dir: Option<PathBuf>,
    /// The package's folder, inside the root.
    pub copy_dir: PathBuf,
}

/// Runs the steps, stopping at the first that fails or when cancelled. True
/// where all ran and succeeded.
///
/// # Errors
/// Where there is nothing to run, or a step could not be started.
pub fn run(
    options: &Options,
    settings: &Settings,
    signals: Signals,
    console: &mut Console,
) -> Result<bool, Error> {
    let is_local = options.chroot == LOCAL;
    let mount = if is_local {
        OsStr::new("/")
    } else {
        &options.chroot
    };
    let root = Root::open(Path::new(mount))?;
    let copy_dir = inside(&options.copy_dir, is_local)?;
    let config_file = PathBuf::from(format!("{copy_dir}/config.json"));
    let config = Config::load(&root, &config_file)?;
    for warning in config.warnings() {
        // The reference's comes with a blank in front.
        console.notice(warning.trim_start());
    }
    let config_file = root.outside(&config_file);
    let steps = choose(&config, options, &config_file)?;
    if steps.is_empty() {
        let (file, mode) = (config_file.display(), options.mode);
        console.notice(&format!("{file}: no steps for mode {mode}"));
    }

    // A folder given by name is where its user sees it; the variable's is inside
    // the root.
    let (log_root, log_mount) = match &options.log_dir {
        Some(dir) => (
            std::path::absolute(dir).map_err(Error::io("make absolute", dir))?,
            &Root::open(Path::new("/"))?,
        ),
        None => (PathBuf::from(&settings.log_dir), &root),
    };
    let log_dir = log_file::dir(
        OsStr::new(""),
        log_root.as_os_str(),
        &config.package_name,
        &config.package_version,
    );
    let log_dir = LogDir {
        root: log_mount,
        path: &log_dir,
    };
    let place = Place {
        chroot_dir: &options.chroot,
        copy_dir: &copy_dir,
        log_dir: settings.write_logs.then_some(log_dir),
    };
    let clock = SystemClock::default();
    let mut runner = settings.runner(console, &clock, signals);
    for step in steps {
        if run_step(step, &place, |name| settings.variable(name), &mut runner)?
            != Verdict::Succeeded
        {
            return Ok(false);
        }
    }
    Ok(!runner.is_cancelled())
}

/// The package's folder as an absolute path inside the root: from the working
/// directory here, from `/` in another root.
fn inside(copy_dir: &Path, is_local: bool) -> Result<String, Error> {
    let absolute = if is_local {
        std::path::absolute(copy_dir).map_err(Error::io("make absolute", copy_dir))?
    } else {
        Path::new("/").join(copy_dir)
    };
    // Without the slash that a shell's completion leaves at the end.
    let absolute: PathBuf = absolute.components().collect();
    // The control file is JSON, which has no other bytes.
    absolute
        .into_os_string()
        .into_string()
        .map_err(|path| Error::Usage(format!("COPY_DIR: expected UTF-8, got {}", path.display())))
}

/// The steps to run: all of the mode, or those asked for, in the config's order.
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
    let chosen = |step: &&Step| options.steps.is_empty() || options.steps.contains(&step.name);
    Ok(steps.iter().filter(chosen).collect())
}
