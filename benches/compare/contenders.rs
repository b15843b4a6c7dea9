//! Who is compared, and how each is started.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::measure::Pipeline;
use crate::roles::{COPY, MINIMAL, PRODUCE};

/// One way to bring a program's output, with times, to a console and a log.
pub struct Contender {
    pub name: &'static str,
    /// What it puts where, for the tables.
    pub does: &'static str,
    /// The programs it is made of; none for those that are always there.
    pub needs: &'static [&'static str],
    /// Whether its stdout carries the output too, and not only its log.
    pub has_console: bool,
    start: fn(&Job<'_>) -> Pipeline,
}

/// What a contender is to do.
pub struct Job<'a> {
    /// The agent's binary.
    pub agent: &'a Path,
    /// A folder of its own for logs.
    pub logs: &'a Path,
    /// A folder of its own for what has to be executable.
    pub package: &'a Path,
    /// What is to be written: arguments behind [`PRODUCE`].
    pub output: &'a [&'a str],
}

pub const AGENT: &str = "skyhook-agent";

/// The agent first, then the two least loops, then what else there is.
pub const ALL: &[Contender] = &[
    Contender {
        name: AGENT,
        does: "both, ISO-8601, stderr apart, exit code",
        needs: &[],
        has_console: true,
        start: agent,
    },
    Contender {
        name: "minimal loop",
        does: "both, stamped as the agent does",
        needs: &[],
        has_console: true,
        start: |job| job.fed([job.this(&[MINIMAL]).arg(job.log())]),
    },
    Contender {
        name: "unstamped copy",
        does: "both, no time",
        needs: &[],
        has_console: true,
        start: |job| job.fed([job.this(&[COPY]).arg(job.log())]),
    },
    Contender {
        name: "ts | tee",
        does: "both, ISO-8601",
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
        does: "both, ISO-8601",
        needs: &["s6-log"],
        has_console: true,
        start: |job| {
            let mut command = Command::new("s6-log");
            job.fed([command
                .args(["T", "1", "T", "n1000", "s268435455"])
                .arg(job.logs)])
        },
    },
    Contender {
        name: "multilog",
        does: "log only, TAI64N",
        needs: &["multilog"],
        has_console: false,
        start: |job| {
            let mut command = Command::new("multilog");
            job.fed([command.args(["t", "n1000", "s16777215"]).arg(job.logs)])
        },
    },
    Contender {
        name: "svlogd",
        does: "log only, ISO-8601",
        needs: &["svlogd"],
        has_console: false,
        start: |job| {
            fs::write(job.logs.join("config"), "s0\nn0\n").unwrap();
            let mut command = Command::new("svlogd");
            job.fed([command.arg("-ttt").arg(job.logs)])
        },
    },
    Contender {
        name: "conmon",
        does: "log only, ISO-8601 once per read",
        needs: &["conmon"],
        has_console: false,
        start: conmon,
    },
];

impl Contender {
    /// The first of its programs that is not installed.
    pub fn missing(&self) -> Option<&'static str> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_there =
            |name: &&str| std::env::split_paths(&path).any(|dir| dir.join(name).exists());
        self.needs.iter().copied().find(|name| !is_there(name))
    }

    pub fn pipeline(&self, job: &Job<'_>) -> Pipeline {
        (self.start)(job)
    }
}

impl Job<'_> {
    fn log(&self) -> PathBuf {
        self.logs.join("current")
    }

    fn this(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(arguments);
        command
    }

    /// The processes, with the output on their standard input.
    fn fed<const N: usize>(&self, processes: [&mut Command; N]) -> Pipeline {
        let mut producer = self.this(&[PRODUCE]);
        producer.args(self.output);
        Pipeline {
            producer: Some(producer),
            processes: processes
                .into_iter()
                .map(|command| std::mem::replace(command, Command::new("")))
                .collect(),
        }
    }

    /// Copies this binary into the package, under a name of its own.
    fn producer(&self, name: &str) -> PathBuf {
        let path = self.package.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if !path.exists() {
            fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
        }
        path
    }
}

fn agent(job: &Job<'_>) -> Pipeline {
    job.producer("skyhook_dir/produce");
    let arguments = [&[PRODUCE], job.output].concat();
    write_config(job.package, &[("produce".to_owned(), arguments)]);
    Pipeline {
        producer: None,
        processes: vec![run_step(job.agent, job.logs, job.package)],
    }
}

/// `run-step` of a package.
pub fn run_step(agent: &Path, logs: &Path, package: &Path) -> Command {
    let mut command = Command::new(agent);
    command
        .args(["run-step", "--log-dir"])
        .arg(logs)
        .arg(package);
    command
}

/// A package whose apply steps are these programs with their arguments.
pub fn write_config(package: &Path, steps: &[(String, Vec<&str>)]) {
    let step = |path: &str, arguments: &[&str]| {
        json!({
            "name": path, "path": path, "arguments": arguments, "returncodes": [0],
            "on_host": true, "idempotence": false, "upgrade_step": false,
        })
    };
    let apply: Vec<_> = steps
        .iter()
        .map(|(path, arguments)| step(path, arguments))
        .collect();
    // Each wants a check, which is there and not run.
    let checks: Vec<_> = steps
        .iter()
        .map(|(path, _)| {
            let check = format!("{path}_check");
            fs::write(package.join("skyhook_dir").join(&check), "").unwrap();
            step(&check, &[])
        })
        .collect();
    let config = json!({
        "schema_version": "v1", "package_name": "compare", "package_version": "1.0.0",
        "expected_config_files": [], "modes": { "apply": apply, "apply-check": checks },
    });
    fs::write(package.join("config.json"), config.to_string()).unwrap();
}

/// conmon without an engine: what it takes for a container runtime starts the
/// producer and tells its process id.
fn conmon(job: &Job<'_>) -> Pipeline {
    let producer = job.producer("produce");
    let runtime = job.package.join("runtime");
    let script = format!(
        "#!/bin/sh\n\
         while [ \"$1\" != --pid-file ]; do shift; done\n\
         '{}' {PRODUCE} {} &\n\
         printf %s $! > \"$2\"\n",
        producer.display(),
        job.output.join(" ")
    );
    fs::write(&runtime, script).unwrap();
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755)).unwrap();
    let mut log = std::ffi::OsString::from("k8s-file:");
    log.push(job.log());
    let mut command = Command::new("conmon");
    command
        .args([
            "--sync",
            "--full-attach",
            "--no-sync-log",
            "--cid",
            "compare",
            "--cuuid",
            "compare",
            "--name",
            "compare",
        ])
        .arg("--runtime")
        .arg(runtime)
        .arg("--bundle")
        .arg(job.package)
        .arg("--container-pidfile")
        .arg(job.package.join("pid"))
        .arg("--conmon-pidfile")
        .arg(job.package.join("conmon-pid"))
        .arg("--exit-dir")
        .arg(job.package)
        .arg("--log-path")
        .arg(log);
    Pipeline {
        producer: None,
        processes: vec![command],
    }
}
