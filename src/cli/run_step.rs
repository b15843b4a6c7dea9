//! The options of `run-step`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::common::Color;
use super::help::{EXIT_CODES, VARIABLES};
use crate::commands::run_step::{Look, Options};
use crate::exec::chroot_exec;
use crate::package::Mode;
use crate::text;

/// The end of `skyhook-agent run-step -h`.
pub(super) const SHORT_NOTES: &str = "\
Environment:
  SKYHOOK_AGENT_BUFFER_LIMIT   most bytes of one read of a step's output [8192]
  SKYHOOK_AGENT_DRAIN_TIMEOUT  seconds to wait for output after a step's exit
  SKYHOOK_AGENT_WRITE_LOGS     true: write log files; other values: no [true]
  SKYHOOK_LOG_DIR              directory for log files [/var/log/skyhook]

Exit codes: 0 success, 1 a step failed or did not run, 2 wrong usage";

const EXAMPLES: &str = "\
Examples:
  Run the apply steps of a package on this machine; write logs to ./logs:
    skyhook-agent run-step --log-dir logs ./my-package

  See what would run, then run it with its checks:
    skyhook-agent run-step --list ./my-package
    skyhook-agent run-step --check ./my-package

  Run only its step sysctl:
    skyhook-agent run-step --step sysctl ./my-package

  Run an upgrade from version 1.0.0:
    skyhook-agent run-step --mode upgrade --from 1.0.0 ./my-package

  Run it in another root, as the agent's container does. This needs root. The
  package is in /host/var/lib/my-package:
    skyhook-agent run-step --chroot /host /var/lib/my-package";

/// The end of `skyhook-agent run-step --help`.
pub(super) fn notes() -> String {
    format!("{EXAMPLES}\n\n{VARIABLES}\n\n{EXIT_CODES}")
}

#[derive(Debug, Args)]
pub(super) struct RunStep {
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

    /// Run the mode's checks too, if its steps succeed
    ///
    /// With --step, those of the same names.
    #[arg(long, verbatim_doc_comment)]
    check: bool,

    /// Print the steps and their arguments; run nothing
    #[arg(long)]
    list: bool,

    /// Version before an upgrade, for the steps of an upgrade
    ///
    /// They find it in PREVIOUS_VERSION, and the package's own in CURRENT_VERSION.
    /// An upgrade step has both as its last arguments too.
    #[arg(long, value_name = "VERSION", verbatim_doc_comment)]
    from: Option<String>,

    /// Directory that stands for the package's configmaps
    ///
    /// The operator mounts config files there. DIR is a path inside the root of the
    /// steps. The package has a link to it while steps run.
    #[arg(long, value_name = "DIR", verbatim_doc_comment)]
    configmaps: Option<PathBuf>,

    /// Let steps read the standard input [default: /dev/null]
    #[arg(long)]
    stdin: bool,

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

    /// End a step that takes longer, such as 90s or 5m
    ///
    /// Its process group gets SIGTERM, and 5 seconds later SIGKILL if something of
    /// it is still there. The step has failed then. It cannot read from the terminal.
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration,
        verbatim_doc_comment
    )]
    timeout: Option<Duration>,

    /// Show the run to a person: times, colours, results
    ///
    /// This is the default on a terminal. Both streams of a step go to stdout. Log
    /// files are the same as ever.
    #[arg(long, conflicts_with = "plain", verbatim_doc_comment)]
    pretty: bool,

    /// Write what the agent writes on a node
    ///
    /// This is the default unless stdout and stderr are a terminal.
    #[arg(long, verbatim_doc_comment)]
    plain: bool,

    #[command(flatten)]
    color: Color,

    /// Directory of the package, or its config.json
    ///
    /// It has config.json and skyhook_dir.
    copy_dir: PathBuf,
}

impl From<RunStep> for Options {
    fn from(args: RunStep) -> Options {
        Options {
            mode: args.mode,
            steps: args.steps,
            check: args.check,
            list: args.list,
            from: args.from,
            configmaps: args.configmaps,
            stdin: args.stdin,
            chroot: args.chroot,
            log_dir: args.log_dir,
            timeout: args.timeout,
            look: match (args.pretty, args.plain) {
                (true, _) => Look::Pretty,
                (_, true) => Look::Plain,
                _ => Look::Auto,
            },
            color: args.color.into(),
            copy_dir: args.copy_dir,
        }
    }
}

fn mode_parser() -> impl TypedValueParser<Value = Mode> {
    PossibleValuesParser::new(Mode::ALL.map(Mode::name))
        .try_map(|name| Mode::from_name(&name).ok_or("not a mode"))
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    text::duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or("expected a duration of 1s or more, such as 90s, 5m or 1h30m")
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
