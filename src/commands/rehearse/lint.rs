//! What `validate` says of the package before it is rehearsed.

use std::path::Path;

use crate::commands::validate::{self, human};
use crate::error::Error;
use crate::output::Printer;
use crate::package::Severity;
use crate::package::lint::{Located, Report};

/// Looks at the package as `validate` does. What is left are warnings.
///
/// # Errors
/// If it has errors: it would not run on a node.
pub(super) fn look(
    path: &Path,
    configmaps: Option<&Path>,
    name: Option<&str>,
) -> Result<Report, Error> {
    let report = validate::look_before_use(path, configmaps, name)?;
    let config = match path.is_dir() {
        true => path.join("config.json"),
        false => path.to_owned(),
    };
    let errors = report.findings.iter();
    let errors = errors.filter(|located| located.finding.severity == Severity::Error);
    let problems: Vec<String> = errors
        .map(|located| problem(&report, located, &config))
        .collect();
    match problems.is_empty() {
        true => Ok(report),
        false => Err(Error::Package {
            file: config,
            problems,
        }),
    }
}

/// A line about an error. That of another file than config.json names it.
fn problem(report: &Report, located: &Located, config: &Path) -> String {
    let Located { finding, file, .. } = located;
    if file == config {
        return finding.to_string();
    }
    let file = file.display();
    match report.position(located) {
        Some((line, _)) => format!("{finding} ({file}:{line})"),
        None => format!("{finding} ({file})"),
    }
}

/// Shows warnings as `validate` does.
pub(super) fn show(report: &Report, printer: &mut Printer) -> Result<(), Error> {
    for located in &report.findings {
        for line in human::lines(report, located, printer.palette, printer.width) {
            printer.line(line)?;
        }
        printer.line("")?;
    }
    printer.flush()
}
