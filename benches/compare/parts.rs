//! What is measured.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::contenders::{AGENT, ALL, Contender, Job, run_step, write_config};
use crate::delay::{delays_in, delays_on};
use crate::measure::{Cost, Running};
use crate::plots;
use crate::report::{Report, Samples, digits};
use crate::roles::PRODUCE;

const MIB: usize = 1 << 20;

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
    /// From the start to the first byte
    StartUp,
    /// System calls and allocations of a read
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
    fn with<T>(
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

    fn cost(&self, contender: &Contender, output: &[&str], len: usize) -> Cost {
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
    fn take_turns(&self, who: &[&'static Contender], output: &[&str], len: usize) -> Vec<Costs> {
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

    fn blocks(&self) {
        let len = (256 * MIB).to_string();
        let title = "256 MiB of 100-byte lines in big writes";
        let costs = self.streams(title, &["blocks", "100", &len], 256 * MIB);
        let bars: Vec<(&str, f64)> = costs
            .iter()
            .map(|costs| (costs.contender.name, 256.0 / costs.wall().median()))
            .collect();
        plots::throughput(&self.report.plot("throughput"), &bars);
    }

    fn streams(&self, title: &str, output: &[&str], len: usize) -> Vec<Costs> {
        self.report.heading(title);
        let all: Vec<_> = ALL.iter().collect();
        let all = self.take_turns(&all, output, len);
        let agent = all[0].wall().median();
        let minimal = &all[1];
        let rows: Vec<Vec<String>> = all
            .iter()
            .map(|costs| {
                let wall = costs.wall();
                vec![
                    costs.contender.name.to_owned(),
                    costs.contender.does.to_owned(),
                    wall.spread(1e3),
                    digits(len as f64 / MIB as f64 / wall.median()),
                    digits(wall.median() / agent),
                    digits(costs.median(|cost| cost.user) * 1e3),
                    digits(costs.median(|cost| cost.system) * 1e3),
                    digits(costs.median(Cost::cpu) / minimal.median(Cost::cpu)),
                ]
            })
            .collect();
        let header = [
            "",
            "writes",
            "wall ms",
            "MiB/s",
            "wall / agent",
            "user ms",
            "system ms",
            "CPU / minimal",
        ];
        self.report.table(&header, &rows);
        all
    }

    fn line_length(&self) {
        self.report
            .heading("64 MiB in lines of different length, big writes");
        let mut rows = Vec::new();
        for line_len in [10, 30, 100, 1_000, 10_000, 100_000, 1_000_000] {
            let (line, len) = (line_len.to_string(), (64 * MIB).to_string());
            let who = [&ALL[0], &ALL[1], &ALL[2]];
            let all = self.take_turns(&who, &["blocks", &line, &len], 64 * MIB);
            let median = |i: usize| all[i].wall().median();
            rows.push(vec![
                line,
                digits(64.0 / median(0)),
                digits(64.0 / median(1)),
                digits(64.0 / median(2)),
                digits(median(0) / median(1)),
                digits(median(0) / median(2)),
            ]);
        }
        let header = [
            "bytes per line",
            "agent MiB/s",
            "minimal MiB/s",
            "copy MiB/s",
            "agent / minimal",
            "agent / copy",
        ];
        self.report.table(&header, &rows);
    }

    fn output(&self) {
        self.report
            .heading("Time and memory against output, 100-byte lines in big writes");
        let mut rows = Vec::new();
        let mut peaks = Vec::new();
        for mib in [1, 4, 16, 64, 256, 1024] {
            let len = (mib * MIB).to_string();
            let output = ["blocks", "100", &len];
            let costs: Vec<Cost> = (0..self.rounds.min(5))
                .map(|_| self.cost(&ALL[0], &output, mib * MIB))
                .collect();
            let costs = Costs {
                contender: &ALL[0],
                costs,
            };
            let (_, peak) = self.with(&ALL[0], &output, Stdio::null(), |running, _| {
                running.finish_watched()
            });
            peaks.push((mib as f64, peak as f64 / 1024.0));
            rows.push(vec![
                mib.to_string(),
                digits(costs.wall().median() * 1e3),
                digits(costs.median(Cost::cpu) * 1e3),
                digits(mib as f64 / costs.wall().median()),
                peak.to_string(),
            ]);
        }
        self.report.table(
            &[
                "output MiB",
                "wall ms",
                "CPU ms",
                "MiB/s",
                "peak memory KiB",
            ],
            &rows,
        );
        plots::memory(&self.report.plot("memory"), &peaks);

        self.report.heading("Peak memory at 256 MiB");
        let len = (256 * MIB).to_string();
        let mut rows = Vec::new();
        for contender in ALL.iter().filter(|contender| contender.missing().is_none()) {
            let output = ["blocks", "100", &len];
            let (_, peak) = self.with(contender, &output, Stdio::null(), |running, _| {
                running.finish_watched()
            });
            rows.push(vec![contender.name.to_owned(), peak.to_string()]);
        }
        self.report.table(&["", "KiB"], &rows);
    }

    fn delay(&self) {
        const TICKS: &str = "5000";
        self.report
            .heading("From a line's write to its appearance, a line every millisecond");
        let (mut rows, mut curves) = (Vec::new(), Vec::new());
        let mut row = |name: &'static str, place: &str, delays: Vec<f64>| {
            let delays = Samples::new(delays);
            let quantiles = [0.5, 0.9, 0.99, 0.999].map(|share| digits(delays.quantile(share)));
            let mut cells = vec![name.to_owned(), place.to_owned()];
            cells.extend(quantiles);
            cells.push(digits(delays.most()));
            rows.push(cells);
            delays
        };
        let bare = Command::new(std::env::current_exe().unwrap())
            .args([PRODUCE, "ticks", TICKS])
            .stdout(Stdio::piped())
            .spawn();
        let mut bare = bare.unwrap();
        let delays = delays_on(bare.stdout.take().unwrap());
        bare.wait().unwrap();
        curves.push(("a bare pipe", row("a bare pipe", "reader", delays)));
        for contender in ALL.iter().filter(|contender| contender.missing().is_none()) {
            let output = ["ticks", TICKS];
            if contender.has_console {
                let delays = self.with(contender, &output, Stdio::piped(), |mut running, _| {
                    let last = running.processes.last_mut().unwrap();
                    let delays = delays_on(last.stdout.take().unwrap());
                    running.finish();
                    delays
                });
                curves.push((contender.name, row(contender.name, "console", delays)));
            }
            let delays = self.with(contender, &output, Stdio::null(), |running, logs| {
                let delays = delays_in(logs);
                running.finish();
                delays
            });
            row(contender.name, "log", delays);
        }
        self.report.table(
            &[
                "",
                "where",
                "p50 µs",
                "p90 µs",
                "p99 µs",
                "p99.9 µs",
                "max µs",
            ],
            &rows,
        );
        plots::delays(&self.report.plot("delay"), &curves);
    }

    fn steps(&self) {
        self.report.heading("Steps of `true`, one after another");
        let package = self.packages.join("steps");
        let dir = package.join("skyhook_dir");
        fs::create_dir_all(&dir).unwrap();
        let program = dir.join("true");
        fs::copy("/bin/true", &program).unwrap();
        let mut rows = Vec::new();
        for count in [10, 100, 500, 2000_usize] {
            let steps: Vec<(String, Vec<&str>)> = (0..count)
                .map(|i| (format!("true-{i:04}"), vec![]))
                .collect();
            for (name, _) in &steps {
                // Each is a file of its own name: a name has one log per second.
                let _ = fs::hard_link(&program, dir.join(name));
            }
            write_config(&package, &steps);
            let rounds = (self.rounds * 500 / count).clamp(self.rounds, 101);
            let mut times = [const { Vec::new() }; 3];
            for _ in 0..rounds {
                times[0].push(time(|| {
                    for _ in 0..count {
                        assert!(Command::new(&program).status().unwrap().success());
                    }
                }));
                for (i, write_logs) in [(1, "false"), (2, "true")] {
                    let logs = tempfile::tempdir_in(self.logs).unwrap();
                    let job = Job {
                        agent: &self.agent,
                        logs: logs.path(),
                        package: &package,
                        output: &[],
                    };
                    let mut command = run_step(&job);
                    command
                        .env("SKYHOOK_AGENT_WRITE_LOGS", write_logs)
                        .stdout(Stdio::null());
                    times[i].push(time(|| assert!(command.status().unwrap().success())));
                }
            }
            let [bare, unlogged, logged] = times.map(Samples::seconds);
            let each = 1e6 / count as f64;
            rows.push(vec![
                count.to_string(),
                bare.spread(each),
                unlogged.spread(each),
                logged.spread(each),
                digits(unlogged.median() / bare.median()),
                digits(logged.median() / bare.median()),
            ]);
        }
        let header = [
            "steps",
            "bare µs per step",
            "agent without logs",
            "agent",
            "without logs / bare",
            "agent / bare",
        ];
        self.report.table(&header, &rows);
    }

    fn start_up(&self) {
        self.report
            .heading("From the start to the first byte of a step that writes at once");
        let package = self.packages.join("start-up");
        fs::create_dir_all(package.join("skyhook_dir")).unwrap();
        let program = package.join("skyhook_dir/one");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        write_config(&package, &[("one".to_owned(), vec![PRODUCE, "one"])]);
        let (mut bare, mut agent) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds * 10 {
            let mut command = Command::new(&program);
            bare.push(to_first_byte(command.args([PRODUCE, "one"])));
            let logs = tempfile::tempdir_in(self.logs).unwrap();
            let job = Job {
                agent: &self.agent,
                logs: logs.path(),
                package: &package,
                output: &[],
            };
            agent.push(to_first_byte(&mut run_step(&job)));
        }
        let (bare, agent) = (Samples::seconds(bare), Samples::seconds(agent));
        let row = |name: &str, times: &Samples| {
            vec![
                name.to_owned(),
                times.spread(1e6),
                digits(times.median() / bare.median()),
            ]
        };
        let rows = [row("the step alone", &bare), row(AGENT, &agent)];
        self.report.table(&["", "µs", "/ alone"], &rows);
    }

    fn per_read(&self) {
        self.report.heading("A read of 8192 bytes");
        let calls = |mib: usize| {
            let len = (mib * MIB).to_string();
            let output = ["blocks", "100", &len];
            let trace = self.packages.join("trace");
            let logs = tempfile::tempdir_in(self.logs).unwrap();
            let package = self.packages.join(AGENT);
            fs::create_dir_all(&package).unwrap();
            let job = Job {
                agent: &self.agent,
                logs: logs.path(),
                package: &package,
                output: &output,
            };
            // For what it prepares.
            drop(ALL[0].pipeline(&job));
            let mut strace = Command::new("strace");
            // Only the agent itself: what it starts is not followed.
            strace.args(["-c", "-U", "name,calls", "-o"]).arg(&trace);
            let command = run_step(&job);
            strace.arg(command.get_program()).args(command.get_args());
            let done = strace.stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !done.is_ok_and(|status| status.success()) {
                return None;
            }
            let counts = fs::read_to_string(trace).unwrap();
            Some(
                counts
                    .lines()
                    .filter_map(|line| {
                        let (name, calls) = line.trim().split_once(' ')?;
                        Some((name.to_owned(), calls.trim().parse().ok()?))
                    })
                    .collect::<Vec<(String, f64)>>(),
            )
        };
        let (Some(few), Some(many)) = (calls(32), calls(160)) else {
            return self
                .report
                .say("System calls not counted: strace is missing, or may not trace.");
        };
        let full_reads = (128 * MIB / 8192) as f64;
        let mut rows = Vec::new();
        for (name, many) in many {
            let few = few
                .iter()
                .find(|(other, _)| *other == name)
                .map_or(0.0, |(_, few)| *few);
            let each = (many - few) / full_reads;
            if each.abs() >= 0.001 {
                rows.push(vec![name, format!("{each:.3}")]);
            }
        }
        self.report.table(&["system call", "per full read"], &rows);
    }
}

/// What a contender took, round by round.
struct Costs {
    contender: &'static Contender,
    costs: Vec<Cost>,
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

    fn wall(&self) -> Samples {
        Samples::seconds(self.costs.iter().map(|cost| cost.wall))
    }

    fn median(&self, of: impl Fn(&Cost) -> Duration) -> f64 {
        Samples::seconds(self.costs.iter().map(of)).median()
    }
}

fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn to_first_byte(command: &mut Command) -> Duration {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    let elapsed = start.elapsed();
    io::copy(&mut stdout, &mut io::sink()).unwrap();
    assert!(child.wait().unwrap().success());
    elapsed
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
