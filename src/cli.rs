//! The command line: argv in, one typed request out.

mod common;
mod help;
mod logs;
mod near_miss;
mod new;
mod operator;
mod rehearse;
mod run_step;
mod status;
mod validate;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::OnceLock;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::commands;
use crate::exec::chroot_exec;
use crate::package::Mode;
use crate::text;
use help::{AGENT_VARIABLES, EXIT_CODES, SHORT_NOTES, USAGE, VARIABLES};

/// A command line that has been understood: the command to run, and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Run as the agent of the container.
    Agent(commands::agent::Options),
    /// Run steps of a package.
    RunStep(commands::run_step::Options),
    /// Say what a node has.
    Status(commands::status::Options),
    /// Say what is wrong with packages.
    Validate(commands::validate::Options),
    /// Show what steps have said.
    Logs(commands::logs::Options),
    /// Make a package to start from.
    New(commands::new::Options),
    /// Live a package's life in a view of a root.
    Rehearse(Box<commands::rehearse::Options>),
    /// Run one stage of that life, as the agent of the view.
    RehearseStage(commands::agent::Options),
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

/// The process's arguments with the name that it was called by, for a program that stands
/// in for others.
pub fn command_line() -> impl Iterator<Item = OsString> {
    std::env::args_os()
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
    // This one is the rehearsal's.
    if let [command, words @ ..] = &words[..]
        && command == commands::rehearse::STAGE
    {
        return Ok(Request::RehearseStage(operator::read(words.to_vec())?));
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
    Ok(Request::Agent(operator::read(words)?))
}

/// Refuses words that could reach a terminal and change what a person sees there.
fn expect_showable(words: &[OsString]) -> Result<(), clap::Error> {
    let mut option = "".into();
    for word in words {
        let word = word.to_string_lossy();
        if word.contains(text::is_unshowable) {
            let is_pattern = option == "--grep" || word.starts_with("--grep=");
            let instead = if is_pattern {
                "; a regular expression can have \\t or \\x1b in its place"
            } else {
                ""
            };
            return Err(usage(&format!(
                "{word}: expected no control character in an argument{instead}"
            )));
        }
        option = word;
    }
    Ok(())
}

/// Tells if the command line that begins with this word is one that clap reads.
fn is_for_clap(first: Option<&str>) -> bool {
    first.is_none_or(|first| {
        first.starts_with('-') || command_names().any(|command| command == first)
    })
}

/// The definition of the command line, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// The names of all commands.
fn command_names() -> impl Iterator<Item = String> {
    let names: Vec<String> = Cli::command()
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    names.into_iter().chain([HELP.to_owned()])
}

/// Refuses a word that is nearly a mode or a command (contract §7.2).
fn refuse_near_miss(word: &str) -> Result<(), clap::Error> {
    let commands: Vec<String> = command_names().collect();
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
        } else if !command_names().any(|command| command == of) {
            refuse_near_miss(of)?;
        }
    }
    // Not the name that the program was started by, which can hold anything.
    let argv = std::iter::once(PROGRAM.into()).chain(words);
    Ok(match Cli::try_parse_from(argv)?.command {
        Command::RunStep(args) => Request::RunStep(args.into()),
        Command::Status(args) => Request::Status(args.try_into()?),
        Command::Validate(args) => Request::Validate(args.into()),
        Command::Logs(args) => Request::Logs((*args).try_into()?),
        Command::New(args) => Request::New(args.into()),
        Command::Rehearse(args) => Request::Rehearse(Box::new((*args).try_into()?)),
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
        after_help = run_step::SHORT_NOTES,
        after_long_help = run_step::notes()
    )]
    RunStep(run_step::RunStep),

    /// Say what is wrong with packages, before they run
    ///
    /// Reads the config.json of each package by the agent's own rules, and prints
    /// every problem with its line.
    #[command(verbatim_doc_comment, after_help = validate::SHORT_NOTES, after_long_help = validate::NOTES)]
    Validate(validate::Validate),

    /// Show what a node has: packages, steps, checks, logs, runs
    ///
    /// Reads the flags, histories and logs that runs have left. Needs no lock and
    /// changes nothing, except with --forget.
    #[command(
        verbatim_doc_comment,
        after_help = status::SHORT_NOTES,
        after_long_help = status::NOTES
    )]
    Status(status::Status),
    /// Show what the steps of packages have said on a node
    ///
    /// Shows the logs of standard output and standard error, merged in the order in
    /// which the lines came. Without options: of each step, the newest run. Changes
    /// nothing, and needs no lock.
    #[command(
        verbatim_doc_comment,
        after_help = logs::SHORT_NOTES,
        after_long_help = logs::NOTES
    )]
    Logs(Box<logs::Logs>),

    /// Make a package to start from
    ///
    /// Makes the directory NAME with a package that can be run as it is: config.json,
    /// a step and its check, a README and a Dockerfile.
    #[command(
        verbatim_doc_comment,
        after_help = new::SHORT_NOTES,
        after_long_help = new::NOTES
    )]
    New(new::New),

    /// Live a package's whole life, twice, in a view of this machine
    ///
    /// Runs the stages of a package in the operator's order, in a copy-on-write view
    /// of a root. Says what they change, what a second pass changes, what uninstall
    /// leaves behind, and what cannot be started anew after it was cut off. The root
    /// is not changed.
    #[command(
        verbatim_doc_comment,
        after_help = rehearse::SHORT_NOTES,
        after_long_help = rehearse::NOTES
    )]
    Rehearse(Box<rehearse::Rehearse>),

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

/// Makes a usage error in the form of clap's own, followed by the usage. What must not
/// be shown in `problem` is escaped.
#[must_use]
pub fn usage(problem: &str) -> clap::Error {
    Cli::command().error(ErrorKind::InvalidValue, text::escape(problem))
}
