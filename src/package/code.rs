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
    VariableName = "variable-name",
    NulByte = "nul-byte",
    UpgradeStep = "upgrade-step",
    UpgradeArguments = "upgrade-arguments",
    TooMany = "too-many",
    NotAFile = "not-a-file",
    NoInterpreterLine = "no-interpreter-line",
    NoInterpreter = "no-interpreter",
    LineEnds = "line-ends",
    NotCopied = "not-copied",
    NoConfigFile = "no-config-file",
    IgnoredKey = "ignored-key",
    RepeatedKey = "repeated-key",
    OtherName = "other-name",
    SameName = "same-name",
    SameFlag = "same-flag",
    SameCheck = "same-check",
    LoneCheck = "lone-check",
    OnHost = "on-host",
    ReturnCode = "return-code",
    EnvInArgument = "env-in-argument",
    Secret = "secret",
    NotExecutable = "not-executable",
    ShellSyntax = "shell-syntax",
    UnusedFile = "unused-file",
}

impl Code {
    /// Finds the code of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.name() == name)
    }
}

impl Code {
    /// Says what the code means: the paragraph of docs/packages.md, in Markdown.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        let paragraphs = str::from_utf8(&PARAGRAPHS).unwrap_or_default();
        let heading = format!("### `{self}`\n");
        let (_, after) = paragraphs.split_once(&heading).unwrap_or_default();
        let (paragraph, _) = after.split_once("\n### ").unwrap_or((after, ""));
        paragraph.trim()
    }
}

/// The paragraphs of all codes, as docs/packages.md has them. The rest of that document is
/// not in the binary: an array can be a part of it, a reference is always to all of it.
static PARAGRAPHS: [u8; RANGE.1 - RANGE.0] = {
    let (_, from) = DOCUMENT.split_at(RANGE.0);
    let (paragraphs, _) = from.split_at(RANGE.1 - RANGE.0);
    let mut copy = [0; RANGE.1 - RANGE.0];
    copy.copy_from_slice(paragraphs);
    copy
};

const DOCUMENT: &[u8] = include_bytes!("../../docs/packages.md");

/// From the first code to the end of the chapter.
const RANGE: (usize, usize) = {
    let chapter = find(b"\n## What validate says\n", 0);
    let start = find(b"\n### `", chapter);
    (start, find(b"\n## ", start))
};

/// Finds a text in the document, or the end of the document.
#[allow(clippy::indexing_slicing, reason = "runs only while this is compiled")]
const fn find(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while at + text.len() <= DOCUMENT.len() {
        let mut same = 0;
        while same < text.len() && DOCUMENT[at + same] == text[same] {
            same += 1;
        }
        if same == text.len() {
            return at;
        }
        at += 1;
    }
    DOCUMENT.len()
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_a_paragraph_and_each_paragraph_a_code() {
        for code in Code::ALL {
            assert_eq!(Code::from_name(code.name()), Some(*code));
            let explanation = code.explanation();
            assert!(explanation.ends_with('.'), "{code}: {explanation:?}");
            assert!(!explanation.contains("###"), "{code}: {explanation:?}");
        }
        let paragraphs = str::from_utf8(&PARAGRAPHS).unwrap();
        let headings = paragraphs.lines().filter(|line| line.starts_with("### "));
        let names: Vec<&str> = headings.map(|line| &line[5..line.len() - 1]).collect();
        let codes: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names, codes);
    }
}
