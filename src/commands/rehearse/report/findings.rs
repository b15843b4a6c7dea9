//! The findings of a report, for all of its forms.

use super::{Call, Change, Finding, LongestStep, Operator, Report, Stage, Step, StepOutcome};
use crate::commands::rehearse::plan::Pass;
use crate::commands::run_step::words;

/// Something that a package must fulfil, and what was found against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// What it is called in a list of tests.
    pub(super) name: &'static str,
    /// What is said of it with the number of its findings.
    pub(super) failed: &'static str,
    /// The title of its findings.
    pub(super) title: &'static str,
    /// What was found, one line for each.
    pub(super) found: Vec<String>,
    /// Tells if it is accepted.
    pub(super) is_allowed: bool,
}

impl Check {
    pub(super) fn has_failed(&self) -> bool {
        !self.found.is_empty() && !self.is_allowed
    }
}

impl Report {
    /// Tells if nothing was found, except what is allowed.
    pub(in crate::commands::rehearse) fn is_ok(&self) -> bool {
        !self.stages.iter().any(Stage::has_failed) && !self.checks().iter().any(Check::has_failed)
    }

    /// The checks that this rehearsal has come to, in the order of a life.
    pub(super) fn checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        let has = |pass| self.stages.iter().any(|stage| stage.pass == pass);
        if self.from.is_some() && has(Pass::Again) {
            checks.push(Check {
                name: "the upgrade forgets nothing",
                failed: "forgotten by the upgrade",
                title: "The upgrade forgot what apply of this version does",
                found: self.forgotten_by_upgrade.iter().map(line).collect(),
                is_allowed: false,
            });
        }
        if has(Pass::Again) || has(Pass::Forced) {
            checks.push(Check {
                name: "a second pass changes nothing",
                failed: "changed by a second pass",
                title: "Not idempotent: a second pass changes",
                found: self.not_idempotent.iter().map(line).collect(),
                is_allowed: self.allowed.changes,
            });
        }
        if let Some(left_behind) = &self.left_behind {
            let found = left_behind.iter().map(|left| {
                let maker = self.maker(&left.path);
                format!("{} {}{maker}", left.kind.mark(), left.path)
            });
            checks.push(Check {
                name: "uninstall leaves nothing behind",
                failed: "left behind",
                title: "Left behind after uninstall",
                found: found.collect(),
                is_allowed: self.allowed.leftovers,
            });
        }
        if has(Pass::Cut) {
            let found = self.not_restartable.iter();
            checks.push(Check {
                name: "each step that was cut off can be started anew",
                failed: "not restartable",
                title: "Not restartable: fails after it was cut off",
                found: found
                    .map(|step| format!("{} {}", step.mode, step.step))
                    .collect(),
                is_allowed: false,
            });
        }
        checks
    }

    /// Tells if the package was installed or upgraded.
    pub(super) fn is_installed(&self) -> bool {
        let failed =
            |stage: &Stage| stage.has_failed() && matches!(stage.pass, Pass::Old | Pass::First);
        !self.stages.iter().any(failed)
    }

    /// Tells if the package has no uninstall.
    pub(super) fn has_no_uninstall(&self) -> bool {
        let is_uninstall = |stage: &Stage| stage.pass == Pass::Uninstall;
        self.is_installed() && !self.stages.iter().any(is_uninstall)
    }

    /// The changes of installing and upgrading.
    pub(super) fn of_life(&self) -> impl Iterator<Item = &Change> {
        let changes = self.changes.iter();
        changes.filter(|change| matches!(change.pass, Pass::Old | Pass::First))
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

    /// Says which step has changed a path last, in brackets.
    fn maker(&self, path: &str) -> String {
        let mut changes = self.changes.iter().rev();
        let change = changes.find(|change| change.path == path);
        change.map_or_else(String::new, |change| {
            let Change { mode, pass, .. } = change;
            let old = if *pass == Pass::Old { "old " } else { "" };
            format!(" ({old}{mode} {})", by(change.step.as_deref()))
        })
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

fn line(finding: &Finding) -> String {
    let Finding {
        path, mode, kind, ..
    } = finding;
    let step = by(finding.step.as_deref());
    let pass = finding.pass.name();
    format!("{mode} {step}: {} {path} ({pass})", kind.mark())
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
