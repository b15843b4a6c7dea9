//! Writes down what a stage does: changes, calls, findings.

use super::channel::{Event, What};
use super::diff::Differ;
use super::live::Live;
use super::package::{is_agents, is_log};
use super::plan::{Pass, Stage as Planned};
use super::report::{Call, Change, Finding, LongestStep, Report};
use super::stage::Follower;
use super::stand_ins::REBOOTS;
use crate::error::Error;
use crate::host::Root;
use crate::package::Mode;
use crate::view::View;

/// Follows one stage.
pub(super) struct Recorder<'r, 'p> {
    stage: Planned,
    report: &'r mut Report,
    live: &'r mut Live<'p>,
    differ: &'r mut Option<Differ>,
    /// Tells if a step has begun.
    has_begun: bool,
}

impl<'r, 'p> Recorder<'r, 'p> {
    pub(super) fn new(
        stage: Planned,
        report: &'r mut Report,
        live: &'r mut Live<'p>,
        differ: &'r mut Option<Differ>,
    ) -> Recorder<'r, 'p> {
        Recorder {
            stage,
            report,
            live,
            differ,
            has_begun: false,
        }
    }

    /// Writes down what came after the last step.
    pub(super) fn finish(mut self, view: &mut View) -> Result<(), Error> {
        self.collect(None, view)
    }

    /// Writes down what has happened since the last time, as the work of this step.
    fn collect(&mut self, step: Option<&str>, view: &mut View) -> Result<(), Error> {
        let Planned { pass, mode, .. } = self.stage;
        // What is cut off half-way is no work to report.
        if matches!(pass, Pass::Cut | Pass::Anew) {
            view.scan()?;
            return view.cover();
        }
        let root = Root::open(view.root())?;
        for found in view.scan()? {
            if is_agents(&found.path) {
                continue;
            }
            let mut change = Change::new(&found, mode, pass, step);
            if let Some(differ) = &mut self.differ {
                change.diff = differ.diff(&found, &root);
            }
            if matches!(pass, Pass::Again | Pass::Forced) && !is_log(&found.path) {
                self.report.add_finding(Finding {
                    path: change.path.clone(),
                    mode,
                    step: change.step.clone(),
                    pass,
                    kind: change.kind,
                });
            }
            self.report.changes.push(change);
        }
        // After the files have been read: the stand-ins lie over some of them now.
        view.cover()?;
        self.collect_calls(step, view)?;
        Ok(())
    }

    /// Writes down the calls of programs that are replaced. Tells if one is a reboot.
    fn collect_calls(&mut self, step: Option<&str>, view: &mut View) -> Result<bool, Error> {
        let Planned { pass, mode, .. } = self.stage;
        let mut has_reboot = false;
        for call in view.calls()? {
            has_reboot |= REBOOTS.contains(&&*call.program);
            if !matches!(pass, Pass::Cut | Pass::Anew) {
                self.report.stand_ins.push(Call {
                    program: call.program,
                    arguments: call.arguments,
                    mode,
                    step: step.map(str::to_owned),
                    pass,
                });
            }
        }
        Ok(has_reboot)
    }
}

impl Follower for Recorder<'_, '_> {
    fn event(&mut self, event: &Event, view: &mut View) -> Result<(), Error> {
        match event.event {
            What::Begins if !self.has_begun => {
                self.has_begun = true;
                self.collect(None, view)?;
            }
            What::Ended => self.collect(Some(&event.step), view)?,
            What::Begins | What::Skips => {}
        }
        self.live.event(event)
    }

    fn said(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.live.said(bytes);
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Error> {
        self.live.tick()
    }

    fn is_reboot_asked_for(&mut self, view: &mut View) -> Result<bool, Error> {
        self.collect_calls(None, view)
    }
}

impl Report {
    /// Adds a change of a second pass, once for each step and path.
    fn add_finding(&mut self, finding: Finding) {
        let is_of_apply = finding.pass == Pass::Again && finding.mode == Mode::Apply;
        // It has run for the first time: the upgrade came in its place.
        let findings = match self.from.is_some() && is_of_apply {
            true => &mut self.forgotten_by_upgrade,
            false => &mut self.not_idempotent,
        };
        let is_known = findings.iter().any(|known| {
            (&known.path, known.mode, &known.step) == (&finding.path, finding.mode, &finding.step)
        });
        if !is_known {
            findings.push(finding);
        }
    }

    /// Sums up what an operator must know, of what happens on a node.
    pub(super) fn note_for_the_operator(&mut self) {
        let is_of_life = |pass| matches!(pass, Pass::Old | Pass::First | Pass::Uninstall);
        let operator = &mut self.operator;
        for call in self.stand_ins.iter().filter(|call| is_of_life(call.pass)) {
            operator.reboot |= REBOOTS.contains(&&*call.program);
            for service in services(call) {
                if !operator.services.contains(&service) {
                    operator.services.push(service);
                }
            }
        }
        for stage in self.stages.iter().filter(|stage| is_of_life(stage.pass)) {
            let Some((_, step)) = stage.longest_step() else {
                continue;
            };
            let longest = operator.longest_step.as_ref();
            if longest.is_none_or(|longest| longest.seconds < step.seconds) {
                operator.longest_step = Some(LongestStep {
                    mode: stage.mode,
                    step: step.path.clone(),
                    seconds: step.seconds,
                });
            }
        }
    }
}

/// The services that a call starts, stops or restarts.
fn services(call: &Call) -> Vec<String> {
    const VERBS: [&str; 8] = [
        "start",
        "stop",
        "restart",
        "reload",
        "try-restart",
        "reload-or-restart",
        "try-reload-or-restart",
        "isolate",
    ];
    let mut words = call.arguments.iter().filter(|word| !word.starts_with('-'));
    match &*call.program {
        "systemctl" => match words.next() {
            Some(verb) if VERBS.contains(&&**verb) => words.cloned().collect(),
            // `enable --now` starts it, too, and `disable --now` stops it.
            Some(verb)
                if ["enable", "disable", "reenable", "mask"].contains(&&**verb)
                    && call.arguments.iter().any(|word| word == "--now") =>
            {
                words.cloned().collect()
            }
            _ => Vec::new(),
        },
        "service" => match (words.next(), words.next()) {
            (Some(service), Some(verb)) if verb != "status" => vec![service.clone()],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(program: &str, arguments: &str) -> Call {
        Call {
            program: program.to_owned(),
            arguments: arguments.split_whitespace().map(str::to_owned).collect(),
            mode: Mode::Apply,
            step: Some("a.sh".to_owned()),
            pass: Pass::First,
        }
    }

    #[test]
    fn the_services_that_a_call_touches_are_named() {
        for (program, arguments, expected) in [
            ("systemctl", "restart --no-block a b", &["a", "b"][..]),
            ("systemctl", "enable --now a.service", &["a.service"]),
            ("systemctl", "mask --now a.service", &["a.service"]),
            ("systemctl", "enable a.service", &[]),
            ("systemctl", "daemon-reload", &[]),
            ("systemctl", "is-active a", &[]),
            ("service", "procps force-reload", &["procps"]),
            ("service", "procps status", &[]),
            ("modprobe", "restart a", &[]),
        ] {
            assert_eq!(services(&call(program, arguments)), expected, "{arguments}");
        }
    }

    #[test]
    fn the_same_finding_of_two_passes_is_one() {
        let mut report = Report::default();
        for pass in [Pass::Again, Pass::Forced] {
            report.add_finding(Finding {
                path: "/a".to_owned(),
                mode: Mode::Apply,
                step: None,
                pass,
                kind: super::super::report::Kind::Changed,
            });
        }
        assert_eq!(report.not_idempotent.len(), 1);
        assert_eq!(report.not_idempotent[0].pass, Pass::Again);
    }

    #[test]
    fn what_apply_changes_after_an_upgrade_was_forgotten_by_it() {
        let mut report = Report {
            from: Some("1.0.0".to_owned()),
            ..Report::default()
        };
        for (pass, mode) in [
            (Pass::Again, Mode::Apply),
            (Pass::Again, Mode::Config),
            (Pass::Forced, Mode::Apply),
        ] {
            report.add_finding(Finding {
                path: format!("/{}-{mode}", pass.name()),
                mode,
                step: None,
                pass,
                kind: super::super::report::Kind::Added,
            });
        }
        let paths = |findings: &[Finding]| -> Vec<String> {
            findings
                .iter()
                .map(|finding| finding.path.clone())
                .collect()
        };
        assert_eq!(paths(&report.forgotten_by_upgrade), ["/again-apply"]);
        assert_eq!(
            paths(&report.not_idempotent),
            ["/again-config", "/forced-apply"]
        );
    }
}
