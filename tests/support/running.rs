//! A run in progress, its streams in pipes.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::process::pid;

/// How long a test waits for something before it fails.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A run that a test watches line by line. Its steps read what the test sends.
/// If it is dropped, it is killed, and its steps find their stdin at its end.
pub struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines,
    stderr: Lines,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running {
            stdin: child.stdin.take().unwrap(),
            stdout: Lines::of(child.stdout.take().unwrap()),
            stderr: Lines::of(child.stderr.take().unwrap()),
            child,
        }
    }

    pub fn pid(&self) -> Pid {
        pid(&self.child)
    }

    /// Waits for a line on stdout that has these words after its prefix. Returns
    /// the rest of that line.
    #[track_caller]
    pub fn wait_for_line(&mut self, words: &str) -> String {
        self.stdout.wait_for(&format!(" {words}"))
    }

    /// Waits until the run has printed its banner.
    #[track_caller]
    pub fn wait_for_banner(&mut self) {
        self.stdout.wait_for("history_file: ");
    }

    /// Waits for a line on stderr that is the agent's own. Returns what it says.
    #[track_caller]
    pub fn wait_for_notice(&mut self) -> String {
        self.stderr.wait_for("skyhook-agent: ")
    }

    /// Sends a line to the step.
    pub fn send(&mut self, line: &str) {
        self.stdin.write_all(line.as_bytes()).unwrap();
        self.stdin.write_all(b"\n").unwrap();
    }

    pub fn has_not_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the run's end. Returns everything that it wrote from its start.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        let (stdout, stderr) = (self.stdout.wait_for_end(), self.stderr.wait_for_end());
        Output {
            stdout: stdout.into(),
            stderr: stderr.into(),
            status: self.child.wait().unwrap(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stream that a thread reads at once, so that the run never waits for its reader.
struct Lines {
    coming: mpsc::Receiver<String>,
    so_far: String,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Lines {
        let (sender, coming) = mpsc::channel();
        let so_far = String::new();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).unwrap() > 0 && sender.send(line).is_ok() {
                line = String::new();
            }
        });
        Lines { coming, so_far }
    }

    /// The next line, or `None` at the stream's end.
    #[track_caller]
    fn next(&mut self) -> Option<&str> {
        match self.coming.recv_timeout(LONGEST_WAIT) {
            Ok(line) => {
                let start = self.so_far.len();
                self.so_far += &line;
                Some(&self.so_far[start..])
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!(
                    "the run is silent and does not end, after {:?}",
                    self.so_far
                )
            }
        }
    }

    #[track_caller]
    fn wait_for(&mut self, words: &str) -> String {
        while let Some(line) = self.next() {
            if let Some((_, rest)) = line.split_once(words) {
                return rest.trim().to_owned();
            }
        }
        panic!("expected {words:?} in {:?}", self.so_far);
    }

    #[track_caller]
    fn wait_for_end(&mut self) -> String {
        while self.next().is_some() {}
        std::mem::take(&mut self.so_far)
    }
}

/// Looks again and again until `is_so`. `what` says what the test waits for.
#[track_caller]
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < LONGEST_WAIT, "waited for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The state of a process, as /proc shows it: `R`, `S`, `T` if it is stopped;
/// `None` if it has ended.
fn process_state(pid: Pid) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.chars().next().filter(|state| *state != 'Z')
}

/// Waits until a process has this state.
#[track_caller]
pub fn wait_for_state(pid: Pid, expected: Option<char>) {
    wait_until(&format!("{pid} to be in state {expected:?}"), || {
        process_state(pid) == expected
    });
}

/// Stops a process, and waits until it has stopped.
#[track_caller]
pub fn stop(pid: Pid) {
    kill(pid, Signal::SIGSTOP).unwrap();
    wait_for_state(pid, Some('T'));
}
