//! The findings as JSON.

use serde::Serialize;

use super::count;
use crate::error::Error;
use crate::output::Printer;
use crate::package::Severity;
use crate::package::lint::{Located, Report};

/// The document.
#[derive(Serialize)]
struct Document {
    /// Its form: 1.
    schema: u32,
    findings: Vec<Finding>,
    /// How many of the findings are errors.
    errors: usize,
    warnings: usize,
}

/// A finding as it is in documents.
#[derive(Clone, Debug, Serialize)]
pub(in crate::commands) struct Finding {
    /// `error` or `warning`.
    pub(in crate::commands) severity: &'static str,
    pub(in crate::commands) code: &'static str,
    /// The file that the finding is about.
    pub(in crate::commands) file: String,
    /// From 1 on; null if the finding is about the whole file.
    pub(in crate::commands) line: Option<usize>,
    /// In characters, from 1 on; null as the line is.
    pub(in crate::commands) column: Option<usize>,
    /// The value in config.json, as in `modes.apply[0].path`; empty for the whole.
    pub(in crate::commands) place: String,
    pub(in crate::commands) message: String,
    /// What to do.
    pub(in crate::commands) help: String,
}

pub(super) fn print(reports: &[Report], printer: &mut Printer) -> Result<(), Error> {
    let findings = reports.iter().flat_map(|report| {
        let findings = report.findings.iter();
        findings.map(|located| finding(report, located))
    });
    printer.json(&Document {
        schema: 1,
        findings: findings.collect(),
        errors: count(reports, Severity::Error),
        warnings: count(reports, Severity::Warning),
    })
}

pub(in crate::commands) fn finding(report: &Report, located: &Located) -> Finding {
    let position = report.position(located);
    let finding = &located.finding;
    Finding {
        severity: finding.severity.name(),
        code: finding.code.name(),
        file: located.file.to_string_lossy().into_owned(),
        line: position.map(|(line, _)| line),
        column: position.map(|(_, column)| column),
        place: finding.place.to_string(),
        message: finding.message.clone(),
        help: located.help.clone(),
    }
}
