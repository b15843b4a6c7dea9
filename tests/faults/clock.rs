//! A clock that is set during a run. Setting this machine's clock would disturb
//! everything on it, so these tests give the library another one.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use skyhook_agent::host::Root;
use skyhook_agent::output::log_file::{Claim, LOGS_KEPT, LogDir};
use skyhook_agent::stamp::{Clock, LocalZone};
use skyhook_agent::state::{Layout, State};
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::support::skip::try_out;
use crate::support::{
    Fixture, Node, Running, TestClock, assert_says, names, or_skip, parse_time, stdout,
    steps_and_agent_stderr, unstamp, wrapped,
};

/// So long that a test which waited for it would be noticed.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

#[test]
fn stamps_follow_a_clock_that_goes_back_and_no_line_is_lost() {
    let times = [
        "2026-05-02T21:51:23.456789",
        "2026-05-02T21:51:23.456788",
        "2026-05-02T21:51:22.999999",
        "2025-12-31T23:59:59.000001",
        "1970-01-01T00:00:00.000000",
        "2026-05-02T21:51:24.000000",
    ];
    let mut fixture = Fixture::new();
    fixture.clock = Box::new(TestClock::local_times(
        times.iter().map(|time| parse_time(time)).collect(),
    ));
    // Each line is a read of its own and has its own time.
    let lines: Vec<String> = (0..times.len())
        .map(|i| format!("out line {i}\n"))
        .collect();
    let mut script = vec!["pages"];
    for line in &lines {
        script.extend([line, "taken"]);
    }
    let ran = fixture.tee(&script);
    let mut expected = format!("[out]{} ", times[0]);
    for (i, time) in times.iter().enumerate() {
        expected += &format!("line {i}\n[out]{time} ");
    }
    assert_eq!(ran.log, expected);
    assert_eq!(ran.stdout, expected);
    assert_eq!(ran.stderr, "");
}

#[test]
fn local_time_follows_a_clock_that_goes_back() {
    let zone = LocalZone::default();
    let utc = |text| parse_time(text).assume_utc();
    for time in [
        utc("2026-07-02T12:00:00.5"),
        utc("2026-07-02T11:59:59.25"),
        utc("2026-01-02T12:00:00.5"),
        utc("2026-07-02T12:00:00.5"),
    ] {
        assert_eq!(zone.local(time), LocalZone::default().local(time));
    }
}

/// A clock that leaps by as much each time it is read.
struct Leaping {
    now: Cell<OffsetDateTime>,
    by: time::Duration,
}

impl Leaping {
    fn by(days: i64) -> Box<Leaping> {
        Box::new(Leaping {
            now: Cell::new(parse_time("2026-05-02T21:51:23").assume_utc()),
            by: time::Duration::days(days),
        })
    }
}

impl Clock for Leaping {
    fn utc(&self) -> OffsetDateTime {
        self.now.set(self.now.get() + self.by);
        self.now.get()
    }

    fn local(&self) -> PrimitiveDateTime {
        let utc = self.utc();
        PrimitiveDateTime::new(utc.date(), utc.time())
    }
}

#[test]
fn a_clock_that_goes_back_does_not_prolong_the_wait() {
    let mut fixture = Fixture::new();
    let fifo = fixture.fifo("fifo");
    // Opened here too, so that the holder's own open returns.
    let writer = OpenOptions::new().read(true).write(true).open(&fifo);
    fixture.clock = Leaping::by(-1);
    fixture.options.drain_timeout = Some(SHORT);
    let ran = fixture.tee(&["mib 1", "out mine", &format!("hold {fifo}"), "exit 6"]);
    drop(writer.unwrap());
    assert_eq!(ran.code, 6);
    assert_eq!(unstamp("[out]", &ran.log).len(), (1 << 20) + 4);
    assert_says(&ran.stderr, &["not waiting any longer"]);
}

#[test]
fn a_clock_that_goes_back_does_not_delay_the_notice() {
    let mut fixture = Fixture::new();
    let fifo = fixture.fifo("fifo");
    fixture.clock = Leaping::by(-1);
    fixture.options.held_notice = SHORT;
    let release = fixture.release_when_noticed(&fifo);
    let ran = fixture.tee(&["out mine", &format!("hold {fifo}")]);
    release.join().unwrap();
    assert_says(&ran.stderr, &["waiting for that to end"]);
}

#[test]
fn a_clock_that_leaps_ahead_triggers_no_deadline() {
    let mut fixture = Fixture::new();
    let fifo = fixture.fifo("fifo");
    fixture.clock = Leaping::by(1);
    fixture.options.held_notice = LONG;
    fixture.options.drain_timeout = Some(LONG);
    let release = std::thread::spawn({
        let fifo = fifo.clone();
        move || drop(File::options().write(true).open(fifo).unwrap())
    });
    let ran = fixture.tee(&["mib 1", &format!("hold {fifo}"), "exit 6"]);
    release.join().unwrap();
    assert_eq!(ran.code, 6);
    assert_eq!(unstamp("[out]", &ran.log).len(), 1 << 20);
    assert_eq!(ran.stderr, ran.err_log, "nothing is said of it");
}

fn claim(dir: &Path, clock: &dyn Clock) -> Claim {
    let root = Root::open(Path::new("/")).unwrap();
    let dir = LogDir::new(&root, dir.to_owned());
    dir.claim("a.sh", clock.utc()).unwrap()
}

#[test]
fn a_log_is_not_overwritten_when_the_clock_repeats_its_second() {
    let dir = tempfile::tempdir().unwrap();
    for second in ["23", "24"] {
        let clock = TestClock::at(&format!("2026-05-02T21:51:{second}"));
        let path = claim(dir.path(), &clock).path;
        fs::write(path, second).unwrap();
    }
    let clock = TestClock::at("2026-05-02T21:51:23.500000");
    let claim = claim(dir.path(), &clock);
    assert!(claim.path.ends_with("a.sh-2026-05-02-215125.log"));
    for second in ["23", "24"] {
        let log = dir.path().join(format!("a.sh-2026-05-02-2151{second}.log"));
        assert_eq!(fs::read_to_string(log).unwrap(), second);
    }
}

/// A log's age is that of its last write, not the time in its name.
#[test]
fn logs_are_reaped_by_age_not_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    for age in 0..8_u64 {
        let clock = TestClock::at(&format!("2026-05-02T21:51:2{age}"));
        let claim = claim(dir.path(), &clock);
        let written = now - Duration::from_secs(60 * age);
        claim.stdout.set_modified(written).unwrap();
    }
    let root = Root::open(Path::new("/")).unwrap();
    let logs = LogDir::new(&root, dir.path().to_owned());
    logs.reap("a.sh", None).unwrap();
    let kept: Vec<String> = (0..LOGS_KEPT)
        .map(|age| format!("a.sh-2026-05-02-21512{age}.log"))
        .flat_map(|name| [name.clone(), name + ".err"])
        .collect();
    assert_eq!(names(dir.path()), kept);
}

#[test]
fn a_run_keeps_its_own_log_although_all_others_are_from_the_future() {
    let node = Node::new().step("a.sh", "#!/bin/sh\necho words\n");
    let logs = node.package_logs();
    fs::create_dir_all(&logs).unwrap();
    let later = SystemTime::now() + Duration::from_secs(3600);
    for day in 1..=LOGS_KEPT as u64 {
        let file = File::create(logs.join(format!("a.sh-2099-01-0{day}-000000.log")));
        let written = later + Duration::from_secs(day);
        file.unwrap().set_modified(written).unwrap();
    }
    let output = node.run("apply").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let names = names(&logs);
    // Its own two, and the newest four of the others.
    assert_eq!(names.len(), 2 + LOGS_KEPT - 1, "{names:?}");
    assert!(names[0].ends_with(".log"), "{names:?}");
    assert_eq!(names[2], "a.sh-2099-01-02-000000.log");
    let log = fs::read_to_string(logs.join(&names[0])).unwrap();
    assert_eq!(unstamp("[out]", &log), "words\n");
}

#[test]
fn history_entries_are_in_the_order_of_events_not_of_their_times() {
    let fixture = Fixture::new();
    let root = Root::open(fixture.dir.path()).unwrap();
    let times = ["2026-05-02T21:51:23.000000", "2025-05-02T21:51:23.000000"];
    for (version, time) in ["1.0.0", "2.0.0"].into_iter().zip(times) {
        let state = State {
            root: &root,
            root_mount: "",
            layout: Layout {
                root_dir: "/state",
                package: "pkg",
                version,
            },
            clock: &TestClock::at(time),
        };
        state.add_version(version).unwrap();
    }
    let history: serde_json::Value =
        serde_json::from_str(&fixture.text("state/history/pkg.json")).unwrap();
    assert_eq!(history["current-version"], "2.0.0");
    let [newest, oldest] = [&history["history"][0], &history["history"][1]];
    assert_eq!([&newest["version"], &oldest["version"]], ["2.0.0", "1.0.0"]);
    assert_eq!(newest["time"], format!("{}+00:00", times[1]));
}

/// Deadlines go by the monotonic clock. A time namespace sets it ten years ahead.
#[test]
fn a_node_that_has_been_up_for_years_meets_its_deadlines() {
    let years = (10 * 365 * 24 * 60 * 60).to_string();
    let unshare = ["unshare", "--fork", "--time", "--monotonic", &years];
    let mut tried = wrapped(&unshare, &Command::new("true"));
    or_skip!(try_out(
        &mut tried,
        "this user may not create a time namespace"
    ));
    let node = Node::new().step("a.sh", "#!/bin/sh\nexec 3<&0; cat <&3 &\necho words\n");
    let mut command = wrapped(&unshare, &node.run("apply"));
    command.env("SKYHOOK_AGENT_DRAIN_TIMEOUT", "0.1");
    let output = Running::start(&mut command).finish();
    assert_eq!(output.status.code(), Some(0));
    assert_says(&stdout(&output), &["words\n", "SUCEEDED: a.sh \n"]);
    let (_, notices) = steps_and_agent_stderr(&output);
    assert_says(&notices, &["not waiting any longer"]);
    assert_eq!(notices.lines().count(), 1, "{notices}");
}
