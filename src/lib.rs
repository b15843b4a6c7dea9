//! Runs the steps of a Skyhook (NodeWright) package on a Linux node and streams
//! what they say: every line labelled `[out]` or `[err]` and stamped with the
//! local time, on the terminal and in log files.
//!
//! One command at a time, one thread, no async runtime. A byte goes
//! pipe → [`reactor`] → [`tee`] → [`stamp`] → [`sink`] and never turns back.
//! The modules are listed ground floor first; each uses only those before it.

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

pub mod sys;

pub mod error;
pub mod exit;
pub mod python;

pub mod stamp;

pub mod sink;

pub mod cancel;
pub mod holders;
pub mod orphans;
pub mod reactor;

pub mod chroot_exec;
pub mod tee;

pub mod host;
pub mod log_file;
pub mod step;

pub mod signals;

pub mod settings;

pub mod package;
pub mod state;

pub mod interrupt;

pub mod agent;
pub mod run_steps;

pub mod cli;
