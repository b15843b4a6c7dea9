//! The options of `logs`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::common::{Color, Root};
use super::usage;
use crate::commands::logs::{Count, Form, Grep, Options, Selection, Since};

/// The end of `skyhook-agent logs -h`.
pub(super) const SHORT_NOTES: &str = "\
Exit codes: 0 success, 1 no logs of that name, or not all was read, 2 wrong usage";

/// The end of `skyhook-agent logs --help`.
pub(super) const NOTES: &str = "\
Examples:
  Show what each step of the package tuning said when it ran last:
    skyhook-agent logs tuning

  Show the errors of the last three runs of one step:
    skyhook-agent logs --runs 3 --stderr-only tuning sysctl.sh

  Show what all packages of a node say, as it comes, until Ctrl-C:
    skyhook-agent logs --root /host --follow

  List the runs of a version, and how they went:
    skyhook-agent logs --list tuning@1.2.3

The time of a line:
  A line's time is when the agent read the line from the step: it is the stamp
  that follows the line's newline in the log. (The stamp in front of a line has
  the time of the read that brought the newline before it.) A last line without
  a newline has the stamp in front of it. Times are local where the agent ran.
  Lines of all logs are merged by their times. Those of one log stay in order,
  also if its clock went back.

The outcome of a run:
  The agent notes with a log how its run has ended: an extended attribute, which
  nearly all file systems have. Without it, as in the logs of the Python agent,
  the flag of a step, the last results of checks and the flag of an interrupt
  tell it of the newest run. Otherwise it is unknown, also if the agent was
  killed.

Forms:
  Of a line that is longer than 64 KiB, each 64 KiB are shown as a line.
  human  Colours that a step has set are left out, and control characters are
         shown escaped. A day and a run have a headline. That of a run comes
         again after lines of another run that look like its own.
  json   One object a line: time (local, null if the log does not tell), stream
         (out or err), package, version, step (its path, or interrupts/TYPE_I),
         run (its start in UTC, as in the log's name), text. With --list: run,
         package, version, step, stdout_bytes, stderr_bytes (null without a log
         that can be opened), outcome (running, succeeded, failed or unknown).
  --raw  The bytes of the logs, line by line, with every stamp. Control
         characters reach the terminal.

Environment:
  SKYHOOK_LOG_DIR   directory of logs, inside the root [/var/log/skyhook]
  SKYHOOK_ROOT_DIR  directory of flags for --list, inside the root
                    [/etc/skyhook and each directory in /var/lib/skyhook]

Exit codes:
  0  the logs were shown, or there are none
  1  nothing has the name that was given, or something could not be read
  2  wrong usage";

#[derive(Debug, Args)]
pub(super) struct Logs {
    #[command(flatten)]
    root: Root,

    /// Directory of logs, can be repeated [default: SKYHOOK_LOG_DIR]
    ///
    /// It is inside the root. It may also be the directory of one custom
    /// resource, package or version.
    #[arg(long = "log-dir", value_name = "DIR", verbatim_doc_comment)]
    log_dirs: Vec<PathBuf>,

    /// Show all runs, not only the newest of each step
    #[arg(long, conflicts_with = "runs")]
    all_runs: bool,

    /// Show the newest N runs of each step
    ///
    /// With --follow, 0 shows only what is written from now on.
    #[arg(long, value_name = "N", verbatim_doc_comment)]
    runs: Option<usize>,

    /// Show only lines from this time on, such as 10m or 21:51
    ///
    /// A local time (2026-05-02T21:51:23, 2026-05-02 21:51, 2026-05-02, or 21:51
    /// for today), or how long ago (90s, 10m, 1h30m, 2d, 1w). Looks at all runs,
    /// unless --runs says how many.
    #[arg(long, value_name = "TIME", verbatim_doc_comment)]
    since: Option<Since>,

    /// Show only standard error
    #[arg(long)]
    stderr_only: bool,

    /// Show only lines whose text matches a regular expression
    #[arg(long, value_name = "REGEX")]
    grep: Option<Grep>,

    /// Go on with what is written from now on, also by new runs
    ///
    /// That is shown of all runs, also if --runs leaves out what they have so far.
    /// Ctrl-C ends it. A log that is truncated or replaced is read from its start
    /// again. Of one that is removed, the rest is shown. A line without a newline
    /// is shown when its log is closed.
    #[arg(long, short, verbatim_doc_comment)]
    follow: bool,

    /// List the runs, their sizes, and how they went if that is known
    #[arg(long, conflicts_with_all = ["follow", "raw", "grep", "stderr_only"])]
    list: bool,

    /// Show the bytes of the logs as they are
    #[arg(long, conflicts_with = "output")]
    raw: bool,

    /// Form of the output: human or json
    #[arg(long, value_name = "FORM", value_enum, hide_possible_values = true)]
    output: Option<Output>,

    #[command(flatten)]
    color: Color,

    /// Package, or package and version
    #[arg(value_name = "PACKAGE[@VERSION]")]
    package: Option<String>,

    /// Step: its path, or the name of its file, such as sysctl.sh or sysctl
    #[arg(value_name = "STEP")]
    step: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Human,
    Json,
}

impl TryFrom<Logs> for Options {
    type Error = clap::Error;

    fn try_from(args: Logs) -> Result<Options, clap::Error> {
        if args.runs == Some(0) && !args.follow {
            return Err(usage(
                "--runs 0: expected 1 or more; with --follow, 0 is only what comes from now on",
            ));
        }
        let (package, version) = match args.package {
            Some(package) => match package.rsplit_once('@') {
                Some((package, version)) => (Some(package.to_owned()), Some(version.to_owned())),
                None => (Some(package), None),
            },
            None => (None, None),
        };
        Ok(Options {
            root: args.root.root,
            log_dirs: args.log_dirs,
            selection: Selection {
                package,
                version,
                step: args.step,
                count: match args.runs {
                    Some(count) => Count::Newest(count),
                    None if args.all_runs => Count::All,
                    None => Count::Default,
                },
            },
            since: args.since,
            stderr_only: args.stderr_only,
            grep: args.grep,
            follow: args.follow,
            list: args.list,
            form: match args.output {
                _ if args.raw => Form::Raw,
                Some(Output::Json) => Form::Json,
                Some(Output::Human) | None => Form::Human,
            },
            color: args.color.into(),
        })
    }
}
