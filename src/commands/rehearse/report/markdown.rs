//! The report as a page for a pull request.

use std::fmt::Write;

use super::findings::{by, how};
use super::{Report, Stage, StageOutcome};
use crate::text::escape;

/// Makes the page.
pub(in crate::commands::rehearse) fn page(report: &Report) -> String {
    let mut page = String::new();
    let mark = if report.ok { "✅" } else { "❌" };
    let name = code(&format!("{} {}", report.package, report.version));
    let from = report.from.as_deref();
    let from = from.map(|from| format!(", upgraded from {}", code(from)));
    let from = from.unwrap_or_default();
    // Writing to a String cannot fail.
    let _ = writeln!(page, "## {mark} Rehearsal of {name}{from}\n");
    stages(report, &mut page);
    for check in report
        .checks()
        .iter()
        .filter(|check| !check.found.is_empty())
    {
        let allowed = if check.is_allowed { " (allowed)" } else { "" };
        let _ = writeln!(page, "\n### {}{allowed}\n", check.title);
        for found in &check.found {
            let _ = writeln!(page, "- {}", code(found));
        }
    }
    for stage in report.stages.iter().filter(|stage| stage.has_failed()) {
        let _ = writeln!(
            page,
            "\n### {} failed ({})\n",
            stage.mode,
            stage.pass.name()
        );
        block("", &stage.output, &mut page);
    }
    warnings(report, &mut page);
    changes(report, &mut page);
    calls(report, &mut page);
    if report.has_no_uninstall() {
        page.push_str("\nNo uninstall: what it leaves was not looked at.\n");
    }
    if report.is_installed() {
        for_the_operator(report, &mut page);
    }
    page
}

fn stages(report: &Report, page: &mut String) {
    page.push_str("| pass | stage | outcome | time | steps |\n|---|---|---|---:|---|\n");
    for stage in &report.stages {
        let steps: Vec<String> = stage
            .steps
            .iter()
            .map(|step| {
                let how = how(step).map(|how| format!(" {how}"));
                cell(&code(&step.path)) + &how.unwrap_or_default()
            })
            .collect();
        let _ = writeln!(
            page,
            "| {} | {} | {} | {:.1} s | {} |",
            stage.pass.name(),
            stage.mode,
            outcome(stage),
            stage.seconds,
            steps.join(", ")
        );
    }
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

fn warnings(report: &Report, page: &mut String) {
    if report.warnings.is_empty() {
        return;
    }
    page.push_str("\n### Warnings of validate\n\n");
    for warning in &report.warnings {
        let number = warning.line.map(|line| format!(":{line}"));
        let at = format!("{}{}", warning.file, number.unwrap_or_default());
        let what = format!("{}: {}", warning.code, warning.message);
        let _ = writeln!(page, "- {} {}", code(&at), code(&what));
    }
}

fn changes(report: &Report, page: &mut String) {
    let changes: Vec<_> = report.of_life().collect();
    if changes.is_empty() {
        return;
    }
    let _ = writeln!(
        page,
        "\n<details><summary>Changes: {}</summary>\n",
        changes.len()
    );
    for change in changes {
        let detail = change.detail();
        let detail = if detail.is_empty() {
            detail
        } else {
            format!(" {detail}")
        };
        let _ = writeln!(
            page,
            "- {} by {} {}{detail}",
            code(&format!("{} {}", change.kind.mark(), change.path)),
            change.mode,
            code(by(change.step.as_deref())),
        );
        if let Some(diff) = &change.diff {
            page.push('\n');
            block("diff", diff, page);
            page.push('\n');
        }
    }
    page.push_str("\n</details>\n");
}

fn calls(report: &Report, page: &mut String) {
    if report.stand_ins.is_empty() {
        return;
    }
    let _ = writeln!(
        page,
        "\n<details><summary>Calls of programs that are replaced: {}</summary>\n",
        report.stand_ins.len()
    );
    for call in &report.stand_ins {
        let _ = writeln!(
            page,
            "- {} by {} {} ({})",
            code(&call.command()),
            call.mode,
            code(by(call.step.as_deref())),
            call.pass.name()
        );
    }
    page.push_str("\n</details>\n");
}

fn for_the_operator(report: &Report, page: &mut String) {
    page.push_str("\nFor the operator: ");
    let parts: Vec<String> = report
        .for_the_operator()
        .into_iter()
        .map(|(what, value)| match value {
            Some(value) => format!("{what}: {}", code(&value)),
            None => what.to_owned(),
        })
        .collect();
    page.push_str(&parts.join("; "));
    page.push_str(".\n");
}

/// Text that nothing in it can end, as code.
pub(super) fn code(text: &str) -> String {
    let text = escape(text);
    let fence = "`".repeat(longest_run(&text) + 1);
    // A backtick at an end, or the spaces that Markdown would take off.
    let space = match text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) {
        true => " ",
        false => "",
    };
    format!("{fence}{space}{text}{space}{fence}")
}

/// The same in a table, where a bar would end the cell.
fn cell(code: &str) -> String {
    code.replace('|', "\\|")
}

/// A block of lines that nothing in it can end.
fn block(language: &str, text: &str, page: &mut String) {
    let fence = "`".repeat((longest_run(text) + 1).max(3));
    let _ = writeln!(page, "{fence}{language}");
    for line in text.lines() {
        let line = line.replace('\t', "    ");
        let _ = writeln!(page, "{}", escape(&line));
    }
    let _ = writeln!(page, "{fence}");
}

fn longest_run(text: &str) -> usize {
    let runs = text.split(|c| c != '`').map(str::len);
    runs.max().unwrap_or_default()
}
