//! All that can be said about a package before it runs, each with its line.
//!
//! What the agent refuses in a config.json comes from the rules by which it loads a
//! package: there are no others here. What is found besides is about the files, and
//! what an author has probably not meant.

mod arguments;
mod config;
mod files;
mod help;
mod modes;
mod names;
mod near;
mod notes;
mod report;
mod scripts;
mod steps;
mod trees;
mod unused;

use std::path::Path;

use super::{Code, Finding, Place, Severity};
use crate::error::Error;
use crate::host::Root;

pub use files::{Dir, Files};
pub use near::near;
pub use report::{Located, Report, Script, Text};

use notes::Notes;

/// What is looked at besides the package.
#[derive(Debug, Default)]
pub struct Options {
    /// The root of a node. Interpreters are looked for there.
    pub host_root: Option<Root>,
    /// A directory for the files that the package expects in its `configmaps`.
    pub configmaps: Option<Dir>,
    /// The name that the operator has for the package.
    pub name: Option<String>,
}

/// Looks at a package. That something cannot be looked at is a finding, too.
#[must_use]
pub fn lint(root: &Root, files: &Files, options: &Options) -> Report {
    let mut report = Report::default();
    if let Err(error) = look(root, files, options, &mut report) {
        let (code, place) = (Code::Unreadable, &Place::DOCUMENT);
        let finding = Finding::new(Severity::Error, code, place, error.to_string());
        let dir = files.dirs.first().map(|dir| dir.name.clone());
        report.add_about_file(dir.unwrap_or_default(), finding);
    }
    report.sort();
    report
}

fn look(root: &Root, files: &Files, options: &Options, report: &mut Report) -> Result<(), Error> {
    let step_files = trees::below(root, files, Path::new("skyhook_dir"), report)?;
    if let Some((file, bytes)) = config::read(root, files, report)? {
        // What is no UTF-8 is no JSON, and has no positions.
        let text = str::from_utf8(&bytes).unwrap_or_default();
        let mut notes = Notes::new(report, file, bytes.clone(), text);
        let document = config::lint(root, files, &bytes, text, &step_files, &mut notes);
        if let Some(document) = &document {
            let steps = steps::of(document);
            names::lint(document, files, options.name.as_deref(), &mut notes);
            modes::lint(document, &steps, &mut notes);
            arguments::lint(&steps, &mut notes);
            config::expected_files(root, document, options.configmaps.as_ref(), &mut notes)?;
            let scripts = scripts::lint(root, files, options, &steps, &mut notes)?;
            // With errors, it is not known which files are steps.
            if notes.report.count(Severity::Error) == 0 {
                unused::lint(root, files, text, &scripts, &step_files, &mut notes);
            }
        }
        notes.end();
    }
    trees::lint(root, files, report)
}
