//! A run under way, its streams in pipes.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{self, stderr, unstamp};

/// A run that is watched line by line. Its steps read what it is told. Dropped, it
/// is killed, and who waits for more on its stdin is told that there is none.
pub(crate) struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines,
    stderr: Lines,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
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

    pub(crate) fn pid(&self) -> Pid {
        support::pid(&self.child)
    }

    /// Waits for a line on stdout with these words behind its prefix. Returns what
    /// is behind them.
    #[track_caller]
    pub(crate) fn until(&mut self, words: &str) -> String {
        self.stdout.until(&format!(" {words}"))
    }

    /// Waits for a line on stderr that is the agent's own. Returns what it says.
    #[track_caller]
    pub(crate) fn notice(&mut self) -> String {
        self.stderr.until("skyhook-agent: ")
    }

    /// Sends a line to the step.
    pub(crate) fn tell(&mut self, line: &str) {
        self.stdin.write_all(line.as_bytes()).unwrap();
        self.stdin.write_all(b"\n").unwrap();
    }

    /// Whether the run goes on.
    pub(crate) fn goes_on(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the run's end, with what it has said from its start.
    pub(crate) fn finish(mut self) -> Output {
        Output {
            stdout: self.stdout.all().into(),
            stderr: self.stderr.all().into(),
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

/// A stream that is read at once, so that the run never waits for its reader.
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

    #[track_caller]
    fn until(&mut self, words: &str) -> String {
        loop {
            let Ok(line) = self.coming.recv() else {
                panic!("expected {words:?} in {:?}", self.so_far);
            };
            self.so_far += &line;
            if let Some((_, rest)) = line.split_once(words) {
                return rest.trim().to_owned();
            }
        }
    }

    fn all(&mut self) -> String {
        self.so_far.extend(self.coming.iter());
        std::mem::take(&mut self.so_far)
    }
}

/// What steps wrote on a run's stderr, and the agent's own lines.
#[track_caller]
pub(crate) fn said_and_noticed(output: &Output) -> (String, String) {
    unstamp("[err]", &stderr(output))
        .split_inclusive('\n')
        .partition(|line| !line.starts_with("skyhook-agent: "))
}

/// How a process is, as /proc has it: `R`, `S`, `T` where it is stopped; `None`
/// where it has ended.
fn state(pid: Pid) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.chars().next().filter(|state| *state != 'Z')
}

/// Waits until a process is like this.
#[track_caller]
pub(crate) fn wait_for(pid: Pid, expected: Option<char>) {
    let since = Instant::now();
    while state(pid) != expected {
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "expected {expected:?} of {pid}, got {:?}",
            state(pid)
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Stops a process, and sees that it has stopped.
#[track_caller]
pub(crate) fn stop(pid: Pid) {
    kill(pid, Signal::SIGSTOP).unwrap();
    wait_for(pid, Some('T'));
}
