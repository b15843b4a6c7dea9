//! The options of `rehearse`, and the hidden command that runs a stage of it.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::common::Color;
use crate::commands::rehearse::{self, InterruptData, Options, stand_ins};
use crate::package::Interrupt;
use crate::text;
use crate::view::{Presence, StandIn};

/// The end of `skyhook-agent rehearse -h`.
pub(super) const SHORT_NOTES: &str = "\
Exit codes: 0 nothing was found, 1 something was found or failed, 2 wrong usage";

/// The end of `skyhook-agent rehearse --help`.
pub(super) const NOTES: &str = "\
Examples:
  Rehearse a package on this machine, without changing it:
    skyhook-agent rehearse ./my-package

  Rehearse an upgrade, and see what it changes in text files:
    skyhook-agent rehearse --diff --from ./my-package-1.0.0 ./my-package

  Rehearse it with its interrupt and its variables:
    skyhook-agent rehearse --interrupt '{\"type\":\"reboot\"}' \\
      --env NODE_ROLE=training ./my-package

  Write a page for a pull request, and a file for the CI system:
    skyhook-agent rehearse --output markdown --junit rehearsal.xml ./my-package

The life of a package: apply or, with --from, the old version and an upgrade;
config; the interrupt; post-interrupt. Then all of it again, which should change
nothing, and once more with OVERLAY_ALWAYS_RUN_STEP=true. Then uninstall, which
should leave nothing. Then, in a new view, each stage that changes files is cut off
after half of its changes and started anew, which should succeed. Modes without
steps are left out.

The view is made of overlayfs in namespaces of its own. The root below it is not
written to. /run and /tmp are new, /sys and /proc/sys cannot be written to, and
there is no network. docs/packages.md says what the view cannot hold back.

Exit codes:
  0  all stages succeeded, a second pass changed nothing, nothing was left behind,
     and each step could be started anew
  1  one of these is not so, or there can be no view
  2  wrong usage";

#[derive(Debug, Args)]
pub(super) struct Rehearse {
    /// Root to rehearse on
    ///
    /// Nothing in it is changed.
    #[arg(long, value_name = "DIR", default_value = "/", verbatim_doc_comment)]
    root: PathBuf,

    /// Old version of the package, to upgrade from
    #[arg(long, value_name = "OLD")]
    from: Option<PathBuf>,

    /// Name of the package in the custom resource
    ///
    /// Without it, that is package_name, with - for _. It is a part of SKYHOOK_RESOURCE_ID
    /// and SKYHOOK_DIR.
    // Few need it, and the short help fits a screen.
    #[arg(
        long,
        value_name = "NAME",
        value_parser = resource_name,
        hide_short_help = true,
        verbatim_doc_comment
    )]
    name: Option<String>,

    /// Interrupt to play: {"type":"reboot"}
    ///
    /// Its commands are recorded and not run. A reboot is played.
    #[arg(long, value_name = "JSON", value_parser = interrupt, verbatim_doc_comment)]
    interrupt: Option<InterruptData>,

    /// Words that a played reboot adds to /proc/cmdline
    ///
    /// They are there after the reboot of --interrupt, at the end. What the package writes
    /// for a boot loader is not read.
    #[arg(
        long,
        value_name = "WORDS",
        value_parser = words,
        hide_short_help = true,
        verbatim_doc_comment
    )]
    cmdline: Option<String>,

    /// Directory that stands for the package's ConfigMap
    #[arg(long, value_name = "DIR")]
    configmaps: Option<PathBuf>,

    /// Directory that stands for node-metadata
    ///
    /// The operator puts labels.json, annotations.json and packages.json there.
    #[arg(long, value_name = "DIR", verbatim_doc_comment)]
    metadata: Option<PathBuf>,

    /// Variable for the package; can be repeated
    ///
    /// As in `env` of the package in the custom resource.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable, verbatim_doc_comment)]
    env: Vec<(String, String)>,

    /// Replace a program, too; it exits with N, or 0
    #[arg(long = "stand-in", value_name = "NAME[=N]", value_parser = stand_in, long_help = stand_in_help())]
    stand_ins: Vec<StandIn>,

    /// Do not replace this program
    #[arg(long = "real", value_name = "NAME", value_parser = real)]
    reals: Vec<String>,

    /// Let steps use the network of this machine
    #[arg(long)]
    network: bool,

    /// Do not cut stages off and start them anew
    #[arg(long)]
    no_cut: bool,

    /// Time that a stage may take
    ///
    /// After that it is ended and has failed. DURATION is such as 90s or 1h.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "15m",
        value_parser = duration,
        verbatim_doc_comment
    )]
    timeout: Duration,

    /// Accept findings: leftovers, changes
    ///
    /// leftovers  what is left behind after uninstall
    /// changes    what a second pass changes
    #[arg(
        long,
        value_name = "FINDING,...",
        value_enum,
        value_delimiter = ',',
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    allow: Vec<Allow>,

    /// Leave a path out of findings; can be repeated
    ///
    /// It is a file, or a directory with all below it, and is left out of what a second
    /// pass changes and of what is left behind. /var/cache, /var/log and the like always
    /// are; docs/packages.md lists them.
    #[arg(long = "ignore", value_name = "PATH", value_parser = ignored, verbatim_doc_comment)]
    ignored: Vec<PathBuf>,

    /// Show changes of text files, as unified diffs
    ///
    /// Also what a second pass changed in them, and how what is left behind differs from
    /// the root.
    #[arg(long, verbatim_doc_comment)]
    diff: bool,

    /// Keep what the package wrote in this directory
    ///
    /// DIR must be empty or missing, and not on an overlay.
    #[arg(long, value_name = "DIR", verbatim_doc_comment)]
    keep: Option<PathBuf>,

    /// Open a shell in the view at a failure or the end
    ///
    /// At the first failure, or else before the view of the first life is removed. Its
    /// root is that of the view.
    #[arg(long, verbatim_doc_comment)]
    shell: bool,

    /// Form: human, json or markdown
    ///
    /// json is one document; docs/packages.md has its fields. markdown is a page for a
    /// pull request.
    #[arg(
        long,
        value_name = "FORM",
        value_enum,
        default_value_t = Output::Human,
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    output: Output,

    /// Write a JUnit report to this file, too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    #[command(flatten)]
    color: Color,

    /// Directory of the package, or its config.json
    #[arg(value_name = "PATH")]
    package: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Human,
    Json,
    Markdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Allow {
    Leftovers,
    Changes,
}

impl TryFrom<Rehearse> for Options {
    type Error = clap::Error;

    fn try_from(args: Rehearse) -> Result<Options, clap::Error> {
        let is_stdout_taken = !matches!(args.output, Output::Human);
        if args.shell && is_stdout_taken {
            return Err(super::usage("--shell: expected --output human"));
        }
        let has_reboot = matches!(&args.interrupt, Some(data) if data.interrupt == REBOOT);
        if args.cmdline.is_some() && !has_reboot {
            return Err(super::usage(
                "--cmdline: expected --interrupt '{\"type\":\"reboot\"}', too",
            ));
        }
        let stand_ins = stand_ins::table(&args.stand_ins, &args.reals);
        Ok(Options {
            color: args.color.into(),
            output: match args.output {
                Output::Human => rehearse::Output::Human,
                Output::Json => rehearse::Output::Json,
                Output::Markdown => rehearse::Output::Markdown,
            },
            junit: args.junit,
            package: args.package,
            root: args.root,
            from: args.from,
            name: args.name,
            interrupt: args.interrupt,
            cmdline: args.cmdline,
            configmaps: args.configmaps,
            metadata: args.metadata,
            env: args.env,
            stand_ins,
            network: args.network,
            cut: !args.no_cut,
            timeout: args.timeout,
            allow: rehearse::Allow {
                leftovers: args.allow.contains(&Allow::Leftovers),
                changes: args.allow.contains(&Allow::Changes),
            },
            ignored: args.ignored,
            diff: args.diff,
            keep: args.keep,
            shell: args.shell,
        })
    }
}

/// The types of interrupts in the custom resource, and what the operator makes of them.
const OF_THE_RESOURCE: [(&str, &str); 4] = [
    ("reboot", "node_restart"),
    ("service", "service_restart"),
    ("restartAllServices", "restart_all_services"),
    ("noop", "no_op"),
];

/// What plays a reboot.
const REBOOT: Interrupt = Interrupt::NodeRestart {};

fn interrupt(json: &str) -> Result<InterruptData, String> {
    let mut json = json.to_owned();
    if let Ok(mut interrupt) = serde_json::from_str::<Value>(&json)
        && let Some(kind) = interrupt.get_mut("type")
        && let Some((_, of_operator)) = OF_THE_RESOURCE.iter().find(|(name, _)| kind == name)
    {
        *kind = Value::from(*of_operator);
        json = interrupt.to_string();
    }
    let base64 = BASE64_STANDARD.encode(json);
    match Interrupt::parse(&base64) {
        Ok(interrupt) => Ok(InterruptData { interrupt, base64 }),
        Err(error) => Err(format!(
            "expected such as {{\"type\":\"reboot\"}} or \
             {{\"type\":\"service\",\"services\":[\"containerd\"]}}: {error}"
        )),
    }
}

fn words(text: &str) -> Result<String, &'static str> {
    match text.trim().is_empty() || text.contains(text::is_unshowable) {
        true => Err("expected words without control characters, such as hugepages=4"),
        false => Ok(text.trim().to_owned()),
    }
}

fn ignored(path: &str) -> Result<PathBuf, &'static str> {
    // Without a slash at the end.
    let path: PathBuf = Path::new(path).components().collect();
    let is_named = path.components().all(|part| part != Component::ParentDir);
    match path.is_absolute() && is_named && path.file_name().is_some() {
        true => Ok(path),
        false => Err("expected an absolute path, and not / itself"),
    }
}

fn resource_name(name: &str) -> Result<String, &'static str> {
    match rehearse::is_resource_name(name) {
        true => Ok(name.to_owned()),
        false => Err(
            "expected a name of the custom resource: 2 to 43 of a-z, 0-9 and -, \
                      with a letter at both ends",
        ),
    }
}

fn variable(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE"),
    }
}

fn stand_in(text: &str) -> Result<StandIn, &'static str> {
    let (name, exit) = text.split_once('=').unwrap_or((text, "0"));
    let exit = exit.parse().map_err(|_| "expected an exit code, 0 to 255");
    Ok(StandIn {
        name: program(name)?,
        exit: exit?,
        presence: Presence::Always,
    })
}

fn program(name: &str) -> Result<String, &'static str> {
    match name {
        "" | "." | ".." => Err("expected the name of a program"),
        _ if name.contains('/') => Err("expected the name of a program, without directories"),
        _ => Ok(name.to_owned()),
    }
}

fn real(name: &str) -> Result<String, String> {
    let names: Vec<&str> = stand_ins::names().collect();
    match names.contains(&name) {
        true => Ok(name.to_owned()),
        false => {
            let names = names.join(", ");
            Err(format!("expected a program that is replaced: {names}"))
        }
    }
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    text::duration(text).ok_or("expected a duration such as 90s, 5m or 1h30m")
}

fn stand_in_help() -> String {
    // Clap breaks no lines here.
    let names: Vec<&str> = stand_ins::names().collect();
    let lines: Vec<String> = names.chunks(6).map(|names| names.join(", ")).collect();
    format!(
        "Replace a program, too; it exits with N, or 0\n\n\
         Calls are recorded and shown. NAME is there then, if the root has it or not. These\n\
         are replaced unless --real names them:\n{}",
        lines.join(",\n")
    )
}
