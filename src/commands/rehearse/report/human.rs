//! The report for people.

use std::fmt;
use std::time::Duration;

use super::findings::{Check, by};
use super::{Call, Change, Kind, Report};
use crate::commands::rehearse::plan::Pass;
use crate::error::Error;
use crate::output::pretty::seconds;
use crate::output::{Palette, Printer};
use crate::text::escape;

/// Prints what came of the life. Its stages were shown as they ended.
pub(in crate::commands::rehearse) fn print(
    report: &Report,
    printer: &mut Printer,
) -> Result<(), Error> {
    changes(report, printer)?;
    calls(report, printer)?;
    let checks = report.checks();
    for check in checks.iter().filter(|check| !check.found.is_empty()) {
        findings(check, printer)?;
    }
    if report.is_installed() {
        for_the_operator(report, printer)?;
    }
    for gap in &report.gaps {
        note(printer, format_args!("the view: {}", escape(gap)))?;
    }
    summary(report, &checks, printer)
}

fn title(printer: &mut Printer, title: &str) -> Result<(), Error> {
    let strong = printer.palette.strong;
    printer.line(format_args!("\n{strong}{title}{strong:#}"))
}

fn note(printer: &mut Printer, note: impl fmt::Display) -> Result<(), Error> {
    let dim = printer.palette.dim;
    printer.line(format_args!("{dim}  {note}{dim:#}"))
}

fn changes(report: &Report, printer: &mut Printer) -> Result<(), Error> {
    let mut heading = None;
    for change in report.of_life() {
        if heading.is_none() {
            title(printer, "Changes")?;
        }
        let of = (change.pass, change.mode, change.step.as_deref());
        if heading != Some(of) {
            heading = Some(of);
            let old = if change.pass == Pass::Old { "old " } else { "" };
            let step = by(change.step.as_deref());
            let mode = change.mode;
            printer.line(format_args!("  {old}{mode} {}", escape(step)))?;
        }
        printer.line(line(change, printer.palette))?;
        for line in change.diff.iter().flat_map(|diff| diff.lines()) {
            diff_line(line, printer)?;
        }
    }
    Ok(())
}

fn line(change: &Change, palette: Palette) -> String {
    let style = match change.kind {
        Kind::Added => palette.good,
        Kind::Changed => palette.note,
        Kind::Removed => palette.bad,
    };
    let (mark, path, detail) = (change.kind.mark(), escape(&change.path), change.detail());
    let dim = palette.dim;
    match detail.is_empty() {
        true => format!("    {style}{mark} {path}{style:#}"),
        false => format!("    {style}{mark} {path}{style:#}  {dim}{detail}{dim:#}"),
    }
}

fn diff_line(line: &str, printer: &mut Printer) -> Result<(), Error> {
    let palette = printer.palette;
    let style = match line.chars().next() {
        Some('+') => palette.good,
        Some('-') => palette.bad,
        Some('@') => palette.note,
        _ => palette.dim,
    };
    let line = line.replace('\t', "    ");
    printer.line(format_args!("        {style}{}{style:#}", escape(&line)))
}

fn calls(report: &Report, printer: &mut Printer) -> Result<(), Error> {
    if report.stand_ins.is_empty() {
        return Ok(());
    }
    title(printer, "Calls of programs that are replaced")?;
    for call in &report.stand_ins {
        let Call { mode, pass, .. } = call;
        let (command, step) = (call.command(), by(call.step.as_deref()));
        let dim = printer.palette.dim;
        printer.line(format_args!(
            "  {}  {dim}{mode} {} ({}){dim:#}",
            escape(&command),
            escape(step),
            pass.name()
        ))?;
    }
    Ok(())
}

fn findings(check: &Check, printer: &mut Printer) -> Result<(), Error> {
    let palette = printer.palette;
    let (style, allowed) = match check.is_allowed {
        true => (palette.warning, " (allowed)"),
        false => (palette.bad, ""),
    };
    printer.line(format_args!("\n{style}{}{style:#}{allowed}", check.title))?;
    for found in &check.found {
        printer.line(format_args!("  {}", escape(found)))?;
    }
    Ok(())
}

fn for_the_operator(report: &Report, printer: &mut Printer) -> Result<(), Error> {
    title(printer, "For the operator")?;
    for (what, value) in report.for_the_operator() {
        match value {
            Some(value) => printer.line(format_args!("  {what}: {}", escape(&value)))?,
            None => printer.line(format_args!("  {what}"))?,
        }
    }
    Ok(())
}

fn summary(report: &Report, checks: &[Check], printer: &mut Printer) -> Result<(), Error> {
    let palette = printer.palette;
    let failed = report.stages.iter().filter(|stage| stage.has_failed());
    let mut parts = Vec::new();
    match failed.count() {
        0 => parts.push("every stage succeeded".to_owned()),
        1 => parts.push("1 stage failed".to_owned()),
        number => parts.push(format!("{number} stages failed")),
    }
    for check in checks {
        match (check.has_failed(), check.found.len()) {
            (false, 0) => parts.push(check.name.to_owned()),
            (false, _) => {}
            (true, number) => parts.push(format!("{}: {number}", check.failed)),
        }
    }
    if report.has_no_uninstall() {
        parts.push("no uninstall: what it leaves was not looked at".to_owned());
    }
    let (style, mark) = match report.ok {
        true => (palette.good, '✓'),
        false => (palette.bad, '✗'),
    };
    let time = Duration::try_from_secs_f64(report.seconds).unwrap_or_default();
    let (parts, time) = (parts.join("; "), seconds(time));
    printer.line(format_args!("\n{style}{mark} {parts}{style:#} in {time}"))
}
