//! The report for people.

use std::fmt::{self, Write};
use std::time::Duration;

use super::Report;
use super::changes::Changed;
use super::findings::{CAN_BE_STARTED_ANEW, Check, by};
use super::fold::thousands;
use super::help::Help;
use super::{Call, Kind};
use crate::error::Error;
use crate::output::pretty::seconds;
use crate::output::{Palette, Printer};
use crate::text::escape;

/// Prints what came of the life. Its stages were shown as they ended.
pub(in crate::commands::rehearse) fn print(
    report: &Report,
    printer: &mut Printer,
) -> Result<(), Error> {
    printer.bytes(text(report, printer.palette).as_bytes())
}

/// The text that is printed.
pub(super) fn text(report: &Report, palette: Palette) -> String {
    let mut text = Text {
        palette,
        text: String::new(),
    };
    text.changes(report);
    text.calls(report);
    let checks = report.checks();
    for check in checks.iter().filter(|check| check.number > 0) {
        text.findings(check);
    }
    if report.is_installed() {
        text.for_the_operator(report);
    }
    text.notes(report);
    text.summary(report, &checks);
    text.text
}

/// The lines about a finding.
pub(in crate::commands::rehearse) fn help_lines(
    help: Help,
    palette: Palette,
) -> impl Iterator<Item = String> {
    let note = palette.note;
    help.iter()
        .map(move |(label, help)| format!("{note}= {label}:{note:#} {help}"))
}

struct Text {
    palette: Palette,
    text: String,
}

impl Text {
    fn line(&mut self, line: impl fmt::Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn title(&mut self, title: &str) {
        let strong = self.palette.strong;
        self.line(format_args!("\n{strong}{title}{strong:#}"));
    }

    fn changes(&mut self, report: &Report) {
        let steps = report.of_steps();
        if !steps.is_empty() {
            self.title("Changes");
        }
        for step in steps {
            self.line(format_args!("  {}", escape(&step.by)));
            for changed in &step.lines {
                self.changed(changed);
            }
        }
    }

    fn changed(&mut self, changed: &Changed<'_>) {
        let Palette {
            good,
            note,
            bad,
            dim,
            ..
        } = self.palette;
        let kind = changed.change.kind;
        let style = match kind {
            Kind::Added => good,
            Kind::Changed => note,
            Kind::Removed => bad,
        };
        let (mark, path, detail) = (kind.mark(), escape(&changed.path), &changed.detail);
        self.line(match detail.is_empty() {
            true => format!("    {style}{mark} {path}{style:#}"),
            false => format!("    {style}{mark} {path}{style:#}  {dim}{detail}{dim:#}"),
        });
        self.diff(changed.diff);
    }

    fn diff(&mut self, diff: Option<&str>) {
        let palette = self.palette;
        for line in diff.unwrap_or_default().lines() {
            let style = match line.chars().next() {
                Some('+') => palette.good,
                Some('-') => palette.bad,
                Some('@') => palette.note,
                _ => palette.dim,
            };
            let line = line.replace('\t', "    ");
            self.line(format_args!("        {style}{}{style:#}", escape(&line)));
        }
    }

    fn calls(&mut self, report: &Report) {
        if !report.stand_ins.is_empty() {
            self.title("Calls of programs that are replaced");
        }
        for call in &report.stand_ins {
            let Call { mode, pass, .. } = call;
            let (command, step) = (call.command(), by(call.step.as_deref()));
            let dim = self.palette.dim;
            self.line(format_args!(
                "  {}  {dim}{mode} {} ({}){dim:#}",
                escape(&command),
                escape(step),
                pass.name()
            ));
        }
    }

    fn findings(&mut self, check: &Check<'_>) {
        let (style, allowed) = match check.is_allowed {
            true => (self.palette.warning, " (allowed)"),
            false => (self.palette.bad, ""),
        };
        self.line(format_args!("\n{style}{}{style:#}{allowed}", check.title));
        for found in &check.found {
            self.line(format_args!("  {}", escape(&found.line)));
            self.diff(found.diff);
        }
        for line in help_lines(check.help, self.palette) {
            self.line(format_args!("  {line}"));
        }
    }

    fn for_the_operator(&mut self, report: &Report) {
        self.title("For the operator");
        for (what, value) in report.for_the_operator() {
            match value {
                Some(value) => self.line(format_args!("  {what}: {}", escape(&value))),
                None => self.line(format_args!("  {what}")),
            }
        }
    }

    fn notes(&mut self, report: &Report) {
        let notes = report.notes();
        if !notes.is_empty() {
            self.title("Notes");
        }
        for note in notes {
            self.line(format_args!("  {}", escape(&note)));
        }
    }

    fn summary(&mut self, report: &Report, checks: &[Check<'_>]) {
        let failed = report.stages.iter().filter(|stage| stage.has_failed());
        let mut parts = Vec::new();
        match failed.count() {
            0 => parts.push("every stage succeeded".to_owned()),
            1 => parts.push("1 stage failed".to_owned()),
            number => parts.push(format!("{number} stages failed")),
        }
        for check in checks {
            match (check.has_failed(), check.number) {
                // Its part says how many they were.
                (false, 0) if check.name == CAN_BE_STARTED_ANEW => {}
                (false, 0) => parts.push(check.name.to_owned()),
                (false, _) => {}
                (true, number) => parts.push(format!("{}: {}", check.failed, thousands(number))),
            }
        }
        parts.extend(report.cut_off());
        parts.extend(report.not_looked_at().map(str::to_owned));
        let (style, mark) = match report.ok {
            true => (self.palette.good, '✓'),
            false => (self.palette.bad, '✗'),
        };
        let time = Duration::try_from_secs_f64(report.seconds).unwrap_or_default();
        let (parts, time) = (parts.join("; "), seconds(time));
        self.line(format_args!("\n{style}{mark} {parts}{style:#} in {time}"));
    }
}
