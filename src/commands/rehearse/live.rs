//! The life as a person watches it: a line for each stage, and a live one for what runs.

use std::time::{Duration, Instant};

use unicode_width::UnicodeWidthStr;

use super::channel::{Event, What};
use super::plan::{Pass, Stage as Planned};
use super::report::{Stage, StageOutcome, Step, StepOutcome, help, how, human};
use crate::error::Error;
use crate::output::Printer;
use crate::output::pretty::{clean, fit, seconds};
use crate::text;

/// The columns of a mode's name.
const MODE: usize = 20;

/// The columns of a time.
const TIME: usize = 9;

/// The time between two drawings of the live line.
const REDRAW: Duration = Duration::from_millis(100);

const ERASE_LINE: &str = "\r\u{1b}[K";

/// Shows a life. Of other forms than the human one it shows nothing.
pub(super) struct Live<'p> {
    printer: &'p mut Printer,
    is_shown: bool,
    /// Tells if steps have the network.
    has_network: bool,
    /// The columns of a terminal on which a line can be drawn again.
    width: Option<usize>,
    pass: Option<Pass>,
    mode: &'static str,
    step: String,
    since: Instant,
    drawn_at: Option<Instant>,
    /// The last line of output, and what came of the next one.
    last: Vec<u8>,
    next: Vec<u8>,
}

impl<'p> Live<'p> {
    pub(super) fn new(printer: &'p mut Printer, is_shown: bool, has_network: bool) -> Live<'p> {
        let can_redraw = is_shown && printer.is_terminal();
        Live {
            width: printer.width.filter(|_| can_redraw),
            printer,
            is_shown,
            has_network,
            pass: None,
            mode: "",
            step: String::new(),
            since: Instant::now(),
            drawn_at: None,
            last: Vec::new(),
            next: Vec::new(),
        }
    }

    /// Shows what is rehearsed.
    pub(super) fn heading(&mut self, heading: &str) -> Result<(), Error> {
        if !self.is_shown {
            return Ok(());
        }
        let strong = self.printer.palette.strong;
        let heading = text::escape(heading);
        self.printer
            .line(format_args!("{strong}▶ {heading}{strong:#}"))?;
        self.printer.flush()
    }

    /// A stage begins.
    pub(super) fn begin(&mut self, stage: Planned) -> Result<(), Error> {
        self.mode = stage.mode.name();
        self.step.clear();
        self.last.clear();
        self.next.clear();
        self.since = Instant::now();
        self.draw(true)
    }

    /// Something happened in it.
    pub(super) fn event(&mut self, event: &Event) -> Result<(), Error> {
        if event.event == What::Begins {
            self.step.clone_from(&event.step);
            self.last.clear();
            self.next.clear();
            self.draw(true)?;
        }
        Ok(())
    }

    /// The stage said something.
    pub(super) fn said(&mut self, bytes: &[u8]) {
        if self.width.is_none() {
            return;
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.next.extend_from_slice(line);
            if line.ends_with(b"\n") {
                self.last = std::mem::take(&mut self.next);
            }
            // More does not fit a terminal.
            self.next.truncate(4096);
        }
    }

    pub(super) fn tick(&mut self) -> Result<(), Error> {
        self.draw(false)
    }

    fn draw(&mut self, at_once: bool) -> Result<(), Error> {
        let Some(width) = self.width else {
            return Ok(());
        };
        let is_due = self.drawn_at.is_none_or(|at| at.elapsed() >= REDRAW);
        if !at_once && !is_due {
            return Ok(());
        }
        self.drawn_at = Some(Instant::now());
        let dim = self.printer.palette.dim;
        let time = seconds(self.since.elapsed());
        let step = text::escape(&self.step);
        let line = format!("  … {:MODE$}{time:>TIME$}  {step}", self.mode);
        let room = width.saturating_sub(1);
        let line = fit(&line, room).into_owned();
        let last = format!(" │ {}", clean(without_stamp(&self.last)).trim_end());
        let last = match self.last.is_empty() {
            true => "".into(),
            false => fit(&last, room.saturating_sub(line.width())),
        };
        let bytes = format!("{ERASE_LINE}{line}{dim}{last}{dim:#}");
        self.printer.bytes(bytes.as_bytes())?;
        self.printer.flush()
    }

    /// Removes the live line.
    pub(super) fn erase(&mut self) -> Result<(), Error> {
        if self.drawn_at.take().is_some() {
            self.printer.bytes(ERASE_LINE.as_bytes())?;
            self.printer.flush()?;
        }
        Ok(())
    }

    /// A stage has ended. One without steps is shown if it failed.
    pub(super) fn end(&mut self, stage: &Stage, title: &str) -> Result<(), Error> {
        self.erase()?;
        if !self.is_shown {
            return Ok(());
        }
        let palette = self.printer.palette;
        if self.pass.replace(group(stage.pass)) != Some(group(stage.pass)) {
            let strong = palette.strong;
            let title = text::escape(title);
            self.printer
                .line(format_args!("\n{strong}{title}{strong:#}"))?;
        }
        let (style, mark) = match stage.outcome {
            _ if escaped_the_cut(stage) => (palette.dim, '╌'),
            StageOutcome::Succeeded => (palette.good, '✓'),
            StageOutcome::Failed | StageOutcome::OutOfTime => (palette.bad, '✗'),
            StageOutcome::Cut => (palette.dim, '╌'),
            StageOutcome::Rebooted => (palette.dim, '↻'),
        };
        let time = Duration::try_from_secs_f64(stage.seconds).unwrap_or_default();
        let time = seconds(time);
        let mode = stage.mode.name();
        let dim = palette.dim;
        self.printer.line(format_args!(
            "  {style}{mark} {mode:MODE$}{style:#}{dim}{time:>TIME$}{dim:#}  {}",
            self.steps(stage)
        ))?;
        if stage.has_failed() {
            self.failure(stage)?;
        }
        self.printer.flush()
    }

    /// The steps of a stage, in a line.
    fn steps(&self, stage: &Stage) -> String {
        let palette = self.printer.palette;
        let dim = palette.dim;
        let steps = stage.steps.iter().map(|step| {
            let path = text::escape(&step.path);
            let style = match step.outcome {
                outcome if outcome.is_failure() => palette.bad,
                StepOutcome::Cut | StepOutcome::Skipped => dim,
                _ => anstyle::Style::new(),
            };
            let how = how(step).map(|how| format!(" ({how})")).unwrap_or_default();
            format!("{style}{path}{how}{style:#}")
        });
        let mut parts: Vec<String> = steps.collect();
        match stage.outcome {
            StageOutcome::Rebooted => parts.push("reboot played".to_owned()),
            StageOutcome::OutOfTime if !stage.steps.iter().any(is_out_of_time) => {
                parts.push("out of time".to_owned());
            }
            _ if escaped_the_cut(stage) => parts.push("ended before it was cut off".to_owned()),
            _ => {}
        }
        parts.join(", ")
    }

    /// What a stage said that failed, where its log is, and what to do.
    fn failure(&mut self, stage: &Stage) -> Result<(), Error> {
        // The prefix that waits for the next line says nothing.
        let is_prefix = |line: &&str| without_stamp(line.as_bytes()).is_empty();
        for line in stage.output.lines().filter(|line| !is_prefix(line)) {
            let mut shown = b"      ".to_vec();
            text::add_line(line.as_bytes(), &mut shown);
            shown.push(b'\n');
            self.printer.bytes(&shown)?;
        }
        if let Some(log) = &stage.log {
            let dim = self.printer.palette.dim;
            let log = text::escape(log);
            self.printer.line(format_args!(
                "{dim}      log in the view: {log} (--keep DIR or --shell keeps it){dim:#}"
            ))?;
        }
        let help = help::of_stage(stage, self.has_network);
        for line in human::help_lines(help, self.printer.palette) {
            self.printer.line(format_args!("      {line}"))?;
        }
        Ok(())
    }

    /// Says something between stages.
    pub(super) fn note(&mut self, note: &str) -> Result<(), Error> {
        self.erase()?;
        if !self.is_shown {
            return Ok(());
        }
        let dim = self.printer.palette.dim;
        let note = text::escape(note);
        self.printer.line(format_args!("{dim}  {note}{dim:#}"))?;
        self.printer.flush()
    }
}

fn is_out_of_time(step: &Step) -> bool {
    step.outcome == StepOutcome::OutOfTime
}

/// Tells if a stage was to be cut off, and all of its steps had ended before that.
fn escaped_the_cut(stage: &Stage) -> bool {
    let is_cut = |step: &Step| step.outcome == StepOutcome::Cut;
    let is_to_be_cut = stage.pass == Pass::Cut && !stage.steps.is_empty() && !stage.has_failed();
    is_to_be_cut && !stage.steps.iter().any(is_cut)
}

/// A stage that is cut off and its second start stand together.
fn group(pass: Pass) -> Pass {
    match pass {
        Pass::Anew => Pass::Cut,
        pass => pass,
    }
}

/// A line of output without its label and time: `[out]2026-11-24T13:06:12.345678 `.
fn without_stamp(line: &[u8]) -> &[u8] {
    const STAMP: usize = "[out]2026-11-24T13:06:12.345678 ".len();
    match line.starts_with(b"[out]") || line.starts_with(b"[err]") {
        true => line.get(STAMP..).unwrap_or_default(),
        false => line,
    }
}
