//! The targets of the agent, and whether this run met them.

use std::cell::RefCell;

use crate::parts::Part;
use crate::report::{Report, digits};

/// A figure that the agent shall reach. Ratios are of medians.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The agent's time, relative to the copy that reads 8 KiB.
    Copy8(Part),
    /// The same, relative to the copy that reads 64 KiB.
    Copy64(Part),
    /// The time of the fastest peer with a console and a log, relative to the agent's.
    Peers(Part),
    ConmonConsole(Part),
    Conmon(Part),
    LinesCpu,
    DelayConsole,
    DelayLog,
    Steps,
    Apply,
    /// In MiB.
    Memory,
}

use Target::{
    Apply, Conmon, ConmonConsole, Copy8, Copy64, DelayConsole, DelayLog, LinesCpu, Memory, Peers,
    Steps,
};

const ALL: &[Target] = &[
    Copy8(Part::Blocks),
    Copy8(Part::Utf8),
    Copy64(Part::Blocks),
    Copy64(Part::Utf8),
    Peers(Part::Blocks),
    Peers(Part::Utf8),
    ConmonConsole(Part::Blocks),
    ConmonConsole(Part::Utf8),
    Conmon(Part::Blocks),
    Conmon(Part::Utf8),
    LinesCpu,
    DelayConsole,
    DelayLog,
    Steps,
    Apply,
    Memory,
];

enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    fn limit(self) -> Limit {
        match self {
            Copy8(_) => Limit::AtMost(0.90),
            Copy64(_) => Limit::AtMost(1.45),
            Peers(_) | ConmonConsole(_) | Conmon(_) => Limit::AtLeast(3.0),
            LinesCpu => Limit::AtMost(1.05),
            DelayConsole | DelayLog => Limit::AtMost(2.0),
            Steps => Limit::AtMost(2.4),
            Apply => Limit::AtMost(2.7),
            Memory => Limit::AtMost(3.0),
        }
    }

    fn text(self) -> String {
        let content = |part| match part {
            Part::Utf8 => "UTF-8",
            _ => "ASCII",
        };
        match self {
            Copy8(part) => format!("big writes, {}: wall / copy 8 KiB", content(part)),
            Copy64(part) => format!("big writes, {}: wall / copy 64 KiB", content(part)),
            Peers(part) => format!(
                "big writes, {}: fastest peer with console and log / agent",
                content(part)
            ),
            ConmonConsole(part) => format!(
                "big writes, {}: conmon with console and log / agent",
                content(part)
            ),
            Conmon(part) => format!(
                "big writes, {}: conmon with its log alone / agent",
                content(part)
            ),
            LinesCpu => "one write per line: CPU / minimal loop".to_owned(),
            DelayConsole => "delay on the console: p99 / minimal loop".to_owned(),
            DelayLog => "delay in the log: p99 / minimal loop".to_owned(),
            Steps => "a step of `true` at 2,000 steps / bare `true`".to_owned(),
            Apply => "`apply` of one step / bare `true`".to_owned(),
            Memory => "peak memory, from 1 MiB to 1 GiB of output, in MiB".to_owned(),
        }
    }
}

/// Keeps the figures that were measured.
#[derive(Default)]
pub struct Targets(RefCell<Vec<(Target, f64, String)>>);

impl Targets {
    /// Keeps a figure. `detail` is a name or a unit to show after it.
    pub fn note(&self, target: Target, measured: f64, detail: &str) {
        let noted = (target, measured, detail.to_owned());
        self.0.borrow_mut().push(noted);
    }

    /// Writes the table of all targets, also of those that were not measured.
    pub fn report(&self, report: &Report) {
        report.heading("Targets");
        let row = |target: &Target| {
            let noted = self.0.borrow();
            let measured = noted.iter().find(|(other, ..)| other == target);
            let (text, limit) = (target.text(), target.limit());
            let wanted = match limit {
                Limit::AtMost(most) => format!("at most {most}"),
                Limit::AtLeast(least) => format!("at least {least}"),
            };
            let Some((_, measured, detail)) = measured else {
                return vec![text, wanted, "not measured".to_owned(), String::new()];
            };
            let by = match limit {
                Limit::AtMost(most) => measured - most,
                Limit::AtLeast(least) => least - measured,
            };
            let outcome = if by > 0.0 {
                format!("missed by {}", digits(by))
            } else {
                "met".to_owned()
            };
            let figure = [&digits(*measured), detail.as_str()].join(" ");
            vec![text, wanted, figure.trim().to_owned(), outcome]
        };
        let rows: Vec<Vec<String>> = ALL.iter().map(row).collect();
        report.table(&["target", "limit", "measured", "outcome"], &rows);
    }
}
