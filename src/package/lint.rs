//! All that can be said about a package before it runs, each with its line.
//!
//! What the agent refuses comes from the rules by which it loads a package: there are no
//! others here.

mod config;
mod files;
mod report;

use crate::error::Error;
use crate::host::Root;

pub use files::{Dir, Files};
pub use report::{Located, Report, Text};

/// Looks at a package.
///
/// # Errors
/// If the system cannot tell what is there.
pub fn lint(root: &Root, files: &Files) -> Result<Report, Error> {
    let mut report = Report::default();
    config::lint(root, files, &mut report)?;
    report.sort();
    Ok(report)
}
