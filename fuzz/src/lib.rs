//! What must hold whatever comes in. The fuzz targets call these checks with what the
//! fuzzer makes up, tests/fuzz_seeds.rs with what it found worth keeping.
//!
//! Each is a second opinion, and slow: it shares no code with what it looks at.

pub mod base64;
pub mod config;
pub mod control;
pub mod interrupt;
pub mod marker;
pub mod stamper;
