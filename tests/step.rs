//! The library's `run_step`: the environment of a step, its verdict, and the log
//! files that it leaves.

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use skyhook_agent::exec::ExecContext;
use skyhook_agent::exec::step::{Verdict, run_step};
use skyhook_agent::host::Root;
use skyhook_agent::output::log_file::{self, Claim, LogDir};
use skyhook_agent::package::Step;
use support::{Fixture, TestClock, names, parse_time, step, unstamp};

fn root() -> Root {
    Root::open(Path::new("/")).unwrap()
}

/// Claims the logs of a run that starts at `now`.
fn claim(dir: &Path, step_path: &str, now: &str) -> Claim {
    let root = root();
    let dir = LogDir::new(&root, dir.to_owned());
    dir.claim(step_path, parse_time(now).assume_utc()).unwrap()
}

fn context<'a>(log_dir: Option<&'a LogDir<'a>>) -> ExecContext<'a> {
    ExecContext {
        chroot_dir: OsStr::new("local"),
        copy_dir: "/copy",
        log_dir,
    }
}

fn run(fixture: &mut Fixture, step: &Step, log_dir: Option<&Path>) -> Verdict {
    let root = root();
    let log_dir = log_dir.map(|path| LogDir::new(&root, path.to_owned()));
    let context = context(log_dir.as_ref());
    run_step(step, context, |_| None, &mut fixture.runner()).unwrap()
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
    let root = root();
    let log_dir = LogDir::new(&root, fixture.path("logs"));
    let arguments = ["env:MISSING", "env:GOOD", "env:LATIN1", "env:GONE"];
    let lookup = |name: &str| environ.get(name).copied();
    let verdict = run_step(
        &step("a.sh", &arguments),
        context(Some(&log_dir)),
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
        let context = context(Some(&log_dir));
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
fn many_agents_at_once_never_share_a_log() {
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
fn the_newest_five_logs_stay_each_with_its_err_and_others_are_untouched() {
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
    run(&mut fixture, &step("a", &[]), Some(&dir));

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
fn nothing_is_reaped_when_no_logs_are_written() {
    let mut fixture = Fixture::new();
    let dir = fixture.path("logs");
    fs::create_dir(&dir).unwrap();
    for n in 0..8 {
        old_log(&dir, &format!("a-2020-01-0{}-000000.log", n + 1), n);
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
        stderr.starts_with("skyhook-agent: cannot create the directory "),
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
    let log_dir = LogDir::new(&root, dir.clone());
    let context = context(Some(&log_dir));
    for _ in 0..8 {
        fixture.temp_dir = "/no/such/folder".into();
        let error =
            run_step(&step("a", &[]), context, |_| None, &mut fixture.runner()).unwrap_err();
        assert!(error.to_string().contains("/no/such/folder"), "{error}");
    }
    assert_eq!(names(&dir).len(), 2 * log_file::LOGS_KEPT);
}

#[test]
fn a_step_of_a_cancelled_run_does_not_start_and_leaves_no_log() {
    let mut fixture = Fixture::new();
    let dir = fixture.path("logs");
    fixture.canceller().cancel();
    let verdict = run(&mut fixture, &step("a.sh", &["out x"]), Some(&dir));
    assert_eq!(verdict, Verdict::Cancelled);
    assert_eq!(fixture.text("stdout"), "");
    assert_eq!(
        fixture.text("stderr"),
        "skyhook-agent: cancelled: a.sh does not start\n"
    );
    assert_eq!(names(&dir), [""; 0]);
}

#[test]
fn logs_stay_inside_the_root() {
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
        let context = context(Some(&log_dir));
        run_step(&step("a", &[]), context, |_| None, &mut fixture.runner()).unwrap();
        assert_eq!(names(&outside), [""; 0], "{runs}");
        let inner = inside.join(outside.strip_prefix("/").unwrap());
        fs::create_dir_all(&inner).unwrap();
        let logs = inner.join("p/1");
        assert_eq!(fs::read_dir(logs).map_or(0, Iterator::count), n, "{runs}");
    }
}
