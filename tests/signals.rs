//! Signals to a running `run-step`, and the terminal it may share with its steps.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use support::{Package, after, assert_says, stdout, unstamp};

/// A step that shows that it ran: a file `ran` in the package.
const LEAVES_A_MARK: &str = "#!/bin/sh\n: > \"$SKYHOOK_DIR/ran\"\n";

/// Says that it is ready, waits for a line on stdin, and has last words.
const WAITS: &str = "#!/bin/sh\necho ready\nread -r word\necho \"last $word\"\n";

/// A run whose first step is ready and waits. The step ends when this is dropped,
/// for then its stdin does.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(unstamp("[out]", &line), "ready\n");
        Running {
            child,
            stdout,
            stderr,
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// The next line on stderr, while the step still waits.
    fn notice(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line
    }

    /// Lets the step go on. Returns the exit code and the rest of both streams.
    fn finish(mut self) -> (Option<i32>, String, String) {
        let mut stdin = self.child.stdin.take().unwrap();
        stdin.write_all(b"words\n").unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stdout, stderr)
    }
}

/// A step that waits, and one that leaves a mark.
fn waiting() -> Package {
    Package::new()
        .step("wait.sh", WAITS)
        .step("mark.sh", LEAVES_A_MARK)
}

/// The step finishes with all its output, and no other starts.
fn assert_cancels(package: &Package, mut run: Running) {
    let notice = run.notice();
    assert_says(&notice, &["skyhook-agent: cancelled: ", "wait.sh finishes"]);
    let (code, stdout, stderr) = run.finish();
    assert_eq!(code, Some(1));
    assert_eq!(
        unstamp("[out]", &stdout),
        "last words\nSUCEEDED: wait.sh \n"
    );
    let next = package.copy_dir().join("skyhook_dir/mark.sh");
    if next.exists() {
        assert_eq!(stderr, "skyhook-agent: cancelled: mark.sh does not start\n");
    } else {
        assert_eq!(stderr, "");
    }
    assert_eq!(
        unstamp("[out]", &package.log("wait.sh", ".log")),
        "ready\nlast words\n"
    );
    assert!(!package.copy_dir().join("ran").exists());
    assert_eq!(package.log_names().len(), 2, "{:?}", package.log_names());
}

#[test]
fn sigterm_lets_the_running_step_finish_and_starts_no_other() {
    let package = waiting();
    let run = Running::start(&mut package.run_step());
    kill(run.pid(), Signal::SIGTERM).unwrap();
    assert_cancels(&package, run);
}

#[test]
fn sigterm_to_the_agent_s_whole_group_does_not_reach_the_step() {
    let package = waiting();
    // In a session of its own, where no terminal has a say.
    let mut setsid = Command::new("setsid");
    let run_step = package.run_step();
    setsid.arg(run_step.get_program()).args(run_step.get_args());
    let run = Running::start(&mut setsid);
    killpg(run.pid(), Signal::SIGTERM).unwrap();
    assert_cancels(&package, run);
}

#[test]
fn sigterm_counts_also_when_the_step_has_no_successor() {
    let package = Package::new().step("wait.sh", WAITS);
    let run = Running::start(&mut package.run_step());
    kill(run.pid(), Signal::SIGTERM).unwrap();
    assert_cancels(&package, run);
}

#[test]
fn a_sighup_that_the_agent_was_started_to_ignore_cancels_nothing() {
    let package = waiting();
    let mut command = after("trap '' HUP", &package.run_step());
    let run = Running::start(&mut command);
    kill(run.pid(), Signal::SIGHUP).unwrap();
    let (code, stdout, stderr) = run.finish();
    assert_eq!(code, Some(0));
    assert!(stdout.ends_with("SUCEEDED: mark.sh \n"), "{stdout}");
    assert_eq!(stderr, "");
}

/// A step in a process group of its own would be stopped by the kernel when it
/// sets the terminal, as ssh and sudo do, and nothing would ever say so.
#[test]
fn a_step_may_talk_to_the_terminal() {
    const NAME: &str = "a_step_may_talk_to_the_terminal";
    let package = Package::new().step("tty.sh", "#!/bin/sh\nstty sane < /dev/tty && echo set\n");
    let run_step = package.run_step();
    let mut words = vec![run_step.get_program()];
    words.extend(run_step.get_args());
    let words: Vec<String> = words
        .iter()
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    // util-linux's script gives it a terminal; stdin is none all the same.
    let run = Command::new("timeout")
        .args(["20", "script", "-qec"])
        .arg(format!("{} < /dev/null", words.join(" ")))
        .arg("/dev/null")
        .stdin(Stdio::null())
        .output();
    let output = run.unwrap();
    if output.status.code() == Some(127) {
        return support::skipped(NAME, "script(1) is not there");
    }
    assert_says(&stdout(&output), &[" set", "SUCEEDED: tty.sh"]);
}
