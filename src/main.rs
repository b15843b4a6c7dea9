//! Parse, run, exit code.

use std::path::Path;
use std::process::ExitCode;

use skyhook_agent::cli::{self, Request};
use skyhook_agent::commands::{Outcome, Process, agent, run_step};
use skyhook_agent::error::Error;
use skyhook_agent::exec::{chroot_exec, tee};
use skyhook_agent::host::Root;
use skyhook_agent::output::Console;
use skyhook_agent::settings::{self, Settings};
use skyhook_agent::stamp::SystemClock;
use skyhook_agent::system::signals::Signals;

fn main() -> ExitCode {
    let request = match cli::parse() {
        Ok(request) => request,
        Err(error) => {
            // Help, or what is wrong with the usage. If it cannot be printed, there is
            // nothing else to do.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let mut console = Console::process();
    let code = run(request, &mut console).unwrap_or_else(|error| {
        for line in error.lines() {
            console.notice(&line);
        }
        error.exit_code()
    });
    console.report_loss();
    ExitCode::from(code)
}

fn run(request: Request, console: &mut Console) -> Result<u8, Error> {
    let outcome = match request {
        Request::ChrootExec {
            control_file,
            chroot_dir,
        } => match chroot_exec::run(&control_file, &chroot_dir, settings::environment())? {},
        Request::Agent(options) => {
            let settings = Settings::from_process()?;
            let resource = match settings.resource_id() {
                Ok(resource) => resource,
                Err(error) => {
                    let _ = cli::usage(&error.to_string()).print();
                    return Ok(error.exit_code());
                }
            };
            with_process(&settings, console, |process| {
                agent::run(&options, &resource, process)
            })?
        }
        Request::RunStep(options) => {
            let settings = Settings::from_process()?;
            with_process(&settings, console, |process| {
                run_step::run(&options, process)
            })?
        }
    };
    Ok(outcome.exit_code())
}

/// Gives a command the parts of this process that it uses.
fn with_process(
    settings: &Settings,
    console: &mut Console,
    command: impl FnOnce(&mut Process<'_>) -> Result<Outcome, Error>,
) -> Result<Outcome, Error> {
    command(&mut Process {
        settings,
        signals: &Signals::of_process()?,
        clock: &SystemClock::default(),
        chroot_exec: Path::new(tee::SELF),
        own_root: &Root::open(Path::new("/"))?,
        console,
    })
}
