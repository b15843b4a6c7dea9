//! The state of a node, for people.

use std::fmt::Write as _;

use crate::error::Error;
use crate::output::{Palette, Printer};
use crate::state::lock::Run;
use crate::state::outcomes::RunOutcome;
use crate::state::survey::{Check, InterruptFlag, Package, Problem, StateRoot, StepFlag};
use crate::text::{escape, size, words};

/// The most lines of one field. A person reads no more, and JSON has all.
const MOST_LINES: usize = 50;

/// The name of the field that says what is wrong.
const PROBLEMS: &str = "problems";

/// The width of the names of fields.
const LABEL: usize = 13;

/// Prints what was found; of one package, if it was asked for.
pub(super) fn print(
    found: &[StateRoot],
    only: Option<&str>,
    printer: &mut Printer,
) -> Result<(), Error> {
    let palette = printer.palette;
    let mut is_first = true;
    for root in found {
        let mut fields = of_root(root, palette);
        if root.packages.is_empty() && only.is_some() {
            // Why the package was not found, perhaps.
            fields.retain(|(name, _)| *name == PROBLEMS);
        }
        if root.packages.is_empty() && fields.is_empty() {
            continue;
        }
        separate(&mut is_first, printer)?;
        let strong = palette.strong;
        printer.line(format_args!("{strong}{}{strong:#}", escape(&root.path)))?;
        print_fields(fields, printer)?;
        for package in &root.packages {
            printer.line("")?;
            printer.line(format_args!("  {}", title(package, palette)))?;
            print_fields(of_package(package, palette), printer)?;
        }
    }
    if found.iter().any(|root| !root.packages.is_empty()) {
        return Ok(());
    }
    match only.map(escape) {
        None if is_first => printer.line("no package has left anything here"),
        None => Ok(()),
        Some(name) if is_first => printer.line(format_args!(
            "no package named {name} has left anything here"
        )),
        Some(name) => {
            printer.line("")?;
            printer.line(format_args!(
                "no package named {name} was found in what can be read"
            ))
        }
    }
}

fn separate(is_first: &mut bool, printer: &mut Printer) -> Result<(), Error> {
    if *is_first {
        *is_first = false;
        return Ok(());
    }
    printer.line("")
}

/// A field: its name, and its lines.
type Field = (&'static str, Vec<String>);

fn print_fields(fields: Vec<Field>, printer: &mut Printer) -> Result<(), Error> {
    let dim = printer.palette.dim;
    for (name, lines) in fields {
        let more = lines.len().saturating_sub(MOST_LINES);
        let mut name = name;
        for line in lines.iter().take(MOST_LINES) {
            printer.line(format_args!("    {dim}{name:LABEL$}{dim:#}{line}"))?;
            name = "";
        }
        if more > 0 {
            printer.line(format_args!(
                "    {:LABEL$}{dim}and {more} more; --output json has all{dim:#}",
                ""
            ))?;
        }
    }
    Ok(())
}

fn of_root(root: &StateRoot, palette: Palette) -> Vec<Field> {
    // Those of a package are shown there.
    let is_assigned = root
        .packages
        .iter()
        .any(|package| !package.checks.is_empty());
    let marks = root.all_checked.iter().map(|mark| {
        let time = mark.time.as_deref().map_or(String::new(), when);
        format!("{}  {time}", escape(&mark.mode))
    });
    let mut fields = vec![("all checked", marks.collect())];
    if !is_assigned {
        fields.push(("checks", checks(&root.checks, palette)));
    }
    fields.push((
        "left over",
        root.leftovers.iter().map(|path| shown(path)).collect(),
    ));
    fields.push((PROBLEMS, problems(&root.problems, palette)));
    fields.retain(|(_, lines)| !lines.is_empty());
    fields
}

fn title(package: &Package, palette: Palette) -> String {
    let strong = palette.strong;
    let mut title = format!("{strong}{}{strong:#}", escape(&package.name));
    match &package.version {
        Some(version) => {
            let _ = write!(title, " {}", escape(version));
        }
        None => title += " (no version yet)",
    }
    if let Some(since) = &package.since {
        let _ = write!(title, " since {}", when(since));
    }
    title
}

fn of_package(package: &Package, palette: Palette) -> Vec<Field> {
    let mut fields = vec![
        ("running", running(package, palette)),
        ("steps", steps(&package.steps)),
        ("checks", checks(&package.checks, palette)),
        ("interrupts", interrupts(&package.interrupts, palette)),
        ("logs", logs(package, palette)),
    ];
    let history = package.history.iter().map(|entry| {
        let time = entry.time.as_deref().map_or(String::new(), when);
        format!("{}  {time}", escape(&entry.version))
    });
    fields.push(("history", history.collect()));
    fields.push((
        "left over",
        package.leftovers.iter().map(|path| shown(path)).collect(),
    ));
    fields.push((PROBLEMS, problems(&package.problems, palette)));
    fields.retain(|(_, lines)| !lines.is_empty());
    fields
}

fn running(package: &Package, palette: Palette) -> Vec<String> {
    let (good, warning) = (palette.good, palette.warning);
    if let Some(Run {
        pid, task, since, ..
    }) = &package.running
    {
        let task = task.as_deref().unwrap_or("a run");
        let since = since
            .as_deref()
            .map_or(String::new(), |since| format!(", since {}", when(since)));
        return vec![format!(
            "{good}{}{good:#}, process {pid}{since}",
            escape(task)
        )];
    }
    if package.may_run {
        return vec![format!(
            "{warning}unknown{warning:#}: there is a lock, and its processes cannot be seen from here"
        )];
    }
    Vec::new()
}

fn steps(steps: &[StepFlag]) -> Vec<String> {
    let mut version = None;
    let mut lines = Vec::new();
    for step in steps {
        if version != Some(&step.version) {
            version = Some(&step.version);
            lines.push(format!("of {}", escape(&step.version)));
        }
        let time = step
            .last_run
            .as_deref()
            .map_or("at an unknown time".to_owned(), when);
        let always = match step.always_runs {
            Some(true) => ", always runs",
            _ => "",
        };
        let arguments = arguments(step.arguments.as_deref());
        lines.push(format!(
            "  {time}  {}{arguments}{always}",
            escape(&step.path)
        ));
    }
    lines
}

/// Writes arguments as a shell reads them, with a blank in front of each.
pub(super) fn arguments(arguments: Option<&[String]>) -> String {
    arguments.map_or_else(
        || " (arguments too long for the flag's name)".to_owned(),
        words,
    )
}

fn checks(checks: &[Check], palette: Palette) -> Vec<String> {
    let (good, bad) = (palette.good, palette.bad);
    let line = |check: &Check| {
        let path = escape(&check.path);
        if check.failed {
            format!("{bad}failed{bad:#}  {path}")
        } else {
            format!("{good}ok{good:#}      {path}")
        }
    };
    checks.iter().map(line).collect()
}

fn interrupts(interrupts: &[InterruptFlag], palette: Palette) -> Vec<String> {
    let warning = palette.warning;
    let line = |flag: &InterruptFlag| {
        let index = flag
            .index
            .map_or(String::new(), |index| format!("_{index}"));
        let time = flag
            .time
            .as_deref()
            .map_or("at an unknown time".to_owned(), when);
        let pending = if flag.pending_reboot {
            format!(", {warning}reboot pending{warning:#}")
        } else {
            String::new()
        };
        let (kind, resource) = (escape(&flag.kind), escape(&flag.resource));
        format!("{time}  {kind}{index} for {resource}{pending}")
    };
    interrupts.iter().map(line).collect()
}

fn logs(package: &Package, palette: Palette) -> Vec<String> {
    let logs = &package.logs;
    let Some(newest) = &logs.newest else {
        return Vec::new();
    };
    let files = match logs.files {
        1 => "1 file".to_owned(),
        files => format!("{files} files"),
    };
    let outcome = match logs.newest_outcome {
        Some(RunOutcome::Failed) => format!(", {bad}failed{bad:#}", bad = palette.bad),
        Some(RunOutcome::Succeeded) => ", succeeded".to_owned(),
        _ => String::new(),
    };
    vec![format!(
        "{files}, {}; newest: {}{outcome}",
        size(logs.bytes),
        escape(newest)
    )]
}

fn problems(problems: &[Problem], palette: Palette) -> Vec<String> {
    let bad = palette.bad;
    let line = |Problem { path, problem }: &Problem| {
        format!("{}: {bad}{}{bad:#}", escape(path), escape(problem))
    };
    problems.iter().map(line).collect()
}

fn shown(text: &str) -> String {
    escape(text).into_owned()
}

/// Writes a time of the state for people: without the fraction of the second, and with
/// `UTC` if it is that. What is no such time is shown as it is.
pub(super) fn when(time: &str) -> String {
    let shape = |text: &str| {
        let digit = |c: char| if c.is_ascii_digit() { 'd' } else { c };
        text.chars().map(digit).collect::<String>()
    };
    let (Some(second), Some(rest)) = (time.get(..19), time.get(19..)) else {
        return shown(time);
    };
    let fraction = rest.trim_end_matches("+00:00");
    let is_fraction = fraction.strip_prefix('.').unwrap_or(fraction);
    let is_time = shape(second) == "dddd-dd-ddTdd:dd:dd"
        && is_fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !is_time {
        return shown(time);
    }
    let zone = if rest.ends_with("+00:00") { " UTC" } else { "" };
    format!("{}{zone}", second.replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_to_the_second_and_other_text_as_it_is() {
        for (time, shown) in [
            (
                "2026-05-02T21:51:23.456789+00:00",
                "2026-05-02 21:51:23 UTC",
            ),
            ("2026-05-02T21:51:23+00:00", "2026-05-02 21:51:23 UTC"),
            ("2026-05-02T21:51:23.456789", "2026-05-02 21:51:23"),
            ("2026-05-02T21:51:23.4+02:00", "2026-05-02T21:51:23.4+02:00"),
            ("yesterday\u{1b}[2J", "yesterday\\u{1b}[2J"),
            ("éééééééééééé", "éééééééééééé"),
            ("", ""),
        ] {
            assert_eq!(when(time), shown);
        }
    }
}
