//! Notes what is found, with its place and its bytes.

use std::ops::Range;

use super::super::position::Positions;
use super::super::{Code, Finding, Place, Severity};
use super::report::{Located, Report, Text};
use super::{Dir, help};

/// Takes findings about a config.json and what it names.
pub(super) struct Notes<'a> {
    pub(super) report: &'a mut Report,
    pub(super) positions: Positions<'a>,
    file: Dir,
    text: usize,
}

impl<'a> Notes<'a> {
    /// `text` is what can be read of `bytes`.
    pub(super) fn new(
        report: &'a mut Report,
        file: Dir,
        bytes: Vec<u8>,
        text: &'a str,
    ) -> Notes<'a> {
        let name = file.name.clone();
        Notes {
            text: report.add_text(Text { file: name, bytes }),
            report,
            positions: Positions::of(text),
            file,
        }
    }

    /// Notes a finding about bytes of the config.json.
    pub(super) fn add(&mut self, finding: Finding, bytes: Option<Range<usize>>) {
        let help = help::of(&finding);
        self.add_with_help(finding, bytes, help);
    }

    pub(super) fn add_with_help(
        &mut self,
        finding: Finding,
        bytes: Option<Range<usize>>,
        help: String,
    ) {
        self.report.findings.push(Located {
            finding,
            help,
            file: self.file.name.clone(),
            span: bytes.map(|bytes| (self.text, bytes)),
        });
    }

    /// Notes an error in the value at a place.
    pub(super) fn error(&mut self, code: Code, place: &Place, message: impl Into<String>) {
        let bytes = self.positions.value(place);
        self.add(Finding::new(Severity::Error, code, place, message), bytes);
    }

    /// Warns of the value at a place.
    pub(super) fn warn(&mut self, code: Code, place: &Place, message: impl Into<String>) {
        let bytes = self.positions.value(place);
        self.add(Finding::new(Severity::Warning, code, place, message), bytes);
    }

    /// Warns of the key that a place ends with.
    pub(super) fn warn_of_key(&mut self, code: Code, place: &Place, message: impl Into<String>) {
        let bytes = self.positions.key(place);
        self.add(Finding::new(Severity::Warning, code, place, message), bytes);
    }
}
