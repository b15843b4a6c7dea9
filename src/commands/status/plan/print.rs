//! A plan, for people.

use super::super::human::{arguments, when};
use super::{Action, ChangeKind, Plan, PlannedStep, Reason};
use crate::error::Error;
use crate::output::Printer;
use crate::text::escape;

/// Prints the plan for people.
pub(in super::super) fn print(plan: &Plan, printer: &mut Printer) -> Result<(), Error> {
    let palette = printer.palette;
    let (strong, dim, bad, good) = (palette.strong, palette.dim, palette.bad, palette.good);
    let runs = plan.steps.iter().filter(|step| step.action == Action::Run);
    let (runs, all) = (runs.count(), plan.steps.len());
    printer.line(format_args!(
        "{} of {strong}{}{strong:#} {} would run {runs} of {all} steps, by the flags in {}",
        plan.mode,
        escape(&plan.package),
        escape(&plan.version),
        escape(&plan.state_root),
    ))?;
    for step in &plan.steps {
        let (style, action) = match step.action {
            Action::Run => (good, "run "),
            Action::Skip => (dim, "skip"),
        };
        printer.line(format_args!(
            "  {style}{action}{style:#}  {}{}  {dim}{}{dim:#}",
            escape(&step.path),
            arguments(Some(&step.arguments)),
            reason(step),
        ))?;
        for variable in &step.variables {
            let name = escape(&variable.name);
            if variable.is_set {
                printer.line(format_args!("        {dim}{name} is set here{dim:#}"))?;
            } else {
                printer.line(format_args!(
                    "        {bad}{name} is not set here{bad:#}: without it the step fails"
                ))?;
            }
        }
    }
    for change in &plan.overlay {
        let (style, kind) = match change.change {
            ChangeKind::Add => (good, "add    "),
            ChangeKind::Replace => (palette.warning, "replace"),
        };
        printer.line(format_args!(
            "  {style}{kind}{style:#}  {}",
            escape(&change.path)
        ))?;
    }
    for problem in &plan.problems {
        printer.line(format_args!("  {bad}problem{bad:#}  {}", escape(problem)))?;
    }
    Ok(())
}

/// Says why a step runs or is skipped.
fn reason(step: &PlannedStep) -> String {
    let last_run = step.last_run.as_deref().map(when);
    match step.reason {
        Reason::NeverRan => "it has not succeeded in this version".to_owned(),
        Reason::Flag => match last_run {
            Some(time) => format!("it succeeded at {time}"),
            None => "it has its flag".to_owned(),
        },
        Reason::AlwaysRuns => "it runs every time".to_owned(),
        Reason::ModeIgnoresFlags => "in this mode each step runs".to_owned(),
        Reason::Forced => "OVERLAY_ALWAYS_RUN_STEP is set".to_owned(),
        Reason::ArgumentsChanged => match &step.arguments_before {
            None => "it succeeded with other arguments".to_owned(),
            Some(before) if *before == step.arguments => {
                "it succeeded with other return codes".to_owned()
            }
            Some(before) if before.is_empty() => "it succeeded without arguments".to_owned(),
            Some(before) => format!("it succeeded with{}", arguments(Some(before))),
        },
    }
}
