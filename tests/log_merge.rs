//! Merging logs, through the library.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use allocation_counter::measure;
use proptest::prelude::*;
use skyhook_agent::host::Root;
use skyhook_agent::output::log_merge::Merge;
use skyhook_agent::output::log_reader::{Found, LogReader, Place};
use skyhook_agent::output::runs::Runs;
use skyhook_agent::reactor::Stream;
use skyhook_agent::stamp::Stamp;
use tempfile::TempDir;

/// A log as the agent writes it: each line is text and the second at which it came.
fn log(lines: &[(u8, String)]) -> String {
    let stamp = |second: u8| format!("[out]2026-05-02T21:51:{second:02}.000000 ");
    let mut log = lines.first().map_or(String::new(), |(at, _)| stamp(*at));
    for (at, text) in lines {
        log += &format!("{text}\n{}", stamp(*at));
    }
    log
}

/// The order that is promised: of the lines that the logs have in front, the earliest;
/// of equal ones, that of the first log.
fn merged(mut logs: Vec<Vec<(u8, String)>>) -> Vec<(u8, String)> {
    logs.iter_mut().for_each(|log| log.reverse());
    let mut lines = Vec::new();
    while let Some(first) = logs
        .iter_mut()
        .filter(|log| !log.is_empty())
        .min_by_key(|log| log.last().unwrap().0)
    {
        lines.push(first.pop().unwrap());
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Their clocks may go back, and there may be more than are open at a time.
    #[test]
    fn the_earliest_line_in_front_of_all_logs_is_always_next(
        logs in prop::collection::vec(prop::collection::vec((0..60_u8, "[a-z]{0,9}"), 0..6), 0..90),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let above = dir.path().join("pkg/1.2.3");
        fs::create_dir_all(&above).unwrap();
        for (i, lines) in logs.iter().enumerate() {
            let name = format!("{i:03}.sh-2026-05-02-215100.log");
            fs::write(above.join(name), log(lines)).unwrap();
        }
        let root = Root::open(Path::new("/")).unwrap();
        let found = Runs::find(&root, &[PathBuf::from(dir.path())]);
        let mut merge = Merge::new(&root);
        for run in found.runs {
            merge.add(&Rc::new(run), Stream::Stdout, Stamp::EARLIEST, true).unwrap();
        }
        let mut lines = Vec::new();
        while let Some(entry) = merge.next_line().unwrap() {
            if entry.line.raw.ends_with(b"\n") {
                let time = entry.line.time.unwrap();
                let second = time.as_str()[17..19].parse().unwrap();
                lines.push((second, String::from_utf8(entry.line.text.to_vec()).unwrap()));
            }
        }
        prop_assert_eq!(lines, merged(logs));
    }
}

/// More logs than are open at a time, of one line each. Gives the directory that has them,
/// too.
fn many_logs(root: &Root) -> (TempDir, PathBuf, Merge<'_>) {
    let dir = tempfile::tempdir().unwrap();
    let above = dir.path().join("pkg/1.2.3");
    fs::create_dir_all(&above).unwrap();
    for i in 0..90_u8 {
        let name = format!("{i:02}.sh-2026-05-02-215100.log");
        fs::write(above.join(name), log(&[(i % 60, format!("line {i:02}"))])).unwrap();
    }
    let mut merge = Merge::new(root);
    for run in Runs::find(root, &[PathBuf::from(dir.path())]).runs {
        let run = Rc::new(run);
        merge
            .add(&run, Stream::Stdout, Stamp::EARLIEST, true)
            .unwrap();
    }
    (dir, above, merge)
}

/// What the logs say from now on, and what is told of those that cannot be read.
fn rest(merge: &mut Merge<'_>) -> (BTreeSet<String>, Vec<String>) {
    let (mut lines, mut errors) = (BTreeSet::new(), Vec::new());
    loop {
        match merge.next_line() {
            Ok(Some(entry)) => {
                let text = String::from_utf8_lossy(entry.line.text);
                lines.insert(text.into_owned());
            }
            Ok(None) => return (lines, errors),
            Err(error) => errors.push(error.to_string()),
        }
    }
}

#[test]
fn each_line_of_a_log_that_goes_while_it_is_closed_is_shown_or_the_loss_is_told() {
    let root = Root::open(Path::new("/")).unwrap();
    let (_dir, above, mut merge) = many_logs(&root);
    let mut gone = Vec::new();
    for (i, name) in fs::read_dir(&above).unwrap().enumerate() {
        let path = name.unwrap().path();
        if i % 2 == 0 {
            fs::remove_file(&path).unwrap();
            gone.push((path, "it was removed"));
        } else {
            let new = above.join("new");
            fs::write(&new, log(&[(0, "new".to_owned())])).unwrap();
            fs::rename(&new, &path).unwrap();
            gone.push((path, "another file replaced it"));
        }
    }
    let (lines, errors) = rest(&mut merge);
    assert!(!lines.contains("new"));
    assert!(errors.len() >= 90 - 65, "some were closed: {errors:?}");
    for (path, how) in gone {
        let line = format!("line {}", &path.file_name().unwrap().to_string_lossy()[..2]);
        let told = format!(
            "cannot read {}: {how} before all of it was read",
            path.display()
        );
        assert!(
            lines.contains(&line) != errors.contains(&told),
            "{told}: {errors:?}"
        );
    }
}

#[test]
fn that_a_log_goes_after_all_of_it_was_read_is_no_error() {
    let root = Root::open(Path::new("/")).unwrap();
    let (_dir, above, mut merge) = many_logs(&root);
    let (lines, errors) = rest(&mut merge);
    assert_eq!((lines.len(), errors.len()), (90 + 1, 0), "{lines:?}");
    fs::remove_dir_all(&above).unwrap();
    let findings = merge.go_on(|_| true, true);
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(rest(&mut merge), (BTreeSet::new(), Vec::new()));
}

#[test]
fn the_rest_of_a_log_begins_with_the_line_that_was_not_yet_whole() {
    let root = Root::open(Path::new("/")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let above = dir.path().join("pkg/1.2.3");
    fs::create_dir_all(&above).unwrap();
    let path = above.join("a.sh-2026-05-02-215100.log");
    let rest_of = |log: &[u8], len: usize| {
        fs::write(&path, log).unwrap();
        let found = Runs::find(&root, &[PathBuf::from(dir.path())]);
        let run = Rc::new(found.runs.into_iter().next().unwrap());
        let mut merge = Merge::new(&root);
        let (start, len) = (Stamp::EARLIEST, len as u64);
        merge.add_rest(&run, Stream::Stdout, start, len).unwrap();
        let mut shown = Vec::new();
        while let Some(entry) = merge.next_line().unwrap() {
            shown.extend_from_slice(entry.line.raw);
        }
        shown
    };
    let lines = log(&[1, 2, 3].map(|at| (at, "text".repeat(at.into()))));
    let whole = &lines.as_bytes()[..=lines.rfind('\n').unwrap()];
    for len in 0..=whole.len() {
        let before = &lines[..len];
        let from = before.rfind('\n').map_or(0, |newline| newline + 1);
        let shown = rest_of(lines.as_bytes(), len);
        assert_eq!(
            String::from_utf8_lossy(&shown),
            lines[from..whole.len()],
            "{len}"
        );
    }
    // It was truncated since.
    assert_eq!(rest_of(lines.as_bytes(), lines.len() + 1), whole);
    // Of a line that is longer than a piece, the start is left out.
    let long = "x".repeat(300_000) + "\n[out]2026-05-02T21:51:01.000000 ";
    assert_eq!(
        rest_of(long.as_bytes(), 200_000),
        &long.as_bytes()[200_000..=300_000]
    );
}

#[test]
fn a_line_takes_no_allocation() {
    let lines: Vec<(u8, String)> = (0..60)
        .cycle()
        .take(30_000)
        .map(|at| (at, "text".to_owned()))
        .collect();
    let log = log(&lines);
    let mut reader = LogReader::new(log.as_bytes(), "[out]", Place::default(), true);
    let mut found = 0;
    let allocations = measure(|| {
        while reader.find().unwrap() == Found::Line {
            assert!(reader.line().is_some());
            reader.pass();
            found += 1;
        }
    });
    assert_eq!(allocations.count_total, 0);
    assert_eq!(found, lines.len() + 1, "and the prefix at the end");
}
