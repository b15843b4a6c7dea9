//! The command line: argv in, one typed request out.

mod near_miss;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::OnceLock;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::commands::agent::{self, Task};
use crate::commands::run_step;
use crate::exec::chroot_exec;
use crate::package::Interrupt;
use crate::package::Mode;
use crate::text;

/// A command line that has been understood: the command to run, and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Run as the agent of the container.
    Agent(agent::Options),
    /// Run steps of a package.
    RunStep(run_step::Options),
    /// Become a step.
    ChrootExec {
        /// The file that names the command, as JSON.
        control_file: PathBuf,
        /// The root to enter; `local` keeps the root that there is.
        chroot_dir: OsString,
    },
}

/// Reads the process's arguments.
///
/// # Errors
/// Returns a text for the caller to print: help or version (exit code 0), or the
/// problem and the usage (exit code 2).
pub fn parse() -> Result<Request, clap::Error> {
    parse_from(std::env::args_os())
}

/// Tells if the process's arguments begin with the name of no command. They are those of
/// the operator then, or meant to be.
#[must_use]
pub fn is_operators() -> bool {
    let first = std::env::args_os().nth(1);
    !is_for_clap(first.as_deref().and_then(OsStr::to_str))
}

/// Reads these arguments; the first is the program's name.
///
/// # Errors
/// As [`parse`].
pub fn parse_from(argv: impl IntoIterator<Item = OsString>) -> Result<Request, clap::Error> {
    let words: Vec<OsString> = argv.into_iter().skip(1).collect();
    // Each step starts with this form. Only the agent writes it, and its words are not
    // shown to a person.
    if let [command, control_file, chroot_dir] = &words[..]
        && command == chroot_exec::SUBCOMMAND
    {
        return Ok(Request::ChrootExec {
            control_file: control_file.into(),
            chroot_dir: chroot_dir.clone(),
        });
    }
    expect_showable(&words)?;
    // Each container starts with a mode. For this form and the one above, clap would
    // take a tenth of the time to start.
    let first = words.first().and_then(|word| word.to_str());
    if first.and_then(Mode::from_name).is_none() {
        if is_for_clap(first) {
            return read_with_clap(words);
        }
        refuse_near_miss(first.unwrap_or_default())?;
    }
    let has = |option: &str| words.iter().any(|word| word == option);
    if let Some(option) = ["--help", "-h"].into_iter().find(|option| has(option)) {
        return read_with_clap([option.into()]);
    }
    Ok(Request::Agent(agent_options(words)?))
}

/// Refuses words that could reach a terminal and change what a person sees there.
fn expect_showable(words: &[OsString]) -> Result<(), clap::Error> {
    let word = words.iter().map(|word| word.to_string_lossy());
    match word
        .into_iter()
        .find(|word| word.contains(text::is_unshowable))
    {
        Some(word) => Err(usage(&format!(
            "{word}: expected no control character in an argument"
        ))),
        None => Ok(()),
    }
}

/// Tells if the command line that begins with this word is one that clap reads.
fn is_for_clap(first: Option<&str>) -> bool {
    first.is_none_or(|first| first.starts_with('-') || commands().any(|command| command == first))
}

/// The definition of the command line, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// The names of all commands.
fn commands() -> impl Iterator<Item = String> {
    let names: Vec<String> = Cli::command()
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    names.into_iter().chain([HELP.to_owned()])
}

/// Refuses a word that is nearly a mode or a command (contract §7.2).
fn refuse_near_miss(word: &str) -> Result<(), clap::Error> {
    let commands: Vec<String> = commands().collect();
    let known = Mode::ALL.map(Mode::name).into_iter();
    let known = known.chain(commands.iter().map(String::as_str));
    match near_miss::near_miss(word, known) {
        Some(name) => Err(usage(&format!(
            "{word}: expected a command or a mode; did you mean {name}?"
        ))),
        None => Ok(()),
    }
}

fn read_with_clap(words: impl IntoIterator<Item = OsString>) -> Result<Request, clap::Error> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    if let [help, of] = &words[..]
        && help == HELP
        && let Some(of) = of.to_str()
    {
        // A mode's help is the main one.
        if Mode::from_name(of).is_some() {
            words = vec!["--help".into()];
        } else if !commands().any(|command| command == of) {
            refuse_near_miss(of)?;
        }
    }
    // Not the name that the program was started by, which can hold anything.
    let argv = std::iter::once(PROGRAM.into()).chain(words);
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

const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// Clap's own command.
const HELP: &str = "help";

/// The version: of the crate, and of the source that it was built from, if the build
/// was told its commit (`SKYHOOK_AGENT_COMMIT`): `0.2.0 (1f0c2ab)`.
#[must_use]
pub fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let version = env!("CARGO_PKG_VERSION");
        match option_env!("SKYHOOK_AGENT_COMMIT") {
            Some(commit) if !commit.is_empty() => format!("{version} ({commit})"),
            _ => version.to_owned(),
        }
    })
}

/// The root mount of the forms without ROOT_MOUNT: older versions of the operator
/// mount the host's root there.
const LEGACY_ROOT_MOUNT: &str = "/root";

const USAGE: &str = "\
skyhook-agent MODE [ROOT_MOUNT] COPY_DIR
       skyhook-agent interrupt [ROOT_MOUNT] COPY_DIR DATA
       skyhook-agent run-step [OPTIONS] COPY_DIR

The Skyhook operator uses the first two forms:
  MODE        apply, config, post-interrupt, upgrade or uninstall, or one of
              these followed by -check
  ROOT_MOUNT  directory where the node's root is mounted [/root]
  COPY_DIR    directory of the package, inside that root
  DATA        the interrupt to run, as base64 of JSON";

/// The end of `skyhook-agent -h`.
const SHORT_NOTES: &str = "\
Environment: `skyhook-agent --help` lists the variables.
Exit codes: 0 success, 1 a step failed or did not run, 2 wrong usage";

/// The end of `skyhook-agent run-step -h`.
const SHORT_RUN_STEP_NOTES: &str = "\
Environment:
  SKYHOOK_AGENT_BUFFER_LIMIT   most bytes of one read of a step's output [8192]
  SKYHOOK_AGENT_DRAIN_TIMEOUT  seconds to wait for output after a step's exit
  SKYHOOK_AGENT_WRITE_LOGS     true: write log files; other values: no [true]
  SKYHOOK_LOG_DIR              directory for log files [/var/log/skyhook]

Exit codes: 0 success, 1 a step failed or did not run, 2 wrong usage";

const AGENT_VARIABLES: &str = "\
Environment, in the operator's forms only:
  SKYHOOK_RESOURCE_ID          {id}_{package}_{version}; must be set
  SKYHOOK_ROOT_DIR             directory for flags and history, inside the root
                               [/etc/skyhook]
  SKYHOOK_DATA_DIR             directory to copy the package from if COPY_DIR is
                               not on the node [/skyhook-package]
  COPY_RESOLV                  true: copy /etc/resolv.conf into the root [true]
  OVERLAY_ALWAYS_RUN_STEP      true: run steps again that have succeeded [false]
  SKYHOOK_AGENT_SYNC           true: bring what steps did to disk before it counts
                               as done [true]
  SKYHOOK_AGENT_REBOOT_TIMEOUT
                               seconds to wait for a reboot that was asked for
                               [300]
  SKYHOOK_AGENT_TERMINATION_LOG
                               file for the reason of a failure, if it is there
                               [/dev/termination-log]";

const VARIABLES: &str = "\
Environment:
  SKYHOOK_AGENT_BUFFER_LIMIT   most bytes of one read of a step's output [8192]
  SKYHOOK_AGENT_DRAIN_TIMEOUT  seconds to wait, after a step's exit, for the end
                               of its output, which processes that it started
                               can keep open [no limit]
  SKYHOOK_AGENT_WRITE_LOGS     true: write log files; other values: no [true]
  SKYHOOK_LOG_DIR              directory for log files, inside the root
                               [/var/log/skyhook]
  TMPDIR                       directory for the control file of a step; else /tmp,
                               /var/tmp or the working directory
  TZ                           time zone of the stamps [/etc/localtime]";

const EXIT_CODES: &str = "\
Exit codes:
  0  every step succeeded
  1  a step failed or could not run, or a signal cancelled the run
  2  wrong usage, or a variable with a value that cannot be used";

const EXAMPLES: &str = "\
Examples:
  Run the apply steps of a package on this machine; write logs to ./logs:
    skyhook-agent run-step --log-dir logs ./my-package

  Run only its step sysctl, then all its checks:
    skyhook-agent run-step --step sysctl ./my-package
    skyhook-agent run-step --mode apply-check ./my-package

  Run it in another root, as the agent's container does. This needs root. The
  package is in /host/var/lib/my-package:
    skyhook-agent run-step --chroot /host /var/lib/my-package";

/// Runs the steps of a Skyhook package and stamps each line of their output
#[derive(Debug, Parser)]
#[command(
    name = PROGRAM,
    version = version(),
    override_usage = USAGE,
    after_help = SHORT_NOTES,
    after_long_help = format!("{VARIABLES}\n\n{AGENT_VARIABLES}\n\n{EXIT_CODES}")
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the steps of a package, without flags or history
    ///
    /// Reads COPY_DIR/config.json and runs the steps of one mode in order. Stops at
    /// the first step that fails.
    ///
    /// Every line that a step writes goes to this terminal and to a log file, with
    /// a label, `[out]` or `[err]`, and the local time in front.
    #[command(
        verbatim_doc_comment,
        after_help = SHORT_RUN_STEP_NOTES,
        after_long_help = format!("{EXAMPLES}\n\n{VARIABLES}\n\n{EXIT_CODES}")
    )]
    RunStep(RunStep),

    /// Internal: the agent starts each step with this command
    ///
    /// Reads CONTROL_FILE, changes the root to CHROOT_DIR unless that is `local`,
    /// and becomes the command that the file names.
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
    /// Mode of the steps, such as apply-check
    #[arg(
        long,
        default_value = "apply",
        value_parser = mode_parser(),
        hide_possible_values = true,
        long_help = mode_help()
    )]
    mode: Mode,

    /// Run only the step with this name; can be repeated
    #[arg(long = "step", value_name = "NAME")]
    steps: Vec<String>,

    /// Root directory of the steps
    ///
    /// COPY_DIR is a path inside it. `local` keeps the root that there is.
    #[arg(
        long,
        value_name = "DIR",
        default_value = chroot_exec::LOCAL,
        verbatim_doc_comment
    )]
    chroot: OsString,

    /// Directory for log files [default: SKYHOOK_LOG_DIR]
    ///
    /// DIR is a path on this machine, also with --chroot. SKYHOOK_LOG_DIR is
    /// a path inside the root of the steps.
    #[arg(long, value_name = "DIR", verbatim_doc_comment)]
    log_dir: Option<PathBuf>,

    /// Directory of the package, with config.json and skyhook_dir
    copy_dir: PathBuf,
}

/// Reads the operator's forms (contract §7): `MODE ROOT_MOUNT COPY_DIR [DATA]`, and
/// the older ones without a root mount.
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
        _ => return Err(wrong_form(arguments.first().copied().unwrap_or_default())),
    };
    let known = Mode::from_name(mode);
    if !copy_dir.starts_with('/') {
        return Err(match known {
            Some(_) => usage(&format!(
                "COPY_DIR: expected an absolute path, got {copy_dir:?}"
            )),
            // More likely a command that does not exist than a mode to come.
            None => wrong_form(mode),
        });
    }
    let task = match data {
        Some(data) => Task::Interrupt {
            interrupt: Interrupt::parse(data).map_err(|error| usage(&error.to_string()))?,
            data: data.to_owned(),
        },
        None => known.map_or_else(|| Task::Unknown(mode.to_owned()), Task::Steps),
    };
    Ok(agent::Options {
        task,
        root_mount: root_mount.to_owned(),
        copy_dir: copy_dir.to_owned(),
    })
}

/// The error for words that are none of the operator's forms.
fn wrong_form(first: &str) -> clap::Error {
    usage(&match Mode::from_name(first) {
        Some(mode) => format!("{mode}: expected [ROOT_MOUNT] COPY_DIR"),
        None => {
            format!(
                "{first}: expected a command, or MODE [ROOT_MOUNT] COPY_DIR with an absolute COPY_DIR"
            )
        }
    })
}

/// Makes a usage error in the form of clap's own, followed by the usage. What must not
/// be shown in `problem` is escaped.
#[must_use]
pub fn usage(problem: &str) -> clap::Error {
    Cli::command().error(ErrorKind::InvalidValue, text::escape(problem))
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

fn mode_help() -> String {
    // Clap breaks no lines here.
    let names = Mode::ALL.map(Mode::name);
    let lines: Vec<String> = names.chunks(4).map(|names| names.join(", ")).collect();
    format!(
        "Mode of the steps to run. It is one of\n{}",
        lines.join(",\n")
    )
}
