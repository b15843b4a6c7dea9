//! Faults: each test does one thing to a real run, and looks that the run loses
//! nothing else.

#[path = "../support/mod.rs"]
mod support;

mod clock;
mod concurrent_agents;
mod console;
mod copies;
mod disks;
mod durability;
mod kernel;
mod limits;
mod moments;
mod notices;
mod pid_1;
mod processes;
mod rivals;
mod sigkill;
mod signals;
mod strace;
mod syncs;
mod temp_dir;
