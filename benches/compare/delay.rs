//! How long lines take that say when they were written.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::parts::files_below;
use crate::roles;

/// Reads ticks as they come, and says how old each was, in µs.
pub fn delays_on(mut pipe: impl Read) -> Vec<f64> {
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
pub fn delays_in(logs: &Path) -> Vec<f64> {
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
