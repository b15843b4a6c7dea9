//! Parse, run, exit code.

#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

use std::mem;
use std::path::Path;
use std::process::ExitCode;

use anstream::ColorChoice;
use skyhook_agent::cli::{self, Request};
use skyhook_agent::commands::{
    Observer, Outcome, Process, agent, banner, logs, new, rehearse, run_step, status, validate,
};
use skyhook_agent::error::Error;
use skyhook_agent::exec::{chroot_exec, tee};
use skyhook_agent::host::Root;
use skyhook_agent::output::termination::{self, Failures};
use skyhook_agent::output::{Console, Printer};
use skyhook_agent::settings::{self, Settings};
use skyhook_agent::stamp::SystemClock;
use skyhook_agent::system::signals::Signals;
use skyhook_agent::view::stand_in;

fn main() -> ExitCode {
    if let Some(code) = stand_in::answer(cli::command_line()) {
        return ExitCode::from(code);
    }
    let request = match cli::parse() {
        Ok(request) => request,
        // If the text cannot be printed, there is nothing else to do.
        Err(error) if !error.use_stderr() => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) if cli::is_operators() => return ExitCode::from(refuse(&error)),
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let mut console = Console::process();
    let code = match request {
        Request::Agent(options) => run_agent(&options, None, &mut console),
        Request::RunStep(options) => {
            let outcome = Settings::from_process().and_then(|settings| {
                let signals = Signals::of_process()?;
                with_process(&settings, &signals, None, &mut console, |process| {
                    run_step::run(&options, process)
                })
            });
            code_of(outcome, &mut console)
        }
        Request::Status(options) => {
            let outcome = Settings::from_process().and_then(|settings| {
                answer(options.color, |printer| {
                    status::run(&options, &settings, printer)
                })
            });
            code_of(outcome, &mut console)
        }
        Request::Validate(options) => {
            let outcome = answer(options.color, |printer| validate::run(&options, printer));
            code_of(outcome, &mut console)
        }
        Request::Logs(options) => {
            let outcome = Settings::from_process().and_then(|settings| {
                answer(options.color, |printer| {
                    let mut context = logs::Context {
                        printer,
                        console: &mut console,
                        settings: &settings,
                        clock: &SystemClock::default(),
                    };
                    logs::run(&options, &mut context)
                })
            });
            code_of(outcome, &mut console)
        }
        Request::New(options) => {
            let outcome = answer(options.color, |printer| new::run(&options, printer));
            code_of(outcome, &mut console)
        }
        Request::Rehearse(options) => {
            let outcome = Signals::of_process().and_then(|signals| {
                let mut printer = Printer::stdout(options.color);
                let outcome = rehearse::run(&options, &signals, &mut printer);
                // The exit code is the answer here, also if the reader of the rest has left.
                match printer.flush() {
                    Ok(()) | Err(Error::ReaderLeft) => outcome,
                    Err(error) => outcome.and(Err(error)),
                }
            });
            code_of(outcome, &mut console)
        }
        Request::RehearseStage(options) => match rehearse::Channel::take() {
            Ok(mut channel) => run_agent(&options, Some(&mut channel), &mut console),
            Err(error) => code_of(Err(error), &mut console),
        },
        Request::ChrootExec {
            control_file,
            chroot_dir,
        } => match chroot_exec::run(&control_file, &chroot_dir, settings::environment()) {
            Err(error) => code_of(Err(error), &mut console),
        },
    };
    console.report_loss();
    ExitCode::from(code)
}

/// Runs a command that answers a question on stdout. If its reader has left, it wants no
/// more of the answer, and there is nothing to complain about.
fn answer(
    color: ColorChoice,
    command: impl FnOnce(&mut Printer) -> Result<Outcome, Error>,
) -> Result<Outcome, Error> {
    let mut printer = Printer::stdout(color);
    let outcome = command(&mut printer);
    // Before an error, which goes to stderr.
    let flushed = printer.flush();
    match outcome.and_then(|outcome| flushed.map(|()| outcome)) {
        Err(Error::ReaderLeft) => Ok(Outcome::Succeeded),
        answered => answered,
    }
}

/// The exit code for wrong usage.
const WRONG_USAGE: u8 = 2;

/// Runs the agent of a container, and leaves the reason if it fails (contract §12).
fn run_agent(
    options: &agent::Options,
    observer: Option<&mut dyn Observer>,
    console: &mut Console,
) -> u8 {
    let agent = format!("skyhook-agent {}", cli::version());
    let settings = match Settings::from_process() {
        Ok(settings) => settings,
        Err(error) => return end_agent(&agent, Err(error), console),
    };
    let resource = match settings.resource_id() {
        Ok(resource) => resource,
        Err(error) => return refuse(&cli::usage(&error.to_string())),
    };
    // Before the first line: a process that has read that line may cancel the run.
    let signals = match Signals::of_process() {
        Ok(signals) => signals,
        Err(error) => return end_agent(&agent, Err(error), console),
    };
    let run = banner::name_of_run(options, &resource);
    console.introduce(&format!("{agent}: {run}"));
    let outcome = with_process(&settings, &signals, observer, console, |process| {
        agent::run(options, &resource, process)
    });
    end_agent(&run, outcome, console)
}

fn end_agent(name: &str, outcome: Result<Outcome, Error>, console: &mut Console) -> u8 {
    let is_broken_off = outcome.is_err();
    let code = code_of(outcome, console);
    if code != 0 {
        let failures = mem::take(&mut console.failures);
        leave_reason(&failures.message(name, code, is_broken_off));
    }
    code
}

/// Prints why the agent of a container does not begin, and leaves that as the reason.
fn refuse(error: &clap::Error) -> u8 {
    let _ = error.print();
    let text = error.to_string();
    let problem = text.lines().next().unwrap_or_default();
    let mut failures = Failures::default();
    failures.notices.add(0, format!("{problem}\n").as_bytes());
    let agent = format!("skyhook-agent {}", cli::version());
    leave_reason(&failures.message(&agent, WRONG_USAGE, true));
    WRONG_USAGE
}

fn leave_reason(message: &str) {
    if let Some(path) = settings::termination_log() {
        termination::replace(&path, message);
    }
}

/// Prints an error, and gives the exit code.
fn code_of(outcome: Result<Outcome, Error>, console: &mut Console) -> u8 {
    outcome.map_or_else(
        |error| {
            for line in error.lines() {
                console.notice(&line);
            }
            error.exit_code()
        },
        Outcome::exit_code,
    )
}

/// Gives a command the parts of this process that it uses.
fn with_process(
    settings: &Settings,
    signals: &Signals,
    observer: Option<&mut dyn Observer>,
    console: &mut Console,
    command: impl FnOnce(&mut Process<'_>) -> Result<Outcome, Error>,
) -> Result<Outcome, Error> {
    command(&mut Process {
        settings,
        signals,
        clock: &SystemClock::default(),
        chroot_exec: Path::new(tee::SELF),
        own_root: &Root::open(Path::new("/"))?,
        console,
        // The same for a shorter time.
        observer: observer.map(|observer| observer as _),
    })
}
