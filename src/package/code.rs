//! The kinds of findings, by name.

use std::fmt;

/// Makes the enum, its list and its names of one table.
macro_rules! codes {
    ($($code:ident = $name:literal,)*) => {
        /// The kinds of findings.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "docs/packages.md has a paragraph for each")]
        pub enum Code { $($code,)* }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Code::$code,)*];

            /// The name of the code, as it is printed.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Code::$code => $name,)* }
            }
        }
    };
}

codes! {
    Syntax = "syntax",
    ByteOrderMark = "byte-order-mark",
    Comment = "comment",
    TrailingComma = "trailing-comma",
    WrongType = "wrong-type",
    MissingValue = "missing-value",
    UnknownKey = "unknown-key",
    SchemaVersion = "schema-version",
    PackageName = "package-name",
    ReservedName = "reserved-name",
    ControlCharacter = "control-character",
    ConfigFilePath = "config-file-path",
    PackageVersion = "package-version",
    UnknownMode = "unknown-mode",
    NoStep = "no-step",
    NoMode = "no-mode",
    NoCheckStep = "no-check-step",
    NoCheckFile = "no-check-file",
    StepName = "step-name",
    StepPath = "step-path",
    NoFile = "no-file",
    Unreadable = "unreadable",
    NameTooLong = "name-too-long",
    NoReturnCode = "no-return-code",
    UpgradeStep = "upgrade-step",
    UpgradeArguments = "upgrade-arguments",
    TooMany = "too-many",
    RepeatedKey = "repeated-key",
}

impl Code {
    /// Finds the code of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.name() == name)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
