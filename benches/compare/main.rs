//! Compares the agent with other tools that could do its work, on the same input and
//! in one run.
//!
//! ```sh
//! scripts/compare                               # everything, with the binary that ships
//! scripts/compare blocks delay                  # only these parts
//! cargo bench --bench compare -- blocks delay   # the same with cargo's own build
//! ```
//!
//! Every part prints a Markdown table. The contenders of a part take turns, so that
//! all of them see the same machine. The last table lists the targets and says which
//! of them are met. Tables and plots also go to the directory `--out`.
//!
//! A contender that is not installed, or that fails, is named and left out.
//!
//! This binary also plays the roles around the contenders, such as the step that
//! writes; see [`roles`].

// Counts and times are far below the values at which an f64 or a cast loses anything,
// and no other crate uses a bench.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    unreachable_pub
)]

mod bench;
mod conmon;
mod contenders;
mod delay;
mod measure;
mod memory;
mod package;
mod parts;
mod plots;
mod report;
mod roles;
mod starts;
mod streams;
mod system_calls;
mod targets;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use bench::Bench;
use parts::Part;

/// Carries any error: the harness only prints it.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

// `scripts/compare --help` prints the text of these options and of the parts without
// building this binary: it reads them from here and from parts.rs. Each option has a
// doc comment of one line.
/// Compares the agent with other tools
#[derive(Debug, Parser)]
struct Cli {
    /// Measures only these parts; without any, all of them
    #[arg(value_enum)]
    parts: Vec<Part>,

    /// The agent to measure [default: the one that is built for this]
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,

    /// How many turns a contender has [default: 9]
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,

    /// Where logs, state and control files are written [default: /dev/shm, else TMPDIR]
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,

    /// Where the tables and plots go [default: target/compare]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    // `cargo bench` passes this.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if roles::play(&arguments) {
        return ExitCode::SUCCESS;
    }
    let cli = Cli::parse();
    if !cli.bench {
        // `cargo test --benches` does not pass --bench, and shall not measure.
        return ExitCode::SUCCESS;
    }
    match run(cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures; false if a part could not be finished.
fn run(cli: Cli) -> Result<bool> {
    let agent = cli
        .agent
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_skyhook-agent").into());
    let out = cli.out.unwrap_or_else(|| "target/compare".into());
    let shm = Path::new("/dev/shm");
    let logs = match cli.logs {
        Some(logs) => tempfile::tempdir_in(logs),
        None if shm.is_dir() => tempfile::tempdir_in(shm),
        None => tempfile::tempdir(),
    };
    let logs = logs.map_err(|error| format!("--logs: expected a writable directory: {error}"))?;
    let packages = tempfile::tempdir()?;
    let report = report::Report::new(&out)?;
    let agent = std::path::absolute(agent)?;
    let bench = Bench::new(
        agent,
        cli.rounds.unwrap_or(9).max(1),
        logs.path(),
        packages.path(),
        report,
    );
    bench.describe_setup()?;
    let finished = parts::run(&bench, &cli.parts);
    bench.targets.report(&bench.report);
    Ok(finished)
}
