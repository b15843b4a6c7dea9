//! Packages as data: config.json, steps, modes and interrupts
//! (contract §7).
//!
//! Promises that a [`Config`] that was read can be run: every problem is found
//! first, each as a [`Finding`]. Knows nothing of running.

mod code;
mod config;
mod finding;
mod interrupt;
mod json;
pub mod lint;
mod mode;
mod place;
mod position;
mod schema;
mod step;

pub use code::Code;
pub use config::{Config, Inspection, inspect};
pub use finding::{Finding, Severity};
pub use interrupt::Interrupt;
pub use mode::Mode;
pub use place::{Part, Place};
pub use schema::OWN_NAME;
pub use step::{Idempotence, Step};
