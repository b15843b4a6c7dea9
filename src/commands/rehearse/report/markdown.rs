//! The report as a page for a pull request.

use super::findings::{Check, by, how};
use super::fold::thousands;
use super::help::{self, Help};
use super::{Report, Stage, StageOutcome};
use crate::text::escape;
use page::{Item, LeftOut, Page, code};

mod page;

/// The most bytes of a page. A comment on GitHub has at most 65,536 characters.
const MOST: usize = 60_000;

/// The most characters of a value that a package makes as long as it likes.
const MOST_OF_VALUE: usize = 500;

/// Makes the page.
pub(in crate::commands::rehearse) fn page(report: &Report) -> String {
    let end = end(report);
    let mut page = Page::new(MOST.saturating_sub(end.len()));
    let mark = if report.ok { "✅" } else { "❌" };
    let name = code(&format!("{} {}", report.package, report.version));
    let from = report.from.as_deref();
    let from = from.map(|from| format!(", upgraded from {}", code(from)));
    let from = from.unwrap_or_default();
    page.add(&format!("## {mark} Rehearsal of {name}{from}\n\n"));
    stages(report, &mut page);
    for check in report.checks().iter().filter(|check| check.number > 0) {
        findings(check, &mut page);
    }
    for stage in report.stages.iter().filter(|stage| stage.has_failed()) {
        let (mode, pass) = (stage.mode, stage.pass.name());
        page.add(&format!("\n### {mode} failed ({pass})\n\n"));
        page.last_lines(&stage.output);
        add_help(help::of_stage(stage, report.has_network), &mut page);
    }
    warnings(report, &mut page);
    changes(report, &mut page);
    calls(report, &mut page);
    page.add(&end);
    page.finish()
}

fn line(line: String) -> Item<'static> {
    Item { line, diff: None }
}

fn stages(report: &Report, page: &mut Page) {
    page.add("| pass | stage | outcome | time | steps |\n|---|---|---|---:|---|\n");
    let rows = report.stages.iter().map(|stage| line(row(stage)));
    let LeftOut { lines, .. } = page.items(rows);
    if lines > 0 {
        page.add(&format!("| … | {lines} more | | | |\n"));
    }
}

fn row(stage: &Stage) -> String {
    let steps = stage.steps.iter().map(|step| {
        let how = how(step).map(|how| format!(" {how}"));
        cell(&code(&step.path)) + &how.unwrap_or_default()
    });
    let steps: Vec<String> = steps.collect();
    format!(
        "| {} | {} | {} | {:.1} s | {} |\n",
        stage.pass.name(),
        stage.mode,
        outcome(stage),
        stage.seconds,
        steps.join(", ")
    )
}

fn outcome(stage: &Stage) -> &'static str {
    match stage.outcome {
        StageOutcome::Succeeded => "✅",
        StageOutcome::Failed => "❌ failed",
        StageOutcome::OutOfTime => "❌ out of time",
        StageOutcome::Cut => "cut off",
        StageOutcome::Rebooted => "reboot",
    }
}

fn findings(check: &Check<'_>, page: &mut Page) {
    let allowed = if check.is_allowed { " (allowed)" } else { "" };
    page.add(&format!("\n### {}{allowed}\n\n", check.title));
    page.list(check.found.iter().map(|found| Item {
        line: format!("- {}\n", code(&found.line)),
        diff: found.diff,
    }));
    add_help(check.help, page);
}

fn add_help(help: Help, page: &mut Page) {
    for (label, help) in help {
        page.add(&format!("\n*{label}:* {help}\n"));
    }
}

fn warnings(report: &Report, page: &mut Page) {
    if report.warnings.is_empty() {
        return;
    }
    page.add("\n### Warnings of validate\n\n");
    page.list(report.warnings.iter().map(|warning| {
        let number = warning.line.map(|line| format!(":{line}"));
        let at = format!("{}{}", warning.file, number.unwrap_or_default());
        let what = format!("{}: {}", warning.code, warning.message);
        line(format!("- {} {}\n", code(&at), code(&what)))
    }));
}

fn changes(report: &Report, page: &mut Page) {
    let steps = report.of_steps();
    if steps.is_empty() {
        return;
    }
    let number = thousands(steps.iter().map(|step| step.number).sum());
    page.add(&format!(
        "\n<details><summary>Changes: {number}</summary>\n\n"
    ));
    let items = steps.iter().flat_map(|step| {
        step.lines.iter().map(|changed| {
            let mark = changed.change.kind.mark();
            let detail = match changed.detail.is_empty() {
                true => String::new(),
                false => format!(" {}", changed.detail),
            };
            Item {
                line: format!(
                    "- {} by {} {}{detail}\n",
                    code(&format!("{mark} {}", changed.path)),
                    step.mode,
                    code(by(step.step)),
                ),
                diff: changed.diff,
            }
        })
    });
    page.list(items);
    page.add("\n</details>\n");
}

fn calls(report: &Report, page: &mut Page) {
    if report.stand_ins.is_empty() {
        return;
    }
    let number = thousands(report.stand_ins.len());
    page.add(&format!(
        "\n<details><summary>Calls of programs that are replaced: {number}</summary>\n\n"
    ));
    page.list(report.stand_ins.iter().map(|call| {
        line(format!(
            "- {} by {} {} ({})\n",
            code(&call.command()),
            call.mode,
            code(by(call.step.as_deref())),
            call.pass.name()
        ))
    }));
    page.add("\n</details>\n");
}

/// What stands at the end of each page.
fn end(report: &Report) -> String {
    let checks = report.checks();
    let not_tried = checks.iter().filter_map(|check| check.not_tried);
    let not_looked_at = report.not_looked_at().into_iter().chain(not_tried);
    let notes = not_looked_at.map(str::to_owned).chain(report.notes());
    let mut end = String::new();
    // A page has room for some.
    for note in notes.take(8) {
        end += &format!("\n*note:* {}\n", code(&short(&note)));
    }
    if report.is_installed() {
        let parts = report.for_the_operator().into_iter();
        let parts = parts.map(|(what, value)| match value {
            Some(value) => format!("{what}: {}", code(&short(&value))),
            None => what.to_owned(),
        });
        let parts: Vec<String> = parts.collect();
        end += &format!("\nFor the operator: {}.\n", parts.join("; "));
    }
    end
}

/// The start of a text, if that is not all of it.
fn short(text: &str) -> String {
    let text = escape(text);
    match text.char_indices().nth(MOST_OF_VALUE) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "…",
        None => text.into_owned(),
    }
}

/// Code in a table, where a bar would end the cell.
fn cell(code: &str) -> String {
    code.replace('|', "\\|")
}
