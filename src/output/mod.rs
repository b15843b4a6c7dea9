//! The places where bytes go: the console, the log files, the reason of a failure, and
//! what a command answers. Also reads the log files back.
//!
//! Promises that what a sink took is written whole and in order, and that a sink
//! which fails costs nothing but itself (contract §10).

mod console;
mod last_lines;
pub mod log_file;
pub mod log_merge;
pub mod log_name;
pub mod log_reader;
mod palette;
pub mod pretty;
mod printer;
pub mod runs;
mod sink;
pub mod termination;

pub use console::Console;
pub use palette::Palette;
pub use printer::Printer;
pub use sink::Sink;
