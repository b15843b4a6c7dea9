//! What is measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::ValueEnum;

use crate::contenders::{ALL, Contender, Job};
use crate::measure::{Cost, Running};
use crate::report::{Report, Samples};

pub const MIB: usize = 1 << 20;

/// A part of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// 256 MiB of 100-byte lines in big writes
    Blocks,
    /// 500,000 lines of 100 bytes, a write each
    Lines,
    /// 256 MiB of mixed UTF-8 in big writes
    Utf8,
    /// 256 MiB in lines of 1 MiB
    LongLines,
    /// How long a line takes to appear
    Delay,
    /// Steps of `true`, one after another
    Steps,
    /// A whole run of the agent on one step
    Apply,
    /// From the start to the first byte
    StartUp,
    /// System calls of a read
    PerRead,
    /// How time and memory grow with the output
    Output,
    /// How the throughput depends on the length of lines
    LineLength,
}

/// What all parts share.
pub struct Bench<'a> {
    pub agent: PathBuf,
    pub rounds: usize,
    pub logs: &'a Path,
    pub packages: &'a Path,
    pub report: Report,
}

impl Bench<'_> {
    /// Measures these parts; all where there is none.
    pub fn run(&self, parts: &[Part]) {
        self.say_where();
        for part in Part::value_variants() {
            if !parts.is_empty() && !parts.contains(part) {
                continue;
            }
            match part {
                Part::Blocks => self.blocks(),
                Part::Lines => {
                    let title = "500,000 lines of 100 bytes, a write each";
                    self.streams(title, &["lines", "500000"], 500_000 * 100);
                }
                Part::Utf8 => {
                    let title = "256 MiB of mixed UTF-8 in big writes";
                    let len = (256 * MIB).to_string();
                    self.streams(title, &["utf-8", &len], 256 * MIB);
                }
                Part::LongLines => {
                    let (title, len) = ("256 MiB in lines of 1 MiB", (256 * MIB).to_string());
                    self.streams(title, &["blocks", &MIB.to_string(), &len], 256 * MIB);
                }
                Part::Delay => self.delay(),
                Part::Steps => self.steps(),
                Part::Apply => self.apply(),
                Part::StartUp => self.start_up(),
                Part::PerRead => self.per_read(),
                Part::Output => self.output(),
                Part::LineLength => self.line_length(),
            }
        }
    }

    fn say_where(&self) {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let models: Vec<&str> = cpuinfo
            .lines()
            .filter_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map(|(_, model)| model)
            .collect();
        let size = fs::metadata(&self.agent).unwrap().len();
        self.report.say(&format!(
            "{} × {}, Linux {}; agent of {size} bytes; medians of {} rounds (three for \
             one that takes over 5 s), quartiles in parentheses; console /dev/null, logs in {}.",
            models.len(),
            models.first().unwrap_or(&"?"),
            read("/proc/sys/kernel/osrelease").trim(),
            self.rounds,
            self.logs.parent().unwrap().display(),
        ));
        for contender in ALL {
            if let Some(program) = contender.missing() {
                let name = contender.name;
                self.report
                    .say(&format!("{name} is missing: no {program} on PATH."));
            }
        }
    }

    /// Starts a contender in folders of its own, and removes its logs when `then`
    /// has looked at them.
    pub fn with<T>(
        &self,
        contender: &Contender,
        output: &[&str],
        stdout: Stdio,
        then: impl FnOnce(Running, &Path) -> T,
    ) -> T {
        let logs = tempfile::tempdir_in(self.logs).unwrap();
        let package = self.packages.join(contender.name.replace(" | ", "-"));
        fs::create_dir_all(&package).unwrap();
        let job = Job {
            agent: &self.agent,
            logs: logs.path(),
            package: &package,
            output,
        };
        then(contender.pipeline(&job).start(stdout), logs.path())
    }

    pub fn cost(&self, contender: &Contender, output: &[&str], len: usize) -> Cost {
        self.with(contender, output, Stdio::null(), |running, logs| {
            let cost = running.finish();
            let logged = len_below(logs);
            if logged < len {
                let name = contender.name;
                self.report
                    .say(&format!("{name} logged {logged} of {len} bytes."));
            }
            cost
        })
    }

    /// Lets the contenders take turns. One without any cost is missing.
    pub fn take_turns(
        &self,
        who: &[&'static Contender],
        output: &[&str],
        len: usize,
    ) -> Vec<Costs> {
        let mut all: Vec<Costs> = who.iter().map(|contender| Costs::of(contender)).collect();
        for _ in 0..self.rounds {
            for costs in &mut all {
                if costs.contender.missing().is_none() && !costs.has_had_enough() {
                    let cost = self.cost(costs.contender, output, len);
                    costs.costs.push(cost);
                }
            }
        }
        all.retain(|costs| !costs.costs.is_empty());
        all
    }
}

/// What a contender took, round by round.
pub struct Costs {
    pub contender: &'static Contender,
    pub costs: Vec<Cost>,
}

impl Costs {
    fn of(contender: &'static Contender) -> Costs {
        Costs {
            contender,
            costs: Vec::new(),
        }
    }

    /// Three turns do for one that takes this long.
    fn has_had_enough(&self) -> bool {
        self.costs.len() >= 3 && self.costs[0].wall > Duration::from_secs(5)
    }

    pub fn wall(&self) -> Samples {
        Samples::seconds(self.costs.iter().map(|cost| cost.wall))
    }

    pub fn median(&self, of: impl Fn(&Cost) -> Duration) -> f64 {
        Samples::seconds(self.costs.iter().map(of)).median()
    }
}

/// The length of all files below a folder.
fn len_below(dir: &Path) -> usize {
    files_below(dir)
        .iter()
        .map(|file| fs::metadata(file).unwrap().len() as usize)
        .sum()
}

pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.append(&mut files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}
