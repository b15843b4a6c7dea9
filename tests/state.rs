//! Flags, history and interrupts against what the reference did, and what a
//! crash or a rival leaves of them.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use skyhook_agent::host::Root;
use skyhook_agent::package::Interrupt;
use skyhook_agent::package::Mode;
use skyhook_agent::package::Step;
use skyhook_agent::state::{HistoryFile, Layout, Prior, State, UNINSTALLED};
use support::{Fixture, TestClock, files, golden, is_root, names, set_mode, step};

fn strings(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap();
    list.iter().map(|value| value.as_str().unwrap()).collect()
}

/// The state of package `p`, version 2.0.0, in the fixture's folder.
fn with_state<T>(fixture: &Fixture, use_it: impl FnOnce(&State<'_>) -> T) -> T {
    with_state_in(fixture.dir.path(), use_it)
}

fn with_state_in<T>(dir: &Path, use_it: impl FnOnce(&State<'_>) -> T) -> T {
    let clock = TestClock::at("2026-05-02T21:51:23.000007");
    use_it(&State {
        root: &Root::open(dir).unwrap(),
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
        let found = if folder.exists() {
            names(&folder)
        } else {
            Vec::new()
        };
        assert_eq!(found, files, "{name}");
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

/// Writes a history file. Returns the directory.
fn write_history(fixture: &Fixture, json: &[u8]) -> PathBuf {
    let folder = fixture.path("etc/skyhook/history");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("p.json"), json).unwrap();
    folder
}

/// A version with a time and a plain history, of more than this many bytes.
fn long_history(bytes: usize) -> String {
    let padding = " ".repeat(bytes);
    format!("{{\"current-version\": \"1\", \"history\": []{padding}}}")
}

#[test]
fn a_history_larger_than_1_mib_is_moved_aside_unread() {
    let short = long_history((1 << 20) - long_history(0).len());
    assert_eq!(short.len(), 1 << 20);
    let fixture = Fixture::new();
    write_history(&fixture, short.as_bytes());
    with_state(&fixture, |state| {
        assert_eq!(
            state.previous_version().unwrap(),
            ("1".to_owned(), Prior::Found)
        );
    });

    for add in [false, true] {
        let fixture = Fixture::new();
        let folder = write_history(&fixture, long_history(1 << 20).as_bytes());
        // Sparse: to read it would take minutes.
        let file = fs::File::options().write(true).open(folder.join("p.json"));
        file.unwrap().set_len(100 << 30).unwrap();
        with_state(&fixture, |state| {
            assert_eq!(state.read_history().unwrap(), HistoryFile::Corrupt);
            if add {
                assert_eq!(state.add_version("2").unwrap(), Prior::MovedAside);
                let HistoryFile::Found(history) = state.read_history().unwrap() else {
                    panic!("expected a history");
                };
                assert_eq!(history.history.len(), 1);
            } else {
                let previous = state.previous_version().unwrap();
                assert_eq!(previous, (String::new(), Prior::MovedAside));
            }
        });
        let backup = fs::metadata(folder.join("p.json.backup")).unwrap();
        assert_eq!(backup.len(), 100 << 30);
        assert_eq!(folder.join("p.json").exists(), add);
    }
}

#[test]
fn a_history_that_is_a_link_is_read_inside_the_root_and_replaced_by_a_file() {
    for target in ["../../../elsewhere.json", "/elsewhere.json"] {
        let fixture = Fixture::new();
        let folder = fixture.path("etc/skyhook/history");
        fs::create_dir_all(&folder).unwrap();
        let json = "{\"current-version\": \"1\", \"history\": [{\"version\": \"1\"}]}";
        fs::write(fixture.path("elsewhere.json"), json).unwrap();
        symlink(target, folder.join("p.json")).unwrap();
        with_state(&fixture, |state| {
            assert_eq!(
                state.previous_version().unwrap(),
                ("1".to_owned(), Prior::Found)
            );
            assert_eq!(state.add_version("2").unwrap(), Prior::Found);
        });
        assert_eq!(fixture.text("elsewhere.json"), json);
        let history = folder.join("p.json");
        assert!(fs::symlink_metadata(&history).unwrap().is_file());
        let history = fs::read_to_string(history).unwrap();
        assert!(history.ends_with(", {\"version\": \"1\"}]}"), "{history}");
    }
}

#[test]
fn a_history_that_is_a_link_out_of_the_root_is_not_read() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("p.json");
    fs::write(&target, long_history(0)).unwrap();
    let up = format!("../../../../../../../..{}", target.display());
    for link in [target.to_str().unwrap(), &up] {
        let fixture = Fixture::new();
        let folder = fixture.path("etc/skyhook/history");
        fs::create_dir_all(&folder).unwrap();
        symlink(link, folder.join("p.json")).unwrap();
        with_state(&fixture, |state| {
            let previous = state.previous_version().unwrap();
            assert_eq!(previous, ("unknown".to_owned(), Prior::Missing), "{link}");
            state.add_version("2").unwrap();
        });
        assert!(
            fs::symlink_metadata(folder.join("p.json"))
                .unwrap()
                .is_file()
        );
    }
    assert_eq!(fs::read_to_string(target).unwrap(), long_history(0));
}

#[test]
fn a_link_of_a_corrupt_history_is_moved_aside_itself() {
    let fixture = Fixture::new();
    let folder = fixture.path("etc/skyhook/history");
    fs::create_dir_all(&folder).unwrap();
    fs::write(fixture.path("elsewhere"), "{").unwrap();
    symlink("/elsewhere", folder.join("p.json")).unwrap();
    with_state(&fixture, |state| {
        assert_eq!(state.add_version("2").unwrap(), Prior::MovedAside);
    });
    let backup = fs::read_link(folder.join("p.json.backup")).unwrap();
    assert_eq!(backup, Path::new("/elsewhere"));
    assert_eq!(fixture.text("elsewhere"), "{");
}

#[test]
fn a_state_file_that_is_replaced_keeps_its_mode_and_owner() {
    let fixture = Fixture::new();
    let folder = write_history(&fixture, long_history(0).as_bytes());
    let history = folder.join("p.json");
    let start = fixture.path("etc/skyhook/flags/START");
    fs::create_dir_all(start.parent().unwrap()).unwrap();
    fs::write(&start, "").unwrap();
    for (mode, owner) in [(0o600, 12345), (0o640, 0), (0o604, 54321)] {
        for file in [&history, &start] {
            if is_root() {
                chown(file, Some(owner), Some(owner + 1)).unwrap();
            }
            set_mode(file, mode);
        }
        with_state(&fixture, |state| {
            state.add_version("2").unwrap();
            state.set_started().unwrap();
        });
        for file in [&history, &start] {
            let metadata = fs::metadata(file).unwrap();
            assert_eq!(metadata.mode() & 0o7777, mode, "{file:?}");
            if is_root() {
                assert_eq!((metadata.uid(), metadata.gid()), (owner, owner + 1));
            }
        }
    }
}

#[test]
fn a_history_without_times_or_with_other_keys_is_used_and_kept() {
    let fixture = Fixture::new();
    let json = r#"{"z": [1.50], "history": [{"version": "1.5.0"}, {"by": "x"}, 7], "current-version": "1.5.0", "a": 1}"#;
    let folder = write_history(&fixture, json.as_bytes());
    with_state(&fixture, |state| {
        let previous = state.previous_version().unwrap();
        assert_eq!(previous, ("1.5.0".to_owned(), Prior::Found));
        assert_eq!(state.add_version("2.0.0").unwrap(), Prior::Found);
    });
    assert_eq!(
        fs::read_to_string(folder.join("p.json")).unwrap(),
        r#"{"z": [1.50], "history": [{"version": "2.0.0", "time": "2026-05-02T21:51:23.000007+00:00"}, {"version": "1.5.0"}, {"by": "x"}, 7], "current-version": "2.0.0", "a": 1}"#
    );
    assert_eq!(names(&folder), ["p.json"]);
}

/// A killed agent has left it. The next one of the package cleans it up.
#[test]
fn a_temporary_file_of_a_killed_agent_is_removed() {
    let fixture = Fixture::new();
    let folder = write_history(&fixture, long_history(0).as_bytes());
    fs::write(folder.join(".skyhook-agent-p.new"), "half").unwrap();
    with_state(&fixture, |state| state.add_version("2").unwrap());
    assert_eq!(names(&folder), ["p.json"]);
}

#[test]
fn a_flag_is_claimed_by_one_alone() {
    let fixture = Fixture::new();
    let dir = fixture.dir.path();
    let claimed = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                with_state_in(dir, |state| {
                    for i in 0..50 {
                        let flag = state.layout.interrupt_flag("r", &i.to_string());
                        if state.claim_interrupt(&flag).unwrap() {
                            claimed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                });
            });
        }
    });
    assert_eq!(claimed.into_inner(), 50);
    let flags = fixture.path("etc/skyhook/interrupts/flags/r");
    assert_eq!(names(&flags).len(), 50);
    let content = fs::read_to_string(flags.join("0.complete")).unwrap();
    assert_eq!(content, "1777758683.000007");
}

#[test]
fn the_flags_of_all_versions_of_a_package_go_and_no_others() {
    let fixture = Fixture::new();
    let flags = fixture.path("etc/skyhook/flags");
    fs::create_dir_all(fixture.path("elsewhere/1.0.0")).unwrap();
    fs::write(fixture.path("elsewhere/1.0.0/flag"), "").unwrap();
    let others = [
        "START",
        "check_results",
        "apply-check_ALL_CHECKED",
        "pp/1.0.0/flag",
        "p-q/1.0.0/flag",
        "P/1.0.0/flag",
        "other/p/flag",
    ];
    let own = [
        "p/1.0.0/a.sh_x",
        "p/1.0.0/steps/b_x/y",
        "p/2.0.0/c",
        "p/file",
    ];
    for name in others.iter().chain(&own) {
        let file = flags.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }
    symlink("/elsewhere", flags.join("p/3.0.0")).unwrap();
    symlink("/elsewhere/1.0.0/flag", flags.join("p/2.0.0/link")).unwrap();
    let deep = flags.join("p/4.0.0").join("d/".repeat(300));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("flag"), "").unwrap();

    with_state(&fixture, |state| {
        state.clear_package().unwrap();
        assert!(!flags.join("p").exists());
        // Once more, without any.
        state.clear_package().unwrap();
    });
    let mut expected = others.map(|name| flags.join(name));
    expected.sort();
    assert_eq!(files(&flags), expected);
    assert!(fixture.path("elsewhere/1.0.0/flag").exists());

    // In place of the directory: a link, which goes itself.
    symlink("/elsewhere", flags.join("p")).unwrap();
    with_state(&fixture, |state| state.clear_package().unwrap());
    assert!(fs::symlink_metadata(flags.join("p")).is_err());
    assert!(fixture.path("elsewhere/1.0.0/flag").exists());
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

/// Only a history that was read and makes no sense is moved aside.
#[test]
fn a_history_that_cannot_be_read_stays_where_it_is() {
    let fixture = Fixture::new();
    let folder = fixture.path("etc/skyhook/history");
    fs::create_dir_all(folder.join("p.json")).unwrap();
    with_state(&fixture, |state| {
        let error = state.previous_version().unwrap_err().to_string();
        assert!(error.starts_with("cannot read "), "{error}");
        state.add_version("2").unwrap_err();
    });
    assert_eq!(names(&folder), ["p.json"]);
}
