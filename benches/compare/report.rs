//! Writes the report: tables of medians and spreads.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Result;

/// Writes the report, while it grows, to stdout and a file.
pub struct Report {
    out: PathBuf,
    file: RefCell<File>,
}

impl Report {
    /// Starts a report in this directory.
    pub fn new(out: &Path) -> Result<Report> {
        let create = || {
            fs::create_dir_all(out)?;
            File::create(out.join("report.md"))
        };
        let file = create().map_err(|error| format!("--out: {}: {error}", out.display()))?;
        Ok(Report {
            out: out.to_owned(),
            file: RefCell::new(file),
        })
    }

    /// The path for a plot of this name.
    pub fn plot(&self, name: &str) -> PathBuf {
        self.out.join(format!("{name}.svg"))
    }

    pub fn say(&self, text: &str) {
        // A reader of stdout that leaves early does not end the measurement.
        let _ = writeln!(std::io::stdout(), "{text}");
        if let Err(error) = writeln!(self.file.borrow_mut(), "{text}") {
            eprintln!("compare: report.md: {error}");
        }
    }

    pub fn heading(&self, text: &str) {
        self.say(&format!("\n### {text}\n"));
    }

    /// Writes a Markdown table, with columns of numbers aligned to the right.
    pub fn table(&self, header: &[&str], rows: &[Vec<String>]) {
        let is_number = |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        let rule: Vec<&str> = (0..header.len())
            .map(|i| {
                let mut cells = rows
                    .iter()
                    .filter_map(|row| row.get(i))
                    .filter(|cell| !cell.is_empty());
                if cells.all(|cell| is_number(cell)) {
                    "---:"
                } else {
                    "---"
                }
            })
            .collect();
        self.say(&format!("| {} |", header.join(" | ")));
        self.say(&format!("|{}|", rule.join("|")));
        for row in rows {
            let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            self.say(&format!("| {} |", cells.join(" | ")));
        }
    }
}

/// Measurements of one thing, sorted.
#[derive(Clone, Debug)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Takes the measurements in any order. There has to be at least one.
    pub fn new(mut samples: Vec<f64>) -> Samples {
        samples.sort_by(f64::total_cmp);
        Samples(samples)
    }

    pub fn seconds(times: impl IntoIterator<Item = Duration>) -> Samples {
        Samples::new(times.into_iter().map(|time| time.as_secs_f64()).collect())
    }

    /// The least value that this share of the samples does not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn most(&self) -> f64 {
        self.quantile(1.0)
    }

    /// Writes median and quartiles, each times `scale`.
    pub fn spread(&self, scale: f64) -> String {
        let [low, median, high] =
            [0.25, 0.5, 0.75].map(|share| digits(self.quantile(share) * scale));
        format!("{median} ({low}–{high})")
    }
}

/// Writes a number with three significant digits.
pub fn digits(number: f64) -> String {
    match number.abs() {
        n if n >= 100.0 => format!("{number:.0}"),
        n if n >= 10.0 => format!("{number:.1}"),
        n if n >= 1.0 => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}
