//! What a person sees of a `run-step`: the view of its steps, and its summary.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use super::package::Steps;
use super::{Look, Options};
use crate::exec::step::Verdict;
use crate::output::log_file::LogDir;
use crate::output::pretty::{Place, View};
use crate::output::{Console, Palette};
use crate::package::{Mode, Step};
use crate::settings::Settings;
use crate::text::{escape, words};

/// The columns of a terminal that does not tell.
const USUAL_WIDTH: usize = 80;

/// Makes the view, if a person watches or it is asked for.
pub(super) fn view(options: &Options, settings: &Settings) -> Option<View> {
    let stdout = io::stdout();
    let is_wanted = match options.look {
        Look::Plain => false,
        Look::Pretty => true,
        // A stream that is redirected is to get what belongs to it.
        Look::Auto => stdout.is_terminal() && io::stderr().is_terminal(),
    };
    let can_redraw = stdout.is_terminal() && settings.variable("TERM") != Some(OsStr::new("dumb"));
    is_wanted.then(|| {
        let palette = Palette::of(options.color, &stdout);
        let width = terminal_size::terminal_size().map(|(width, _)| width.0.into());
        // Some terminals, such as serial lines, do not tell.
        let width = width.unwrap_or(USUAL_WIDTH);
        View::new(palette, can_redraw.then_some(width))
    })
}

/// The steps of a run, counted and timed. Times are those of a clock that is never set.
#[derive(Debug)]
pub(super) struct Watch {
    begun: Instant,
    step_begun: Instant,
    of: usize,
    number: usize,
    succeeded: usize,
    failed: usize,
}

impl Watch {
    pub(super) fn new(chosen: &[Steps]) -> Watch {
        let now = Instant::now();
        Watch {
            begun: now,
            step_begun: now,
            of: chosen.iter().map(|steps| steps.steps.len()).sum(),
            number: 0,
            succeeded: 0,
            failed: 0,
        }
    }

    /// Shows that a step begins.
    pub(super) fn begin(&mut self, mode: Mode, step: &Step, console: &mut Console) {
        self.step_begun = Instant::now();
        self.number += 1;
        let place = Place {
            number: self.number,
            of: self.of,
        };
        let command = format!("{}{}", escape(&step.path), words(&step.arguments));
        console.show(|view| view.heading(&step.name, &command, mode.name(), place));
    }

    /// Shows how the step ended.
    pub(super) fn end(&mut self, step: &Step, verdict: Verdict, console: &mut Console) {
        let time = self.step_begun.elapsed();
        let name = &step.name;
        match how(verdict) {
            Some(how) => {
                self.failed += 1;
                let time = (verdict != Verdict::NotRun).then_some(time);
                console.show(|view| view.failed(name, &how, time));
            }
            None if verdict == Verdict::Succeeded => {
                self.succeeded += 1;
                console.show(|view| view.succeeded(name, time));
            }
            None => {}
        }
    }

    /// Shows the totals, and where the logs are.
    pub(super) fn finish(&self, log_dir: Option<&LogDir<'_>>, console: &mut Console) {
        let time: Duration = self.begun.elapsed();
        let is_good = self.failed == 0 && self.succeeded == self.of;
        let ran = self.succeeded + self.failed;
        let totals = self.totals();
        console.show(|view| {
            view.summary(is_good, &totals, time);
            if let Some(log_dir) = log_dir
                && ran > 0
            {
                let dir = log_dir.host_path();
                view.note(&format!("logs: {}", escape(&dir.display().to_string())));
            }
        });
    }

    fn totals(&self) -> String {
        let Watch {
            of,
            succeeded,
            failed,
            ..
        } = *self;
        let mut parts = vec![match of {
            1 => format!("{succeeded} of 1 step succeeded"),
            _ => format!("{succeeded} of {of} steps succeeded"),
        }];
        if failed > 0 {
            parts.push(format!("{failed} failed"));
        }
        let left = of.saturating_sub(succeeded + failed);
        if left > 0 {
            parts.push(format!("{left} did not run"));
        }
        parts.join(", ")
    }
}

/// Says how a step failed; `None` if it did not, or has not begun.
fn how(verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Succeeded | Verdict::Cancelled => None,
        Verdict::Failed { code } if code < 0 => Some(format!("ended by signal {}", -code)),
        Verdict::Failed { code } => Some(format!("exit code {code}")),
        Verdict::OutOfTime => Some("out of time".to_owned()),
        Verdict::NotStarted => Some("not started".to_owned()),
        Verdict::NotRun => Some("did not run".to_owned()),
    }
}
