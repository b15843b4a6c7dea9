//! One run of the agent in its container (contract §7), from top to bottom.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::commands::interrupt;
use crate::error::Error;
use crate::exec::step::{Place, Verdict, run_step};
use crate::exec::tee::Runner;
use crate::host::{Root, copy_file, copy_tree};
use crate::output::log_file::{self, LogDir};
use crate::output::sink::Console;
use crate::package::{Config, Interrupt, Mode, Step};
use crate::python;
use crate::settings::{ResourceId, Settings};
use crate::stamp::{Clock, SystemClock};
use crate::state::{State, UNINSTALLED};
use crate::system::signals::Signals;

/// Files that the operator's older versions put into the container.
const NODE_FILES: &str = "/etc/nvidia-bootstrap/node-files";

/// What to run, as the command line has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A mode by name; it may be one that this version does not know.
    pub mode: String,
    /// Where the host's root is mounted.
    pub root_mount: String,
    /// The package's folder on the host.
    pub copy_dir: String,
    /// What an interrupt is to do: base64 of JSON.
    pub interrupt_data: Option<String>,
}

/// Runs. False where a step or a check failed, or the run was cancelled.
///
/// # Errors
/// Where the run could not go on: the package cannot be used, the state cannot
/// be written, a step cannot be started.
pub fn run(
    options: &Options,
    settings: &Settings,
    signals: Signals,
    console: &mut Console,
) -> Result<bool, Error> {
    let resource = settings.resource_id()?;
    let here = Root::open(Path::new("/"))?;
    let root = Root::open(Path::new(&options.root_mount))?;
    if settings.copy_resolv {
        let resolv_conf = Path::new("/etc/resolv.conf");
        copy_file(&here, resolv_conf, &root, resolv_conf)?;
    }
    print_banner(options, settings, &resource, console);
    let Some(mode) = Mode::from_name(&options.mode) else {
        let known = Mode::ALL.map(Mode::name).join(",");
        console.notice(&format!(
            "this version has no mode {}, only {known}: nothing to do",
            options.mode
        ));
        return Ok(true);
    };

    let clock = SystemClock::default();
    let run = Run {
        options,
        settings,
        mode,
        root: &root,
        clock: &clock,
    };
    run.bring_package(&here)?;
    if mode == Mode::Interrupt {
        let mut runner = settings.runner(console, &clock, signals);
        return run.interrupt(&resource, &mut runner);
    }
    let config = run.prepare(console)?;
    let mut runner = settings.runner(console, &clock, signals);
    run.steps(config, &mut runner)
}

/// What a run has been asked for, byte for byte as the reference prints it.
fn print_banner(
    options: &Options,
    settings: &Settings,
    resource: &ResourceId,
    console: &mut Console,
) {
    let ResourceId {
        whole,
        package,
        version,
        ..
    } = resource;
    let Settings {
        data_dir,
        root_dir,
        log_dir,
        buffer_limit,
        ..
    } = settings;
    let always_run_step = python::boolean(settings.always_run_step);
    let rule = "-".repeat(20);
    for line in [
        rule.clone(),
        "-CLI CONFIGURATION--".to_owned(),
        format!("mode: {}", options.mode),
        format!("root_mount: {}", options.root_mount),
        format!("copy_dir: {}", options.copy_dir),
        format!(
            "interrupt_data: {}",
            options.interrupt_data.as_deref().unwrap_or("None")
        ),
        format!("always_run_step: {always_run_step}"),
        "-ENV CONFIGURATION--".to_owned(),
        format!("COPY_RESOLV: {}", python::boolean(settings.copy_resolv)),
        format!("OVERLAY_ALWAYS_RUN_STEP: {always_run_step}"),
        format!("SKYHOOK_RESOURCE_ID: {whole}"),
        format!("SKYHOOK_DATA_DIR: {data_dir}"),
        format!("SKYHOOK_ROOT_DIR: {root_dir}"),
        format!("SKYHOOK_LOG_DIR: {log_dir}"),
        format!("SKYHOOK_AGENT_BUFFER_LIMIT: {buffer_limit}"),
        format!(
            "SKYHOOK_AGENT_WRITE_LOGS: {}",
            python::boolean(settings.write_logs)
        ),
        "Directory CONFIGURATION".to_owned(),
        format!("flag_dir: {root_dir}/flags/{package}/{version}"),
        format!("log_dir: {log_dir}/{package}/{version}"),
        format!("history_file: {root_dir}/history/{package}.json"),
        rule,
    ] {
        console.print(&line);
    }
}

/// A run of a known mode.
#[derive(Clone, Copy)]
struct Run<'a> {
    options: &'a Options,
    settings: &'a Settings,
    mode: Mode,
    root: &'a Root,
    clock: &'a dyn Clock,
}

impl<'a> Run<'a> {
    fn interrupt(&self, resource: &ResourceId, runner: &mut Runner<'_>) -> Result<bool, Error> {
        let data = self.options.interrupt_data.as_deref().unwrap_or_default();
        let interrupt = Interrupt::parse(data)?;
        let log_path = self.log_path(&resource.package, &resource.version);
        let place = interrupt::Place {
            chroot_dir: OsStr::new(&self.options.root_mount),
            copy_dir: &self.options.copy_dir,
            log_dir: self.log_dir(&log_path),
            resource,
        };
        let state = self.state(&resource.package, &resource.version);
        interrupt::run(&interrupt, &place, &state, runner)
    }

    /// Copies the package of a legacy start to the host. It has its name only when
    /// all of it is there and on the disk: what has the name is taken for complete.
    fn bring_package(&self, here: &Root) -> Result<(), Error> {
        let copy_dir = Path::new(&self.options.copy_dir);
        if self.root.exists(copy_dir)? {
            return Ok(());
        }
        let mut name = copy_dir.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let partial = copy_dir.with_file_name(name);
        let data_dir = Path::new(&self.settings.data_dir);
        copy_tree(here, data_dir, self.root, &partial)?;
        if here.exists(Path::new(NODE_FILES))? {
            copy_tree(here, Path::new(NODE_FILES), self.root, &partial)?;
        }
        self.root.complete(&partial, copy_dir)
    }

    /// Reads the package's config, and brings its files onto the host.
    fn prepare(&self, console: &mut Console) -> Result<Config, Error> {
        let copy_dir = Path::new(&self.options.copy_dir);
        let config_file = copy_dir.join("config.json");
        let config = Config::load(self.root, &config_file)?;
        for warning in config.warnings() {
            console.notice(warning.trim_start());
        }
        // An uninstall neither changes the system, nor can it expect anything.
        if !matches!(self.mode, Mode::Uninstall | Mode::UninstallCheck) {
            let overlay = copy_dir.join("root_dir");
            if self.root.exists(&overlay)? {
                copy_tree(self.root, &overlay, self.root, Path::new("/"))?;
            }
            let configmaps = copy_dir.join("configmaps");
            let mut problems = Vec::new();
            for file in &config.expected_config_files {
                if !self.root.exists(&configmaps.join(file))? {
                    problems.push(format!("{file}: expected this file, which is not there"));
                }
            }
            if !problems.is_empty() {
                let file = self.root.outside(&configmaps);
                return Err(Error::Package { file, problems });
            }
        }
        Ok(config)
    }

    /// Runs the steps of the mode and keeps the state that says how they went.
    fn steps(&self, mut config: Config, runner: &mut Runner<'_>) -> Result<bool, Error> {
        let mode = self.mode;
        let state = self.state(&config.package_name, &config.package_version);
        let log_path = self.log_path(&config.package_name, &config.package_version);
        let place = Place {
            chroot_dir: OsStr::new(&self.options.root_mount),
            copy_dir: &self.options.copy_dir,
            log_dir: self.log_dir(&log_path),
        };
        state.set_started()?;
        let steps = config.modes.remove(&mode).unwrap_or_default();
        if steps.is_empty() {
            let notice = format!("there are no steps for mode {mode}");
            runner.console().notice(&notice);
        }

        let mut failed = Vec::new();
        for step in &steps {
            if runner.is_cancelled() {
                let notice = format!("cancelled: {} does not start", step.path);
                runner.console().notice(&notice);
                return Ok(false);
            }
            // Its name goes by the config, not by the versions of an upgrade.
            let flag = state.flag(step);
            let step = &self.with_versions(step, &state, runner)?;
            if mode.is_check() {
                print_header(mode, step, runner);
                failed.push(match self.run_step(step, &place, runner)? {
                    Verdict::Cancelled => return Ok(false),
                    verdict => verdict != Verdict::Succeeded,
                });
                continue;
            }
            if state.is_set(&flag)? && self.skips(step, &state.shown(&flag), runner.console()) {
                continue;
            }
            print_header(mode, step, runner);
            if self.run_step(step, &place, runner)? != Verdict::Succeeded {
                return Ok(false);
            }
            state.set_succeeded(&flag, step)?;
        }
        if mode.is_check() && !steps.is_empty() && !state.set_checked(mode, &steps, &failed)? {
            return Ok(false);
        }
        match mode {
            Mode::ApplyCheck | Mode::UpgradeCheck => {
                state.add_version(state.version, runner.console())?;
            }
            Mode::UninstallCheck => {
                // The flags first: left behind, they would have a package that is
                // installed again skip its steps.
                for step in steps.iter().chain(config.modes.values().flatten()) {
                    state.clear(&state.flag(step))?;
                }
                state.add_version(UNINSTALLED, runner.console())?;
            }
            _ => {}
        }
        Ok(!runner.is_cancelled())
    }

    /// A step of an upgrade is told the versions: in its environment, and where
    /// it is an upgrade step, behind its arguments.
    fn with_versions(
        &self,
        step: &Step,
        state: &State<'_>,
        runner: &mut Runner<'_>,
    ) -> Result<Step, Error> {
        let mut step = step.clone();
        if matches!(self.mode, Mode::Upgrade | Mode::UpgradeCheck) {
            let previous = state.previous_version(runner.console())?;
            let current = state.version.to_owned();
            if step.upgrade_step {
                step.arguments.extend([previous.clone(), current.clone()]);
            }
            step.env.insert("PREVIOUS_VERSION".to_owned(), previous);
            step.env.insert("CURRENT_VERSION".to_owned(), current);
        }
        Ok(step)
    }

    fn run_step(
        &self,
        step: &Step,
        place: &Place<'_>,
        runner: &mut Runner<'_>,
    ) -> Result<Verdict, Error> {
        run_step(step, place, |name| self.settings.variable(name), runner)
    }

    /// Whether a step whose flag is set is skipped; says so, or why not.
    fn skips(&self, step: &Step, flag: &str, console: &mut Console) -> bool {
        let path = &step.path;
        let (skips, line) = if self.settings.always_run_step {
            (
                false,
                format!(
                    "WARNING: {flag} exists for {path} but OVERLAY_ALWAYS_RUN_STEP flag is set \
                     so running anyway."
                ),
            )
        } else if matches!(self.mode, Mode::Config | Mode::Uninstall | Mode::Upgrade) {
            (
                false,
                "Flag exists but CONFIG, UNINSTALL, and UPGRADE mode don't support idempotence \
                 so running step anyway."
                    .to_owned(),
            )
        } else if step.idempotence {
            (
                false,
                "Flag exists but idempotence is Idempotence.Disabled so running step.".to_owned(),
            )
        } else {
            (true, format!("Skipping {path} because {flag} exists."))
        };
        console.print(&line);
        skips
    }

    fn state<'s>(&'s self, package: &'s str, version: &'s str) -> State<'s> {
        State {
            root: self.root,
            root_mount: &self.options.root_mount,
            dir: &self.settings.root_dir,
            package,
            version,
            clock: self.clock,
        }
    }

    fn log_path(&self, package: &str, version: &str) -> PathBuf {
        let log_root = OsStr::new(&self.settings.log_dir);
        log_file::dir(OsStr::new(""), log_root, package, version)
    }

    fn log_dir<'p>(&self, path: &'p Path) -> Option<LogDir<'p>>
    where
        'a: 'p,
    {
        let root = self.root;
        self.settings.write_logs.then_some(LogDir { root, path })
    }
}

/// The line in front of a step.
fn print_header(mode: Mode, step: &Step, runner: &mut Runner<'_>) {
    let idempotence = if step.idempotence { "Disabled" } else { "Auto" };
    runner.console().print(&format!(
        "{mode} {} {} {} Idempotence.{idempotence} {}",
        step.path,
        python::strings(&step.arguments),
        python::integers(&step.returncodes),
        python::boolean(step.on_host),
    ));
}
