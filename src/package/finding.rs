//! A finding: one thing about a package that its author should know.

use std::fmt;

use super::code::Code;
use super::place::Place;

/// One thing that was found in a config.json, with its place.
///
/// `Display` gives `{place}: {message}`, or the message alone if it is about the
/// whole document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Tells if the package can be used all the same.
    pub severity: Severity,
    /// Names the kind of finding. Stable: scripts may match it.
    pub code: Code,
    /// The value it is about.
    pub place: Place,
    /// Says what was expected there, and what was found.
    pub message: String,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The package can be used.
    Warning,
    /// The package cannot be used.
    Error,
}

impl Finding {
    /// Makes a finding.
    #[must_use]
    pub fn new(
        severity: Severity,
        code: Code,
        place: &Place,
        message: impl Into<String>,
    ) -> Finding {
        Finding {
            severity,
            code,
            place: place.clone(),
            message: message.into(),
        }
    }
}

impl Severity {
    /// The name of the severity, as it is printed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place != Place::DOCUMENT {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)
    }
}
