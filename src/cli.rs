//! The command line: argv in, one typed request out.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::chroot_exec;
use crate::package::Mode;
use crate::run_steps;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Run steps of a package.
    RunStep(run_steps::Options),
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
#[command(name = "skyhook-agent", version, after_help = VARIABLES)]
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

impl From<RunStep> for run_steps::Options {
    fn from(args: RunStep) -> run_steps::Options {
        run_steps::Options {
            mode: args.mode,
            steps: args.steps,
            chroot: args.chroot,
            log_dir: args.log_dir,
            copy_dir: args.copy_dir,
        }
    }
}

fn mode_parser() -> impl TypedValueParser<Value = Mode> {
    PossibleValuesParser::new(Mode::ALL.map(Mode::name)).try_map(|name| {
        let mode = Mode::ALL.into_iter().find(|mode| mode.name() == name);
        mode.ok_or("not a mode")
    })
}
