//! The findings of a report, for all of its forms.

use std::collections::BTreeMap;

use super::fold::fold;
use super::help::{self, Help};
use super::{Call, Change, Finding, LeftBehind, LongestStep, Operator, Report};
use super::{Stage, Step, StepOutcome};
use crate::commands::rehearse::plan::Pass;
use crate::commands::run_step::words;

/// The check of steps that are cut off.
pub(super) const CAN_BE_STARTED_ANEW: &str = "each step that was cut off can be started anew";

/// What is said of that check where it has nothing to look at.
const NO_CUT: &str = "no step was cut off";

/// Something that a package must fulfil, and what was found against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check<'a> {
    /// What it is called in a list of tests.
    pub(super) name: &'static str,
    /// What is said of it with the number of its findings.
    pub(super) failed: &'static str,
    /// The title of its findings.
    pub(super) title: &'static str,
    /// What they mean and what to do about them.
    pub(super) help: Help,
    /// What was found, line by line.
    pub(super) found: Vec<Found<'a>>,
    /// The number of findings. One line can have many.
    pub(super) number: usize,
    /// Tells if they are accepted.
    pub(super) is_allowed: bool,
    /// Why nothing could be found, if that is so.
    pub(super) not_tried: Option<&'static str>,
}

/// A line of what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) line: String,
    /// The change of a text, if it was asked for.
    pub(super) diff: Option<&'a str>,
}

impl Check<'_> {
    pub(super) fn has_failed(&self) -> bool {
        self.number > 0 && !self.is_allowed
    }
}

impl Report {
    /// Tells if nothing was found, except what is allowed.
    pub(in crate::commands::rehearse) fn is_ok(&self) -> bool {
        !self.stages.iter().any(Stage::has_failed) && !self.checks().iter().any(Check::has_failed)
    }

    /// The checks that this rehearsal has come to, in the order of a life.
    pub(super) fn checks(&self) -> Vec<Check<'_>> {
        let mut checks = Vec::new();
        let has = |pass| self.stages.iter().any(|stage| stage.pass == pass);
        if self.from.is_some() && has(Pass::Again) {
            checks.push(Check {
                name: "the upgrade forgets nothing",
                failed: "forgotten by the upgrade",
                title: "The upgrade forgot what apply of this version does",
                help: help::FORGOTTEN,
                found: changed(&self.forgotten_by_upgrade),
                number: self.forgotten_by_upgrade.len(),
                is_allowed: false,
                not_tried: None,
            });
        }
        if has(Pass::Again) || has(Pass::Forced) {
            checks.push(Check {
                name: "a second pass changes nothing",
                failed: "changed by a second pass",
                title: "Not idempotent: a second pass changes",
                help: help::NOT_IDEMPOTENT,
                found: changed(&self.not_idempotent),
                number: self.not_idempotent.len(),
                is_allowed: self.allowed.changes,
                not_tried: None,
            });
        }
        if let Some(left_behind) = &self.left_behind {
            checks.push(Check {
                name: "uninstall leaves nothing behind",
                failed: "left behind",
                title: "Left behind after uninstall",
                help: help::LEFT_BEHIND,
                found: self.left(left_behind),
                number: left_behind.len(),
                is_allowed: self.allowed.leftovers,
                not_tried: None,
            });
        }
        if has(Pass::Cut) || has(Pass::Anew) {
            let is_good = self.not_restartable.is_empty();
            let found = self.not_restartable.iter().map(|step| Found {
                line: format!("{} {}", step.mode, step.step),
                diff: None,
            });
            checks.push(Check {
                name: CAN_BE_STARTED_ANEW,
                failed: "not restartable",
                title: "Not restartable: fails after it was cut off",
                help: help::NOT_RESTARTABLE,
                found: found.collect(),
                number: self.not_restartable.len(),
                is_allowed: false,
                not_tried: (self.cut_steps() == 0)
                    .then_some(NO_CUT)
                    .filter(|_| is_good),
            });
        }
        checks
    }

    /// The lines of what is left behind.
    fn left<'a>(&self, left_behind: &'a [LeftBehind]) -> Vec<Found<'a>> {
        if left_behind.is_empty() {
            return Vec::new();
        }
        let changes = self.changes.iter();
        let makers: BTreeMap<&str, &Change> = changes
            .map(|change| (change.path.as_str(), change))
            .collect();
        let brackets = |left: &LeftBehind| {
            let maker = makers.get(left.path.as_str()).map(|change| {
                let Change { mode, pass, .. } = change;
                let old = if *pass == Pass::Old { "old " } else { "" };
                format!("{old}{mode} {}", by(change.step.as_deref()))
            });
            let detail = Some(left.detail.clone()).filter(|detail| !detail.is_empty());
            let parts: Vec<String> = maker.into_iter().chain(detail).collect();
            match parts.is_empty() {
                true => String::new(),
                false => format!(" ({})", parts.join(", ")),
            }
        };
        let entries = left_behind.iter();
        let entries = entries.map(|left| (left.path.clone(), (left.kind, brackets(left))));
        let lines = fold(entries).into_iter().filter_map(|line| {
            let left = left_behind.get(line.entry)?;
            Some(Found {
                line: format!("{} {}{}", left.kind.mark(), line.path, brackets(left)),
                diff: left.diff.as_deref().filter(|_| !line.is_folded),
            })
        });
        lines.collect()
    }

    /// How many steps can be started anew after they were cut off, if none failed then.
    pub(super) fn cut_off(&self) -> Option<String> {
        let mut passes = self.stages.iter().map(|stage| stage.pass);
        let is_tried = passes.any(|pass| matches!(pass, Pass::Cut | Pass::Anew));
        if !is_tried || !self.not_restartable.is_empty() {
            return None;
        }
        Some(match self.cut_steps() {
            0 => NO_CUT.to_owned(),
            1 => "the one step that was cut off can be started anew".to_owned(),
            number => format!("each of {number} steps that were cut off can be started anew"),
        })
    }

    /// The number of steps that were cut off.
    fn cut_steps(&self) -> usize {
        let cut = self.stages.iter().filter(|stage| stage.has_cut_step());
        cut.count()
    }

    /// Tells if the package was installed or upgraded.
    pub(super) fn is_installed(&self) -> bool {
        let failed =
            |stage: &Stage| stage.has_failed() && matches!(stage.pass, Pass::Old | Pass::First);
        !self.stages.iter().any(failed)
    }

    /// Tells if the package has no uninstall.
    fn has_no_uninstall(&self) -> bool {
        let is_uninstall = |stage: &Stage| stage.pass == Pass::Uninstall;
        self.is_installed() && !self.stages.iter().any(is_uninstall)
    }

    /// Says why it is not known what the package leaves behind, if it is not known.
    pub(super) fn not_looked_at(&self) -> Option<&'static str> {
        match &self.left_behind {
            Some(_) => None,
            None if !self.is_installed() => None,
            None if self.has_no_uninstall() => {
                Some("no uninstall: what it leaves was not looked at")
            }
            None => Some("uninstall failed: what it leaves was not looked at"),
        }
    }

    /// What a reader must know of the view and of the findings.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.gaps.clone();
        let left_out: Vec<&str> = self.ignored.used().collect();
        if !left_out.is_empty() {
            notes.push(format!("left out of the findings: {}", left_out.join(", ")));
        }
        let not_cut: Vec<&str> = self.not_cut.iter().map(|mode| mode.name()).collect();
        if !not_cut.is_empty() {
            let not_cut = not_cut.join(", ");
            notes.push(format!(
                "not cut off, since a stage before failed: {not_cut}"
            ));
        }
        notes
    }

    /// What an operator must know, as pairs of a title and a value.
    pub(super) fn for_the_operator(&self) -> Vec<(&'static str, Option<String>)> {
        let Operator {
            reboot,
            services,
            longest_step,
        } = &self.operator;
        let mut lines = vec![match reboot {
            true => ("a reboot is asked for", None),
            false => ("no reboot is asked for", None),
        }];
        if !services.is_empty() {
            lines.push(("services touched", Some(services.join(", "))));
        }
        // Less says nothing to an operator.
        if let Some(longest) = longest_step
            .as_ref()
            .filter(|longest| longest.seconds >= 1.0)
        {
            let LongestStep {
                mode,
                step,
                seconds,
            } = longest;
            lines.push((
                "longest step, for stageTimeout and gracefulShutdown",
                Some(format!("{mode} {step}, {seconds:.1} s")),
            ));
        }
        lines
    }
}

impl Call {
    /// The call as a line of a shell.
    pub(super) fn command(&self) -> String {
        let program = std::slice::from_ref(&self.program);
        let line = words(program) + &words(&self.arguments);
        line.trim_start().to_owned()
    }
}

/// The lines of what a second pass has changed.
fn changed(findings: &[Finding]) -> Vec<Found<'_>> {
    let of_one_step =
        |a: &Finding, b: &Finding| (a.pass, a.mode, &a.step) == (b.pass, b.mode, &b.step);
    let steps = findings.chunk_by(of_one_step);
    steps.flat_map(changed_by_one_step).collect()
}

fn changed_by_one_step(findings: &[Finding]) -> Vec<Found<'_>> {
    let entries = findings.iter();
    let entries = entries.map(|finding| {
        let Finding { path, kind, .. } = finding;
        (path.clone(), (*kind, finding.detail.as_str()))
    });
    let lines = fold(entries).into_iter().filter_map(|line| {
        let finding = findings.get(line.entry)?;
        let Finding { mode, detail, .. } = finding;
        let step = by(finding.step.as_deref());
        let (mark, path, pass) = (finding.kind.mark(), line.path, finding.pass.name());
        let detail = match detail.is_empty() {
            true => String::new(),
            false => format!(", {detail}"),
        };
        Some(Found {
            line: format!("{mode} {step}: {mark} {path} ({pass}{detail})"),
            diff: finding.diff.as_deref().filter(|_| !line.is_folded),
        })
    });
    lines.collect()
}

/// Names the step that did something.
pub(super) fn by(step: Option<&str>) -> &str {
    step.unwrap_or("(no step)")
}

/// Says how a step failed, or was cut off or skipped; `None` if it succeeded.
pub(in crate::commands::rehearse) fn how(step: &Step) -> Option<String> {
    match (step.outcome, step.code) {
        (StepOutcome::Succeeded, _) => None,
        (StepOutcome::Skipped, _) => Some("skipped".to_owned()),
        (StepOutcome::Cut, _) => Some("cut off".to_owned()),
        (StepOutcome::OutOfTime, _) => Some("out of time".to_owned()),
        (StepOutcome::NotRun, _) => Some("did not run".to_owned()),
        (StepOutcome::Failed, Some(code)) if code < 0 => Some(format!("ended by signal {}", -code)),
        (StepOutcome::Failed, Some(code)) => Some(format!("exit code {code}")),
        (StepOutcome::Failed, None) => Some("failed".to_owned()),
    }
}
