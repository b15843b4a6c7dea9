//! The agent beside what else could do its work, on the same input, in one run.
//!
//! ```sh
//! cargo bench --bench compare                   # everything
//! cargo bench --bench compare -- blocks delay   # only these parts
//! scripts/compare                               # with the binary that ships
//! ```
//!
//! Every part prints a Markdown table, in which contenders took turns, and some
//! draw a plot; both go to `--out` too. What is not installed is named as missing.
//!
//! This binary also plays the parts around the contenders: the step that writes,
//! and the two least loops; see [`roles`].

// Counts and times are far from where a double or a cast loses anything, and nobody
// reaches into a bench.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    unreachable_pub
)]

mod contenders;
mod delay;
mod measure;
mod parts;
mod plots;
mod report;
mod roles;
mod steps;
mod streams;

use std::path::{Path, PathBuf};

use clap::Parser;
use parts::Part;

/// Measures the agent beside other tools
#[derive(Debug, Parser)]
struct Cli {
    /// What to measure; everything where nothing is named
    #[arg(value_enum)]
    parts: Vec<Part>,

    /// The agent to measure
    #[arg(long, default_value = env!("CARGO_BIN_EXE_skyhook-agent"))]
    agent: PathBuf,

    /// How often each contender has its turn
    #[arg(long, default_value_t = 11)]
    rounds: usize,

    /// Where logs are written while measuring [default: /dev/shm, else TMPDIR]
    #[arg(long)]
    logs: Option<PathBuf>,

    /// Where the tables and plots go
    #[arg(long, default_value = "target/compare")]
    out: PathBuf,

    /// What cargo passes along
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if roles::play(&arguments) {
        return;
    }
    let cli = Cli::parse();
    if !cli.bench {
        // As under `cargo test --benches`.
        return;
    }
    let shm = Path::new("/dev/shm");
    let logs = match cli.logs {
        Some(logs) => tempfile::tempdir_in(logs),
        None if shm.is_dir() => tempfile::tempdir_in(shm),
        None => tempfile::tempdir(),
    };
    let logs = logs.expect("--logs: expected a folder to write to");
    let packages = tempfile::tempdir().unwrap();
    let bench = parts::Bench {
        agent: std::path::absolute(cli.agent).unwrap(),
        rounds: cli.rounds.max(1),
        logs: logs.path(),
        packages: packages.path(),
        report: report::Report::new(&cli.out),
    };
    bench.run(&cli.parts);
}
