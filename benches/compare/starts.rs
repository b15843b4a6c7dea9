//! Measures what it costs to start a step that writes little, or a whole run.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::bench::Bench;
use crate::contenders::AGENT;
use crate::package::{copy_program, run_step, write_config};
use crate::report::{Samples, digits};
use crate::roles::PRODUCE;
use crate::targets::Target;

impl Bench<'_> {
    pub fn steps(&self) -> Result<()> {
        self.report.heading("Steps of `true`, one after another");
        let mut rows = Vec::new();
        let mut done = Ok(());
        for count in [10, 100, 500, 2000, 4000] {
            match self.steps_of(count) {
                Ok(row) => rows.push(row),
                // The rows so far are reported all the same.
                Err(error) => done = Err(error),
            }
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
        done
    }

    /// Measures a run of this many steps. Returns its row in the table.
    fn steps_of(&self, count: usize) -> Result<Vec<String>> {
        let package = self.package_dir("steps")?;
        let program = package.join("skyhook_dir/true");
        copy_program(Path::new("/bin/true"), &program)?;
        // Short names: the agent reads at most 1 MiB of config.json.
        let steps: Vec<(String, Vec<&str>)> =
            (0..count).map(|i| (format!("t{i:04}"), vec![])).collect();
        for (name, _) in &steps {
            let step = package.join("skyhook_dir").join(name);
            if !step.exists() {
                std::fs::hard_link(&program, step)?;
            }
        }
        write_config(&package, &steps)?;
        // With many steps, one turn is a long measurement already.
        let turns = match count {
            4000.. => self.rounds.min(3),
            2000.. => self.rounds.min(5),
            _ => (self.rounds * 500 / count).clamp(self.rounds, 30.max(self.rounds)),
        };
        let (mut bare, mut unlogged, mut logged) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..turns {
            let start = Instant::now();
            for _ in 0..count {
                run(&mut Command::new(&program))?;
            }
            bare.push(start.elapsed());
            unlogged.push(self.run_steps(&package, "false")?);
            logged.push(self.run_steps(&package, "true")?);
        }
        let [bare, unlogged, logged] = [bare, unlogged, logged].map(Samples::seconds);
        let ratio = logged.median() / bare.median();
        if count == 2000 {
            self.targets.note(Target::Steps, ratio, "");
        }
        let per_step = 1e6 / count as f64;
        Ok(vec![
            count.to_string(),
            bare.spread(per_step),
            unlogged.spread(per_step),
            logged.spread(per_step),
            digits(unlogged.median() / bare.median()),
            digits(ratio),
        ])
    }

    /// Runs the steps of this package once.
    fn run_steps(&self, package: &Path, write_logs: &str) -> Result<Duration> {
        let logs = tempfile::tempdir_in(self.logs)?;
        let mut command = run_step(&self.agent, logs.path(), package);
        command
            .env("SKYHOOK_AGENT_WRITE_LOGS", write_logs)
            .stdout(Stdio::null());
        run(&mut command)
    }

    pub fn apply(&self) -> Result<()> {
        self.report
            .heading("A whole run of the agent: `apply` of one step, `true`, with its state");
        let package = self.package_dir("apply")?;
        let program = package.join("skyhook_dir/true");
        copy_program(Path::new("/bin/true"), &program)?;
        write_config(&package, &[("true".to_owned(), vec![])])?;
        let (mut bare, mut agent) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds * 30 {
            bare.push(run(&mut Command::new(&program))?);
            let state = tempfile::tempdir_in(self.logs)?;
            let mut command = Command::new(&self.agent);
            command
                .args(["apply", "/"])
                .arg(&package)
                .env("SKYHOOK_RESOURCE_ID", "id_compare_1.0.0")
                .env("SKYHOOK_ROOT_DIR", state.path().join("state"))
                .env("SKYHOOK_LOG_DIR", state.path().join("log"))
                .env("COPY_RESOLV", "false")
                .env("TMPDIR", state.path())
                .stdout(Stdio::null());
            agent.push(run(&mut command)?);
        }
        let (bare, agent) = (Samples::seconds(bare), Samples::seconds(agent));
        let ratio = agent.median() / bare.median();
        self.targets.note(Target::Apply, ratio, "");
        let row = vec![bare.spread(1e6), agent.spread(1e6), digits(ratio)];
        self.report
            .table(&["bare `true` µs", "agent µs", "agent / bare"], &[row]);
        Ok(())
    }

    pub fn start_up(&self) -> Result<()> {
        self.report
            .heading("From the start to the first byte of a step that writes at once");
        let package = self.package_dir("start-up")?;
        let program = package.join("skyhook_dir/one");
        copy_program(&std::env::current_exe()?, &program)?;
        write_config(&package, &[("one".to_owned(), vec![PRODUCE, "one"])])?;
        let (mut bare, mut agent) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds * 10 {
            let mut command = Command::new(&program);
            bare.push(to_first_byte(command.args([PRODUCE, "one"]))?);
            let logs = tempfile::tempdir_in(self.logs)?;
            let mut command = run_step(&self.agent, logs.path(), &package);
            agent.push(to_first_byte(&mut command)?);
        }
        let (bare, agent) = (Samples::seconds(bare), Samples::seconds(agent));
        let row = |name: &str, times: &Samples| {
            let ratio = digits(times.median() / bare.median());
            vec![name.to_owned(), times.spread(1e6), ratio]
        };
        let rows = [row("the step alone", &bare), row(AGENT, &agent)];
        self.report.table(&["", "µs", "/ alone"], &rows);
        Ok(())
    }
}

/// Runs a command to its end, and returns how long it took.
fn run(command: &mut Command) -> Result<Duration> {
    let start = Instant::now();
    let status = command.status();
    let elapsed = start.elapsed();
    succeeded(command, status?)?;
    Ok(elapsed)
}

fn to_first_byte(command: &mut Command) -> Result<Duration> {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut elapsed = None;
    if let Some(stdout) = &mut child.stdout {
        let len = stdout.read(&mut [0])?;
        elapsed = (len == 1).then(|| start.elapsed());
        io::copy(stdout, &mut io::sink())?;
    }
    let status = child.wait()?;
    succeeded(command, status)?;
    elapsed.ok_or_else(|| format!("{}: no output", command.get_program().display()).into())
}

fn succeeded(command: &Command, status: std::process::ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    Err(format!("{}: {status}", command.get_program().display()).into())
}
