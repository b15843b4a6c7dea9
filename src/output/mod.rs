//! Where bytes go: the console and the log files.
//!
//! Promises that what a sink took is written whole and in order, and that a sink
//! which fails costs nothing but itself (contract §10).

mod console;
pub mod log_file;
pub mod log_name;
mod sink;

pub use console::Console;
pub use sink::Sink;
