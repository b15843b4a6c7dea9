//! What the command line can ask for, one file a command.

pub mod agent;
pub mod interrupt;
pub mod run_step;
