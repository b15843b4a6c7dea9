//! The parts of the comparison.

use clap::ValueEnum;

use crate::bench::{Bench, MIB};
use crate::streams::Stream;

// `scripts/compare` reads names and texts from here: each part has a doc comment of
// one line, and its name.
/// A part of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// 256 MiB of 100-byte lines in big writes
    #[value(name = "blocks")]
    Blocks,
    /// 500,000 lines of 100 bytes, one write for each
    #[value(name = "lines")]
    Lines,
    /// 256 MiB of mixed UTF-8 in big writes
    #[value(name = "utf-8")]
    Utf8,
    /// 256 MiB in lines of 1 MiB
    #[value(name = "long-lines")]
    LongLines,
    /// How throughput depends on the length of lines
    #[value(name = "line-length")]
    LineLength,
    /// How long a line takes to appear on the console and in the log
    #[value(name = "delay")]
    Delay,
    /// The cost of a step of `true`, from 10 to 4,000 steps
    #[value(name = "steps")]
    Steps,
    /// A whole run of the agent with one step
    #[value(name = "apply")]
    Apply,
    /// From the start to the first byte of a step
    #[value(name = "start-up")]
    StartUp,
    /// System calls for each 8 KiB of output
    #[value(name = "per-read")]
    PerRead,
    /// How time and peak memory grow with the output
    #[value(name = "memory")]
    Memory,
}

/// Measures these parts, or all if none is named. Returns false if one could not be
/// finished; the others are measured all the same.
pub fn run(bench: &Bench<'_>, parts: &[Part]) -> bool {
    let mut finished = true;
    for part in Part::value_variants() {
        if !parts.is_empty() && !parts.contains(part) {
            continue;
        }
        let done = match part {
            Part::Blocks => bench.stream(&Stream {
                title: "256 MiB of 100-byte lines in big writes",
                output: &["blocks", "100", &(256 * MIB).to_string()],
                len: 256 * MIB,
                part: *part,
            }),
            Part::Lines => bench.stream(&Stream {
                title: "500,000 lines of 100 bytes, one write for each",
                output: &["lines", "500000"],
                len: 500_000 * 100,
                part: *part,
            }),
            Part::Utf8 => bench.stream(&Stream {
                title: "256 MiB of mixed UTF-8 in big writes",
                output: &["utf-8", &(256 * MIB).to_string()],
                len: 256 * MIB,
                part: *part,
            }),
            Part::LongLines => bench.stream(&Stream {
                title: "256 MiB in lines of 1 MiB",
                output: &["blocks", &MIB.to_string(), &(256 * MIB).to_string()],
                len: 256 * MIB,
                part: *part,
            }),
            Part::LineLength => bench.line_length(),
            Part::Delay => bench.delay(),
            Part::Steps => bench.steps(),
            Part::Apply => bench.apply(),
            Part::StartUp => bench.start_up(),
            Part::PerRead => bench.per_read(),
            Part::Memory => bench.memory(),
        };
        if let Err(error) = done {
            finished = false;
            let value = part.to_possible_value();
            let name = value.as_ref().map_or("?", |value| value.get_name());
            bench
                .report
                .say(&format!("\n{name} was not finished: {error}"));
        }
    }
    finished
}
