//! What a step costs that writes little: starting it, and reading once.

use std::fs;
use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::contenders::{AGENT, ALL, Job, run_step, write_config};
use crate::parts::{Bench, MIB};
use crate::report::{Samples, digits};
use crate::roles::PRODUCE;

impl Bench<'_> {
    pub fn steps(&self) {
        self.report.heading("Steps of `true`, one after another");
        let package = self.packages.join("steps");
        let dir = package.join("skyhook_dir");
        fs::create_dir_all(&dir).unwrap();
        let program = dir.join("true");
        fs::copy("/bin/true", &program).unwrap();
        let mut rows = Vec::new();
        for count in [10, 100, 500, 2000_usize] {
            let steps: Vec<(String, Vec<&str>)> = (0..count)
                .map(|i| (format!("true-{i:04}"), vec![]))
                .collect();
            for (name, _) in &steps {
                // Each is a file of its own name: a name has one log per second.
                let _ = fs::hard_link(&program, dir.join(name));
            }
            write_config(&package, &steps);
            let rounds = (self.rounds * 500 / count).clamp(self.rounds, 101);
            let mut times = [const { Vec::new() }; 3];
            for _ in 0..rounds {
                times[0].push(time(|| {
                    for _ in 0..count {
                        assert!(Command::new(&program).status().unwrap().success());
                    }
                }));
                for (i, write_logs) in [(1, "false"), (2, "true")] {
                    let logs = tempfile::tempdir_in(self.logs).unwrap();
                    let mut command = run_step(&self.agent, logs.path(), &package);
                    command
                        .env("SKYHOOK_AGENT_WRITE_LOGS", write_logs)
                        .stdout(Stdio::null());
                    times[i].push(time(|| assert!(command.status().unwrap().success())));
                }
            }
            let [bare, unlogged, logged] = times.map(Samples::seconds);
            let each = 1e6 / count as f64;
            rows.push(vec![
                count.to_string(),
                bare.spread(each),
                unlogged.spread(each),
                logged.spread(each),
                digits(unlogged.median() / bare.median()),
                digits(logged.median() / bare.median()),
            ]);
        }
        let header = [
            "steps",
            "bare µs per step",
            "agent without logs",
            "agent",
            "without logs / bare",
            "agent / bare",
        ];
        self.report.table(&header, &rows);
    }

    pub fn start_up(&self) {
        self.report
            .heading("From the start to the first byte of a step that writes at once");
        let package = self.packages.join("start-up");
        fs::create_dir_all(package.join("skyhook_dir")).unwrap();
        let program = package.join("skyhook_dir/one");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        write_config(&package, &[("one".to_owned(), vec![PRODUCE, "one"])]);
        let (mut bare, mut agent) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds * 10 {
            let mut command = Command::new(&program);
            bare.push(to_first_byte(command.args([PRODUCE, "one"])));
            let logs = tempfile::tempdir_in(self.logs).unwrap();
            let mut command = run_step(&self.agent, logs.path(), &package);
            agent.push(to_first_byte(&mut command));
        }
        let (bare, agent) = (Samples::seconds(bare), Samples::seconds(agent));
        let row = |name: &str, times: &Samples| {
            vec![
                name.to_owned(),
                times.spread(1e6),
                digits(times.median() / bare.median()),
            ]
        };
        let rows = [row("the step alone", &bare), row(AGENT, &agent)];
        self.report.table(&["", "µs", "/ alone"], &rows);
    }

    pub fn apply(&self) {
        self.report
            .heading("A whole run of the agent: `apply` of one step, `true`, with its state");
        let package = self.packages.join("apply");
        fs::create_dir_all(package.join("skyhook_dir")).unwrap();
        let program = package.join("skyhook_dir/true");
        fs::copy("/bin/true", &program).unwrap();
        write_config(&package, &[("true".to_owned(), vec![])]);
        let (mut bare, mut agent) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds * 10 {
            let mut command = Command::new(&program);
            bare.push(time(|| assert!(command.status().unwrap().success())));
            let state = tempfile::tempdir_in(self.logs).unwrap();
            let mut command = Command::new(&self.agent);
            command
                .args(["apply", "/"])
                .arg(&package)
                .env("SKYHOOK_RESOURCE_ID", "id_compare_1.0.0")
                .env("SKYHOOK_ROOT_DIR", state.path().join("state"))
                .env("SKYHOOK_LOG_DIR", state.path().join("log"))
                .env("COPY_RESOLV", "false")
                .stdout(Stdio::null());
            agent.push(time(|| assert!(command.status().unwrap().success())));
        }
        let (bare, agent) = (Samples::seconds(bare), Samples::seconds(agent));
        let ratio = digits(agent.median() / bare.median());
        let row = vec![bare.spread(1e6), agent.spread(1e6), ratio];
        self.report
            .table(&["bare µs", "agent µs", "agent / bare"], &[row]);
    }

    pub fn per_read(&self) {
        self.report.heading("A read of 8192 bytes");
        let calls = |mib: usize| {
            let len = (mib * MIB).to_string();
            let output = ["blocks", "100", &len];
            let trace = self.packages.join("trace");
            let logs = tempfile::tempdir_in(self.logs).unwrap();
            let package = self.packages.join(AGENT);
            fs::create_dir_all(&package).unwrap();
            let job = Job {
                agent: &self.agent,
                logs: logs.path(),
                package: &package,
                output: &output,
            };
            // For what it prepares.
            drop(ALL[0].pipeline(&job));
            let mut strace = Command::new("strace");
            // Only the agent itself: what it starts is not followed.
            strace.args(["-c", "-U", "name,calls", "-o"]).arg(&trace);
            let command = run_step(&self.agent, logs.path(), &package);
            strace.arg(command.get_program()).args(command.get_args());
            let done = strace.stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !done.is_ok_and(|status| status.success()) {
                return None;
            }
            let counts = fs::read_to_string(trace).unwrap();
            Some(
                counts
                    .lines()
                    .filter_map(|line| {
                        let (name, calls) = line.trim().split_once(' ')?;
                        Some((name.to_owned(), calls.trim().parse().ok()?))
                    })
                    .collect::<Vec<(String, f64)>>(),
            )
        };
        let (Some(few), Some(many)) = (calls(32), calls(160)) else {
            return self
                .report
                .say("System calls not counted: strace is missing, or may not trace.");
        };
        let full_reads = (128 * MIB / 8192) as f64;
        let mut rows = Vec::new();
        for (name, many) in many {
            let few = few
                .iter()
                .find(|(other, _)| *other == name)
                .map_or(0.0, |(_, few)| *few);
            let each = (many - few) / full_reads;
            if each.abs() >= 0.001 {
                rows.push(vec![name, format!("{each:.3}")]);
            }
        }
        self.report.table(&["system call", "per full read"], &rows);
    }
}

fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn to_first_byte(command: &mut Command) -> Duration {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    let elapsed = start.elapsed();
    io::copy(&mut stdout, &mut io::sink()).unwrap();
    assert!(child.wait().unwrap().success());
    elapsed
}
