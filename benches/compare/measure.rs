//! Running a contender, and what that costs.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

/// What one run took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub wall: Duration,
    /// Processor time of the contender alone: not of what writes.
    pub user: Duration,
    pub system: Duration,
}

impl Cost {
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

/// Processes that are connected by pipes, the first first.
pub struct Pipeline {
    /// What writes, where the contender does not start it itself.
    pub producer: Option<Command>,
    /// The contender's own.
    pub processes: Vec<Command>,
}

/// A pipeline that runs.
pub struct Running {
    start: Instant,
    producer: Option<Child>,
    pub processes: Vec<Child>,
}

impl Pipeline {
    /// Starts it; the last process's stdout goes to `stdout`.
    pub fn start(self, stdout: Stdio) -> Running {
        let start = Instant::now();
        let mut stdin = Stdio::null();
        let producer = self.producer.map(|mut command| {
            let mut producer = start_one(command.stdin(Stdio::null()).stdout(Stdio::piped()));
            stdin = producer.stdout.take().unwrap().into();
            producer
        });
        let mut processes = Vec::new();
        let mut last_stdout = Some(stdout);
        let count = self.processes.len();
        for (i, mut command) in self.processes.into_iter().enumerate() {
            command.stdin(stdin);
            if i + 1 == count {
                command.stdout(last_stdout.take().unwrap());
            } else {
                command.stdout(Stdio::piped());
            }
            let mut process = start_one(&mut command);
            // The last one's stays for who started it with a pipe.
            stdin = match process.stdout.take() {
                Some(pipe) if i + 1 < count => pipe.into(),
                pipe => {
                    process.stdout = pipe;
                    Stdio::null()
                }
            };
            processes.push(process);
        }
        Running {
            start,
            producer,
            processes,
        }
    }
}

fn start_one(command: &mut Command) -> Child {
    command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

impl Running {
    /// Waits for its end.
    pub fn finish(mut self) -> Cost {
        let mut cost = Cost::default();
        for process in &mut self.processes {
            let (user, system) = times_at_exit(process);
            cost.user += user;
            cost.system += system;
            let status = process.wait().unwrap();
            // A pipe that is gone is how some of them end.
            assert!(status.success() || status.signal() == Some(13), "{status}");
        }
        cost.wall = self.start.elapsed();
        if let Some(mut producer) = self.producer {
            assert!(producer.wait().unwrap().success());
        }
        cost
    }

    /// Waits for its end, looking at its memory all the while. Returns the most that
    /// its processes had together, in KiB.
    pub fn finish_watched(mut self) -> (Cost, u64) {
        let mut peaks = vec![0; self.processes.len()];
        while self.processes[0].try_wait().unwrap().is_none() {
            for (process, peak) in self.processes.iter().zip(&mut peaks) {
                *peak = peak_memory(process.id()).max(*peak);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let wall = self.start.elapsed();
        for process in &mut self.processes {
            process.wait().unwrap();
        }
        if let Some(mut producer) = self.producer {
            producer.wait().unwrap();
        }
        let cost = Cost {
            wall,
            ..Cost::default()
        };
        (cost, peaks.iter().sum())
    }
}

/// A process's own user and system time, taken when it has exited and before it is
/// reaped: what it reaps itself is not in it.
fn times_at_exit(process: &Child) -> (Duration, Duration) {
    let pid = Pid::from_raw(process.id() as i32);
    waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse().unwrap())
        .collect();
    // Ticks are coarse, and there are always 100 of them in a second here; the
    // scheduler's own count is exact and knows no such parts.
    let ticked = (ticks[0] + ticks[1]).max(1.0);
    let exact = fs::read_to_string(format!("/proc/{pid}/schedstat"))
        .ok()
        .and_then(|stat| stat.split_whitespace().next()?.parse().ok())
        .map(Duration::from_nanos);
    let total = exact.unwrap_or(Duration::from_secs_f64(ticked / 100.0));
    let user = total.mul_f64(ticks[0] / ticked);
    (user, total - user)
}

/// The most memory that a process has had, in KiB; 0 where it has ended.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok());
    peak.unwrap_or(0)
}
