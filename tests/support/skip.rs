//! Says that a test did not run.

use std::io::{self, Write};

/// Says on the real stderr, past the test harness, that a test did not run.
pub fn skipped(test: &str, why: &str) {
    writeln!(io::stderr(), "skipped: {test}: {why}").unwrap();
}
