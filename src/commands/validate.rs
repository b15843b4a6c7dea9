//! `skyhook-agent validate`: says all that can be said about packages before they run.
//! For package authors.

use std::path::{Path, PathBuf};

use anstream::ColorChoice;

use super::Outcome;
use crate::error::Error;
use crate::host::Root;
use crate::output::Printer;
use crate::package::lint::{self, Dir, Files, Report};
use crate::package::{Code, Severity};

mod github;
pub mod human;
mod json;
mod shell;

pub(super) use json::{Finding, finding};

/// The options of `validate`, as the command line has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Tells if colours are used.
    pub color: ColorChoice,
    /// The form of the answer.
    pub output: Output,
    /// The directories of the packages whose images these are built on, the nearest first.
    pub bases: Vec<PathBuf>,
    /// The directory with the files that the packages expect in `configmaps`.
    pub configmaps: Option<PathBuf>,
    /// The root of a node, to look for interpreters.
    pub host_root: Option<PathBuf>,
    /// The name that the operator has for the package.
    pub name: Option<String>,
    /// Tells if a package with warnings has failed.
    pub deny_warnings: bool,
    /// A code to explain; no package is looked at then.
    pub explain: Option<Code>,
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
    /// Annotations of a GitHub workflow.
    Github,
}

/// Looks at the packages and prints what it finds. They have failed if there is an error,
/// or a warning if those are denied.
///
/// # Errors
/// If there is no package, or the system cannot tell.
pub fn run(options: &Options, printer: &mut Printer) -> Result<Outcome, Error> {
    if let Some(code) = options.explain {
        printer.line(code.explanation())?;
        return Ok(Outcome::Succeeded);
    }
    let reports = look(options)?;
    match options.output {
        Output::Human => human::print(&reports, printer)?,
        Output::Json => json::print(&reports, printer)?,
        Output::Github => github::print(&reports, printer)?,
    }
    let errors = count(&reports, Severity::Error);
    let warnings = count(&reports, Severity::Warning);
    Ok(if errors > 0 || options.deny_warnings && warnings > 0 {
        Outcome::Failed
    } else {
        Outcome::Succeeded
    })
}

/// Looks at each package.
fn look(options: &Options) -> Result<Vec<Report>, Error> {
    let root = Root::open(Path::new("/"))?;
    let lints = lint::Options {
        host_root: options.host_root.as_deref().map(Root::open).transpose()?,
        configmaps: options.configmaps.as_deref().map(directory).transpose()?,
        name: options.name.clone(),
    };
    let mut reports = Vec::new();
    for path in &options.paths {
        let mut files = files(path)?;
        for base in &options.bases {
            files.dirs.push(directory(base)?);
        }
        reports.push(look_at(&root, &files, &lints));
    }
    Ok(reports)
}

/// Looks at one package for another command, which uses it afterwards.
///
/// # Errors
/// If there is no package, or the system cannot tell.
pub(super) fn look_before_use(
    path: &Path,
    configmaps: Option<&Path>,
    name: Option<&str>,
) -> Result<Report, Error> {
    let root = Root::open(Path::new("/"))?;
    let lints = lint::Options {
        host_root: None,
        configmaps: configmaps.map(directory).transpose()?,
        name: name.map(str::to_owned),
    };
    Ok(look_at(&root, &files(path)?, &lints))
}

fn look_at(root: &Root, files: &Files, lints: &lint::Options) -> Report {
    let mut report = lint::lint(root, files, lints);
    shell::check(&mut report);
    report
}

fn count(reports: &[Report], severity: Severity) -> usize {
    reports.iter().map(|report| report.count(severity)).sum()
}

/// Counts for people: `2 packages: 1 error, no warnings`.
fn summary(reports: &[Report]) -> String {
    let number = |number: usize, of: &str| match number {
        0 => format!("no {of}s"),
        1 => format!("1 {of}"),
        _ => format!("{number} {of}s"),
    };
    let packages = number(reports.len(), "package");
    let errors = number(count(reports, Severity::Error), "error");
    let warnings = number(count(reports, Severity::Warning), "warning");
    format!("{packages}: {errors}, {warnings}")
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
    Ok(Files {
        config: config.to_owned(),
        dirs: vec![dir_at(dir)?],
    })
}

/// Takes a directory that must be there.
fn directory(path: &Path) -> Result<Dir, Error> {
    if path.is_dir() {
        return dir_at(path);
    }
    let path = path.display();
    Err(Error::Usage(format!("{path}: expected a directory")))
}

fn dir_at(path: &Path) -> Result<Dir, Error> {
    let name = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let absolute = std::path::absolute(name);
    Ok(Dir {
        path: absolute.map_err(|error| Error::io("make absolute", name, error))?,
        name: name.to_owned(),
    })
}
