//! Checks that must hold for every input. The fuzz targets call them with the fuzzer's
//! inputs, tests/fuzz_seeds.rs with the inputs in testdata/fuzz.
//!
//! Each check is an implementation of its own. It may be slow, and shares no code with
//! the implementation that it checks.

pub mod base64;
pub mod config;
pub mod control;
pub mod flag;
pub mod interrupt;
pub mod log_reader;
pub mod marker;
pub mod package;
pub mod python;
pub mod stamper;
pub mod validate;
