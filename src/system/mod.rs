//! The kernel's side: signals, child processes, and the calls that nix lacks.
//!
//! Promises that all `unsafe` of the crate is in `sys`, and that nothing here knows
//! of packages, logs or the host's files.

pub mod cancel;
pub mod capabilities;
pub mod exit;
pub mod orphans;
pub mod pipe_writers;
pub mod signals;
pub mod sys;
