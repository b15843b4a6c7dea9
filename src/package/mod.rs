//! Packages as data: config.json, steps, modes and interrupts
//! (contract §7).
//!
//! Promises that a [`Config`] that was read can be run: every problem is found
//! first, each as a [`Finding`]. Knows nothing of running.

mod config;
mod finding;
mod interrupt;
mod json;
mod mode;
mod schema;
mod step;

pub use config::{Config, Inspection, inspect};
pub use finding::{Code, Finding, Severity};
pub use interrupt::Interrupt;
pub use mode::Mode;
pub use schema::OWN_NAME;
pub use step::{Idempotence, Step};
