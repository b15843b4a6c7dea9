//! The contenders, and how each is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::conmon;
use crate::measure::Pipeline;
use crate::package::{copy_program, run_step, write_config};
use crate::roles::{COPY, MINIMAL, PRODUCE};

/// One way to bring a program's output to a log, and mostly to a console too.
pub struct Contender {
    pub name: &'static str,
    /// Where it writes, and with which times; for the tables.
    pub writes: &'static str,
    pub kind: Kind,
    /// The programs it consists of, if they have to be installed.
    needs: &'static [&'static str],
    /// Whether it brings the output to its stdout too, and not only to its log.
    pub has_console: bool,
    start: fn(&Job<'_>) -> Result<Pipeline>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Agent,
    /// Does the same with the least possible work.
    MinimalLoop,
    /// Copies without times, with reads of a given length. The floor.
    Copy,
    Peer,
}

/// The task of a contender.
pub struct Job<'a> {
    /// The agent's binary.
    pub agent: &'a Path,
    /// A directory of its own for logs.
    pub logs: &'a Path,
    /// A directory of its own for files that have to be executable.
    pub package: &'a Path,
    /// The output to produce: the arguments that follow [`PRODUCE`].
    pub output: &'a [&'a str],
}

pub const AGENT: &str = "skyhook-agent";
pub const MINIMAL_LOOP: &str = "minimal loop";
/// Reads 8192 bytes at a time, as the agent's buffer limit has it.
pub const COPY_8: &str = "copy 8 KiB";
/// Reads 64 KiB at a time: as much as a pipe holds.
pub const COPY_64: &str = "copy 64 KiB";
pub const CONMON: &str = "conmon";
pub const CONMON_CONSOLE: &str = "conmon + console";

/// The agent first, then the loops that do the least possible, then the other tools.
pub const ALL: &[Contender] = &[
    Contender {
        name: AGENT,
        writes: "both, ISO-8601, stderr apart, exit code",
        kind: Kind::Agent,
        needs: &[],
        has_console: true,
        start: agent,
    },
    Contender {
        name: MINIMAL_LOOP,
        writes: "both, stamped as the agent does",
        kind: Kind::MinimalLoop,
        needs: &[],
        has_console: true,
        start: |job| job.fed([job.this_binary(&[MINIMAL])?.arg(job.log())]),
    },
    Contender {
        name: COPY_8,
        writes: "both, no time",
        kind: Kind::Copy,
        needs: &[],
        has_console: true,
        start: |job| job.fed([job.this_binary(&[COPY, "8192"])?.arg(job.log())]),
    },
    Contender {
        name: COPY_64,
        writes: "both, no time",
        kind: Kind::Copy,
        needs: &[],
        has_console: true,
        start: |job| job.fed([job.this_binary(&[COPY, "65536"])?.arg(job.log())]),
    },
    Contender {
        name: "ts | tee",
        writes: "both, ISO-8601",
        kind: Kind::Peer,
        needs: &["ts", "tee"],
        has_console: true,
        start: |job| {
            let mut ts = Command::new("ts");
            let mut tee = Command::new("tee");
            ts.arg("[out]%Y-%m-%dT%H:%M:%.S");
            job.fed([&mut ts, tee.arg(job.log())])
        },
    },
    Contender {
        name: "s6-log",
        writes: "both, ISO-8601",
        kind: Kind::Peer,
        needs: &["s6-log"],
        has_console: true,
        start: |job| {
            let mut command = Command::new("s6-log");
            command.args(["T", "1", "T", "n1000", "s268435455"]);
            job.fed([command.arg(job.logs)])
        },
    },
    Contender {
        name: "multilog",
        writes: "log only, TAI64N",
        kind: Kind::Peer,
        needs: &["multilog"],
        has_console: false,
        start: |job| {
            let mut command = Command::new("multilog");
            job.fed([command.args(["t", "n1000", "s16777215"]).arg(job.logs)])
        },
    },
    Contender {
        name: "svlogd",
        writes: "log only, ISO-8601",
        kind: Kind::Peer,
        needs: &["svlogd"],
        has_console: false,
        start: |job| {
            fs::write(job.logs.join("config"), "s0\nn0\n")?;
            let mut command = Command::new("svlogd");
            job.fed([command.arg("-ttt").arg(job.logs)])
        },
    },
    Contender {
        name: CONMON,
        writes: "log only, ISO-8601 once per read",
        kind: Kind::Peer,
        needs: &["conmon"],
        has_console: false,
        start: conmon::with_log,
    },
    Contender {
        name: CONMON_CONSOLE,
        writes: "both, ISO-8601 once per read in the log only",
        kind: Kind::Peer,
        needs: &["conmon"],
        has_console: true,
        start: conmon::with_log_and_console,
    },
];

impl Contender {
    /// The first of its programs that is not installed.
    pub fn missing(&self) -> Option<&'static str> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_installed =
            |name: &&str| std::env::split_paths(&path).any(|dir| dir.join(name).exists());
        self.needs.iter().copied().find(|name| !is_installed(name))
    }

    /// Prepares its files, and returns its processes ready to start.
    pub fn pipeline(&self, job: &Job<'_>) -> Result<Pipeline> {
        (self.start)(job)
    }
}

impl Job<'_> {
    pub fn log(&self) -> PathBuf {
        self.logs.join("current")
    }

    /// This binary, in the role that the arguments name.
    pub fn this_binary(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        Ok(command)
    }

    /// These processes, with the output on the first one's standard input.
    fn fed<const N: usize>(&self, processes: [&mut Command; N]) -> Result<Pipeline> {
        let mut producer = self.this_binary(&[PRODUCE])?;
        producer.args(self.output);
        Ok(Pipeline {
            producer: Some(producer),
            processes: processes
                .into_iter()
                .map(|command| std::mem::replace(command, Command::new("")))
                .collect(),
        })
    }
}

/// `run-step` of a package whose one step produces the output.
fn agent(job: &Job<'_>) -> Result<Pipeline> {
    let this = std::env::current_exe()?;
    copy_program(&this, &job.package.join("skyhook_dir/produce"))?;
    let arguments = [&[PRODUCE], job.output].concat();
    write_config(job.package, &[("produce".to_owned(), arguments)])?;
    Ok(Pipeline {
        producer: None,
        processes: vec![run_step(job.agent, job.logs, job.package)],
    })
}
