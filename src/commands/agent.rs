//! One run of the agent in its container (contract §7), from top to bottom.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::path::Path;

use super::lock::lock_package;
pub use super::options::{Options, Task};
use super::reboot::Watch;
use super::staging::{apply_overlay, expect_config_files, stage_package};
use super::{Outcome, Process, banner, interrupt};
use crate::error::Error;
use crate::exec::ExecContext;
use crate::exec::step::{Verdict, run_step};
use crate::host::{Root, copy_file};
use crate::output::Console;
use crate::package::{Config, Interrupt, Mode, Step};
use crate::python;
use crate::settings::{ResourceId, Settings};
use crate::stamp::Clock;
use crate::state::lock::Held;
use crate::state::{Decision, Layout, Lock, State, UNINSTALLED, Why};

/// Runs the agent.
///
/// # Errors
/// If the run cannot go on: the package cannot be used, the state cannot be written,
/// a step cannot be started.
pub fn run(
    options: &Options,
    resource: &ResourceId,
    process: &mut Process<'_>,
) -> Result<Outcome, Error> {
    if let Task::Unknown(name) = &options.task {
        // Nothing is touched, the resolver's configuration included.
        print_banner(options, resource, process);
        let known = Mode::ALL.map(Mode::name).join(",");
        process.console.notice(&format!(
            "this version has no mode {name}, only {known}: nothing to do"
        ));
        return Ok(Outcome::Succeeded);
    }
    let settings = process.settings;
    let root = Root::open(Path::new(&options.root_mount))?;
    if settings.copy_resolv {
        let resolv_conf = Path::new("/etc/resolv.conf");
        copy_file(process.own_root, resolv_conf, &root, resolv_conf)?;
    }
    print_banner(options, resource, process);
    let run = Run {
        options,
        settings,
        root: &root,
        clock: process.clock,
    };
    let copy_dir = Path::new(&options.copy_dir);
    match &options.task {
        Task::Unknown(_) => Ok(Outcome::Succeeded),
        Task::Interrupt { interrupt, .. } => {
            let Some(_lock) = run.lock(Lock::Run, &resource.package, process)? else {
                return Ok(Outcome::Cancelled);
            };
            let has_package = process.own_root.exists(Path::new(&settings.data_dir))?;
            if has_package
                && let ControlFlow::Break(outcome) = stage_package(&root, copy_dir, process)?
            {
                return Ok(outcome);
            }
            run.interrupt(interrupt, resource, process)
        }
        Task::Steps(mode) => {
            let Some(_lock) = run.lock(Lock::Run, &resource.package, process)? else {
                return Ok(Outcome::Cancelled);
            };
            if let ControlFlow::Break(outcome) = stage_package(&root, copy_dir, process)? {
                return Ok(outcome);
            }
            let config = process.load_config(&root, copy_dir)?;
            let Some(_lock) = run.lock(Lock::State, &config.package_name, process)? else {
                return Ok(Outcome::Cancelled);
            };
            if mode.has_overlay() {
                if let ControlFlow::Break(outcome) = apply_overlay(&root, copy_dir, process)? {
                    return Ok(outcome);
                }
                expect_config_files(&root, copy_dir, &config)?;
            }
            run.steps(*mode, config, process)
        }
    }
}

fn print_banner(options: &Options, resource: &ResourceId, process: &mut Process<'_>) {
    let lines = banner::lines(options, process.settings, resource);
    process.console.print(&lines.join("\n"));
}

/// A run on a host.
#[derive(Clone, Copy)]
struct Run<'a> {
    options: &'a Options,
    settings: &'a Settings,
    root: &'a Root,
    clock: &'a dyn Clock,
}

impl Run<'_> {
    /// Takes a lock of `package`: agents of one package run one at a time.
    fn lock(
        &self,
        lock: Lock,
        package: &str,
        process: &mut Process<'_>,
    ) -> Result<Option<Held<'_>>, Error> {
        let layout = self.state(package, "").layout;
        lock_package(self.root, layout, lock, self.options.task.name(), process)
    }

    /// Brings to disk what steps have done, before the state says that it is done.
    fn sync(&self) -> Result<(), Error> {
        if self.settings.sync {
            self.root.sync()?;
        }
        Ok(())
    }

    fn interrupt(
        &self,
        interrupt: &Interrupt,
        resource: &ResourceId,
        process: &mut Process<'_>,
    ) -> Result<Outcome, Error> {
        let (package, version) = (&*resource.package, &*resource.version);
        let log_root = OsStr::new(&self.settings.log_dir);
        let log_dir = process.log_dir(self.root, log_root, package, version);
        let mut context = ExecContext {
            log_dir: log_dir.as_ref(),
            ..self.context()
        };
        // The operator gives an edited resource another COPY_DIR, and an interrupt needs
        // nothing of the package.
        if let Err(error) = self.root.open_dir(Path::new(context.copy_dir)) {
            let notice = format!("{error}: the interrupt runs in /");
            process.console.notice(&notice);
            context.copy_dir = "/";
        }
        let state = self.state(package, version);
        let watch = Watch {
            own_root: process.own_root,
            timeout: self.settings.reboot_timeout,
            cancellation: process.signals.cancellation.clone(),
        };
        let mut runner = process.runner();
        interrupt::run(interrupt, context, resource, &state, &watch, &mut runner)
    }

    /// Runs the steps of the mode, and keeps the state that says how they went.
    fn steps(
        &self,
        mode: Mode,
        mut config: Config,
        process: &mut Process<'_>,
    ) -> Result<Outcome, Error> {
        let steps = config.modes.remove(&mode).unwrap_or_default();
        let (package, version) = (&*config.package_name, &*config.package_version);
        let log_root = OsStr::new(&self.settings.log_dir);
        let log_dir = process.log_dir(self.root, log_root, package, version);
        let context = ExecContext {
            log_dir: log_dir.as_ref(),
            ..self.context()
        };
        let state = self.state(package, version);
        state.set_started()?;
        if steps.is_empty() {
            let notice = format!("there are no steps for mode {mode}");
            process.console.notice(&notice);
        }

        let mut observer = process.observer.take();
        let mut runner = process.runner();
        let mut failed = Vec::new();
        for step in &steps {
            // Named by the arguments before the versions are added.
            let flag = state.layout.step_flag(step);
            let versioned = with_versions(step, mode, &state, runner.console())?;
            let is_set = !mode.is_check() && state.is_set(&flag)?;
            let forced = self.settings.always_run_step;
            let decision = Decision::of(step, mode, is_set, forced);
            if let Some(line) = decision_line(decision, step, &state.reference_path(&flag)) {
                runner.console().print(&line);
            }
            if let Decision::Skip(_) = decision {
                if let Some(observer) = &mut observer {
                    observer.skips(step)?;
                }
                continue;
            }
            // In a cancelled run it does not start, and that is said instead.
            if !runner.is_cancelled() {
                let header = header_line(mode, &versioned);
                runner.console().print(&header);
                if let Some(observer) = &mut observer {
                    observer.begins(step)?;
                }
            }
            let lookup = |name: &str| self.settings.variable(name);
            let verdict = run_step(&versioned, context, lookup, &mut runner)?;
            if let Some(observer) = &mut observer {
                observer.ended(step, verdict)?;
            }
            if verdict == Verdict::Cancelled {
                return Ok(Outcome::Cancelled);
            }
            let succeeded = verdict == Verdict::Succeeded;
            if mode.is_check() {
                failed.push(!succeeded);
            } else if succeeded {
                self.sync()?;
                state.set_succeeded(&flag, step)?;
            } else {
                return Ok(Outcome::Failed);
            }
        }
        if mode.is_check() && !failed.contains(&true) {
            self.sync()?;
        }
        if mode.is_check() && !steps.is_empty() {
            state.set_checked(mode, &steps, &failed)?;
            if failed.contains(&true) {
                return Ok(Outcome::Failed);
            }
        }
        // A cancellation that came during the last step has left nothing undone.
        keep_history(mode, &state, runner.console())?;
        Ok(Outcome::Succeeded)
    }

    /// Says where commands run, without their log directory.
    fn context(&self) -> ExecContext<'_> {
        ExecContext {
            chroot_dir: OsStr::new(&self.options.root_mount),
            copy_dir: &self.options.copy_dir,
            log_dir: None,
        }
    }

    fn state<'s>(&'s self, package: &'s str, version: &'s str) -> State<'s> {
        State {
            root: self.root,
            root_mount: &self.options.root_mount,
            layout: Layout {
                root_dir: &self.settings.root_dir,
                package,
                version,
            },
            clock: self.clock,
        }
    }
}

/// Gives a step of an upgrade the versions.
fn with_versions(
    step: &Step,
    mode: Mode,
    state: &State<'_>,
    console: &mut Console,
) -> Result<Step, Error> {
    if !mode.has_versions() {
        return Ok(step.clone());
    }
    let (previous, prior) = state.previous_version()?;
    if let Some(line) = state.prior_line(prior) {
        console.print(&line);
    }
    Ok(step.with_versions(&previous, state.layout.version))
}

/// Keeps the history after the checks of a mode.
fn keep_history(mode: Mode, state: &State<'_>, console: &mut Console) -> Result<(), Error> {
    let version = match mode {
        Mode::ApplyCheck | Mode::UpgradeCheck => state.layout.version,
        Mode::UninstallCheck => {
            // The flags first: if they stayed after a crash, a package that is
            // installed again would skip its steps.
            state.clear_package()?;
            UNINSTALLED
        }
        _ => return Ok(()),
    };
    let prior = state.add_version(version)?;
    if let Some(line) = state.prior_line(prior) {
        console.print(&line);
    }
    Ok(())
}

/// The line about a step that has a flag; `None` if it has none.
fn decision_line(decision: Decision, step: &Step, flag: &str) -> Option<String> {
    let path = &step.path;
    match decision {
        Decision::Run(Why::IsCheck | Why::NoFlag) => None,
        Decision::Run(Why::Forced) => Some(format!(
            "WARNING: {flag} exists for {path} but OVERLAY_ALWAYS_RUN_STEP flag is set so \
             running anyway."
        )),
        Decision::Run(Why::ModeIgnoresFlags) => Some(
            "Flag exists but CONFIG, UNINSTALL, and UPGRADE mode don't support idempotence so \
             running step anyway."
                .to_owned(),
        ),
        Decision::Run(Why::AlwaysRuns | Why::FlagIsSet) => Some(format!(
            "Flag exists but idempotence is Idempotence.{} so running step.",
            step.idempotence.name()
        )),
        Decision::Skip(_) => Some(format!("Skipping {path} because {flag} exists.")),
    }
}

/// The line before the output of a step.
fn header_line(mode: Mode, step: &Step) -> String {
    format!(
        "{mode} {} {} {} Idempotence.{} {}",
        step.path,
        python::strings(&step.arguments),
        python::integers(&step.returncodes),
        step.idempotence.name(),
        python::boolean(step.on_host),
    )
}
