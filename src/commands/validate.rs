//! `skyhook-agent validate`: says all that can be said about packages before they run.
//! For package authors.

use std::path::{Path, PathBuf};

use anstream::ColorChoice;

use super::Outcome;
use crate::error::Error;
use crate::host::Root;
use crate::output::Printer;
use crate::package::Severity;
use crate::package::lint::{self, Dir, Files, Report};

mod human;
mod json;

/// The options of `validate`, as the command line has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Tells if colours are used.
    pub color: ColorChoice,
    /// The form of the answer.
    pub output: Output,
    /// The directories of packages, or their config.json.
    pub paths: Vec<PathBuf>,
}

/// The forms of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// For people.
    Human,
    /// One JSON document.
    Json,
}

/// Looks at the packages and prints what it finds. They have failed if there is an error.
///
/// # Errors
/// If there is no package, or the system cannot tell.
pub fn run(options: &Options, printer: &mut Printer) -> Result<Outcome, Error> {
    let root = Root::open(Path::new("/"))?;
    let mut reports = Vec::new();
    for path in &options.paths {
        let files = files(path)?;
        reports.push(lint::lint(&root, &files)?);
    }
    match options.output {
        Output::Human => human::print(&reports, printer)?,
        Output::Json => json::print(&reports, printer)?,
    }
    Ok(match count(&reports, Severity::Error) {
        0 => Outcome::Succeeded,
        _ => Outcome::Failed,
    })
}

fn count(reports: &[Report], severity: Severity) -> usize {
    reports.iter().map(|report| report.count(severity)).sum()
}

/// Finds the directory of a package, and its config.json.
fn files(path: &Path) -> Result<Files, Error> {
    let metadata = path.metadata().map_err(|error| {
        Error::Usage(format!(
            "{}: expected the directory of a package, or its config.json: {error}",
            path.display()
        ))
    })?;
    let (dir, config) = match (metadata.is_dir(), path.parent(), path.file_name()) {
        (false, Some(dir), Some(config)) => (dir, Path::new(config)),
        _ => (path, Path::new("config.json")),
    };
    let name = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    let path =
        std::path::absolute(name).map_err(|error| Error::io("make absolute", name, error))?;
    Ok(Files {
        config: config.to_owned(),
        dirs: vec![Dir {
            path,
            name: name.to_owned(),
        }],
    })
}
