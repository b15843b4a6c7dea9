//! The options of `status`.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::common::{Color, Output, Root};
use super::near_miss::near_miss;
use crate::commands::status::{Options, Task};
use crate::package::Mode;

/// The end of `skyhook-agent status -h`.
pub(super) const SHORT_NOTES: &str = "\
Exit codes: 0 all is well, 1 something is wrong or not there, 2 wrong usage";

/// The end of `skyhook-agent status --help`.
pub(super) const NOTES: &str = "\
Examples:
  All packages of this node; of a node whose root is mounted at /host:
    skyhook-agent status
    skyhook-agent status --root /host

  What an apply of the package tuning would do now:
    skyhook-agent status tuning --plan apply /var/lib/skyhook/node/tuning-1.2.3

  Have the step steps/sysctl.sh of tuning run again with the next apply:
    skyhook-agent status tuning --forget steps/sysctl.sh

JSON: {\"schema\":1,\"packages\":[...],\"state_roots\":[...]}. A package has name,
  state_root, version, since, history, steps, checks, interrupts, logs, running,
  may_run, leftovers and problems. docs/operations.md has each field.

Environment:
  SKYHOOK_ROOT_DIR             one more state directory
  SKYHOOK_LOG_DIR              directory of the logs
  OVERLAY_ALWAYS_RUN_STEP      true: --plan runs steps that have succeeded
  and the variables that the arguments of steps name, for --plan

Exit codes:
  0  all is well
  1  something could not be understood, a check has failed, the package is not
     there, or a run would stop before its first step
  2  wrong usage, or a variable with a value that cannot be used";

#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    root: Root,

    /// State directory; can be repeated [default: all that are found]
    ///
    /// DIR is a path inside the root. Without this option it is /etc/skyhook, each
    /// directory of /var/lib/skyhook that looks like one (the operator has one for
    /// each custom resource), and SKYHOOK_ROOT_DIR.
    #[arg(long = "state-dir", value_name = "DIR", verbatim_doc_comment)]
    state_dirs: Vec<PathBuf>,

    /// Log directory [default: SKYHOOK_LOG_DIR]
    ///
    /// DIR is a path inside the root. Without this option and SKYHOOK_LOG_DIR, it is
    /// /var/log/skyhook/NAME for the state directory /var/lib/skyhook/NAME, and
    /// /var/log/skyhook for another one.
    #[arg(long, value_name = "DIR", verbatim_doc_comment)]
    log_dir: Option<PathBuf>,

    /// Show what a run of MODE would do now; runs nothing
    ///
    /// COPY_DIR is the directory of the package, inside the root. Shows which steps
    /// would run and why, and which files the package would add or replace. Values
    /// of variables are not shown. The environment of a run may have other ones.
    #[arg(
        long,
        num_args = 2,
        action = ArgAction::Set,
        value_names = ["MODE", "COPY_DIR"],
        requires = "package",
        conflicts_with = "forget",
        verbatim_doc_comment
    )]
    plan: Vec<PathBuf>,

    /// Remove the flags of this step, so that it runs again
    ///
    /// STEP is the step's path below skyhook_dir. The flags of all versions of the
    /// package are removed, after a question. Nothing else is changed.
    #[arg(long, value_name = "STEP", requires = "package", verbatim_doc_comment)]
    forget: Option<String>,

    /// Remove the flags without a question
    #[arg(long, requires = "forget")]
    yes: bool,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    color: Color,

    /// Package to look at [default: all]
    package: Option<String>,
}

impl TryFrom<Status> for Options {
    type Error = clap::Error;

    fn try_from(args: Status) -> Result<Options, clap::Error> {
        let task = match (&args.package, &args.plan[..], args.forget) {
            (Some(package), [mode, copy_dir], _) => Task::Plan {
                package: package.clone(),
                mode: parse_mode(&mode.to_string_lossy())?,
                copy_dir: copy_dir.clone(),
            },
            (Some(package), _, Some(step)) => Task::Forget {
                package: package.clone(),
                step,
                yes: args.yes,
            },
            _ => Task::Show,
        };
        Ok(Options {
            root: args.root.root,
            state_dirs: args.state_dirs,
            log_dir: args.log_dir,
            package: args.package,
            task,
            json: args.output.is_json(),
            color: args.color.into(),
        })
    }
}

/// Reads the mode of a plan. An interrupt has no steps.
fn parse_mode(name: &str) -> Result<Mode, clap::Error> {
    let known = Mode::ALL
        .into_iter()
        .filter(|mode| *mode != Mode::Interrupt);
    if let Some(mode) = known.clone().find(|mode| mode.name() == name) {
        return Ok(mode);
    }
    let names: Vec<&str> = known.map(Mode::name).collect();
    let hint = match near_miss(name, names.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("one of {}", names.join(", ")),
    };
    Err(super::usage(&format!(
        "--plan {name}: expected a mode; {hint}"
    )))
}
