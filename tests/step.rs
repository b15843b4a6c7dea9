//! The library's `run_step`: the environment of a step, its verdict, and what it
//! prints.

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use skyhook_agent::exec::step::{Verdict, run_step};
use skyhook_agent::host::Root;
use skyhook_agent::output::log_file::LogDir;
use skyhook_agent::output::log_name;
use support::{Fixture, TestClock, names, run_step_in, step, step_context, unstamp};

#[test]
fn the_step_gets_its_directories_over_its_own_environment() {
    let mut fixture = Fixture::new();
    let mut step = step("steps/a.sh", &["control"]);
    for (name, value) in [("OWN", "1"), ("STEP_ROOT", "mine"), ("SKYHOOK_DIR", "mine")] {
        step.env.insert(name.to_owned(), value.to_owned());
    }
    run_step_in(&mut fixture, &step, None);
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
fn a_code_in_returncodes_is_success_and_any_other_is_failure() {
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
            run_step_in(&mut Fixture::new(), &step, None),
            verdict,
            "{end} in {returncodes:?}"
        );
    }
}

#[test]
fn the_verdict_is_printed_unstamped_after_the_dangling_prefix() {
    let mut fixture = Fixture::new();
    run_step_in(&mut fixture, &step("a.sh", &["out hi\n"]), None);
    run_step_in(
        &mut fixture,
        &step("steps/b.sh", &["out no newline", "exit 9"]),
        None,
    );
    run_step_in(&mut fixture, &step("c.sh", &[]), None);
    run_step_in(&mut fixture, &step("d.sh", &["kill 15"]), None);
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
        "after the prefix's space"
    );
    assert_eq!(fixture.text("stderr"), "");
}

#[test]
fn every_unusable_variable_is_named_and_nothing_runs() {
    let mut fixture = Fixture::new();
    let latin1 = OsStr::from_bytes(b"caf\xe9");
    let environ = BTreeMap::from([("GOOD", OsStr::new("exit 0")), ("LATIN1", latin1)]);
    let root = Root::open(Path::new("/")).unwrap();
    let log_dir = LogDir::new(&root, fixture.path("logs"));
    let arguments = ["env:MISSING", "env:GOOD", "env:LATIN1", "env:GONE"];
    let lookup = |name: &str| environ.get(name).copied();
    let verdict = run_step(
        &step("a.sh", &arguments),
        step_context(Some(&log_dir)),
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
fn log_paths_and_contents_are_those_of_the_contract() {
    let mut fixture = Fixture::new();
    fixture.clock = Box::new(TestClock::at("2026-05-02T21:51:23"));
    let dir = fixture.path("logs/p/1.0.0");
    run_step_in(
        &mut fixture,
        &step("steps/a.sh", &["out hi", "err oh"]),
        Some(&dir),
    );
    let log = dir.join("steps/a.sh-2026-05-02-215123.log");
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        "[out]2026-05-02T21:51:23.000000 hi"
    );
    let err_log = log_name::err_path(&log);
    assert_eq!(
        fs::read_to_string(err_log).unwrap(),
        "[err]2026-05-02T21:51:23.000000 oh"
    );
}

#[test]
fn without_logs_there_is_no_file_and_no_directory() {
    let mut fixture = Fixture::new();
    run_step_in(&mut fixture, &step("a.sh", &["out hi"]), None);
    assert_eq!(names(fixture.dir.path()), ["stderr", "stdout"]);
}

#[test]
fn a_step_runs_if_its_log_cannot_be_created() {
    let mut fixture = Fixture::new();
    fs::write(fixture.path("file"), "").unwrap();
    let dir = fixture.path("file/logs");
    let verdict = run_step_in(&mut fixture, &step("a.sh", &["out hi"]), Some(&dir));
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

#[test]
fn a_step_of_a_cancelled_run_does_not_start_and_leaves_no_log() {
    let mut fixture = Fixture::new();
    let dir = fixture.path("logs");
    fixture.canceller().cancel();
    let verdict = run_step_in(&mut fixture, &step("a.sh", &["out x"]), Some(&dir));
    assert_eq!(verdict, Verdict::Cancelled);
    assert_eq!(fixture.text("stdout"), "");
    assert_eq!(
        fixture.text("stderr"),
        "skyhook-agent: cancelled: a.sh does not start\n"
    );
    assert_eq!(names(&dir), [""; 0]);
}
