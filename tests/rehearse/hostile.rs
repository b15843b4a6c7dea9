//! Steps that hang, kill and lie. The rehearsal ends, says what happened, and leaves
//! nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use serde_json::json;

use super::support::running::wait_until;
use super::support::{Node, Running, Skip, assert_says, is_root, or_skip, skip, stdout, wrapped};
use super::{can_have_a_view, document, outcomes, rehearse};

fn applying(script: &str) -> Node {
    Node::new().step("a.sh", script)
}

/// A time that no other process sleeps for.
fn unique() -> String {
    let name = tempfile::Builder::new().rand_bytes(0).prefix("").tempdir();
    drop(name);
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{}.{}", 7000 + now.as_secs() % 1000, now.subsec_nanos())
}

/// Tells if a process sleeps for this time.
fn sleeps(time: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().any(|entry| {
        let line = std::fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        line.ends_with(format!("\0{time}\0").as_bytes())
    })
}

#[test]
fn a_step_that_kills_everything_has_failed_and_the_rehearsal_goes_on() {
    or_skip!(can_have_a_view());
    let node = applying("#!/bin/sh\necho before\nkill -9 -1\nsleep 1\n");
    let (document, output) = document(&[], &node.path("copy"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(outcomes(&document), ["first/apply failed"]);
    let said = document["stages"][0]["output"].as_str().unwrap();
    assert_says(
        said,
        &["the agent was ended by signal 9, which a step may have sent"],
    );
}

#[test]
fn a_step_that_hangs_is_ended_when_the_stage_is_out_of_time() {
    or_skip!(can_have_a_view());
    let time = unique();
    // Also one that does not heed SIGTERM.
    for script in [
        format!("#!/bin/sh\necho begun\nsleep {time}\n"),
        format!("#!/bin/sh\ntrap '' TERM\necho begun\nsleep {time}\nsleep {time}\n"),
    ] {
        let node = applying(&script);
        let since = Instant::now();
        let (document, output) = document(&["--timeout", "1s"], &node.path("copy"));
        assert!(since.elapsed() < Duration::from_secs(30));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(outcomes(&document), ["first/apply out_of_time"]);
        let stage = &document["stages"][0];
        assert_eq!(stage["steps"][0]["outcome"], "out_of_time");
        assert_says(stage["output"].as_str().unwrap(), &["begun"]);
        assert!(!sleeps(&time));
    }
    let node = applying(&format!("#!/bin/sh\nsleep {time}\n"));
    let mut command = rehearse(&["--timeout", "1s"], &node.path("copy"));
    assert_says(
        &stdout(&command.output().unwrap()),
        &[
            "  a.sh (out of time)\n",
            "let stages take longer: --timeout",
        ],
    );
}

#[test]
fn a_step_that_hangs_after_it_was_cut_off_is_not_restartable() {
    or_skip!(can_have_a_view());
    let node = applying(
        "#!/bin/sh\nwhile [ -e /etc/rehearse-busy ]; do sleep 0.1; done\n\
         : > /etc/rehearse-busy\nsleep 0.4\nrm /etc/rehearse-busy\n",
    );
    let (document, output) = document(&["--timeout", "3s"], &node.path("copy"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        document["not_restartable"],
        json!([{ "mode": "apply", "step": "a.sh" }]),
        "{document}"
    );
    assert_eq!(
        outcomes(&document).last().unwrap(),
        "anew/apply out_of_time"
    );
}

/// As those of a container do, when its first process ends.
#[test]
fn processes_that_outlive_their_step_end_with_its_stage() {
    or_skip!(can_have_a_view());
    let time = unique();
    let script =
        format!("#!/bin/sh\nsetsid sleep {time} >/dev/null 2>&1 </dev/null &\necho started\n");
    let node = applying(&script);
    let (document, output) = document(&["--no-cut"], &node.path("copy"));
    assert_eq!(output.status.code(), Some(0), "{document}");
    assert!(!sleeps(&time));
}

/// On a node they are gone with the container of the stage, too.
#[test]
fn processes_that_outlive_their_step_are_gone_in_the_next_stage() {
    or_skip!(can_have_a_view());
    let time = unique();
    let script = format!(
        "#!/bin/sh\nfor line in /proc/[0-9]*/cmdline; do\n\
         tr '\\0' ' ' <\"$line\" 2>/dev/null; echo\ndone >/tmp/lines\n\
         grep -q '^sleep {time}' /tmp/lines && exit 3\n\
         setsid sleep {time} >/dev/null 2>&1 </dev/null &\n"
    );
    let (document, output) = document(&["--no-cut"], &applying(&script).path("copy"));
    assert_eq!(output.status.code(), Some(0), "{document}");
    assert!(outcomes(&document).contains(&"forced/apply succeeded".to_owned()));
}

/// It is what a person needs to see.
#[test]
fn of_what_a_stage_said_the_last_is_kept_and_only_that_of_its_last_step() {
    or_skip!(can_have_a_view());
    let many =
        "i=0\nwhile [ $i -lt 3000 ]; do echo \"a line that is long enough $i\"; i=$((i+1)); done\n";
    let node = applying("#!/bin/sh\necho of-the-first\n").step(
        "b.sh",
        &format!("#!/bin/sh\n{many}echo the-very-last\nexit 1\n"),
    );
    for _ in 0..3 {
        let (document, _) = document(&["--no-cut"], &node.path("copy"));
        let said = document["stages"][0]["output"].as_str().unwrap();
        assert_says(said, &["the-very-last\n"]);
        assert!(!said.contains("of-the-first"), "{said}");
        assert!(said.len() < 40_000, "{} bytes", said.len());
    }
    let node = applying("#!/bin/sh\necho of-the-first\n").step("b.sh", "#!/bin/sh\nexit 1\n");
    let (document, _) = document(&["--no-cut"], &node.path("copy"));
    let said = document["stages"][0]["output"].as_str().unwrap_or_default();
    assert!(!said.contains("of-the-first"), "{said}");
}

#[test]
fn a_signal_cancels_the_rehearsal_and_ends_what_runs() {
    or_skip!(can_have_a_view());
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let time = unique();
        let node = applying(&format!("#!/bin/sh\nsleep {time}\n"));
        // A shell starts what runs in its background without SIGINT.
        let default = ["env", "--default-signal"];
        let mut run = Running::start(&mut wrapped(&default, &rehearse(&[], &node.path("copy"))));
        wait_until("the step to run", || sleeps(&time));
        kill(run.pid(), signal).unwrap();
        assert_says(&run.wait_for_notice(), &["cancelled by a signal"]);
        let output = run.finish();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!sleeps(&time));
    }
}

#[test]
fn a_rehearsal_that_is_killed_leaves_no_process() {
    or_skip!(can_have_a_view());
    let time = unique();
    let node = applying(&format!("#!/bin/sh\ntrap '' TERM HUP\nsleep {time}\n"));
    let run = Running::start(&mut rehearse(&[], &node.path("copy")));
    wait_until("the step to run", || sleeps(&time));
    kill(run.pid(), Signal::SIGKILL).unwrap();
    wait_until("the step to end", || !sleeps(&time));
}

/// A name is bytes, and a report is read on terminals and by parsers.
#[test]
fn names_that_try_to_break_out_of_the_report_do_not() {
    or_skip!(can_have_a_view());
    let node = applying(
        "#!/bin/sh\ncd /etc\nname=$(printf 'rehearse-\\033[2J`|<b>&\\\"\\n]]>\\377x')\n\
         : > \"$name\"\nsystemctl \"$name\" \"$(printf '\\033]0;x\\007')\"\n",
    );
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("report.xml");
    let arguments = ["--no-cut", "--junit", file.to_str().unwrap()];
    for form in ["human", "json", "markdown"] {
        let arguments = [&arguments[..], &["--output", form]].concat();
        let output = rehearse(&arguments, &node.path("copy")).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(!output.stdout.contains(&0x1b), "{form}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("rehearse-"), "{form}: {text}");
    }
    let xml = std::fs::read(&file).unwrap();
    assert!(!xml.contains(&0x1b));
}

/// The stage talks to the rehearsal over its standard input, which steps do not have.
#[test]
fn a_step_sees_the_processes_of_the_view_and_no_channel() {
    or_skip!(can_have_a_view());
    let node = applying(
        "#!/bin/sh\nfor process in /proc/[0-9]*; do\n\
         echo \"${process#/proc/} $(tr '\\0' ' ' < $process/cmdline 2>/dev/null)\"\ndone\n\
         ls -l /proc/self/fd\nexit 1\n",
    );
    let (document, _) = document(&[], &node.path("copy"));
    let said = document["stages"][0]["output"].as_str().unwrap();
    let said = super::support::unstamp("[out]", said);
    let processes: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    // The init, which is a copy of the rehearsal; the stage; the step, and its subshells.
    assert!(processes[0].starts_with("1 "), "{said}");
    assert_says(processes[1], &["rehearse-stage apply /root"]);
    for step in &processes[2..] {
        assert_says(step, &["/bin/sh /var/lib/skyhook/rehearse/"]);
    }
    assert!(!said.contains("socket:"), "{said}");
}

/// A step is root in the view, and can take the agent's end of the channel.
#[test]
fn a_step_that_speaks_for_its_stage_has_failed_and_no_descriptor_is_taken_from_it() {
    or_skip!(can_have_a_view());
    if !is_root() || !Path::new("/usr/bin/python3").exists() {
        skip!(Skip::NotPossible("the root has no python3"));
    }
    // pidfd_open and pidfd_getfd.
    let node = applying(
        "#!/usr/bin/python3\nimport array, ctypes, os, socket, stat\n\
         agent = ctypes.CDLL(None).syscall(434, os.getppid(), 0)\n\
         for number in range(3, 64):\n    \
             fd = ctypes.CDLL(None).syscall(438, agent, number, 0)\n    \
             if fd >= 0 and stat.S_ISSOCK(os.fstat(fd).st_mode):\n        \
                 beside = array.array('i', [0, 1])\n        \
                 beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, beside)]\n        \
                 socket.socket(fileno=fd).sendmsg([b'garbage\\n'], beside)\n",
    );
    let since = Instant::now();
    let (document, output) = document(&[], &node.path("copy"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(outcomes(&document), ["first/apply failed"]);
    let said = document["stages"][0]["output"].as_str().unwrap();
    assert_says(said, &["what the agent sent was not the agent's"]);
    assert!(since.elapsed() < Duration::from_secs(30));
}
