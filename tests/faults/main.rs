//! The agent where things go wrong, each with real processes: what is done to a
//! run, and that nothing else of it is lost.

#[path = "../support/mod.rs"]
mod support;

mod clock;
mod company;
mod console;
mod disks;
mod durability;
mod kernel;
mod limits;
mod moments;
mod notices;
mod pid_1;
mod processes;
mod running;
mod signals;
mod strace;
mod sudden_ends;
mod temp_dir;
