//! Runs a pipeline of processes and measures what it costs.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::Result;

/// A pipeline that runs longer than this is killed, and its contender is left out.
const MOST_TIME: Duration = Duration::from_secs(300);

/// The time that one run took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub wall: Duration,
    /// Processor time of the contender alone, without that of the step.
    pub user: Duration,
    pub system: Duration,
}

impl Cost {
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

/// Processes to connect by pipes, in the order of the data.
pub struct Pipeline {
    /// The process that writes; none if the contender starts it.
    pub producer: Option<Command>,
    /// The contender's own processes.
    pub processes: Vec<Command>,
}

/// A pipeline that runs. Dropping it kills what still runs of it.
pub struct Running {
    start: Instant,
    producer: Option<Child>,
    processes: Vec<Child>,
    /// Dropping it ends the thread that enforces [`MOST_TIME`].
    watchdog: Option<Sender<()>>,
}

impl Pipeline {
    /// Starts the processes. The stdout of the last one goes to `stdout`.
    pub fn start(self, stdout: Stdio) -> Result<Running> {
        let mut running = Running {
            start: Instant::now(),
            producer: None,
            processes: Vec::new(),
            watchdog: None,
        };
        let mut stdin = Stdio::null();
        if let Some(mut command) = self.producer {
            let mut producer = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
            stdin = producer.stdout.take().map_or_else(Stdio::null, Stdio::from);
            running.producer = Some(producer);
        }
        let mut last_stdout = Some(stdout);
        let count = self.processes.len();
        for (i, mut command) in self.processes.into_iter().enumerate() {
            let stdout = if i + 1 == count {
                last_stdout.take()
            } else {
                None
            };
            command.stdin(stdin);
            command.stdout(stdout.unwrap_or_else(Stdio::piped));
            let mut process = spawn(&mut command)?;
            stdin = match process.stdout.take() {
                Some(pipe) if i + 1 < count => pipe.into(),
                // The last one's pipe is for the caller.
                pipe => {
                    process.stdout = pipe;
                    Stdio::null()
                }
            };
            running.processes.push(process);
        }
        running.watch();
        Ok(running)
    }
}

fn spawn(command: &mut Command) -> Result<Child> {
    let program = command.get_program().to_owned();
    command
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()).into())
}

impl Running {
    /// Starts the thread that kills the processes if they take too long.
    fn watch(&mut self) {
        let pids: Vec<u32> = self.processes.iter().map(Child::id).collect();
        let (sender, receiver) = mpsc::channel();
        self.watchdog = Some(sender);
        thread::spawn(move || {
            if receiver.recv_timeout(MOST_TIME) == Err(RecvTimeoutError::Timeout) {
                for pid in pids {
                    let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
                }
            }
        });
    }

    /// The read end of the last process's stdout, if it was started with a pipe.
    pub fn take_stdout(&mut self) -> Result<std::process::ChildStdout> {
        let last = self.processes.last_mut();
        last.and_then(|process| process.stdout.take())
            .ok_or_else(|| "its stdout is not a pipe".into())
    }

    /// Waits for the end. An error says how a process failed.
    pub fn finish(mut self) -> Result<Cost> {
        let mut cost = Cost::default();
        for process in &self.processes {
            let (user, system) = times_at_exit(process)?;
            cost.user += user;
            cost.system += system;
        }
        cost.wall = self.start.elapsed();
        // From here on the process ids may be used again, and are not to be killed.
        self.watchdog = None;
        if cost.wall >= MOST_TIME {
            return Err(format!("it took more than {} s", MOST_TIME.as_secs()).into());
        }
        for process in &mut self.processes {
            let status = process.wait()?;
            // Some end by SIGPIPE when the process after them has ended.
            if !status.success() && status.signal() != Some(Signal::SIGPIPE as i32) {
                return Err(status.to_string().into());
            }
        }
        if let Some(mut producer) = self.producer.take() {
            let status = producer.wait()?;
            if !status.success() {
                return Err(format!("the process that writes: {status}").into());
            }
        }
        Ok(cost)
    }

    /// Waits for the end and looks at the memory all the while. Returns the sum of
    /// the peaks of its processes, in KiB.
    pub fn finish_watched(self) -> Result<u64> {
        let mut peaks = vec![0; self.processes.len()];
        if let Some(first) = self.processes.first() {
            let pid = pid_of(first);
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
            while waitid(Id::Pid(pid), flags)? == WaitStatus::StillAlive {
                for (process, peak) in self.processes.iter().zip(&mut peaks) {
                    *peak = peak_memory(process.id()).max(*peak);
                }
                thread::sleep(Duration::from_millis(2));
            }
        }
        self.finish()?;
        Ok(peaks.iter().sum())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.watchdog = None;
        for process in self.processes.iter_mut().chain(&mut self.producer) {
            // Both do nothing to a process that `finish` has reaped.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn pid_of(process: &Child) -> Pid {
    Pid::from_raw(process.id() as i32)
}

/// Waits for a process's exit. Returns its own user and system time, read before it
/// is reaped, so that the times of its children are not in it.
fn times_at_exit(process: &Child) -> Result<(Duration, Duration)> {
    let pid = pid_of(process);
    waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    let (Some(Ok(user)), Some(Ok(system))) = (ticks.next(), ticks.next()) else {
        return Err(format!("/proc/{pid}/stat: expected times, got {stat:?}").into());
    };
    // Ticks are coarse: 100 in a second. The scheduler's own count is exact, but does
    // not tell user time from system time.
    let ticked = (user + system).max(1.0);
    let exact = fs::read_to_string(format!("/proc/{pid}/schedstat"))
        .ok()
        .and_then(|stat| stat.split_whitespace().next()?.parse().ok())
        .map(Duration::from_nanos);
    let total = exact.unwrap_or(Duration::from_secs_f64(ticked / 100.0));
    let user = total.mul_f64(user / ticked);
    Ok((user, total - user))
}

/// The most memory that a process has had, in KiB; 0 if it has ended.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok());
    peak.unwrap_or(0)
}
