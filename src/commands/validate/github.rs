//! The findings as annotations of a GitHub workflow: a command on each line, which the
//! runner takes from the output of a step.

use super::summary;
use crate::error::Error;
use crate::output::Printer;
use crate::package::lint::{Located, Report};
use crate::text::escape;

pub(super) fn print(reports: &[Report], printer: &mut Printer) -> Result<(), Error> {
    for report in reports {
        for located in &report.findings {
            printer.line(command(report, located))?;
        }
    }
    printer.line(summary(reports))
}

fn command(report: &Report, located: &Located) -> String {
    let finding = &located.finding;
    let file = located.file.to_string_lossy();
    let position = report.position(located);
    let position = position.map(|(line, column)| format!(",line={line},col={column}"));
    let place = finding.place.to_string();
    let place = if place.is_empty() {
        String::new()
    } else {
        format!("{place}: ")
    };
    format!(
        "::{} file={}{},title={}::{}",
        finding.severity.name(),
        property(&file),
        position.unwrap_or_default(),
        property(&format!("skyhook-agent {}", finding.code)),
        data(&format!("{place}{}\n{}", finding.message, located.help)),
    )
}

/// Text as a command can hold it. A newline is the only control character that stays.
fn data(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().split('\n').map(escape).collect();
    lines.join("\n").replace('%', "%25").replace('\n', "%0A")
}

/// Text as a property of a command can hold it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
