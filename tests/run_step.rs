//! `run_step`: environment, verdicts, and the log files it leaves.

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use skyhook_agent::exec::step::{Place, Verdict, run_step};
use skyhook_agent::host::Root;
use skyhook_agent::output::log_file::{self, Claim, LogDir};
use skyhook_agent::package::Step;
use skyhook_agent::stamp::Clock;
use support::{Canceller, Fixture, TestClock, names, step, unstamp};
use time::{OffsetDateTime, PrimitiveDateTime};

fn root() -> Root {
    Root::open(Path::new("/")).unwrap()
}

fn claim(dir: &Path, step_path: &str, clock: &TestClock) -> Claim {
    let root = root();
    let dir = LogDir {
        root: &root,
        path: dir,
    };
    dir.claim(step_path, clock).unwrap()
}

fn run(fixture: &mut Fixture, step: &Step, log_dir: Option<&Path>) -> Verdict {
    let root = root();
    let place = Place {
        chroot_dir: OsStr::new("local"),
        copy_dir: "/copy",
        log_dir: log_dir.map(|path| LogDir { root: &root, path }),
    };
    run_step(step, &place, |_| None, &mut fixture.runner()).unwrap()
}

#[test]
fn the_step_is_given_its_folders_over_its_own_environment() {
    let mut fixture = Fixture::new();
    let mut step = step("steps/a.sh", &["control"]);
    for (name, value) in [("OWN", "1"), ("STEP_ROOT", "mine"), ("SKYHOOK_DIR", "mine")] {
        step.env.insert(name.to_owned(), value.to_owned());
    }
    run(&mut fixture, &step, None);
    let stdout = fixture.text("stdout");
    let (control, _) = stdout.split_at(stdout.find("SUCEEDED").unwrap());
    let control: serde_json::Value = serde_json::from_str(&unstamp("[out]", control)).unwrap();
    assert_eq!(
        control,
        serde_json::json!({
            "cmd": ["/copy/skyhook_dir/steps/a.sh", "control"],
            "no_chmod": false,
            "env": { "OWN": "1", "STEP_ROOT": "/copy/skyhook_dir", "SKYHOOK_DIR": "/copy" },
            "copy_dir": "/copy",
        })
    );
}

#[test]
fn membership_in_returncodes_decides() {
    for (returncodes, end, verdict) in [
        (vec![0], "exit 0", Verdict::Succeeded),
        (vec![0], "exit 1", Verdict::Failed { code: 1 }),
        (vec![3, 7], "exit 7", Verdict::Succeeded),
        (vec![3, 7], "exit 0", Verdict::Failed { code: 0 }),
        (vec![-15], "kill 15", Verdict::Succeeded),
        (vec![15, 143], "kill 15", Verdict::Failed { code: -15 }),
        (vec![i64::MAX, 256], "exit 0", Verdict::Failed { code: 0 }),
    ] {
        let mut step = step("a.sh", &[end]);
        step.returncodes = returncodes.clone();
        assert_eq!(
            run(&mut Fixture::new(), &step, None),
            verdict,
            "{end} in {returncodes:?}"
        );
    }
}

#[test]
fn the_verdict_is_printed_unstamped_behind_the_dangling_prefix() {
    let mut fixture = Fixture::new();
    run(&mut fixture, &step("a.sh", &["out hi\n"]), None);
    run(
        &mut fixture,
        &step("steps/b.sh", &["out no newline", "exit 9"]),
        None,
    );
    run(&mut fixture, &step("c.sh", &[]), None);
    run(&mut fixture, &step("d.sh", &["kill 15"]), None);
    let stdout = unstamp("[out]", &fixture.text("stdout"));
    assert_eq!(
        stdout,
        "hi\nSUCEEDED: a.sh out hi\n\n\
         no newlineFAILED: steps/b.sh out no newline exit 9 9\n\
         SUCEEDED: c.sh \n\
         FAILED: d.sh kill 15 -15\n"
    );
    assert!(
        fixture.text("stdout").contains(" SUCEEDED: a.sh"),
        "behind the prefix's space"
    );
    assert_eq!(fixture.text("stderr"), "");
}

#[test]
fn every_variable_that_cannot_be_used_is_named_and_nothing_runs() {
    let mut fixture = Fixture::new();
    let latin1 = OsStr::from_bytes(b"caf\xe9");
    let environ = BTreeMap::from([("GOOD", OsStr::new("exit 0")), ("LATIN1", latin1)]);
    let place = Place {
        chroot_dir: OsStr::new("local"),
        copy_dir: "/copy",
        log_dir: Some(LogDir {
            root: &root(),
            path: &fixture.path("logs"),
        }),
    };
    let arguments = ["env:MISSING", "env:GOOD", "env:LATIN1", "env:GONE"];
    let lookup = |name: &str| environ.get(name).copied();
    let verdict = run_step(
        &step("a.sh", &arguments),
        &place,
        lookup,
        &mut fixture.runner(),
    );
    assert_eq!(verdict.unwrap(), Verdict::NotRun);
    assert_eq!(
        fixture.text("stdout"),
        "a.sh: Expected environment variable did not exist: MISSING\n\
         a.sh: Expected environment variable to be UTF-8: LATIN1\n\
         a.sh: Expected environment variable did not exist: GONE\n"
    );
    assert!(
        !fixture.path("logs").exists(),
        "a step that did not run has no log"
    );
}

#[test]
fn logs_go_where_the_contract_says() {
    let mut fixture = Fixture::new();
    fixture.clock = Box::new(TestClock::at("2026-05-02T21:51:23"));
    let dir = fixture.path("logs/p/1.0.0");
    run(
        &mut fixture,
        &step("steps/a.sh", &["out hi", "err oh"]),
        Some(&dir),
    );
    let log = dir.join("steps/a.sh-2026-05-02-215123.log");
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        "[out]2026-05-02T21:51:23.000000 hi"
    );
    let err_log = log_file::err_path(&log);
    assert_eq!(
        fs::read_to_string(err_log).unwrap(),
        "[err]2026-05-02T21:51:23.000000 oh"
    );
}

#[test]
fn without_logs_there_is_no_file_and_no_folder() {
    let mut fixture = Fixture::new();
    run(&mut fixture, &step("a.sh", &["out hi"]), None);
    assert_eq!(names(fixture.dir.path()), ["stderr", "stdout"]);
}

#[test]
fn two_runs_in_one_second_keep_both_logs() {
    let mut fixture = Fixture::new();
    let clock = TestClock::at("2026-05-02T21:51:23.900000");
    fixture.clock = Box::new(clock);
    let dir = fixture.path("logs");
    run(&mut fixture, &step("a.sh", &["out first"]), Some(&dir));
    run(&mut fixture, &step("a.sh", &["out second"]), Some(&dir));
    run(&mut fixture, &step("b.sh", &[]), Some(&dir));
    assert_eq!(
        names(&dir),
        [
            "a.sh-2026-05-02-215123.log",
            "a.sh-2026-05-02-215123.log.err",
            "a.sh-2026-05-02-215124.log",
            "a.sh-2026-05-02-215124.log.err",
            "b.sh-2026-05-02-215124.log",
            "b.sh-2026-05-02-215124.log.err",
        ]
    );
    let first = fs::read_to_string(dir.join("a.sh-2026-05-02-215123.log")).unwrap();
    assert_eq!(unstamp("[out]", &first), "first");
}

#[test]
fn a_claim_waits_for_the_next_second_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::at("2026-05-02T21:51:23.900000");
    claim(dir.path(), "a", &clock);
    assert_eq!(clock.slept.get(), Duration::ZERO);
    claim(dir.path(), "a", &clock);
    assert_eq!(clock.slept.get(), Duration::from_millis(100));
}

#[test]
fn a_claim_never_takes_over_a_lone_err_log() {
    let dir = tempfile::tempdir().unwrap();
    let lone = dir.path().join("a-2026-05-02-215123.log.err");
    fs::write(&lone, "kept").unwrap();
    let claim = claim(dir.path(), "a", &TestClock::at("2026-05-02T21:51:23"));
    assert!(claim.path.ends_with("a-2026-05-02-215124.log"));
    assert_eq!(fs::read_to_string(lone).unwrap(), "kept");
    assert!(!dir.path().join("a-2026-05-02-215123.log").exists());
}

#[test]
fn many_agents_at_once_never_share_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let claim = || claim(dir.path(), "a", &TestClock::at("2026-05-02T21:51:23"));
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
fn the_newest_five_logs_stay_each_with_its_err_and_others_are_untouched() {
    let mut fixture = Fixture::new();
    let dir = fixture.path("logs");
    fs::create_dir(&dir).unwrap();
    // By modification time: the names say the opposite.
    for n in 0..8 {
        old_log(&dir, &format!("a-2020-01-0{n}-000000.log"), 100 + n);
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
    run(&mut fixture, &step("a", &[]), Some(&dir));

    let mut expected: Vec<String> = (0..4)
        .map(|n| format!("a-2020-01-0{n}-000000.log"))
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
fn nothing_is_reaped_when_no_logs_are_written() {
    let mut fixture = Fixture::new();
    let dir = fixture.path("logs");
    fs::create_dir(&dir).unwrap();
    for n in 0..8 {
        old_log(&dir, &format!("a-2020-01-0{n}-000000.log"), n);
    }
    run(&mut fixture, &step("a", &[]), None);
    assert_eq!(names(&dir).len(), 16);
}

#[test]
fn a_log_that_cannot_be_created_costs_the_log_alone() {
    let mut fixture = Fixture::new();
    fs::write(fixture.path("file"), "").unwrap();
    let dir = fixture.path("file/logs");
    let verdict = run(&mut fixture, &step("a.sh", &["out hi"]), Some(&dir));
    assert_eq!(verdict, Verdict::Succeeded);
    assert!(
        fixture
            .text("stdout")
            .ends_with("hiSUCEEDED: a.sh out hi\n")
    );
    let stderr = fixture.text("stderr");
    assert!(
        stderr.starts_with("skyhook-agent: cannot create the folder "),
        "{stderr}"
    );
    assert!(stderr.contains("runs without a log file"), "{stderr}");
}

/// A step that never starts must not fill the disk with empty logs: an operator's
/// pod is restarted for as long as it takes.
#[test]
fn logs_are_reaped_also_where_the_step_cannot_be_started() {
    let mut fixture = Fixture::new();
    fixture.clock = Box::new(TestClock::at("2026-05-02T21:51:23"));
    let (root, dir) = (root(), fixture.path("logs"));
    let place = Place {
        chroot_dir: OsStr::new("local"),
        copy_dir: "/copy",
        log_dir: Some(LogDir {
            root: &root,
            path: &dir,
        }),
    };
    for _ in 0..8 {
        fixture.temp_dir = "/no/such/folder".into();
        let error = run_step(&step("a", &[]), &place, |_| None, &mut fixture.runner()).unwrap_err();
        assert!(error.to_string().contains("/no/such/folder"), "{error}");
    }
    assert_eq!(names(&dir).len(), 2 * log_file::KEPT);
}

/// A clock whose waiting is when somebody cancels the run.
struct CancelledMeanwhile(TestClock, Canceller);

impl Clock for CancelledMeanwhile {
    fn utc(&self) -> OffsetDateTime {
        self.0.utc()
    }

    fn local(&self) -> PrimitiveDateTime {
        self.0.local()
    }

    fn sleep(&self, time: Duration) {
        self.1.cancel();
        self.0.sleep(time);
    }
}

#[test]
fn a_run_cancelled_while_it_waits_for_its_log_does_not_start_the_step() {
    let mut fixture = Fixture::new();
    let clock = TestClock::at("2026-05-02T21:51:23");
    let dir = fixture.path("logs");
    claim(&dir, "a.sh", &clock);
    let canceller = fixture.canceller();
    fixture.clock = Box::new(CancelledMeanwhile(clock, canceller));
    let verdict = run(&mut fixture, &step("a.sh", &["out x"]), Some(&dir));
    assert_eq!(verdict, Verdict::Cancelled);
    assert_eq!(fixture.text("stdout"), "");
    assert_eq!(
        fixture.text("stderr"),
        "skyhook-agent: cancelled: a.sh does not start\n"
    );
    assert_eq!(names(&dir).len(), 2, "the other run's logs and no others");
}

#[test]
fn logs_stay_inside_the_root() {
    let mut fixture = Fixture::new();
    let (inside, outside) = (fixture.path("root"), fixture.path("outside"));
    fs::create_dir_all(inside.join("var")).unwrap();
    fs::create_dir(&outside).unwrap();
    symlink(&outside, inside.join("var/log")).unwrap();
    let root = Root::open(&inside).unwrap();
    let place = Place {
        chroot_dir: OsStr::new("local"),
        copy_dir: "/copy",
        log_dir: Some(LogDir {
            root: &root,
            path: Path::new("/var/log/p/1"),
        }),
    };
    for (n, runs) in [
        (0, "it leads nowhere inside"),
        (2, "it leads to a folder inside"),
    ] {
        run_step(&step("a", &[]), &place, |_| None, &mut fixture.runner()).unwrap();
        assert_eq!(names(&outside), [""; 0], "{runs}");
        let inner = inside.join(outside.strip_prefix("/").unwrap());
        fs::create_dir_all(&inner).unwrap();
        let logs = inner.join("p/1");
        assert_eq!(fs::read_dir(logs).map_or(0, Iterator::count), n, "{runs}");
    }
}
