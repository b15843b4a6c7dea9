//! One command over real pipes: where its bytes go and how its end is told.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use skyhook_agent::reactor::{Event, Options, Reactor, Stream, Watch};
use support::{Fixture, TestClock, fake_chroot_exec, unstamp};

#[test]
fn each_stream_reaches_its_console_and_its_log_under_its_label() {
    let mut fixture = Fixture::new();
    let ran = fixture.tee(&["out one\ntwo\n", "err uh\n", "taken", "out three"]);
    for stdout in [&ran.stdout, &ran.log] {
        assert!(stdout.starts_with("[out]"), "{stdout}");
        assert_eq!(unstamp("[out]", stdout), "one\ntwo\nthree");
    }
    for stderr in [&ran.stderr, &ran.err_log] {
        assert!(stderr.starts_with("[err]"), "{stderr}");
        assert_eq!(unstamp("[err]", stderr), "uh\n");
    }
    assert_eq!(ran.code, 0);
    assert!(!ran.stderr.contains("skyhook-agent:"), "{}", ran.stderr);
}

#[test]
fn console_and_log_hold_the_same_bytes_with_a_prefix_on_every_line() {
    let mut fixture = Fixture::new();
    let ran = fixture.tee(&["mib 1"]);
    assert_eq!(ran.stdout, ran.log);
    assert_eq!(ran.stderr, ran.err_log);
    assert!(ran.log.lines().all(|line| line.starts_with("[out]")));
    assert!(ran.err_log.lines().all(|line| line.starts_with("[err]")));
}

#[test]
fn a_silent_command_writes_nothing() {
    let ran = Fixture::new().tee(&[]);
    assert_eq!(
        [ran.stdout, ran.stderr, ran.log, ran.err_log],
        ["", "", "", ""]
    );
}

#[test]
fn write_cmds_puts_the_command_unstamped_in_front() {
    let mut fixture = Fixture::new();
    fixture.write_cmds = true;
    let ran = fixture.tee(&["out hello", "err oops"]);
    for stdout in [&ran.stdout, &ran.log] {
        let (command, output) = stdout.split_once('\n').unwrap();
        assert_eq!(command, "out hello err oops");
        assert_eq!(unstamp("[out]", output), "hello");
    }
    assert_eq!(
        unstamp("[err]", &ran.err_log),
        "oops",
        "and not into the stderr log"
    );
}

#[test]
fn the_limit_is_the_most_bytes_of_one_read() {
    for (limit, stamps) in [(5, 20), (7, 15), (100, 1), (8192, 1)] {
        let mut fixture = Fixture::new();
        fixture.options.buffer_limit = limit.try_into().unwrap();
        // Each read has a time of its own, so counting times counts reads.
        let start = support::parse_time("2026-01-01T00:00:00");
        let times = (0..100).map(|n| start + time::Duration::microseconds(n));
        fixture.clock = Box::new(TestClock::local_times(times.collect()));
        let line_per_byte = "\n".repeat(100);
        let ran = fixture.tee(&[&format!("out {line_per_byte}")]);
        let mut times: Vec<&str> = ran.log.split("[out]").skip(1).map(str::trim_end).collect();
        times.dedup();
        assert_eq!(times.len(), stamps, "with a limit of {limit}");
    }
}

#[test]
fn a_limit_beyond_all_memory_is_no_reason_to_fail() {
    let mut fixture = Fixture::new();
    fixture.options.buffer_limit = usize::MAX.try_into().unwrap();
    assert_eq!(unstamp("[out]", &fixture.tee(&["out hello"]).log), "hello");
}

#[test]
fn every_exit_code_passes_through() {
    for watch in [Watch::Pidfd, Watch::Poll] {
        for code in 0..=255 {
            let mut fixture = Fixture::new();
            fixture.options.watch = watch;
            let ran = fixture.tee(&[&format!("exit {code}")]);
            assert_eq!(ran.code, code, "{watch:?}");
        }
    }
}

#[test]
fn a_signal_is_its_number_negated() {
    for watch in [Watch::Pidfd, Watch::Poll] {
        // None that a shell's background jobs ignore.
        for signal in [15, 9, 10, 6] {
            let mut fixture = Fixture::new();
            fixture.options.watch = watch;
            let ran = fixture.tee(&["out last words", &format!("kill {signal}")]);
            assert_eq!(ran.code, -signal, "{watch:?}");
            assert_eq!(unstamp("[out]", &ran.log), "last words");
        }
    }
}

#[test]
fn the_control_file_says_what_to_do_and_is_gone_afterwards() {
    let mut fixture = Fixture::new();
    fixture
        .env
        .insert("NAME".to_owned(), "välue \"1\"\n".to_owned());
    let ran = fixture.tee(&["control"]);
    let control: serde_json::Value = serde_json::from_str(&unstamp("[out]", &ran.log)).unwrap();
    assert_eq!(
        control,
        serde_json::json!({
            "cmd": ["control"],
            "no_chmod": false,
            "env": { "NAME": "välue \"1\"\n" },
            "copy_dir": "/copy",
        })
    );
    let left: Vec<_> = fs::read_dir(fixture.dir.path()).unwrap().collect();
    assert_eq!(left.len(), 4, "two console files, two logs: {left:?}");
}

#[test]
fn only_its_owner_can_read_the_control_file() {
    let mut fixture = Fixture::new();
    let (started, go) = (fixture.fifo("started"), fixture.fifo("go"));
    let dir = fixture.dir.path().to_owned();
    let look = std::thread::spawn({
        let (started, go) = (started.clone(), go.clone());
        move || {
            fs::read(started).unwrap();
            let mode = fs::read_dir(dir).unwrap().find_map(|entry| {
                let entry = entry.unwrap();
                let is_control = entry.file_name().to_str().unwrap().ends_with(".json");
                is_control.then(|| entry.metadata().unwrap().mode() & 0o7777)
            });
            fs::write(go, "").unwrap();
            mode
        }
    });
    fixture.tee(&[&format!("tell {started}"), &format!("await {go}")]);
    assert_eq!(look.join().unwrap(), Some(0o600));
}

#[test]
fn a_command_that_cannot_start_is_an_error_that_names_it() {
    let mut fixture = Fixture::new();
    let cmd = ["out x".to_owned()];
    let env = Default::default();
    let command = skyhook_agent::exec::tee::Command {
        chroot_dir: "local".as_ref(),
        cmd: &cmd,
        copy_dir: "/copy",
        env: &env,
        no_chmod: false,
        write_cmds: false,
    };
    fixture.chroot_exec = "/no/such/program".into();
    let error = fixture
        .runner()
        .tee(&command, skyhook_agent::exec::tee::Logs::none())
        .unwrap_err();
    assert!(error.to_string().contains("/no/such/program"), "{error}");
    fixture.chroot_exec = fake_chroot_exec();
    fixture.temp_dir = "/no/such/folder".into();
    let error = fixture
        .runner()
        .tee(&command, skyhook_agent::exec::tee::Logs::none())
        .unwrap_err();
    assert!(error.to_string().contains("/no/such/folder"), "{error}");
}

#[test]
fn a_mebibyte_on_each_stream_arrives_whole_two_hundred_times() {
    let expected = |name: &str| -> String {
        (0..(1 << 20) / 64)
            .map(|n| format!("{name} {n:059}\n"))
            .collect()
    };
    let (stdout, stderr) = (expected("out"), expected("err"));
    for _ in 0..200 {
        let mut fixture = Fixture::new();
        let ran = fixture.tee(&["mib 1", "exit 7"]);
        assert_eq!(ran.code, 7);
        assert!(unstamp("[out]", &ran.log) == stdout, "stdout differs");
        assert!(unstamp("[err]", &ran.err_log) == stderr, "stderr differs");
    }
}

/// A child that writes to one stream without end must not keep the loop from
/// the other one: the other's line comes while the first still flows.
#[test]
fn a_chatty_stream_does_not_starve_the_other() {
    let mut sh = Command::new("/bin/sh");
    sh.args([
        "-c",
        "yes & read -r line < \"$0\"; echo now >&2; kill $!; wait",
    ]);
    let fixture = Fixture::new();
    let fifo = fixture.fifo("go");
    sh.arg(&fifo);
    let reactor = Reactor::spawn(sh, Options::default()).unwrap();
    let (mut chatter, mut heard) = (0_u64, None);
    let mut release = Some(fifo);
    reactor
        .run(|event| match event {
            Event::Read(Stream::Stdout, bytes) => {
                chatter += bytes.len() as u64;
                // Once the flood is on, let the other stream speak.
                if chatter > 1 << 20
                    && let Some(fifo) = release.take()
                {
                    fs::write(fifo, "go\n").unwrap();
                }
            }
            Event::Read(Stream::Stderr, bytes) if heard.is_none() => heard = Some(bytes.to_vec()),
            _ => {}
        })
        .unwrap();
    assert_eq!(heard.as_deref(), Some(&b"now\n"[..]));
}

#[test]
fn a_child_that_closes_its_output_and_goes_on_is_waited_for() {
    let mut fixture = Fixture::new();
    let (closed, go) = (fixture.fifo("closed"), fixture.fifo("go"));
    let release = std::thread::spawn({
        let (closed, go) = (closed.clone(), go.clone());
        move || {
            fs::read(closed).unwrap();
            fs::write(go, "").unwrap();
        }
    });
    let script = [
        "out x",
        "close-out",
        &format!("tell {closed}"),
        &format!("await {go}"),
        "exit 9",
    ];
    let ran = fixture.tee(&script);
    release.join().unwrap();
    assert_eq!(ran.code, 9);
    assert_eq!(unstamp("[out]", &ran.log), "x");
}
