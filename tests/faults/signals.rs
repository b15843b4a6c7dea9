//! Signals to a run.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::json;

use crate::moments::{Moments, takes};
use crate::running::{Running, said_and_noticed, stop};
use crate::support::node::{LEAVES_A_MARK, Node, behind_banner, files, wrapped};
use crate::support::{after, assert_says, log_in, names, stderr, stdout, unstamp};

/// Says that it is ready, waits for a line on stdin, and has last words.
const WAITS: &str = "#!/bin/sh\necho ready\nread -r word\necho \"last $word\"\n";

/// `command` in a session of its own, where no terminal has a say, and with no
/// signal ignored, as who started the tests may have wanted.
fn in_own_session(command: &Command) -> Command {
    wrapped(&["setsid", "env", "--default-signal"], command)
}

/// Starts a run, has `signal` sent while its first step waits, and lets the step
/// go on once the agent has said that it will end.
fn cancelled(command: &mut Command, waiting: &str, signal: impl FnOnce(Pid)) -> Output {
    let mut run = Running::start(command);
    run.until("ready");
    signal(run.pid());
    assert_says(
        &run.notice(),
        &["cancelled: ", &format!("{waiting} finishes")],
    );
    run.tell("words");
    run.finish()
}

/// The signals that cancel a run.
const ENDS: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

#[test]
fn each_signal_that_cancels_lets_the_step_finish_and_keeps_its_flag() {
    let ways = [kill::<Signal>, killpg::<Signal>];
    for (signal, send) in ENDS.into_iter().flat_map(|s| ways.map(|send| (s, send))) {
        let node = Node::new().step("a.sh", WAITS).step("b.sh", LEAVES_A_MARK);
        let mut command = in_own_session(&node.run("apply"));
        let output = cancelled(&mut command, "a.sh", |pid| send(pid, signal).unwrap());
        assert_eq!(output.status.code(), Some(1), "{signal}");
        let said = unstamp("[out]", &behind_banner(&output));
        assert_says(&said, &["ready\nlast words\nSUCEEDED: a.sh \n"]);
        assert!(!said.contains("SUCEEDED: b.sh"), "{said}");
        assert_says(&stderr(&output), &["cancelled: b.sh does not start\n"]);
        let log = log_in(&node.path("log/pkg/1.2.3"), "a.sh", ".log");
        assert_eq!(unstamp("[out]", &log), "ready\nlast words\n");
        assert_eq!(
            files(&node.path("state/flags/pkg")),
            [node.flag("a.sh")],
            "the flag of what has finished, and of nothing else"
        );
        assert!(!node.has_run("b.sh"));
    }
}

#[test]
fn sigterm_among_checks_leaves_no_results_and_no_history() {
    let node = Node::new().step("a.sh", "").step("b.sh", "");
    node.script("a_check.sh", WAITS);
    node.script("b_check.sh", LEAVES_A_MARK);
    let mut command = in_own_session(&node.run("apply-check"));
    let output = cancelled(&mut command, "a_check.sh", |pid| {
        kill(pid, Signal::SIGTERM).unwrap();
    });
    assert_eq!(output.status.code(), Some(1));
    assert_says(&stdout(&output), &["SUCEEDED: a_check.sh \n"]);
    assert!(!node.has_run("b_check.sh"));
    assert_eq!(files(&node.path("state")), [node.path("state/flags/START")]);
}

#[test]
fn sigterm_lets_an_interrupt_s_command_finish_and_keeps_its_flag() {
    let script = format!("{WAITS}[ \"$1\" = daemon-reload ] || : > \"$0.ran\"\n");
    let node = Node::new().command("systemctl", &script);
    let restart = json!({ "type": "service_restart", "services": ["a"] });
    let mut command = in_own_session(&node.interrupt(&restart));
    let output = cancelled(&mut command, "systemctl", |pid| {
        kill(pid, Signal::SIGTERM).unwrap();
    });
    assert_eq!(output.status.code(), Some(1));
    let notice = "cancelled: interrupt service_restart_1 does not start\n";
    assert_says(&stderr(&output), &[notice]);
    assert!(node.interrupt_flag("service_restart_0").exists());
    assert!(!node.interrupt_flag("service_restart_1").exists());
    assert!(!node.path("bin/systemctl.ran").exists());
}

#[test]
fn sigterm_during_an_interrupt_s_last_command_is_1_and_keeps_its_flag() {
    let node = Node::new().command("reboot", WAITS);
    let mut command = in_own_session(&node.interrupt(&json!({ "type": "node_restart" })));
    let output = cancelled(&mut command, "reboot", |pid| {
        kill(pid, Signal::SIGTERM).unwrap();
    });
    assert_eq!(output.status.code(), Some(1));
    assert!(node.interrupt_flag("node_restart_0").exists());
}

#[test]
fn a_signal_to_a_stopped_agent_counts_when_it_goes_on() {
    let node = Node::new().step("a.sh", WAITS).step("b.sh", LEAVES_A_MARK);
    let mut command = in_own_session(&node.run("apply"));
    let output = cancelled(&mut command, "a.sh", |pid| {
        stop(pid);
        kill(pid, Signal::SIGTERM).unwrap();
        kill(pid, Signal::SIGCONT).unwrap();
    });
    assert_eq!(output.status.code(), Some(1));
    assert_says(&stdout(&output), &["SUCEEDED: a.sh \n"]);
    assert!(node.flag("a.sh").exists() && !node.has_run("b.sh"));
}

#[test]
fn sigpipe_does_nothing() {
    let node = Node::new().step("a.sh", WAITS).step("b.sh", LEAVES_A_MARK);
    let mut run = Running::start(&mut in_own_session(&node.run("apply")));
    run.until("ready");
    for send in [kill::<Signal>, killpg::<Signal>] {
        send(run.pid(), Signal::SIGPIPE).unwrap();
    }
    run.tell("words");
    let output = run.finish();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "");
    assert_says(&stdout(&output), &["SUCEEDED: a.sh \n"]);
    assert!(node.has_run("b.sh"));
}

/// As one that comes while the container's runtime still has signals blocked.
#[test]
fn a_signal_from_before_the_start_starts_nothing() {
    for signal in ENDS {
        let node = Node::new().step("a.sh", LEAVES_A_MARK);
        let name = signal.as_str().trim_start_matches("SIG");
        let (block, send) = (
            format!("--block-signal={name}"),
            format!("kill -{name} $$; exec \"$@\""),
        );
        let words = ["env", "--default-signal", &block, "sh", "-c", &send, "sh"];
        let output = wrapped(&words, &node.run("apply")).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            stderr(&output),
            "skyhook-agent: cancelled: a.sh does not start\n"
        );
        assert_eq!(files(&node.path("state")), [node.path("state/flags/START")]);
        assert!(!node.has_run("a.sh") && !node.path("log").exists());
    }
}

/// A step begins in the agent's process group, and may hear what is sent to that
/// before it leads one of its own.
#[test]
fn a_signal_to_the_agent_s_group_does_not_end_a_step_that_is_being_started() {
    let node = Node::new().step("a.sh", LEAVES_A_MARK);
    let control = json!({ "cmd": [node.path("copy/skyhook_dir/a.sh")], "copy_dir": "/" });
    fs::write(node.path("control"), control.to_string()).unwrap();
    let file = node.path("control");
    let child = node.agent(&["chroot-exec", file.to_str().unwrap(), "local"]);
    let send = "kill -TERM $$; exec \"$@\"";
    let words = ["env", "--block-signal=TERM", "sh", "-c", send, "sh"];
    let child = wrapped(&words, &child);

    // Without a group of its own, as on a terminal, it is the step's as well.
    let status = wrapped(&["env"], &child).status().unwrap();
    assert_eq!(status.signal(), Some(Signal::SIGTERM as i32));
    assert!(!node.has_run("a.sh"));
    let status = wrapped(&["setsid"], &child).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(node.has_run("a.sh"));
}

/// Says how often it has begun, speaks on both streams, and leaves a mark.
const TALKS: &str = "#!/bin/sh
echo begun >> \"$0.begun\"
i=0; while [ $i -lt 50 ]; do i=$((i + 1)); echo \"out $i\"; echo \"err $i\" >&2; done
: > \"$0.ran\"
";

const STEPS: [&str; 3] = ["a.sh", "b.sh", "c.sh"];

fn talking() -> Node {
    let node = Node::new();
    fs::create_dir(node.path("tmp")).unwrap();
    STEPS
        .into_iter()
        .fold(node, |node, step| node.step(step, TALKS))
}

fn apply(node: &Node) -> Command {
    // SIGQUIT, too early, would leave a core.
    let mut command = after("ulimit -c 0", &in_own_session(&node.run("apply")));
    command.env("TMPDIR", node.path("tmp"));
    command
}

/// The steps that have begun have finished, with all that they said and with their
/// flags; of others there is nothing. Returns how many have.
#[track_caller]
fn finished_steps(node: &Node, output: &Output, when: &str) -> usize {
    let whole = |stream: &str| -> String { (1..=50).map(|i| format!("{stream} {i}\n")).collect() };
    let begun = |step: &&str| {
        node.path(&format!("copy/skyhook_dir/{step}.begun"))
            .exists()
    };
    let count = STEPS.iter().take_while(|step| begun(step)).count();
    assert_eq!(
        count,
        STEPS.iter().filter(|step| begun(step)).count(),
        "{when}"
    );

    let said = unstamp("[out]", &behind_banner(output));
    let out = said
        .split_inclusive('\n')
        .filter(|line| line.starts_with("out "));
    assert_eq!(
        out.collect::<String>(),
        whole("out").repeat(count),
        "{when}"
    );
    let (erred, _) = said_and_noticed(output);
    assert_eq!(erred, whole("err").repeat(count), "{when}");
    for step in &STEPS[..count] {
        assert!(node.has_run(step), "{when}: {step}");
        assert_says(&said, &[&format!("SUCEEDED: {step} \n")]);
        let log = |ending| log_in(&node.path("log/pkg/1.2.3"), step, ending);
        assert_eq!(unstamp("[out]", &log(".log")), whole("out"), "{when}");
        assert_eq!(unstamp("[err]", &log(".log.err")), whole("err"), "{when}");
    }
    assert_eq!(
        files(&node.path("log")).len(),
        2 * count,
        "{when}: {output:?}"
    );
    let flags: Vec<_> = STEPS[..count].iter().map(|step| node.flag(step)).collect();
    assert_eq!(files(&node.path("state/flags/pkg")), flags, "{when}");
    assert_eq!(names(&node.path("tmp")), [""; 0], "{when}");
    count
}

/// What came of signals.
#[derive(Debug, Default)]
struct Tally {
    /// Came before the agent had set itself up, which ended it.
    early: usize,
    /// Let a run end behind so many steps.
    cancelled: [usize; 4],
    /// Came too late, or had no effect.
    through: usize,
}

fn signal_runs(count: u32) -> Tally {
    let takes = takes(|| {
        let node = talking();
        let command = apply(&node);
        (node, command)
    });
    let signals = [&ENDS[..], &[Signal::SIGPIPE]].concat();
    let mut tally = Tally::default();
    let mut moments = Moments::new();
    for i in 0..count {
        let node = talking();
        let signal = signals[i as usize % signals.len()];
        let delay = moments.next(takes, i, count);
        let when = format!("{signal} after {delay:?} of {takes:?}");
        let run = Running::start(&mut apply(&node));
        std::thread::sleep(delay);
        // To its group now and then, which at first it may not have yet. Not that one:
        // until a step has a group of its own, it would be ended by it.
        let to_group = i.is_multiple_of(3) && signal != Signal::SIGPIPE;
        if !to_group || killpg(run.pid(), signal).is_err() {
            kill(run.pid(), signal).unwrap();
        }
        let output = run.finish();
        if output.status.signal() == Some(signal as i32) {
            assert_eq!(
                (&*output.stdout, &*output.stderr),
                (&b""[..], &b""[..]),
                "{when}"
            );
            assert_eq!(names(node.dir.path()), ["copy", "tmp"], "{when}");
            tally.early += 1;
        } else {
            let finished = finished_steps(&node, &output, &when);
            match output.status.code() {
                Some(0) => {
                    assert_eq!(finished, STEPS.len(), "{when}");
                    tally.through += 1;
                }
                Some(1) => {
                    assert_ne!(signal, Signal::SIGPIPE, "{when}");
                    tally.cancelled[finished] += 1;
                }
                _ => panic!("{when}: {output:?}"),
            }
        }

        let output = apply(&node).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{when}: {output:?}");
        for step in STEPS {
            let begun = node.text(&format!("copy/skyhook_dir/{step}.begun"));
            assert_eq!(begun, "begun\n", "{when}");
            assert!(node.has_run(step) && node.flag(step).exists(), "{when}");
        }
    }
    tally
}

#[test]
fn a_signal_at_any_moment_lets_what_has_begun_finish() {
    signal_runs(40);
}

#[test]
#[ignore = "500 runs: takes half a minute, on a busy machine two; --nocapture shows what they hit"]
fn a_signal_at_500_moments_lets_what_has_begun_finish() {
    println!("{:#?}", signal_runs(500));
}
