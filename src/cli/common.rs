//! Options that several commands have.

use std::path::PathBuf;

use anstream::ColorChoice;
use clap::{Args, ValueEnum};

/// `--color`.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Color {
    /// Use colours: auto, always or never
    ///
    /// auto: if the output is a terminal. NO_COLOR, CLICOLOR and CLICOLOR_FORCE count.
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t = When::Auto,
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    color: When,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

impl From<Color> for ColorChoice {
    fn from(color: Color) -> ColorChoice {
        match color.color {
            When::Auto => ColorChoice::Auto,
            When::Always => ColorChoice::Always,
            When::Never => ColorChoice::Never,
        }
    }
}

/// `--root`, of the commands that look at a node.
#[derive(Clone, Debug, Args)]
pub(super) struct Root {
    /// Root of the node to look at
    ///
    /// Links in it are followed inside it.
    #[arg(long, value_name = "DIR", default_value = "/", verbatim_doc_comment)]
    pub(super) root: PathBuf,
}

/// `--output`, of the commands that answer as one document.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Output {
    /// Form of the answer: human or json
    #[arg(
        long,
        value_name = "FORM",
        value_enum,
        default_value_t = Form::Human,
        hide_possible_values = true
    )]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Human,
    Json,
}

impl Output {
    /// Tells if a program reads the answer.
    pub(super) fn is_json(self) -> bool {
        self.output == Form::Json
    }
}
