//! The options of `new`.

use clap::{Args, ValueEnum};

use super::common::Color;
use crate::commands::new::{self, Name, Options};

/// The end of `skyhook-agent new -h`.
pub(super) const SHORT_NOTES: &str = "\
Exit codes: 0 made, 1 not written, 2 wrong usage, or the name is taken";

/// The end of `skyhook-agent new --help`.
pub(super) const NOTES: &str = "\
Examples:
  Make a package, look at it, and run it on this machine:
    skyhook-agent new my-package
    skyhook-agent validate my-package
    TARGET_DIR=\"$PWD/try\" skyhook-agent run-step --log-dir logs my-package

  Make one with settings in the custom resource, and with an uninstall:
    skyhook-agent new my-settings --with config,uninstall

Exit codes:
  0  the package is made
  1  it could not be written
  2  wrong usage, or there is something of that name";

#[derive(Debug, Args)]
pub(super) struct New {
    /// More to start from: upgrade, uninstall, config, interrupt
    ///
    /// upgrade    steps that bring an older version to this one
    /// uninstall  steps that remove what the package has done
    /// config     settings that the custom resource has, and steps that use them
    /// interrupt  a check that runs after an interrupt, such as a reboot
    #[arg(
        long = "with",
        value_name = "PART,...",
        value_enum,
        value_delimiter = ',',
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    parts: Vec<Part>,

    #[command(flatten)]
    color: Color,

    /// Name of the package, and of the directory to make
    ///
    /// 2 to 43 of a-z, 0-9 and -, the first and the last a letter, as the operator
    /// takes it.
    #[arg(verbatim_doc_comment)]
    name: Name,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Part {
    Upgrade,
    Uninstall,
    Config,
    Interrupt,
}

impl From<New> for Options {
    fn from(args: New) -> Options {
        let part = |part: &Part| match part {
            Part::Upgrade => new::Part::Upgrade,
            Part::Uninstall => new::Part::Uninstall,
            Part::Config => new::Part::Config,
            Part::Interrupt => new::Part::Interrupt,
        };
        Options {
            color: args.color.into(),
            name: args.name,
            parts: args.parts.iter().map(part).collect(),
        }
    }
}
