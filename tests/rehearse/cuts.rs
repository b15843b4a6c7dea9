//! Where a stage is cut off, and what its second start tells.

use std::fs;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::running::wait_until;
use super::support::seccomp::with_refused;
use super::support::{Node, Running, assert_says, or_skip, wrapped};
use super::{assert_root_untouched, can_have_a_view, document, outcomes, rehearse};

/// A package with these scripts, each the only step of a mode.
struct Package(TempDir);

impl Package {
    fn new(version: &str, modes: &[(&str, &str)]) -> Package {
        let dir = TempDir::new().unwrap();
        let steps = dir.path().join("skyhook_dir");
        fs::create_dir(&steps).unwrap();
        let mut config = json!({});
        for (mode, script) in modes {
            let check = format!("{mode}-check");
            for (mode, script) in [(*mode, *script), (&*check, "exit 0")] {
                let path = format!("{mode}.sh");
                fs::write(steps.join(&path), format!("#!/bin/sh\n{script}\n")).unwrap();
                config[mode] = json!([{
                    "name": mode, "path": path, "arguments": [], "returncodes": [0],
                    "on_host": true, "idempotence": false, "upgrade_step": false,
                }]);
            }
        }
        let config = json!({
            "schema_version": "v1", "package_name": "cuts", "package_version": version,
            "expected_config_files": [], "modes": config,
        });
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        Package(dir)
    }

    fn applying(script: &str) -> Package {
        Package::new("1.0.0", &[("apply", script)])
    }

    fn document(&self, arguments: &[&str]) -> Value {
        document(arguments, self.0.path()).0
    }
}

/// The stages of the life in which stages are cut off.
fn of_cuts(document: &Value) -> Vec<String> {
    let mut outcomes = outcomes(document);
    outcomes.retain(|outcome| outcome.starts_with("cut/") || outcome.starts_with("anew/"));
    outcomes
}

fn not_restartable(mode: &str) -> Value {
    json!([{ "mode": mode, "step": format!("{mode}.sh") }])
}

#[test]
fn a_step_of_milliseconds_that_cannot_be_begun_twice_is_found_each_time() {
    or_skip!(can_have_a_view());
    let removes = Package::new(
        "1.0.0",
        &[
            ("apply", ": > /etc/rehearse-cut"),
            ("uninstall", "rm /etc/rehearse-cut"),
        ],
    );
    let makes = Package::applying(
        "set -e\n[ -e /etc/rehearse-cut/done ] || mkdir /etc/rehearse-cut\n\
         : > /etc/rehearse-cut/done",
    );
    let good = Package::new(
        "1.0.0",
        &[
            ("apply", ": > /etc/rehearse-cut"),
            ("uninstall", "rm -f /etc/rehearse-cut"),
        ],
    );
    for _ in 0..5 {
        let found = removes.document(&[]);
        assert_eq!(
            found["not_restartable"],
            not_restartable("uninstall"),
            "{found}"
        );
        assert_eq!(found["not_cut"], json!(["uninstall-check"]));
        let found = makes.document(&[]);
        assert_eq!(
            found["not_restartable"],
            not_restartable("apply"),
            "{found}"
        );
        let found = good.document(&[]);
        assert_eq!(found["ok"], true, "{found}");
        assert_eq!(
            of_cuts(&found),
            [
                "cut/apply cut",
                "anew/apply succeeded",
                "anew/apply-check succeeded",
                "cut/uninstall cut",
                "anew/uninstall succeeded",
                "anew/uninstall-check succeeded",
            ]
        );
    }
    assert_root_untouched();
}

/// Also if several programs make the changes.
#[test]
fn a_stage_is_cut_off_after_half_of_its_changes() {
    or_skip!(can_have_a_view());
    let script = "set -e\n\
         if [ -e /etc/rehearse-cut1 ] && [ ! -e /etc/rehearse-cut5 ]; then\n\
             ls -d /etc/rehearse-cut*; exit 3\n\
         fi\n\
         for i in 1 2; do mkdir -p /etc/rehearse-cut$i; done\n\
         (: > /etc/rehearse-cut3) 2>/dev/null\n\
         mkdir -p /etc/rehearse-cut4 /etc/rehearse-cut5";
    let package = Package::applying(script);
    for _ in 0..3 {
        let found = package.document(&[]);
        assert_eq!(
            found["not_restartable"],
            not_restartable("apply"),
            "{found}"
        );
        let said = stages(&found, "anew")[0]["output"].as_str().unwrap();
        assert_says(said, &["/etc/rehearse-cut2\n", "/etc/rehearse-cut3\n"]);
        assert!(!said.contains("/etc/rehearse-cut4"), "{said}");
    }
}

#[test]
fn a_step_without_changes_is_not_cut_off_unless_it_is_long() {
    or_skip!(can_have_a_view());
    let short = "cat /etc/passwd >/dev/null 2>&1; echo hello >/dev/stderr; exit 0";
    let found = Package::applying(short).document(&[]);
    assert_eq!(
        of_cuts(&found),
        ["anew/apply succeeded", "anew/apply-check succeeded"]
    );
    let found = Package::applying("sleep 2.2").document(&[]);
    assert_eq!(of_cuts(&found)[0], "cut/apply cut");
    assert_eq!(found["ok"], true, "{found}");
}

/// The stages of this pass.
fn stages<'d>(document: &'d Value, pass: &str) -> Vec<&'d Value> {
    let stages = document["stages"].as_array().unwrap().iter();
    stages.filter(|stage| stage["pass"] == pass).collect()
}

#[test]
fn a_step_that_catches_the_signal_does_its_work_and_has_succeeded() {
    or_skip!(can_have_a_view());
    // The call at which it is cut off is its own, or that of a program.
    for changes in [": > /etc/rehearse-b", "mkdir -p /etc/rehearse-b"] {
        let trap = "trap ': > /etc/rehearse-trapped; exit 0' TERM";
        let package = Package::applying(&format!("{trap}\n: > /etc/rehearse-a\n{changes}\n"));
        let found = package.document(&[]);
        let cut = stages(&found, "cut")[0];
        assert_eq!(cut["outcome"], "cut", "{found}");
        assert_eq!(cut["steps"][0]["outcome"], "succeeded", "{found}");
        // No call was held until the SIGKILL.
        assert!(cut["seconds"].as_f64().unwrap() < 2.5, "{cut}");
        let anew = stages(&found, "anew")[0];
        assert_eq!(anew["steps"][0]["outcome"], "skipped", "{found}");
    }
}

#[test]
fn a_step_that_ignores_the_signal_goes_on_until_it_is_killed() {
    or_skip!(can_have_a_view());
    let package = Package::applying("trap '' TERM\nmkdir -p /etc/rehearse-cut\nsleep 0.3\nexit 0");
    let found = package.document(&[]);
    assert_eq!(found["ok"], true, "{found}");
    let cut = stages(&found, "cut")[0];
    assert_eq!(cut["steps"][0]["outcome"], "succeeded");
}

#[test]
fn many_short_processes_are_counted_and_cut_off_without_a_hang() {
    or_skip!(can_have_a_view());
    let package = Package::applying(
        "i=0\nwhile [ $i -lt 300 ]; do (: > /etc/rehearse-cut) & i=$((i + 1)); done\nwait",
    );
    let since = Instant::now();
    let found = package.document(&["--timeout", "30s"]);
    assert_eq!(found["ok"], true, "{found}");
    assert_eq!(of_cuts(&found)[0], "cut/apply cut");
    assert!(since.elapsed() < Duration::from_secs(60));
}

/// The filter must not keep `su` and the like from working.
#[test]
fn steps_keep_the_privileges_of_set_user_id_programs() {
    or_skip!(can_have_a_view());
    let package = Package::applying("grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status; exit 1");
    let found = package.document(&[]);
    let said = found["stages"][0]["output"].as_str().unwrap();
    assert_says(said, &["NoNewPrivs:\t0", "Seccomp:\t2"]);
    // Where nothing is to be cut off, there is no filter.
    let found = package.document(&["--no-cut"]);
    let said = found["stages"][0]["output"].as_str().unwrap();
    assert_says(said, &["Seccomp:\t0"]);
}

#[test]
fn a_signal_ends_a_rehearsal_whose_step_changes_files_all_the_time() {
    or_skip!(can_have_a_view());
    let package = Package::new(
        "7.7.7",
        &[(
            "apply",
            "while :; do mkdir -p /etc/rehearse-cut && rmdir /etc/rehearse-cut; done",
        )],
    );
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL] {
        // A shell starts what runs in its background without SIGINT.
        let default = ["env", "--default-signal"];
        let mut run = Running::start(&mut wrapped(&default, &rehearse(&[], package.0.path())));
        wait_until("the step to run", || is_running("/cuts-7.7.7"));
        let since = Instant::now();
        kill(run.pid(), signal).unwrap();
        if signal != Signal::SIGKILL {
            assert_says(&run.wait_for_notice(), &["cancelled by a signal"]);
        }
        run.finish();
        assert!(since.elapsed() < Duration::from_secs(20));
        wait_until("the step to end", || !is_running("/cuts-7.7.7"));
    }
}

/// Tells if a process runs whose command line has this.
fn is_running(what: &str) -> bool {
    fs::read_dir("/proc").unwrap().any(|entry| {
        let line = fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(what)
    })
}

#[test]
fn where_calls_are_not_reported_the_clock_cuts_long_steps_and_a_gap_says_so() {
    or_skip!(can_have_a_view());
    let package = Package::new(
        "1.0.0",
        &[
            (
                "apply",
                "mkdir -p /etc/rehearse-cut; sleep 2.2; : > /etc/rehearse-cut/a",
            ),
            ("config", ": > /etc/rehearse-cut/b"),
        ],
    );
    let found = with_refused(&[libc::SYS_seccomp], Errno::ENOSYS, || {
        package.document(&[])
    });
    assert_eq!(found["ok"], true, "{found}");
    assert_eq!(
        of_cuts(&found),
        [
            "cut/apply cut",
            "anew/apply succeeded",
            "anew/apply-check succeeded",
            "anew/config succeeded",
            "anew/config-check succeeded",
        ]
    );
    let gaps = found["gaps"].as_array().unwrap().iter();
    let gaps = gaps.filter(|gap| {
        gap.as_str()
            .unwrap()
            .contains("does not report system calls")
    });
    assert_eq!(gaps.count(), 1, "{found}");
}

#[test]
fn the_old_version_is_cut_off_and_started_anew_as_itself() {
    or_skip!(can_have_a_view());
    let old = Package::new("1.0.0", &[("apply", "mkdir -p /etc/rehearse-old")]);
    let new = Package::new(
        "2.0.0",
        &[
            ("apply", "[ -e /etc/rehearse-old ]"),
            ("upgrade", "[ -e /etc/rehearse-old ]"),
        ],
    );
    let found = new.document(&["--from", old.0.path().to_str().unwrap()]);
    assert_eq!(found["ok"], true, "{found}");
    assert_eq!(
        of_cuts(&found)[..2],
        ["cut/apply cut", "anew/apply succeeded"]
    );
}

#[test]
fn a_stage_that_fails_also_when_it_is_whole_is_not_blamed_on_a_cut() {
    or_skip!(can_have_a_view());
    let package = Package::new(
        "1.0.0",
        &[
            ("apply", ": > /etc/rehearse-cut"),
            ("uninstall", "rm /etc/rehearse-cut; exit 5"),
        ],
    );
    let found = package.document(&[]);
    assert_eq!(found["not_restartable"], json!([]), "{found}");
    assert_eq!(found["not_cut"], json!(["uninstall", "uninstall-check"]));
}

/// The process that is about to make it is killed, and must not make it on its way out.
#[test]
fn the_change_at_which_a_step_is_cut_off_is_not_made() {
    or_skip!(can_have_a_view());
    let package = Package::applying(
        "[ ! -e /etc/rehearse-lock ] || exit 3\n: > /etc/rehearse-lock\nrm /etc/rehearse-lock",
    );
    for _ in 0..5 {
        let found = package.document(&[]);
        assert_eq!(
            found["not_restartable"],
            not_restartable("apply"),
            "{found}"
        );
    }
}

/// The one before it makes changes, too.
#[test]
fn of_two_steps_the_one_with_more_changes_is_cut_off() {
    or_skip!(can_have_a_view());
    let changes = |name: &str, number: usize| -> String {
        let line = |at| format!(": > /etc/rehearse-{name}{at}\n");
        (0..number).map(line).collect()
    };
    let node = Node::new()
        .step("a.sh", &format!("#!/bin/sh\n{}", changes("a", 3)))
        .step("b.sh", &format!("#!/bin/sh\n{}", changes("b", 4)));
    let (found, _) = document(&[], &node.path("copy"));
    let steps = stages(&found, "cut")[0]["steps"].as_array().unwrap();
    let steps: Vec<_> = steps
        .iter()
        .map(|step| {
            (
                step["path"].as_str().unwrap(),
                step["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(steps, [("a.sh", "succeeded"), ("b.sh", "cut")], "{found}");
}
