//! The options of `validate`.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Args, Command, ValueEnum};

use super::common::Color;
use crate::commands::validate::{self, Options};
use crate::package::Code;
use crate::package::lint::near;

/// The end of `skyhook-agent validate -h`.
pub(super) const SHORT_NOTES: &str = "\
Exit codes: 0 no errors, 1 a package has errors, 2 wrong usage";

/// The end of `skyhook-agent validate --help`.
pub(super) const NOTES: &str = "\
Examples:
  Look at a package:
    skyhook-agent validate ./my-package

  Look at all packages, also for interpreters that a node does not have,
  and fail if there is a warning:
    skyhook-agent validate --deny-warnings --host-root /host packages/*

  Look at a package whose image is built on another package's:
    skyhook-agent validate --base ./tuned ./my-tuned

  Say more about a finding:
    skyhook-agent validate --explain no-file

  List the files with errors:
    skyhook-agent validate --output json ./my-package |
      jq -r '.findings[] | select(.severity == \"error\") | .file'

Exit codes:
  0  no package has errors
  1  a package has errors, or warnings if they are denied
  2  wrong usage, or there is nothing at PATH";

#[derive(Debug, Args)]
pub(super) struct Validate {
    /// Package that the image is built on; can be repeated
    ///
    /// Files are looked for in PATH, then in each DIR, in the order of the options.
    #[arg(long = "base", value_name = "DIR", verbatim_doc_comment)]
    bases: Vec<PathBuf>,

    /// Directory with the files that config.json expects
    ///
    /// It stands for the package's configmaps. Without this option they are not
    /// looked for.
    #[arg(long, value_name = "DIR", verbatim_doc_comment)]
    configmaps: Option<PathBuf>,

    /// Root of a node, to look for interpreters of scripts
    #[arg(long, value_name = "DIR")]
    host_root: Option<PathBuf>,

    /// Operator's name for the package [default: PATH's]
    #[arg(long)]
    name: Option<String>,

    /// Fail if there is a warning
    #[arg(long)]
    deny_warnings: bool,

    /// Form: human, json or github
    ///
    /// json is one document; docs/packages.md has its fields. github is annotations of
    /// a GitHub workflow.
    #[arg(
        long,
        value_name = "FORM",
        value_enum,
        default_value_t = Output::Human,
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    output: Output,

    /// Explain a code, such as no-file, and look at nothing
    #[arg(
        long,
        value_name = "CODE",
        value_parser = CodeParser,
        hide_possible_values = true,
        conflicts_with = "paths"
    )]
    explain: Option<Code>,

    #[command(flatten)]
    color: Color,

    /// Directory of a package, or its config.json
    #[arg(value_name = "PATH", required_unless_present = "explain")]
    paths: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Human,
    Json,
    Github,
}

impl From<Validate> for Options {
    fn from(args: Validate) -> Options {
        Options {
            color: args.color.into(),
            output: match args.output {
                Output::Human => validate::Output::Human,
                Output::Json => validate::Output::Json,
                Output::Github => validate::Output::Github,
            },
            bases: args.bases,
            configmaps: args.configmaps,
            host_root: args.host_root,
            name: args.name,
            deny_warnings: args.deny_warnings,
            explain: args.explain,
            paths: args.paths,
        }
    }
}

/// Reads a code. clap's own answer to a word that is none lists all of them.
#[derive(Clone)]
struct CodeParser;

impl TypedValueParser for CodeParser {
    type Value = Code;

    fn parse_ref(
        &self,
        command: &Command,
        option: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Code, clap::Error> {
        parse_code.parse_ref(command, option, value)
    }

    /// For completions.
    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let names = Code::ALL.iter().map(|code| code.name());
        Some(Box::new(names.map(PossibleValue::new)))
    }
}

fn parse_code(word: &str) -> Result<Code, String> {
    let names = Code::ALL.iter().map(|code| code.name());
    Code::from_name(word).ok_or_else(|| match near(word, names) {
        Some(near) => format!("did you mean {near}?"),
        None => "expected a code that validate prints, such as no-file".to_owned(),
    })
}
