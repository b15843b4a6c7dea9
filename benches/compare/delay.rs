//! Measures how long lines take to appear, with lines that say when they were written.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::Result;
use crate::bench::{Bench, files_below};
use crate::contenders::{AGENT, COPY_64, Contender, Kind, MINIMAL_LOOP};
use crate::measure::Pipeline;
use crate::plots;
use crate::report::{Samples, digits};
use crate::roles::{self, PRODUCE};
use crate::targets::Target;

const LINES: &str = "4000";
/// For the agent and the minimal loop, which are compared; others have one turn.
const TURNS: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Console,
    Log,
}

/// The delays of a contender at one place, turn by turn.
struct Series {
    /// None for a pipe between the producer and the reader, with nothing else.
    contender: Option<&'static Contender>,
    place: Place,
    turns: Vec<Vec<f64>>,
}

impl Bench<'_> {
    pub fn delay(&self) -> Result<()> {
        self.report.heading(&format!(
            "From a line's write to its appearance, {LINES} lines, one every millisecond"
        ));
        let mut all = vec![Series::new(None, Place::Console)];
        for contender in self.contenders().filter(|one| one.name != COPY_64) {
            if contender.has_console {
                all.push(Series::new(Some(contender), Place::Console));
            }
            all.push(Series::new(Some(contender), Place::Log));
        }
        for turn in 0..TURNS.min(self.rounds) {
            all.retain_mut(|series| {
                let compared = |one: &Contender| one.kind != Kind::Peer && one.kind != Kind::Copy;
                if turn > 0 && !series.contender.is_none_or(compared) {
                    return true;
                }
                match self.delays(series) {
                    Ok(delays) => series.turns.push(delays),
                    Err(error) => {
                        self.leave_out(series.name(), &error);
                        return false;
                    }
                }
                true
            });
        }
        self.report_delays(&all)
    }

    fn delays(&self, series: &Series) -> Result<Vec<f64>> {
        let output = ["ticks", LINES];
        let Some(contender) = series.contender else {
            let mut producer = std::process::Command::new(std::env::current_exe()?);
            producer.arg(PRODUCE).args(output);
            let pipeline = Pipeline {
                producer: None,
                processes: vec![producer],
            };
            let mut running = pipeline.start(Stdio::piped())?;
            let delays = delays_on(running.take_stdout()?)?;
            running.finish()?;
            return Ok(delays);
        };
        let delays = match series.place {
            Place::Console => {
                let mut started = self.start(contender, &output, Stdio::piped())?;
                let delays = delays_on(started.running.take_stdout()?)?;
                started.running.finish()?;
                delays
            }
            Place::Log => {
                let started = self.start(contender, &output, Stdio::null())?;
                let delays = delays_in(started.logs.path())?;
                started.running.finish()?;
                delays
            }
        };
        if delays.is_empty() {
            return Err("no line appeared".into());
        }
        Ok(delays)
    }

    fn report_delays(&self, all: &[Series]) -> Result<()> {
        let minimal = |place| {
            let is_minimal = |one: &&Series| one.name() == MINIMAL_LOOP && one.place == place;
            all.iter().find(is_minimal).map(|one| one.quantile(0.99))
        };
        let mut rows = Vec::new();
        for series in all {
            let p99 = series.quantile(0.99);
            let ratio = minimal(series.place).map(|minimal| p99 / minimal);
            let mut row = vec![series.name().to_owned(), series.place_name().to_owned()];
            row.extend([0.5, 0.9, 0.99, 0.999, 1.0].map(|share| digits(series.quantile(share))));
            row.push(ratio.map_or_else(String::new, digits));
            rows.push(row);
            let target = match series.place {
                Place::Console => Target::DelayConsole,
                Place::Log => Target::DelayLog,
            };
            if let (AGENT, Some(ratio)) = (series.name(), ratio) {
                self.targets.note(target, ratio, "");
            }
        }
        let header = [
            "",
            "where",
            "p50 µs",
            "p90 µs",
            "p99 µs",
            "p99.9 µs",
            "max µs",
            "p99 / minimal",
        ];
        self.report.table(&header, &rows);
        let curves: Vec<(&str, Samples)> = all
            .iter()
            .filter(|series| series.place == Place::Console)
            .map(|series| (series.name(), Samples::new(series.turns.concat())))
            .collect();
        plots::delays(&self.report.plot("delay"), &curves)
    }
}

impl Series {
    fn new(contender: Option<&'static Contender>, place: Place) -> Series {
        Series {
            contender,
            place,
            turns: Vec::new(),
        }
    }

    fn name(&self) -> &'static str {
        self.contender.map_or("a bare pipe", |one| one.name)
    }

    fn place_name(&self) -> &'static str {
        match self.place {
            Place::Console => "console",
            Place::Log => "log",
        }
    }

    /// The median, over the turns, of this quantile: one turn in which the machine was
    /// busy does not decide.
    fn quantile(&self, share: f64) -> f64 {
        let turns = self.turns.iter().cloned();
        let quantiles = turns.map(|delays| Samples::new(delays).quantile(share));
        Samples::new(quantiles.collect()).median()
    }
}

/// Reads lines as they come. Returns how old each was, in µs.
fn delays_on(mut pipe: impl Read) -> Result<Vec<f64>> {
    let mut lines = Lines::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let len = pipe.read(&mut buffer)?;
        if len == 0 {
            return Ok(lines.delays);
        }
        lines.take(&buffer[..len])?;
    }
}

/// Does the same with the log in this directory, which appears there and grows.
fn delays_in(logs: &Path) -> Result<Vec<f64>> {
    let log = wait_for_log(logs)?;
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
    let events = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE;
    inotify.add_watch(&log, events)?;
    let mut file = File::open(&log)?;
    let mut lines = Lines::default();
    let mut new = Vec::new();
    loop {
        let events = inotify.read_events()?;
        new.clear();
        file.read_to_end(&mut new)?;
        lines.take(&new)?;
        if events
            .iter()
            .any(|event| event.mask.contains(AddWatchFlags::IN_CLOSE_WRITE))
        {
            return Ok(lines.delays);
        }
    }
}

/// Waits until the log is there. The producer writes nothing in its first moments.
fn wait_for_log(logs: &Path) -> Result<PathBuf> {
    let is_log = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name == "current" || name.ends_with(".log")
    };
    let start = Instant::now();
    loop {
        if let Some(log) = files_below(logs)?.into_iter().find(is_log) {
            return Ok(log);
        }
        if start.elapsed() > Duration::from_secs(10) {
            return Err("no log appeared".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Takes what was read, and finds the lines in it.
#[derive(Default)]
struct Lines {
    unfinished: Vec<u8>,
    delays: Vec<f64>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let now = roles::now().as_nanos() as f64;
        self.unfinished.extend_from_slice(bytes);
        let text = String::from_utf8_lossy(&self.unfinished).into_owned();
        let mut rest = &*text;
        while let Some((before, after)) = rest.split_once(';') {
            if let Some((_, tick)) = before.rsplit_once("tick=") {
                let written: f64 = tick.parse()?;
                self.delays.push((now - written) / 1e3);
            }
            rest = after;
        }
        self.unfinished = rest.as_bytes().to_vec();
        Ok(())
    }
}
