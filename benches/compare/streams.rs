//! Output and how long it takes: throughput, growth.

use std::process::Stdio;

use crate::contenders::ALL;
use crate::measure::Cost;
use crate::parts::{Bench, Costs, MIB};
use crate::plots;
use crate::report::digits;

impl Bench<'_> {
    pub fn blocks(&self) {
        let len = (256 * MIB).to_string();
        let title = "256 MiB of 100-byte lines in big writes";
        let costs = self.streams(title, &["blocks", "100", &len], 256 * MIB);
        let bars: Vec<(&str, f64)> = costs
            .iter()
            .map(|costs| (costs.contender.name, 256.0 / costs.wall().median()))
            .collect();
        plots::throughput(&self.report.plot("throughput"), &bars);
    }

    pub fn streams(&self, title: &str, output: &[&str], len: usize) -> Vec<Costs> {
        self.report.heading(title);
        let all: Vec<_> = ALL.iter().collect();
        let all = self.take_turns(&all, output, len);
        let agent = all[0].wall().median();
        let minimal = &all[1];
        let rows: Vec<Vec<String>> = all
            .iter()
            .map(|costs| {
                let wall = costs.wall();
                vec![
                    costs.contender.name.to_owned(),
                    costs.contender.does.to_owned(),
                    wall.spread(1e3),
                    digits(len as f64 / MIB as f64 / wall.median()),
                    digits(wall.median() / agent),
                    digits(costs.median(|cost| cost.user) * 1e3),
                    digits(costs.median(|cost| cost.system) * 1e3),
                    digits(costs.median(Cost::cpu) / minimal.median(Cost::cpu)),
                ]
            })
            .collect();
        let header = [
            "",
            "writes",
            "wall ms",
            "MiB/s",
            "wall / agent",
            "user ms",
            "system ms",
            "CPU / minimal",
        ];
        self.report.table(&header, &rows);
        all
    }

    pub fn line_length(&self) {
        self.report
            .heading("64 MiB in lines of different length, big writes");
        let mut rows = Vec::new();
        for line_len in [10, 30, 100, 1_000, 10_000, 100_000, 1_000_000] {
            let (line, len) = (line_len.to_string(), (64 * MIB).to_string());
            let who = [&ALL[0], &ALL[1], &ALL[2]];
            let all = self.take_turns(&who, &["blocks", &line, &len], 64 * MIB);
            let median = |i: usize| all[i].wall().median();
            rows.push(vec![
                line,
                digits(64.0 / median(0)),
                digits(64.0 / median(1)),
                digits(64.0 / median(2)),
                digits(median(0) / median(1)),
                digits(median(0) / median(2)),
            ]);
        }
        let header = [
            "bytes per line",
            "agent MiB/s",
            "minimal MiB/s",
            "copy MiB/s",
            "agent / minimal",
            "agent / copy",
        ];
        self.report.table(&header, &rows);
    }

    pub fn output(&self) {
        self.report
            .heading("Time and memory against output, 100-byte lines in big writes");
        let mut rows = Vec::new();
        let mut peaks = Vec::new();
        for mib in [1, 4, 16, 64, 256, 1024] {
            let len = (mib * MIB).to_string();
            let output = ["blocks", "100", &len];
            let costs: Vec<Cost> = (0..self.rounds.min(5))
                .map(|_| self.cost(&ALL[0], &output, mib * MIB))
                .collect();
            let costs = Costs {
                contender: &ALL[0],
                costs,
            };
            let (_, peak) = self.with(&ALL[0], &output, Stdio::null(), |running, _| {
                running.finish_watched()
            });
            peaks.push((mib as f64, peak as f64 / 1024.0));
            rows.push(vec![
                mib.to_string(),
                digits(costs.wall().median() * 1e3),
                digits(costs.median(Cost::cpu) * 1e3),
                digits(mib as f64 / costs.wall().median()),
                peak.to_string(),
            ]);
        }
        self.report.table(
            &[
                "output MiB",
                "wall ms",
                "CPU ms",
                "MiB/s",
                "peak memory KiB",
            ],
            &rows,
        );
        plots::memory(&self.report.plot("memory"), &peaks);

        self.report.heading("Peak memory at 256 MiB");
        let len = (256 * MIB).to_string();
        let mut rows = Vec::new();
        for contender in ALL.iter().filter(|contender| contender.missing().is_none()) {
            let output = ["blocks", "100", &len];
            let (_, peak) = self.with(contender, &output, Stdio::null(), |running, _| {
                running.finish_watched()
            });
            rows.push(vec![contender.name.to_owned(), peak.to_string()]);
        }
        self.report.table(&["", "KiB"], &rows);
    }
}
