//! Measures how time and memory grow with the output.

use std::process::Stdio;

use crate::Result;
use crate::bench::{Bench, MIB, find};
use crate::contenders::{AGENT, COPY_64, Contender, Kind};
use crate::measure::Cost;
use crate::plots;
use crate::report::digits;
use crate::targets::Target;

impl Bench<'_> {
    pub fn memory(&self) -> Result<()> {
        self.report
            .heading("Time and memory against output, 100-byte lines in big writes");
        let agents = || self.contenders().filter(|one| one.kind == Kind::Agent);
        let mut rows = Vec::new();
        let mut peaks = Vec::new();
        for mib in [1, 4, 16, 64, 256, 1024] {
            let len = (mib * MIB).to_string();
            let output = ["blocks", "100", &len];
            let all = self.measure(agents(), &output, mib * MIB);
            let agent = find(&all, AGENT)?;
            let peak = self.peak(agent.contender, mib)?;
            peaks.push((mib as f64, peak as f64 / 1024.0));
            rows.push(vec![
                mib.to_string(),
                digits(agent.wall().median() * 1e3),
                digits(agent.median(Cost::cpu) * 1e3),
                digits(mib as f64 / agent.wall().median()),
                peak.to_string(),
            ]);
        }
        let header = [
            "output MiB",
            "wall ms",
            "CPU ms",
            "MiB/s",
            "peak memory KiB",
        ];
        self.report.table(&header, &rows);
        plots::memory(&self.report.plot("memory"), &peaks)?;
        let most = peaks.iter().map(|(_, peak)| *peak).fold(0.0, f64::max);
        self.targets.note(Target::Memory, most, "MiB");

        self.report
            .heading("Peak memory at 64 MiB of output, all processes of a contender together");
        let mut rows = Vec::new();
        for contender in self.contenders().filter(|one| one.name != COPY_64) {
            match self.peak(contender, 64) {
                Ok(peak) => rows.push(vec![contender.name.to_owned(), peak.to_string()]),
                Err(error) => self.leave_out(contender.name, &error),
            }
        }
        self.report.table(&["", "KiB"], &rows);
        Ok(())
    }

    /// The peak memory of a contender at this much output, in KiB.
    fn peak(&self, contender: &Contender, mib: usize) -> Result<u64> {
        let len = (mib * MIB).to_string();
        let started = self.start(contender, &["blocks", "100", &len], Stdio::null())?;
        started.running.finish_watched()
    }
}
