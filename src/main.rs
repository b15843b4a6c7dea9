//! Parse, run, exit code.

use std::process::ExitCode;

use nix::sys::signal::Signal;
use skyhook_agent::cancel::Cancellation;
use skyhook_agent::cli::{self, Request};
use skyhook_agent::error::Error;
use skyhook_agent::settings::{self, Settings};
use skyhook_agent::sink::Console;
use skyhook_agent::{chroot_exec, run_steps, sys};

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
        console.notice(&error.to_string());
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
        Request::RunStep(options) => {
            let settings = Settings::from_process()?;
            sys::set_up_signals();
            let ends = [
                Signal::SIGTERM,
                Signal::SIGINT,
                Signal::SIGHUP,
                Signal::SIGQUIT,
            ];
            let cancellation = Cancellation::on_signals(&ends).map_err(Error::Signals)?;
            let succeeded = run_steps::run(&options, &settings, cancellation, console)?;
            Ok(if succeeded {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
    }
}
