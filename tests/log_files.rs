//! The log files of steps: their names, and which are kept.

mod support;

use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};
use nix::libc;
use skyhook_agent::exec::step::run_step;
use skyhook_agent::host::Root;
use skyhook_agent::output::log_file::{self, Claim, LogDir};
use support::{Fixture, TestClock, names, parse_time, run_step_in, step, step_context, unstamp};

/// Claims the logs of a run that starts at `now`.
fn claim(dir: &Path, step_path: &str, now: &str) -> Claim {
    let root = root();
    let dir = LogDir::new(&root, dir.to_owned());
    dir.claim(step_path, parse_time(now).assume_utc()).unwrap()
}

fn root() -> Root {
    Root::open(Path::new("/")).unwrap()
}

#[test]
fn two_runs_in_one_second_both_keep_their_logs() {
    let mut fixture = Fixture::new();
    let clock = TestClock::at("2026-05-02T21:51:23.900000");
    fixture.clock = Box::new(clock);
    let dir = fixture.path("logs");
    run_step_in(&mut fixture, &step("a.sh", &["out first"]), Some(&dir));
    run_step_in(&mut fixture, &step("a.sh", &["out second"]), Some(&dir));
    run_step_in(&mut fixture, &step("b.sh", &[]), Some(&dir));
    assert_eq!(
        names(&dir),
        [
            "a.sh-2026-05-02-215123.log",
            "a.sh-2026-05-02-215123.log.err",
            "a.sh-2026-05-02-215124.log",
            "a.sh-2026-05-02-215124.log.err",
            "b.sh-2026-05-02-215123.log",
            "b.sh-2026-05-02-215123.log.err",
        ]
    );
    let first = fs::read_to_string(dir.join("a.sh-2026-05-02-215123.log")).unwrap();
    assert_eq!(unstamp("[out]", &first), "first");
}

#[test]
fn a_claim_takes_the_next_free_second_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let now = "2026-05-02T21:51:59.900000";
    for second in ["215159", "215200", "215201"] {
        let claim = claim(dir.path(), "a", now);
        let name = format!("a-2026-05-02-{second}.log");
        assert!(claim.path.ends_with(&name), "{:?}", claim.path);
        assert!(dir.path().join(name).exists());
    }
}

#[test]
fn a_discarded_claim_leaves_no_file_and_frees_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let now = "2026-05-02T21:51:23";
    claim(dir.path(), "a", now).discard();
    assert_eq!(names(dir.path()), [""; 0]);
    let again = claim(dir.path(), "a", now);
    assert!(again.path.ends_with("a-2026-05-02-215123.log"));
}

#[test]
fn a_log_directory_that_is_removed_during_a_run_is_created_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = root();
    let logs = LogDir::new(&root, dir.path().join("logs"));
    let now = parse_time("2026-05-02T21:51:23").assume_utc();
    logs.claim("a", now).unwrap();
    fs::remove_dir_all(dir.path().join("logs")).unwrap();
    let claim = logs.claim("a", now).unwrap();
    assert!(claim.path.exists());
}

/// A directory is listed once, so the logs of a run are noted as they are created.
#[test]
fn a_run_that_repeats_a_step_keeps_five_logs_of_it() {
    let mut fixture = Fixture::new();
    let dir = fixture.path("logs");
    fs::create_dir(&dir).unwrap();
    for n in 0..3 {
        old_log(&dir, &format!("a-2020-01-0{}-000000.log", n + 1), 100 + n);
    }
    let root = root();
    let log_dir = LogDir::new(&root, dir.clone());
    for n in 0..8 {
        let script = format!("out run {n}");
        let context = step_context(Some(&log_dir));
        run_step(
            &step("a", &[&script]),
            context,
            |_| None,
            &mut fixture.runner(),
        )
        .unwrap();
        run_step(&step("b", &[]), context, |_| None, &mut fixture.runner()).unwrap();
    }
    let logs = names(&dir);
    let of_a = logs
        .iter()
        .filter(|name| name.starts_with("a-") && name.ends_with(".log"));
    let said: Vec<String> = of_a
        .map(|name| unstamp("[out]", &fs::read_to_string(dir.join(name)).unwrap()))
        .collect();
    assert_eq!(said, ["run 3", "run 4", "run 5", "run 6", "run 7"]);
    assert_eq!(logs.len(), 20, "five of each, each with its .err: {logs:?}");
}

#[test]
fn a_claim_never_takes_over_a_lone_err_log() {
    let dir = tempfile::tempdir().unwrap();
    let lone = dir.path().join("a-2026-05-02-215123.log.err");
    fs::write(&lone, "kept").unwrap();
    let claim = claim(dir.path(), "a", "2026-05-02T21:51:23");
    assert!(claim.path.ends_with("a-2026-05-02-215124.log"));
    assert_eq!(fs::read_to_string(lone).unwrap(), "kept");
    assert!(!dir.path().join("a-2026-05-02-215123.log").exists());
}

#[test]
fn agents_that_start_at_once_never_share_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let claim = || claim(dir.path(), "a", "2026-05-02T21:51:23");
    let mut paths: Vec<PathBuf> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| claim().path)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 16);
}

/// Lays down a log and its `.err`, `age` seconds old.
fn old_log(dir: &Path, name: &str, age: u64) {
    let modified = SystemTime::now() - Duration::from_secs(age);
    for name in [name.to_owned(), format!("{name}.err")] {
        let file = File::create(dir.join(name)).unwrap();
        file.set_times(FileTimes::new().set_modified(modified))
            .unwrap();
    }
}

#[test]
fn the_newest_five_logs_stay_each_with_its_err_and_other_files_stay() {
    let mut fixture = Fixture::new();
    let dir = fixture.path("logs");
    fs::create_dir(&dir).unwrap();
    // By modification time: the names say the opposite.
    for n in 0..8 {
        old_log(&dir, &format!("a-2020-01-0{}-000000.log", n + 1), 100 + n);
    }
    let others = [
        "a-b-2020-01-01-000000.log",
        "a-2020-01-01-000000.log.bak",
        "a-2020-01-01-00000.log",
        "aa-2020-01-01-000000.log",
        "a-notes.log",
    ];
    for other in others {
        old_log(&dir, other, 1000);
    }
    run_step_in(&mut fixture, &step("a", &[]), Some(&dir));

    let mut expected: Vec<String> = (0..4)
        .map(|n| format!("a-2020-01-0{}-000000.log", n + 1))
        .collect();
    expected.extend(others.map(String::from));
    expected.extend(expected.clone().iter().map(|name| format!("{name}.err")));
    let today: Vec<String> = names(&dir)
        .into_iter()
        .filter(|name| !expected.contains(name))
        .collect();
    assert_eq!(today.len(), 2, "the new run's own: {today:?}");
    assert_eq!(names(&dir).len(), expected.len() + 2);
}

#[test]
fn no_log_is_removed_if_no_logs_are_written() {
    let mut fixture = Fixture::new();
    let dir = fixture.path("logs");
    fs::create_dir(&dir).unwrap();
    for n in 0..8 {
        old_log(&dir, &format!("a-2020-01-0{}-000000.log", n + 1), n);
    }
    run_step_in(&mut fixture, &step("a", &[]), None);
    assert_eq!(names(&dir).len(), 16);
}

/// A step that never starts must not fill the disk with empty logs: an operator's
/// pod is restarted for as long as it takes.
#[test]
fn old_logs_are_removed_also_if_the_step_cannot_be_started() {
    let mut fixture = Fixture::new();
    fixture.clock = Box::new(TestClock::at("2026-05-02T21:51:23"));
    let (root, dir) = (root(), fixture.path("logs"));
    let log_dir = LogDir::new(&root, dir.clone());
    let context = step_context(Some(&log_dir));
    for _ in 0..8 {
        fixture.temp_dir = "/no/such/folder".into();
        let error =
            run_step(&step("a", &[]), context, |_| None, &mut fixture.runner()).unwrap_err();
        assert!(error.to_string().contains("/no/such/folder"), "{error}");
    }
    assert_eq!(names(&dir).len(), 2 * log_file::LOGS_KEPT);
}

#[test]
fn a_link_does_not_lead_logs_out_of_the_root() {
    let mut fixture = Fixture::new();
    let (inside, outside) = (fixture.path("root"), fixture.path("outside"));
    fs::create_dir_all(inside.join("var")).unwrap();
    fs::create_dir(&outside).unwrap();
    symlink(&outside, inside.join("var/log")).unwrap();
    let root = Root::open(&inside).unwrap();
    for (n, runs) in [
        (0, "it leads nowhere inside"),
        (2, "it leads to a folder inside"),
    ] {
        let log_dir = LogDir::new(&root, "/var/log/p/1".into());
        let context = step_context(Some(&log_dir));
        run_step(&step("a", &[]), context, |_| None, &mut fixture.runner()).unwrap();
        assert_eq!(names(&outside), [""; 0], "{runs}");
        let inner = inside.join(outside.strip_prefix("/").unwrap());
        fs::create_dir_all(&inner).unwrap();
        let logs = inner.join("p/1");
        assert_eq!(fs::read_dir(logs).map_or(0, Iterator::count), n, "{runs}");
    }
}

#[test]
fn the_log_of_a_live_run_is_not_removed_by_later_runs() {
    let mut fixture = Fixture::new();
    let dir = fixture.path("logs");
    let live = claim(&dir, "a", "2020-01-01T00:00:00");
    let long_ago = SystemTime::now() - Duration::from_secs(1000);
    live.stdout.set_modified(long_ago).unwrap();
    for _ in 0..8 {
        run_step_in(&mut fixture, &step("a", &[]), Some(&dir));
    }
    assert!(live.path.exists());
    assert_eq!(names(&dir).len(), 2 * (log_file::LOGS_KEPT + 1));

    // A reader's lock does not protect a log.
    let path = live.path.clone();
    drop(live);
    let reader = File::open(&path).unwrap();
    lock(&reader);
    run_step_in(&mut fixture, &step("a", &[]), Some(&dir));
    assert!(!path.exists());
    assert_eq!(names(&dir).len(), 2 * log_file::LOGS_KEPT);
}

/// Takes each lock that a process which can only read a file can take.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the constants are small, and the fields are shorts"
)]
fn lock(file: &File) {
    let lock = libc::flock {
        l_type: libc::F_RDLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
    let file = file.try_clone().unwrap();
    std::mem::forget(Flock::lock(file, FlockArg::LockExclusive).unwrap());
}

/// An administrator may truncate a log to free the disk.
#[test]
fn a_log_that_is_truncated_goes_on_at_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut claim = claim(dir.path(), "a", "2026-05-02T21:51:23");
    claim.stdout.write_all(b"before").unwrap();
    File::create(&claim.path).unwrap();
    claim.stdout.write_all(b"after").unwrap();
    assert_eq!(fs::read(&claim.path).unwrap(), b"after");
}

#[test]
fn a_log_that_was_removed_during_the_run_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let root = root();
    let logs = LogDir::new(&root, dir.path().to_owned());
    let now = parse_time("2026-05-02T21:51:23").assume_utc();
    let claim = logs.claim("a", now).unwrap();
    logs.reap("a", Some(&claim.path)).unwrap();
    fs::remove_file(&claim.path).unwrap();
    let error = logs.reap("a", Some(&claim.path)).unwrap_err().to_string();
    assert!(error.starts_with("cannot find the log "), "{error}");
}
