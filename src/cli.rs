//! The command line: argv in, one typed request out.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::commands::agent::{self, Task};
use crate::commands::run_step;
use crate::exec::chroot_exec;
use crate::package::Interrupt;
use crate::package::Mode;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Run as the agent of the container.
    Agent(agent::Options),
    /// Run steps of a package.
    RunStep(run_step::Options),
    /// Become a step.
    ChrootExec {
        /// What to become, as JSON.
        control_file: PathBuf,
        /// The root to enter; `local` for none.
        chroot_dir: OsString,
    },
}

/// Reads the process's arguments.
///
/// # Errors
/// What clap has to print: help and version (exit code 0), or what is wrong and
/// the usage (exit code 2).
pub fn parse() -> Result<Request, clap::Error> {
    parse_from(std::env::args_os())
}

/// Reads these arguments; the first is the program's name.
///
/// # Errors
/// As [`parse`].
pub fn parse_from(argv: impl IntoIterator<Item = OsString>) -> Result<Request, clap::Error> {
    Ok(match Cli::try_parse_from(argv)?.command {
        Command::Agent(words) => Request::Agent(agent_options(words)?),
        Command::RunStep(args) => Request::RunStep(args.into()),
        Command::ChrootExec {
            control_file,
            chroot_dir,
        } => Request::ChrootExec {
            control_file,
            chroot_dir,
        },
    })
}

/// Where the operator's older versions mount the host's root.
const LEGACY_ROOT_MOUNT: &str = "/root";

const USAGE: &str = "\
skyhook-agent MODE [ROOT_MOUNT] COPY_DIR
       skyhook-agent interrupt [ROOT_MOUNT] COPY_DIR DATA
       skyhook-agent run-step [OPTIONS] COPY_DIR

The first two are the operator's: MODE is one of apply, config, post-interrupt,
upgrade and uninstall, or one of these with -check; ROOT_MOUNT is where the host's
root is mounted [/root], COPY_DIR the package's folder on the host, and DATA what to
interrupt, as base64 of JSON.";

const AGENT_VARIABLES: &str = "\
Environment of the operator's forms:
  SKYHOOK_RESOURCE_ID          {id}_{package}_{version}; has to be set
  SKYHOOK_ROOT_DIR             folder for flags and history, inside the root [/etc/skyhook]
  SKYHOOK_DATA_DIR             where to copy the package from if it is not on the host
                               [/skyhook-package]
  COPY_RESOLV                  copy /etc/resolv.conf into the root [true]
  OVERLAY_ALWAYS_RUN_STEP      run steps that have succeeded before [false]";

const VARIABLES: &str = "\
Environment:
  SKYHOOK_AGENT_BUFFER_LIMIT   most bytes of one read of a step's output [8192]
  SKYHOOK_AGENT_DRAIN_TIMEOUT  seconds to wait, from a step's exit, for output that
                               processes it left behind hold open [no limit]
  SKYHOOK_AGENT_WRITE_LOGS     write log files: true, or anything else for no [true]
  SKYHOOK_LOG_DIR              folder for log files, inside the root [/var/log/skyhook]

Exit codes:
  0  every step succeeded
  1  a step failed or could not run, or the run was cancelled
  2  wrong usage, or a variable with a value that cannot be used";

const EXAMPLES: &str = "\
Examples:
  Run the apply steps of a package here, logs under ./logs:
    skyhook-agent run-step --log-dir logs ./my-package

  Only its step 'sysctl', then all its checks:
    skyhook-agent run-step --step sysctl ./my-package
    skyhook-agent run-step --mode apply-check ./my-package

  In another root, as the agent's container does (as root); the package lies in
  /host/var/lib/my-package:
    skyhook-agent run-step --chroot /host /var/lib/my-package";

/// Runs a Skyhook package's steps on a Linux node and streams what they say,
/// every line labelled and timed.
#[derive(Debug, Parser)]
#[command(
    name = "skyhook-agent",
    version,
    override_usage = USAGE,
    after_help = VARIABLES,
    after_long_help = format!("{VARIABLES}\n\n{AGENT_VARIABLES}")
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a package's steps, without flags or history
    ///
    /// Reads COPY_DIR/config.json and runs the mode's steps in order, stopping at
    /// the first that fails. Every line of a step goes to this terminal and to a
    /// log file, labelled `[out]` or `[err]` and stamped with the local time.
    #[command(after_help = VARIABLES, after_long_help = format!("{EXAMPLES}\n\n{VARIABLES}"))]
    RunStep(RunStep),

    #[command(external_subcommand)]
    Agent(Vec<OsString>),

    /// Internal: what the agent starts a step through
    ///
    /// Reads CONTROL_FILE, changes the root to CHROOT_DIR unless that is `local`,
    /// and becomes the command the file names.
    #[command(name = chroot_exec::SUBCOMMAND, hide = true)]
    ChrootExec {
        /// JSON: cmd, no_chmod, env, copy_dir
        control_file: PathBuf,
        /// The new root, or `local`
        #[arg(allow_hyphen_values = true)]
        chroot_dir: OsString,
    },
}

#[derive(Debug, Args)]
struct RunStep {
    /// Whose steps to run
    #[arg(long, default_value = "apply", value_parser = mode_parser())]
    mode: Mode,

    /// Run only the step of this name; may be given more than once
    #[arg(long = "step", value_name = "NAME")]
    steps: Vec<String>,

    /// Root to run the steps in, or `local` for this one; COPY_DIR is inside it
    #[arg(long, value_name = "DIR", default_value = chroot_exec::LOCAL)]
    chroot: OsString,

    /// Folder for log files [default: SKYHOOK_LOG_DIR inside the root]
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,

    /// The package: a folder with config.json and skyhook_dir
    copy_dir: PathBuf,
}

/// The operator's forms (contract §7): `MODE ROOT_MOUNT COPY_DIR [DATA]`, and the
/// older ones without a root mount.
fn agent_options(words: Vec<OsString>) -> Result<agent::Options, clap::Error> {
    let utf8: Vec<String> = words
        .into_iter()
        .map(OsString::into_string)
        .collect::<Result<_, _>>()
        .map_err(|word| usage(&format!("expected UTF-8, got {}", word.display())))?;
    let arguments: Vec<&str> = utf8.iter().map(String::as_str).collect();
    let (mode, root_mount, copy_dir, data) = match arguments[..] {
        ["interrupt", copy_dir, data] => ("interrupt", LEGACY_ROOT_MOUNT, copy_dir, Some(data)),
        ["interrupt", root_mount, copy_dir, data] => {
            ("interrupt", root_mount, copy_dir, Some(data))
        }
        ["interrupt", ..] => return Err(usage("interrupt: expected [ROOT_MOUNT] COPY_DIR DATA")),
        [mode, copy_dir] => (mode, LEGACY_ROOT_MOUNT, copy_dir, None),
        [mode, root_mount, copy_dir] => (mode, root_mount, copy_dir, None),
        _ => {
            let word = arguments.first().copied().unwrap_or_default();
            return Err(usage(&format!(
                "{word}: expected a command, or MODE [ROOT_MOUNT] COPY_DIR"
            )));
        }
    };
    if !copy_dir.starts_with('/') {
        return Err(usage(&format!(
            "COPY_DIR: expected an absolute path, got {copy_dir:?}"
        )));
    }
    let task = match data {
        Some(data) => Task::Interrupt {
            interrupt: Interrupt::parse(data).map_err(|error| usage(&error.to_string()))?,
            data: data.to_owned(),
        },
        None => Mode::from_name(mode).map_or_else(|| Task::Unknown(mode.to_owned()), Task::Steps),
    };
    Ok(agent::Options {
        task,
        root_mount: root_mount.to_owned(),
        copy_dir: copy_dir.to_owned(),
    })
}

/// A usage error as clap words its own, with the usage behind it.
#[must_use]
pub fn usage(problem: &str) -> clap::Error {
    Cli::command().error(ErrorKind::InvalidValue, problem)
}

impl From<RunStep> for run_step::Options {
    fn from(args: RunStep) -> run_step::Options {
        run_step::Options {
            mode: args.mode,
            steps: args.steps,
            chroot: args.chroot,
            log_dir: args.log_dir,
            copy_dir: args.copy_dir,
        }
    }
}

fn mode_parser() -> impl TypedValueParser<Value = Mode> {
    PossibleValuesParser::new(Mode::ALL.map(Mode::name))
        .try_map(|name| Mode::from_name(&name).ok_or("not a mode"))
}
