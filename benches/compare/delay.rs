//! How long lines take that say when they were written.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::contenders::ALL;
use crate::parts::{Bench, files_below};
use crate::plots;
use crate::report::{Samples, digits};
use crate::roles::{self, PRODUCE};

impl Bench<'_> {
    pub fn delay(&self) {
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
}

/// Reads ticks as they come, and says how old each was, in µs.
fn delays_on(mut pipe: impl Read) -> Vec<f64> {
    let mut ticks = Ticks::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let len = pipe.read(&mut buffer).unwrap();
        if len == 0 {
            return ticks.delays;
        }
        ticks.take(&buffer[..len]);
    }
}

/// The same from the log in this folder, which appears there and grows.
fn delays_in(logs: &Path) -> Vec<f64> {
    let is_log = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name == "current" || name.ends_with(".log")
    };
    let log = loop {
        if let Some(log) = files_below(logs).into_iter().find(is_log) {
            break log;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC).unwrap();
    let what = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE;
    inotify.add_watch(&log, what).unwrap();
    let mut file = fs::File::open(&log).unwrap();
    let mut ticks = Ticks::default();
    let mut new = Vec::new();
    loop {
        let events = inotify.read_events().unwrap();
        new.clear();
        file.read_to_end(&mut new).unwrap();
        ticks.take(&new);
        if events
            .iter()
            .any(|event| event.mask.contains(AddWatchFlags::IN_CLOSE_WRITE))
        {
            return ticks.delays;
        }
    }
}

#[derive(Default)]
struct Ticks {
    unfinished: Vec<u8>,
    delays: Vec<f64>,
}

impl Ticks {
    fn take(&mut self, bytes: &[u8]) {
        let now = roles::now().as_nanos() as f64;
        self.unfinished.extend_from_slice(bytes);
        let text = String::from_utf8_lossy(&self.unfinished).into_owned();
        let mut rest = &*text;
        while let Some((before, after)) = rest.split_once(';') {
            if let Some((_, tick)) = before.rsplit_once("tick=") {
                let written: f64 = tick.parse().unwrap();
                self.delays.push((now - written) / 1e3);
            }
            rest = after;
        }
        self.unfinished = rest.as_bytes().to_vec();
    }
}
