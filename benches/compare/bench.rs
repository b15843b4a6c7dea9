//! Starts contenders and collects what they cost.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use crate::Result;
use crate::contenders::{AGENT, ALL, Contender, Job};
use crate::measure::{Cost, Running};
use crate::report::{Report, Samples};
use crate::targets::Targets;

pub const MIB: usize = 1 << 20;

/// A contender has no further turn in a table after this much time.
const TIME_IN_A_TABLE: Duration = Duration::from_secs(15);

/// Holds what all parts share.
pub struct Bench<'a> {
    pub agent: PathBuf,
    pub rounds: usize,
    pub logs: &'a Path,
    pub packages: &'a Path,
    pub report: Report,
    pub targets: Targets,
    /// The names of contenders that failed.
    failed: RefCell<Vec<&'static str>>,
}

/// A contender that runs, with its logs. Dropping it removes them.
pub struct Started {
    pub running: Running,
    pub logs: TempDir,
}

/// The costs of a contender, turn by turn. There is at least one turn.
pub struct Measured {
    pub contender: &'static Contender,
    costs: Vec<Cost>,
}

impl<'a> Bench<'a> {
    pub fn new(
        agent: PathBuf,
        rounds: usize,
        logs: &'a Path,
        packages: &'a Path,
        report: Report,
    ) -> Bench<'a> {
        Bench {
            agent,
            rounds,
            logs,
            packages,
            report,
            targets: Targets::default(),
            failed: RefCell::default(),
        }
    }

    /// Names the machine, the agent and the contenders that are missing.
    pub fn describe_setup(&self) -> Result<()> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let models: Vec<&str> = cpuinfo
            .lines()
            .filter_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map(|(_, model)| model)
            .collect();
        let agent = fs::metadata(&self.agent)
            .map_err(|error| format!("--agent: {}: {error}", self.agent.display()))?;
        self.report.say(&format!(
            "{} × {}, Linux {}; agent of {} bytes. Turns of a contender in a table: {}, or \
             as many as it begins within {} s. Medians, with quartiles in parentheses. \
             Console /dev/null, logs in {}.",
            models.len(),
            models.first().unwrap_or(&"?"),
            read("/proc/sys/kernel/osrelease").trim(),
            agent.len(),
            self.rounds,
            TIME_IN_A_TABLE.as_secs(),
            self.logs.parent().unwrap_or(self.logs).display(),
        ));
        for contender in ALL {
            if let Some(program) = contender.missing() {
                let name = contender.name;
                self.report
                    .say(&format!("{name} is left out: no {program} on PATH."));
            }
        }
        Ok(())
    }

    /// The contenders that are installed and have not failed.
    pub fn contenders(&self) -> impl Iterator<Item = &'static Contender> {
        let failed = self.failed.borrow().clone();
        ALL.iter()
            .filter(move |one| one.missing().is_none() && !failed.contains(&one.name))
    }

    /// Reports why a contender is left out from now on. The agent is tried again in
    /// the next part.
    pub fn leave_out(&self, name: &'static str, error: &dyn std::fmt::Display) {
        self.report
            .say(&format!("{name} failed and is left out: {error}\n"));
        if name != AGENT {
            self.failed.borrow_mut().push(name);
        }
    }

    /// Starts a contender in directories of its own.
    pub fn start(&self, contender: &Contender, output: &[&str], stdout: Stdio) -> Result<Started> {
        let logs = tempfile::tempdir_in(self.logs)?;
        let package = self.package_dir(contender.name)?;
        let job = Job {
            agent: &self.agent,
            logs: logs.path(),
            package: &package,
            output,
        };
        let running = contender.pipeline(&job)?.start(stdout)?;
        Ok(Started { running, logs })
    }

    /// Creates the directory for the executable files of this contender or part.
    pub fn package_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.packages.join(name.replace(['|', '+', ' '], "-"));
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Runs a contender once. It has to log at least `len` bytes.
    pub fn cost(&self, contender: &Contender, output: &[&str], len: usize) -> Result<Cost> {
        let started = self.start(contender, output, Stdio::null())?;
        let cost = started.running.finish()?;
        let logged = len_below(started.logs.path())?;
        if logged < len {
            return Err(format!("it logged {logged} of {len} bytes").into());
        }
        Ok(cost)
    }

    /// Runs the contenders in turns. Leaves out those that fail.
    pub fn measure(
        &self,
        contenders: impl IntoIterator<Item = &'static Contender>,
        output: &[&str],
        len: usize,
    ) -> Vec<Measured> {
        let mut all: Vec<Measured> = contenders
            .into_iter()
            .map(|contender| Measured {
                contender,
                costs: Vec::new(),
            })
            .collect();
        for _ in 0..self.rounds {
            all.retain_mut(|one| {
                if one.used_its_time() {
                    return true;
                }
                match self.cost(one.contender, output, len) {
                    Ok(cost) => one.costs.push(cost),
                    Err(error) => {
                        self.leave_out(one.contender.name, &error);
                        return false;
                    }
                }
                true
            });
        }
        all
    }
}

impl Measured {
    fn used_its_time(&self) -> bool {
        let used: Duration = self.costs.iter().map(|cost| cost.wall).sum();
        used >= TIME_IN_A_TABLE
    }

    pub fn wall(&self) -> Samples {
        Samples::seconds(self.costs.iter().map(|cost| cost.wall))
    }

    /// The median of a part of the cost, in seconds.
    pub fn median(&self, of: impl Fn(&Cost) -> Duration) -> f64 {
        Samples::seconds(self.costs.iter().map(of)).median()
    }
}

/// Finds a contender by its name.
pub fn find<'a>(all: &'a [Measured], name: &str) -> Result<&'a Measured> {
    all.iter()
        .find(|one| one.contender.name == name)
        .ok_or_else(|| format!("nothing was measured of {name}").into())
}

/// The length of all files below a directory.
fn len_below(dir: &Path) -> Result<usize> {
    let mut len = 0;
    for file in files_below(dir)? {
        len += fs::metadata(file)?.len() as usize;
    }
    Ok(len)
}

pub fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.append(&mut files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}
