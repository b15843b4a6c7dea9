//! Measures how fast logs are read: two of them merged, by the length of their lines.
//! Throughput counts the bytes of the logs.
//!
//! - `merge`: the lines in the order of their times.
//! - `show`: the same, and each text made fit for a terminal.
//! - `newlines`: the files are read, and their newlines found; the least possible.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use skyhook_agent::host::Root;
use skyhook_agent::output::log_merge::{Entry, Merge};
use skyhook_agent::output::runs::{Run, Runs};
use skyhook_agent::reactor::Stream;
use skyhook_agent::stamp::Stamp;
use skyhook_agent::text;

/// The length of the two logs together.
const LEN: usize = 64 << 20;
const LINE_LENGTHS: [usize; 3] = [20, 100, 1000];

const STREAMS: [(Stream, &str, &str); 2] = [
    (Stream::Stdout, "[out]", ""),
    (Stream::Stderr, "[err]", ".err"),
];

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(10)
        .configure_from_args();
    let root = Root::open(Path::new("/")).unwrap();
    let mut group = criterion.benchmark_group("logs");
    for line_len in LINE_LENGTHS {
        let dir = tempfile::tempdir().unwrap();
        let files = write_logs(dir.path(), line_len);
        let found = Runs::find(&root, &[dir.path().to_owned()]);
        let run = Rc::new(found.runs.into_iter().next().unwrap());
        let len = files.iter().map(|file| fs::metadata(file).unwrap().len());
        group.throughput(Throughput::Bytes(len.sum()));
        group.bench_function(BenchmarkId::new("merge", line_len), |bencher| {
            bencher.iter(|| {
                merge(&root, &run, |entry| {
                    black_box(entry.line.text);
                });
            });
        });
        group.bench_function(BenchmarkId::new("show", line_len), |bencher| {
            let mut shown = Vec::new();
            bencher.iter(|| {
                merge(&root, &run, |entry| {
                    shown.clear();
                    text::add_line(entry.line.text, &mut shown);
                    black_box(&shown);
                });
            });
        });
        group.bench_function(BenchmarkId::new("newlines", line_len), |bencher| {
            bencher.iter(|| files.iter().map(|file| newlines(file)).sum::<usize>());
        });
    }
    group.finish();
    criterion.final_summary();
}

/// Writes the logs of a run whose lines come in turns, four from each stream.
fn write_logs(dir: &Path, line_len: usize) -> Vec<PathBuf> {
    let above = dir.join("pkg/1.2.3");
    fs::create_dir_all(&above).unwrap();
    let text = format!("{}\n", "x".repeat(line_len - 1));
    let mut files = Vec::new();
    for (at, (_, label, ending)) in STREAMS.iter().enumerate() {
        let (mut log, mut micros) = (format!("{label}2026-05-02T00:00:00.000000 "), at * 10);
        while log.len() < LEN / 2 {
            let (second, rest) = (micros / 1_000_000, micros % 1_000_000);
            let (minute, second) = (second / 60, second % 60);
            let stamp = format!("{label}2026-05-02T00:{minute:02}:{second:02}.{rest:06} ");
            log += &format!("{text}{stamp}").repeat(4);
            micros += 20;
        }
        let file = above.join(format!("a.sh-2026-05-02-000000.log{ending}"));
        fs::write(&file, log).unwrap();
        files.push(file);
    }
    files
}

fn merge(root: &Root, run: &Rc<Run>, mut each: impl FnMut(&Entry<'_>)) {
    let mut merge = Merge::new(root);
    for (stream, ..) in STREAMS {
        merge.add(run, stream, Stamp::EARLIEST, true).unwrap();
    }
    while let Some(entry) = merge.next_line().unwrap() {
        each(&entry);
    }
}

fn newlines(file: &Path) -> usize {
    let mut file = File::open(file).unwrap();
    let mut buffer = vec![0; 128 << 10];
    let mut count = 0;
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return count,
            len => count += memchr::memchr_iter(b'\n', &buffer[..len]).count(),
        }
    }
}
