//! What was found, and the texts in which it was found.

use std::ops::Range;
use std::path::PathBuf;

use super::super::{Finding, Place, Severity};
use super::help;

/// Everything that was found in a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The texts that findings are about.
    pub texts: Vec<Text>,
    /// The findings, in the order of the texts.
    pub findings: Vec<Located>,
    /// The scripts of shells. A shell can tell if it could read them.
    pub scripts: Vec<Script>,
}

/// A script of a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The name of the shell: `sh`, `bash`, and the like.
    pub shell: String,
    /// The index of its text.
    pub text: usize,
    /// The place that names it.
    pub place: Place,
}

/// The text of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The file, as its user calls it.
    pub file: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A finding, with the file and the text that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The finding.
    pub finding: Finding,
    /// Says what to do.
    pub help: String,
    /// The file that it is about.
    pub file: PathBuf,
    /// The bytes that it is about, in the text of that index; `None` if it is about the
    /// whole file.
    pub span: Option<(usize, Range<usize>)>,
}

impl Report {
    /// Counts the findings of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        let findings = self.findings.iter();
        findings
            .filter(|located| located.finding.severity == severity)
            .count()
    }

    /// Gives the line and the column of a finding, both from 1 on; columns are characters.
    #[must_use]
    pub fn position(&self, located: &Located) -> Option<(usize, usize)> {
        let (text, bytes) = located.span.as_ref()?;
        Some(self.texts.get(*text)?.position(bytes.start))
    }

    /// Adds a finding about a text, or about bytes of it.
    pub fn add_about(&mut self, text: usize, finding: Finding, bytes: Option<Range<usize>>) {
        let file = self.texts.get(text).map(|text| text.file.clone());
        self.findings.push(Located {
            help: help::of(&finding),
            finding,
            file: file.unwrap_or_default(),
            span: bytes.map(|bytes| (text, bytes)),
        });
    }

    /// Takes a text, and gives its index.
    pub(super) fn add_text(&mut self, text: Text) -> usize {
        self.texts.push(text);
        self.texts.len() - 1
    }

    /// Adds a finding about a file whose text is not kept.
    pub(super) fn add_about_file(&mut self, file: PathBuf, finding: Finding) {
        self.findings.push(Located {
            help: help::of(&finding),
            finding,
            file,
            span: None,
        });
    }

    /// Sorts the findings by text and line. What is about no text comes last.
    pub fn sort(&mut self) {
        let key = |located: &Located| match &located.span {
            Some((text, bytes)) => (*text, bytes.start),
            None => (usize::MAX, 0),
        };
        self.findings.sort_by_key(key);
    }
}

impl Text {
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.bytes.get(..offset).unwrap_or(&self.bytes);
        let line = before.split(|byte| *byte == b'\n');
        let start = line.clone().next_back().unwrap_or_default();
        let column = String::from_utf8_lossy(start).chars().count() + 1;
        (line.count(), column)
    }

    /// The line that a byte is in, and the place of the byte in it.
    #[must_use]
    pub fn line(&self, offset: usize) -> (&[u8], usize) {
        let offset = offset.min(self.bytes.len());
        let (before, after) = self.bytes.split_at(offset);
        let start = before.iter().rposition(|byte| *byte == b'\n');
        let start = start.map_or(0, |newline| newline + 1);
        let end = after.iter().position(|byte| *byte == b'\n');
        let end = end.map_or(self.bytes.len(), |newline| offset + newline);
        let line = self.bytes.get(start..end).unwrap_or_default();
        (line, offset - start)
    }
}
