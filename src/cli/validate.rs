//! The options of `validate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::common::Color;
use crate::commands::validate::{self, Options};

/// The end of `skyhook-agent validate -h`.
pub(super) const NOTES: &str = "\
Exit codes: 0 no errors, 1 a package has errors, 2 wrong usage";

#[derive(Debug, Args)]
pub(super) struct Validate {
    /// Form of the answer: human or json
    #[arg(
        long,
        value_name = "FORM",
        value_enum,
        default_value_t = Output::Human,
        hide_possible_values = true
    )]
    output: Output,

    #[command(flatten)]
    color: Color,

    /// Directory of a package, or its config.json
    #[arg(required = true)]
    path: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Human,
    Json,
}

impl From<Validate> for Options {
    fn from(args: Validate) -> Options {
        Options {
            color: args.color.into(),
            output: match args.output {
                Output::Human => validate::Output::Human,
                Output::Json => validate::Output::Json,
            },
            paths: args.path,
        }
    }
}
