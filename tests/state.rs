//! Flags, history and interrupts against what the reference did, and what a
//! crash or a rival leaves of them.

mod support;

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use skyhook_agent::host::Root;
use skyhook_agent::package::Interrupt;
use skyhook_agent::package::Mode;
use skyhook_agent::package::Step;
use skyhook_agent::state::{HistoryFile, Layout, Prior, State, UNINSTALLED};
use support::{Fixture, TestClock, golden, names, step};

fn strings(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap();
    list.iter().map(|value| value.as_str().unwrap()).collect()
}

/// The state of package `p`, version 2.0.0, in the fixture's folder.
fn with_state<T>(fixture: &Fixture, use_it: impl FnOnce(&State<'_>) -> T) -> T {
    let clock = TestClock::at("2026-05-02T21:51:23.000007");
    use_it(&State {
        root: &Root::open(fixture.dir.path()).unwrap(),
        root_mount: "/root",
        layout: Layout {
            root_dir: "/etc/skyhook",
            package: "p",
            version: "2.0.0",
        },
        clock: &clock,
    })
}

#[test]
fn flags_have_the_reference_s_names() {
    let fixture = Fixture::new();
    let cases = golden("flag_paths.json");
    assert_eq!(cases.len(), 32);
    for case in cases {
        let mut step = step(case["path"].as_str().unwrap(), &strings(&case["arguments"]));
        step.returncodes = serde_json::from_value(case["returncodes"].clone()).unwrap();
        let flag = with_state(&fixture, |state| {
            let layout = Layout {
                package: case["package"].as_str().unwrap(),
                version: case["version"].as_str().unwrap(),
                ..state.layout
            };
            state.reference_path(&layout.step_flag(&step))
        });
        assert_eq!(flag, case["flag_path"].as_str().unwrap());
    }
}

#[test]
fn a_flag_name_too_long_for_a_file_is_a_hash_and_works() {
    let fixture = Fixture::new();
    let long = step("a.sh", &[&"x".repeat(300)]);
    let other = step("a.sh", &[&"y".repeat(300)]);
    // Of short names, for its base64 has many slashes, but as a path too long.
    let deep = step("a.sh", &[&"???".repeat(1200)]);
    with_state(&fixture, |state| {
        let flag = state.layout.step_flag(&long);
        assert!(
            flag.starts_with("/etc/skyhook/flags/p/2.0.0/a.sh_sha256-"),
            "{flag}"
        );
        assert_ne!(flag, state.layout.step_flag(&other));
        assert!(!state.is_set(&state.layout.step_flag(&deep)).unwrap());
        assert!(!state.is_set(&flag).unwrap());
        state.set_succeeded(&flag, &long).unwrap();
        assert!(state.is_set(&flag).unwrap());
        assert!(!state.is_set(&state.layout.step_flag(&other)).unwrap());
        state.clear(&flag).unwrap();
        state.clear(&flag).unwrap();
        assert!(!state.is_set(&flag).unwrap());
    });
}

#[test]
fn a_flag_says_when_the_step_ran_and_if_it_always_runs() {
    let fixture = Fixture::new();
    for (idempotence, printed) in [(false, "False"), (true, "True")] {
        let step = Step {
            idempotence: idempotence.into(),
            ..step("a.sh", &["???>>>"])
        };
        let flag = with_state(&fixture, |state| {
            let flag = state.layout.step_flag(&step);
            state.set_succeeded(&flag, &step).unwrap();
            flag
        });
        assert_eq!(
            fixture.text(flag.trim_start_matches('/')),
            format!("last_run: 2026-05-02T21:51:23.000007\nstep_always_runs: {printed}")
        );
    }
}

#[test]
fn check_results_are_listed_and_all_checked_is_set_only_if_none_failed() {
    let fixture = Fixture::new();
    let steps = [step("a.sh", &[]), step("b.sh", &[])];
    with_state(&fixture, |state| {
        state
            .set_checked(Mode::ApplyCheck, &steps, &[false, true])
            .unwrap();
    });
    assert_eq!(
        fixture.text("etc/skyhook/flags/check_results"),
        "a.sh False\nb.sh True"
    );
    assert_eq!(names(&fixture.path("etc/skyhook/flags")), ["check_results"]);
    with_state(&fixture, |state| {
        state
            .set_checked(Mode::ApplyCheck, &steps, &[false, false])
            .unwrap();
    });
    assert_eq!(
        fixture.text("etc/skyhook/flags/apply-check_ALL_CHECKED"),
        ""
    );
    assert_eq!(
        names(&fixture.path("etc/skyhook/flags")),
        ["apply-check_ALL_CHECKED", "check_results"]
    );
}

#[test]
fn the_history_is_kept_as_the_reference_keeps_it() {
    for case in golden("history.json") {
        let name = case["name"].as_str().unwrap();
        let fixture = Fixture::new();
        let folder = fixture.path("etc/skyhook/history");
        if let Some(before) = case["before"].as_str() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("p.json"), before).unwrap();
        }
        let (previous, line) = with_state(&fixture, |state| {
            let (previous, prior) = match (case["write"] == true, case["mode"].as_str()) {
                (true, Some("uninstall-check")) => (None, state.add_version(UNINSTALLED).unwrap()),
                (true, _) => (None, state.add_version(state.layout.version).unwrap()),
                (false, _) => {
                    let (previous, prior) = state.previous_version().unwrap();
                    (Some(previous), prior)
                }
            };
            (previous, state.prior_line(prior))
        });
        let printed = case["stdout"].as_str().unwrap();
        let history_dir = "/root/etc/skyhook/history";
        assert_eq!(
            line.map_or(String::new(), |line| line + "\n"),
            printed.replace("<history_dir>", history_dir),
            "{name}"
        );
        if let Some(previous) = previous {
            assert_eq!(case["env"]["PREVIOUS_VERSION"], previous, "{name}");
        }
        let after = case["after"].as_object().unwrap();
        let mut files: Vec<&str> = after.keys().map(String::as_str).collect();
        files.sort_unstable();
        assert_eq!(names(&folder), files, "{name}");
        for (file, content) in after {
            let found = fs::read_to_string(folder.join(file)).unwrap();
            let found = found
                .replace("2026-05-02T21:51:23.000007+00:00", "<now>")
                .replace("2024-08-28T14:33:20.123456+00:00", "<now>");
            assert_eq!(found, content.as_str().unwrap(), "{name}");
        }
    }
}

#[test]
fn a_history_of_another_shape_is_moved_aside_like_a_corrupt_one() {
    for json in [
        "[]",
        "{}",
        "{\"current-version\": 1, \"history\": []}",
        "\u{feff}{}",
    ] {
        let fixture = Fixture::new();
        let folder = fixture.path("etc/skyhook/history");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("p.json"), json).unwrap();
        let previous = with_state(&fixture, |state| state.previous_version());
        assert_eq!(previous.unwrap(), (String::new(), Prior::MovedAside));
        assert_eq!(names(&folder), ["p.json.backup"], "{json}");
    }
}

#[test]
fn reading_the_history_changes_nothing() {
    let fixture = Fixture::new();
    let read = || with_state(&fixture, |state| state.read_history().unwrap());
    assert_eq!(read(), HistoryFile::Missing);
    assert!(!fixture.path("etc").exists());

    let folder = fixture.path("etc/skyhook/history");
    fs::create_dir_all(&folder).unwrap();
    assert_eq!(read(), HistoryFile::Missing);
    fs::write(folder.join("p.json"), "{").unwrap();
    assert_eq!(read(), HistoryFile::Corrupt);
    assert_eq!(names(&folder), ["p.json"]);

    fs::remove_file(folder.join("p.json")).unwrap();
    with_state(&fixture, |state| state.add_version("2").unwrap());
    let HistoryFile::Found(history) = read() else {
        panic!("expected a history");
    };
    assert_eq!(history.current_version, "2");
    assert_eq!(history.history.len(), 1);
}

#[test]
fn unknown_keys_of_the_history_are_kept() {
    let fixture = Fixture::new();
    let folder = fixture.path("etc/skyhook/history");
    fs::create_dir_all(&folder).unwrap();
    let before = r#"{"current-version": "1", "history": [{"version": "1", "time": "t", "by": "ä"}], "x": 1}"#;
    fs::write(folder.join("p.json"), before).unwrap();
    with_state(&fixture, |state| {
        assert_eq!(state.add_version("2").unwrap(), Prior::Found);
    });
    let after = fs::read_to_string(folder.join("p.json")).unwrap();
    assert_eq!(
        after,
        "{\"current-version\": \"2\", \"history\": [{\"version\": \"2\", \"time\": \
         \"2026-05-02T21:51:23.000007+00:00\"}, {\"version\": \"1\", \"time\": \"t\", \
         \"by\": \"\\u00e4\"}], \"x\": 1}"
    );
}

#[test]
fn rivals_lose_no_entry_of_the_history() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let dir = fixture.dir.path();
            scope.spawn(move || {
                let clock = TestClock::at("2026-05-02T21:51:23");
                let root = Root::open(dir).unwrap();
                let state = State {
                    root: &root,
                    root_mount: "/root",
                    layout: Layout {
                        root_dir: "/etc/skyhook",
                        package: "p",
                        version: "2.0.0",
                    },
                    clock: &clock,
                };
                for _ in 0..10 {
                    state.add_version("1.0.0").unwrap();
                }
            });
        }
    });
    let json = fixture.text("etc/skyhook/history/p.json");
    let history: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(history["history"].as_array().unwrap().len(), 80);
    assert_eq!(names(&fixture.path("etc/skyhook/history")), ["p.json"]);
}

#[test]
fn interrupts_are_read_as_the_reference_reads_them() {
    for case in golden("interrupts.json") {
        let data = case["data"].as_str().unwrap();
        let interrupt = Interrupt::parse(data);
        if case["error"] == true {
            let error = interrupt.unwrap_err();
            assert!(
                error.to_string().starts_with("interrupt data: expected"),
                "{error}"
            );
            continue;
        }
        let interrupt = interrupt.unwrap();
        assert_eq!(case["type"], interrupt.name(), "{data}");
        assert_eq!(
            case["commands"],
            serde_json::json!(interrupt.commands()),
            "{data}"
        );
    }
}

#[test]
fn an_interrupt_is_an_object_and_no_list() {
    for json in [
        r#"["no_op"]"#,
        r#"["node_restart", {}]"#,
        r#"["service_restart", ["cron"]]"#,
        r#"[{"type": "no_op"}]"#,
    ] {
        let error = Interrupt::parse(&BASE64_STANDARD.encode(json)).unwrap_err();
        assert!(error.to_string().contains("expected a map"), "{error}");
    }
}

#[test]
fn a_state_directory_that_cannot_be_created_is_named() {
    let fixture = Fixture::new();
    fs::write(fixture.path("etc"), "a file").unwrap();
    with_state(&fixture, |state| {
        let error = state.set_started().unwrap_err().to_string();
        assert!(error.contains("etc"), "{error}");
        assert!(Path::new(&fixture.path("etc")).is_file());
    });
}
