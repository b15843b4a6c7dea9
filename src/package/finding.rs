//! A finding: one thing about a package that its author should know.

use std::fmt;

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
    /// The value it is about, as in `modes.apply[0].path`; empty for the document.
    pub place: String,
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

/// The kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it, and so does each message")]
pub enum Code {
    Syntax,
    WrongType,
    MissingValue,
    UnknownKey,
    SchemaVersion,
    PackageName,
    ReservedName,
    ControlCharacter,
    ConfigFilePath,
    PackageVersion,
    UnknownMode,
    NoStep,
    NoMode,
    NoCheckStep,
    NoCheckFile,
    StepName,
    StepPath,
    NoFile,
    Unreadable,
    NameTooLong,
    NoReturnCode,
    UpgradeStep,
    UpgradeArguments,
    TooMany,
}

impl Code {
    /// The name of the code, as it is printed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Code::Syntax => "syntax",
            Code::WrongType => "wrong-type",
            Code::MissingValue => "missing-value",
            Code::UnknownKey => "unknown-key",
            Code::SchemaVersion => "schema-version",
            Code::PackageName => "package-name",
            Code::ReservedName => "reserved-name",
            Code::ControlCharacter => "control-character",
            Code::ConfigFilePath => "config-file-path",
            Code::PackageVersion => "package-version",
            Code::UnknownMode => "unknown-mode",
            Code::NoStep => "no-step",
            Code::NoMode => "no-mode",
            Code::NoCheckStep => "no-check-step",
            Code::NoCheckFile => "no-check-file",
            Code::StepName => "step-name",
            Code::StepPath => "step-path",
            Code::NoFile => "no-file",
            Code::Unreadable => "unreadable",
            Code::NameTooLong => "name-too-long",
            Code::NoReturnCode => "no-return-code",
            Code::UpgradeStep => "upgrade-step",
            Code::UpgradeArguments => "upgrade-arguments",
            Code::TooMany => "too-many",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)
    }
}
