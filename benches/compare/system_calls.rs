//! Counts the agent's system calls.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use crate::Result;
use crate::bench::{Bench, MIB};
use crate::contenders::{AGENT, Job, Kind};
use crate::report::digits;

/// The lengths of the outputs that are compared, in MiB.
const LITTLE: usize = 32;
const MUCH: usize = 160;

impl Bench<'_> {
    /// Counts with strace at two lengths of output, and reports the difference: what
    /// the start costs is not in it. Under strace the agent is slower than the step,
    /// so it always finds a full pipe.
    pub fn per_read(&self) -> Result<()> {
        self.report
            .heading("System calls for each 8 KiB of output, from a full pipe");
        let little = self.count(LITTLE)?;
        let much = self.count(MUCH)?;
        let full_reads = ((MUCH - LITTLE) * MIB / 8192) as f64;
        let mut rows = Vec::new();
        for (name, much) in much {
            let each = (much - little.get(&name).unwrap_or(&0.0)) / full_reads;
            if each.abs() >= 0.001 {
                rows.push((each, name));
            }
        }
        // The largest last: that is the total.
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let rows: Vec<Vec<String>> = rows
            .into_iter()
            .map(|(each, name)| vec![name, digits(each)])
            .collect();
        self.report.table(&["system call", "per 8 KiB"], &rows);
        Ok(())
    }

    /// The number of calls by name at this much output.
    fn count(&self, mib: usize) -> Result<BTreeMap<String, f64>> {
        let len = (mib * MIB).to_string();
        let trace = self.packages.join("trace");
        let logs = tempfile::tempdir_in(self.logs)?;
        let job = Job {
            agent: &self.agent,
            logs: logs.path(),
            package: &self.package_dir(AGENT)?,
            output: &["blocks", "100", &len],
        };
        let agent = self
            .contenders()
            .find(|one| one.kind == Kind::Agent)
            .ok_or("the agent is no contender")?;
        let mut pipeline = agent.pipeline(&job)?;
        let command = pipeline.processes.remove(0);
        // Without -f: the agent alone, and not the processes it starts.
        let done = std::process::Command::new("strace")
            .args(["-c", "-U", "name,calls", "-o"])
            .arg(&trace)
            .arg(command.get_program())
            .args(command.get_args())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|error| format!("strace: {error}"))?;
        if !done.success() {
            return Err(format!("strace: {done}: perhaps it may not trace here").into());
        }
        let table = fs::read_to_string(trace)?;
        let count = |line: &str| {
            let (name, calls) = line.trim().split_once(' ')?;
            Some((name.to_owned(), calls.trim().parse().ok()?))
        };
        Ok(table.lines().filter_map(count).collect())
    }
}
