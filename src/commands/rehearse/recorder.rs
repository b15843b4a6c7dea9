//! Writes down what a stage does: changes, calls, findings.

use std::collections::BTreeSet;

use super::channel::{Event, What};
use super::diff::Differ;
use super::live::Live;
use super::package::is_agents;
use super::plan::{Pass, Stage as Planned};
use super::report::{Call, Change, Finding, LeftBehind, LongestStep, Report};
use super::stage::Follower;
use super::stand_ins::REBOOTS;
use crate::error::Error;
use crate::host::Root;
use crate::package::Mode;
use crate::view::{self, View};

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
            let ignored = &mut self.report.ignored;
            change.ignored = ignored.has(&found.path);
            if matches!(pass, Pass::Again | Pass::Forced) && !ignored.leaves_out(&found.path) {
                self.report.add_finding(&change);
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
    /// Adds a change of a second pass.
    fn add_finding(&mut self, change: &Change) {
        let is_of_apply = change.pass == Pass::Again && change.mode == Mode::Apply;
        // It has run for the first time: the upgrade came in its place.
        let findings = match self.from.is_some() && is_of_apply {
            true => &mut self.forgotten_by_upgrade,
            false => &mut self.not_idempotent,
        };
        findings.push(Finding {
            path: change.path.clone(),
            mode: change.mode,
            step: change.step.clone(),
            pass: change.pass,
            kind: change.kind,
            detail: change.rights(),
            diff: change.diff.clone(),
        });
    }

    /// Leaves of the findings about one step and path the first.
    pub(super) fn join_findings(&mut self) {
        for findings in [&mut self.not_idempotent, &mut self.forgotten_by_upgrade] {
            let mut known = BTreeSet::new();
            findings.retain(|finding| {
                let Finding {
                    path, mode, step, ..
                } = finding;
                known.insert((path.clone(), *mode, step.clone()))
            });
        }
    }

    /// Adds what differs from the root in the end, if it is the package's.
    pub(super) fn add_left_behind(
        &mut self,
        differences: &[view::Change],
        mut differ: Option<&mut Differ>,
        view: &Root,
    ) {
        let mut left_behind = Vec::new();
        for found in differences {
            if is_agents(&found.path) || self.ignored.leaves_out(&found.path) {
                continue;
            }
            let change = Change::new(found, Mode::Uninstall, Pass::Uninstall, None);
            left_behind.push(LeftBehind {
                detail: change.rights(),
                path: change.path,
                kind: change.kind,
                diff: differ
                    .as_mut()
                    .and_then(|differ| differ.since_root(found, view)),
            });
        }
        self.left_behind = Some(left_behind);
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
    use tempfile::TempDir;

    use super::super::ignored::Ignored;
    use super::super::report::{Stage, StageOutcome, Step, StepOutcome};
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

    fn change(path: &str, pass: Pass, mode: Mode) -> Change {
        let found = view::Change {
            path: path.into(),
            kind: view::Kind::Changed,
            detail: view::Detail {
                mode: Some((0o644, 0o600)),
                ..view::Detail::default()
            },
        };
        Change::new(&found, mode, pass, None)
    }

    #[test]
    fn the_same_finding_of_two_passes_is_one() {
        let mut report = Report::default();
        for (path, pass) in [
            ("/a", Pass::Again),
            ("/b", Pass::Again),
            ("/a", Pass::Forced),
            ("/c", Pass::Forced),
        ] {
            report.add_finding(&change(path, pass, Mode::Apply));
        }
        report.add_finding(&change("/a", Pass::Forced, Mode::Config));
        report.join_findings();
        let found = report.not_idempotent.iter();
        let found: Vec<_> = found
            .map(|finding| (&*finding.path, finding.pass, finding.mode))
            .collect();
        assert_eq!(
            found,
            [
                ("/a", Pass::Again, Mode::Apply),
                ("/b", Pass::Again, Mode::Apply),
                ("/c", Pass::Forced, Mode::Apply),
                ("/a", Pass::Forced, Mode::Config),
            ]
        );
        assert_eq!(report.not_idempotent[0].detail, "mode 0644 to 0600");
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
            let path = format!("/{}-{mode}", pass.name());
            report.add_finding(&change(&path, pass, mode));
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

    #[test]
    fn what_is_left_is_the_package_s_own_and_not_ignored() {
        let (before, after) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        std::fs::create_dir(after.path().join("etc")).unwrap();
        std::fs::write(after.path().join("etc/a"), "left\n").unwrap();
        let view = Root::open(after.path()).unwrap();
        let mut differ = Differ::new(Root::open(before.path()).unwrap());
        let mut report = Report {
            ignored: Ignored::new(&["/opt/mine/state".into()]),
            ..Report::default()
        };
        let paths = [
            "/etc/a",
            "/opt/mine",
            "/opt/mine/state",
            "/opt/mine/state/1",
            "/var/cache/apt/pkgcache.bin",
            "/var/lib/skyhook/rehearse/flags",
            "/var/log/skyhook/rehearse/a.log",
            "/var/log/a.log",
        ];
        let differences = paths.map(|path| view::Change {
            path: path.into(),
            kind: view::Kind::Added,
            detail: view::Detail::default(),
        });
        report.add_left_behind(&differences, Some(&mut differ), &view);
        let left = report.left_behind.as_ref().unwrap();
        let found: Vec<&str> = left.iter().map(|left| &*left.path).collect();
        assert_eq!(found, ["/etc/a", "/opt/mine"]);
        assert_eq!(left[0].diff.as_deref(), Some("@@ -0,0 +1 @@\n+left\n"));
        assert_eq!(left[1].diff, None);
        let used: Vec<&str> = report.ignored.used().collect();
        assert_eq!(used, ["/opt/mine/state", "/var/cache", "/var/log"]);
    }

    fn stage(pass: Pass, mode: Mode, step: &str, seconds: f64) -> Stage {
        let step = Step {
            path: step.to_owned(),
            outcome: StepOutcome::Succeeded,
            code: None,
            seconds,
        };
        Stage {
            mode,
            pass,
            outcome: StageOutcome::Succeeded,
            seconds,
            steps: vec![step],
            output: String::new(),
            log: None,
        }
    }

    /// Passes that no node sees count for nothing.
    #[test]
    fn an_operator_is_told_of_services_reboots_and_the_longest_step() {
        let mut report = Report {
            stages: vec![
                stage(Pass::First, Mode::Apply, "a.sh", 2.0),
                stage(Pass::First, Mode::Config, "b.sh", 3.0),
                stage(Pass::Forced, Mode::Apply, "c.sh", 9.0),
                stage(Pass::Uninstall, Mode::Uninstall, "d.sh", 2.5),
                stage(Pass::Anew, Mode::Apply, "e.sh", 9.0),
            ],
            stand_ins: vec![
                call("systemctl", "restart a b"),
                call("systemctl", "start a"),
                Call {
                    pass: Pass::Forced,
                    ..call("systemctl", "start of-a-second-pass")
                },
            ],
            ..Report::default()
        };
        report.note_for_the_operator();
        assert!(!report.operator.reboot);
        assert_eq!(report.operator.services, ["a", "b"]);
        let longest = report.operator.longest_step.clone().unwrap();
        assert_eq!((longest.mode, &*longest.step), (Mode::Config, "b.sh"));

        report.stand_ins = vec![Call {
            pass: Pass::Again,
            ..call("reboot", "")
        }];
        report.note_for_the_operator();
        assert!(!report.operator.reboot);
        report.stand_ins.push(call("reboot", ""));
        report.note_for_the_operator();
        assert!(report.operator.reboot);
    }
}
