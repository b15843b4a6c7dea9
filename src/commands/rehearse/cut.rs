//! The life in which each stage is cut off in the middle, and started anew.

use std::time::Duration;

use super::life::{Rehearsal, Went};
use super::plan::{self, Pass, Stage as Planned};
use super::report::{NotRestartable, Stage};
use super::stage::{After, Cut, Ended};
use crate::error::Error;
use crate::package::Mode;
use crate::view::View;

/// The shortest step that is cut off by the clock. The time of a shorter one differs too
/// much from one run to another, on a busy machine: it would be cut off sometimes.
const SHORTEST: Duration = Duration::from_secs(2);

/// How many changes each step of the first life made, stage by stage.
#[derive(Debug, Default)]
pub(super) struct Counts(Vec<(Pass, Mode, Vec<u64>)>);

impl Rehearsal<'_> {
    /// Keeps how many changes the steps of a stage made.
    pub(super) fn count(&mut self, planned: Planned, ended: &Ended) {
        let Planned { pass, mode, .. } = planned;
        if let Some(error) = &ended.uncounted {
            let gap = format!(
                "the kernel does not report system calls ({error}): stages are cut off by the \
                 clock, and only steps of 2 s or more"
            );
            if !self.report.gaps.contains(&gap) {
                self.report.gaps.push(gap);
            }
        }
        if plan::is_cut_later(pass) {
            self.counts.0.push((pass, mode, ended.changes.clone()));
        }
    }

    /// Lives the life once more, in a new view.
    pub(super) fn live_cut(&mut self, life: &plan::Life) -> Result<(), Error> {
        let mut view = self.view(None)?;
        let mut stages = life.first.iter().chain(&life.uninstall);
        let mut went = Went::Well;
        while went == Went::Well
            && let Some(planned) = stages.next()
        {
            // What fails also when it is whole says nothing more.
            let has_failed = self.lived(*planned).is_some_and(Stage::has_failed);
            if has_failed {
                self.report.not_cut.push(planned.mode);
                break;
            }
            went = self.cut_off(*planned, &mut view)?;
        }
        let rest = stages.filter(|planned| planned.has_steps);
        self.report.not_cut.extend(rest.map(|planned| planned.mode));
        Ok(())
    }

    /// Cuts a stage off in the middle and starts it anew, or only runs it if there is no
    /// place for a cut.
    fn cut_off(&mut self, planned: Planned, view: &mut View) -> Result<Went, Error> {
        let of_pass = |pass| Planned { pass, ..planned };
        let anew = of_pass(Pass::Anew);
        let Some((cut, step)) = self.place_to_cut(planned) else {
            return self.stage(anew, view, None, &mut None);
        };
        if self.stage(of_pass(Pass::Cut), view, Some(cut), &mut None)? == Went::Wrong {
            return Ok(Went::Wrong);
        }
        let was_cut = self.report.stages.last().is_some_and(Stage::has_cut_step);
        let went = self.stage(anew, view, None, &mut None)?;
        // A step that had ended before is not to blame.
        if went == Went::Wrong && was_cut {
            let mode = planned.mode;
            self.report
                .not_restartable
                .push(NotRestartable { mode, step });
        }
        Ok(went)
    }

    /// How a stage went in the first life.
    fn lived(&self, planned: Planned) -> Option<&Stage> {
        let mut stages = self.report.stages.iter();
        stages.find(|stage| (stage.pass, stage.mode) == (planned.pass, planned.mode))
    }

    /// The middle of a stage, and the path of the step that is cut off there.
    fn place_to_cut(&self, planned: Planned) -> Option<(Cut, String)> {
        let stage = self.lived(planned)?;
        let counts = self.counts.0.iter();
        let mut counts =
            counts.filter(|(pass, mode, _)| (*pass, *mode) == (stage.pass, stage.mode));
        let changes = counts.next().map_or(&[][..], |(_, _, changes)| changes);
        let cut = place(stage, changes)?;
        let step = stage.steps_that_ran().nth(cut.step)?;
        Some((cut, step.path.clone()))
    }
}

/// The middle of a stage: half of the changes of the step that made most, so that the place
/// is the same each time. Of a stage without changes, half of the time of a long step.
fn place(stage: &Stage, changes: &[u64]) -> Option<Cut> {
    let steps = changes.iter().enumerate().rev();
    // Of equals, the first.
    let most = steps.max_by_key(|(_, changes)| **changes);
    if let Some((step, changes)) = most
        && *changes > 0
    {
        let after = After::Changes(changes.div_ceil(2));
        return Some(Cut { step, after });
    }
    let (step, longest) = stage.longest_step()?;
    let time = Duration::try_from_secs_f64(longest.seconds).ok()?;
    let after = After::Time(time / 2);
    (time >= SHORTEST).then_some(Cut { step, after })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::rehearse::report::{StageOutcome, Step, StepOutcome};

    fn stage(steps: &[(StepOutcome, f64)]) -> Stage {
        let steps = steps.iter().map(|(outcome, seconds)| Step {
            path: "a.sh".to_owned(),
            outcome: *outcome,
            code: None,
            seconds: *seconds,
        });
        Stage {
            mode: Mode::Apply,
            pass: Pass::First,
            outcome: StageOutcome::Succeeded,
            seconds: 1.0,
            steps: steps.collect(),
            output: String::new(),
            log: None,
        }
    }

    fn after(step: usize, after: After) -> Option<Cut> {
        Some(Cut { step, after })
    }

    #[test]
    fn a_stage_is_cut_off_after_half_of_the_changes_of_its_busiest_step() {
        let ran = stage(&[(StepOutcome::Succeeded, 9.0); 4]);
        for (changes, step, half) in [
            (&[1][..], 0, 1),
            (&[0, 2], 1, 1),
            (&[3, 1], 0, 2),
            (&[1, 5, 4, 5], 1, 3),
        ] {
            assert_eq!(place(&ran, changes), after(step, After::Changes(half)));
        }
    }

    #[test]
    fn a_stage_without_changes_is_cut_off_by_the_clock_if_it_is_long() {
        use StepOutcome::{Skipped, Succeeded};
        let half = |seconds: f64| After::Time(Duration::from_secs_f64(seconds / 2.0));
        let ran = stage(&[(Skipped, 0.0), (Succeeded, 1.0), (Succeeded, 5.0)]);
        assert_eq!(place(&ran, &[0, 0]), after(1, half(5.0)));
        // They could not be counted.
        assert_eq!(place(&ran, &[]), after(1, half(5.0)));
        assert_eq!(place(&stage(&[(Succeeded, 1.99)]), &[0]), None);
        assert_eq!(place(&stage(&[]), &[]), None);
    }
}
