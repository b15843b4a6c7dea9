//! Runs the steps of a Skyhook (NodeWright) package on a Linux node and streams
//! what they say: every line labelled `[out]` or `[err]` and stamped with the
//! local time, on the terminal and in log files.
//!
//! One command at a time, one thread, no async runtime. A byte goes
//! pipe → [`reactor`] → [`exec::tee`] → [`stamp`] → [`output`] and never turns
//! back. The modules are listed top floor first; each uses only those below it.

#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]
#![cfg_attr(
    test,
    allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)
)]

pub mod cli;

pub mod commands;
pub mod exec;
pub mod state;

pub mod package;

pub mod output;

pub mod view;

pub mod host;

pub mod reactor;

pub mod stamp;

pub mod settings;

pub mod system;

pub mod error;
pub mod python;
pub mod text;

/// Says which tests have been skipped, as those in `tests/` do.
#[cfg(test)]
#[allow(
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    unused_imports
)]
#[path = "../tests/support"]
mod support {
    pub mod skip;
}
