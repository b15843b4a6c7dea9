//! Parse, run, exit code.

use std::process::ExitCode;

use skyhook_agent::cli::{self, Request};
use skyhook_agent::commands::{agent, run_step};
use skyhook_agent::error::Error;
use skyhook_agent::exec::chroot_exec;
use skyhook_agent::output::sink::Console;
use skyhook_agent::settings::{self, Settings};
use skyhook_agent::system::signals::Signals;

fn main() -> ExitCode {
    let request = match cli::parse() {
        Ok(request) => request,
        Err(error) => {
            // Help, or what is wrong with the usage. With no one to read it, so be it.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let mut console = Console::process();
    let code = run(request, &mut console).unwrap_or_else(|error| {
        for line in error.lines() {
            console.notice(&line);
        }
        ExitCode::from(error.exit_code())
    });
    console.report_loss();
    code
}

fn run(request: Request, console: &mut Console) -> Result<ExitCode, Error> {
    match request {
        Request::ChrootExec {
            control_file,
            chroot_dir,
        } => match chroot_exec::run(&control_file, &chroot_dir, settings::environment())? {},
        Request::Agent(options) => {
            let settings = Settings::from_process()?;
            if let Err(error) = settings.resource_id() {
                let _ = cli::usage(&error.to_string()).print();
                return Ok(ExitCode::from(error.exit_code()));
            }
            let signals = Signals::of_process()?;
            agent::run(&options, &settings, signals, console).map(to_exit_code)
        }
        Request::RunStep(options) => {
            let settings = Settings::from_process()?;
            let signals = Signals::of_process()?;
            run_step::run(&options, &settings, signals, console).map(to_exit_code)
        }
    }
}

fn to_exit_code(succeeded: bool) -> ExitCode {
    if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
