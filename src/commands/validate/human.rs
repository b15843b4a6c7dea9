//! The findings for people: each with its line, and a caret below what it is about.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{count, summary};
use crate::error::Error;
use crate::output::{Palette, Printer};
use crate::package::Severity;
use crate::package::lint::{Located, Report};
use crate::text::escape;

/// The columns of a line that are shown if stdout is no terminal.
const WIDTH: usize = 120;

pub(super) fn print(reports: &[Report], printer: &mut Printer) -> Result<(), Error> {
    for report in reports {
        for located in &report.findings {
            for line in lines(report, located, printer.palette, printer.width) {
                printer.line(line)?;
            }
            printer.line("")?;
        }
    }
    let palette = printer.palette;
    let errors = count(reports, Severity::Error);
    let warnings = count(reports, Severity::Warning);
    let style = match (errors, warnings) {
        (0, 0) => palette.good,
        (0, _) => palette.warning,
        _ => palette.bad,
    };
    printer.line(format_args!("{style}{}{style:#}", summary(reports)))
}

/// The lines of one finding, at most `width` columns of config.json in each.
#[must_use]
pub fn lines(
    report: &Report,
    located: &Located,
    palette: Palette,
    width: Option<usize>,
) -> Vec<String> {
    let Palette {
        note, strong, dim, ..
    } = palette;
    let finding = &located.finding;
    let style = match finding.severity {
        Severity::Error => palette.bad,
        Severity::Warning => palette.warning,
    };
    let (severity, code) = (finding.severity.name(), finding.code);
    let message = escape(&finding.message);
    let mut lines = vec![format!(
        "{style}{severity}[{code}]{style:#}{strong}: {message}{strong:#}"
    )];

    let file = located.file.to_string_lossy();
    let file = escape(&file);
    let position = report.position(located);
    let line = position.map(|(line, _)| line.to_string());
    let margin = " ".repeat(line.as_ref().map_or(1, String::len));
    let at = position.map(|(line, column)| format!(":{line}:{column}"));
    let mut origin = format!("{margin}{note}-->{note:#} {file}{}", at.unwrap_or_default());
    let place = finding.place.to_string();
    if !place.is_empty() {
        origin += &format!(" {dim}({}){dim:#}", escape(&place));
    }
    lines.push(origin);

    if let Some(line) = line
        && let Some((source, carets)) = source(report, located, width.unwrap_or(WIDTH))
    {
        lines.push(format!("{margin} {note}|{note:#}"));
        lines.push(format!("{note}{line} |{note:#} {source}"));
        lines.push(format!("{margin} {note}|{note:#} {style}{carets}{style:#}"));
    }
    if !located.help.is_empty() {
        let help = escape(&located.help);
        lines.push(format!("{margin} {note}= help:{note:#} {help}"));
    }
    lines
}

/// The line of a finding, and the carets below it. Of a long line, the part that the
/// finding is about.
fn source(report: &Report, located: &Located, width: usize) -> Option<(String, String)> {
    let (text, bytes) = located.span.as_ref()?;
    let (line, start) = report.texts.get(*text)?.line(bytes.start);
    let end = (start + bytes.len()).min(line.len());
    // Space for the number of the line, and for what is left out.
    let most = width.saturating_sub(16).max(40);
    // A config.json can be one line of a megabyte. A character has four bytes at most.
    let near = 4 * most;
    let before = shown(line.get(start.saturating_sub(near)..start)?);
    let marked = shown(line.get(start..end.min(start + near))?);
    let after = shown(line.get(end..line.len().min(end + near))?);

    let (cut, before) = last(before.trim_end_matches('\r'), most / 2);
    let indent = cut.width() + before.width();
    let marked = first(&marked, most.saturating_sub(indent).max(8));
    let carets = "^".repeat(marked.width().max(1));
    let after = match marked.ends_with('…') {
        true => String::new(),
        false => first(&after, most.saturating_sub(indent + marked.width())),
    };
    Some((
        format!("{cut}{before}{marked}{after}"),
        format!("{}{carets}", " ".repeat(indent)),
    ))
}

/// A part of a line as it is shown.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    // A byte order mark has no width of its own.
    let text = text.replace('\t', "    ").replace('\u{feff}', "\\u{feff}");
    escape(text.trim_end_matches('\r')).into_owned()
}

/// The first columns of a text, with a mark if that is not all.
fn first(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut first = String::new();
    for c in text.chars() {
        if first.width() + 1 >= columns {
            break;
        }
        first.push(c);
    }
    first + "…"
}

/// The last columns of a text, with a mark in front if that is not all.
fn last(text: &str, columns: usize) -> (&'static str, &str) {
    let (mut start, mut width) = (text.len(), 0);
    for (i, c) in text.char_indices().rev() {
        width += c.width().unwrap_or(0);
        if width > columns {
            return ("…", text.get(start..).unwrap_or_default());
        }
        start = i;
    }
    ("", text)
}
