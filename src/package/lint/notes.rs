//! Notes what is found, with its place and its bytes.

use std::ops::Range;
use std::path::PathBuf;

use super::super::position::Positions;
use super::super::{Code, Finding, Place, Severity};
use super::report::{Located, Report, Text};
use super::{Dir, help};

/// The most findings of each severity that are listed one by one, besides what the agent
/// refuses.
const MOST: usize = 100;

/// Takes findings about a config.json and what it names.
pub(super) struct Notes<'a> {
    pub(super) report: &'a mut Report,
    pub(super) positions: Positions<'a>,
    file: Dir,
    text: usize,
    errors: usize,
    warnings: usize,
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
            errors: 0,
            warnings: 0,
        }
    }

    /// Notes a finding about bytes of the config.json, if there are not too many.
    pub(super) fn add(&mut self, finding: Finding, bytes: Range<usize>) {
        if self.has_room(finding.severity) {
            let help = help::of(&finding);
            self.list(finding, Some(bytes), help);
        }
    }

    /// Notes an error in the value at a place, if there are not too many.
    pub(super) fn error(&mut self, code: Code, place: &Place, message: impl Into<String>) {
        self.note(
            Finding::new(Severity::Error, code, place, message),
            Positions::value,
        );
    }

    /// Warns of the value at a place, if there are not too many warnings.
    pub(super) fn warn(&mut self, code: Code, place: &Place, message: impl Into<String>) {
        self.note(
            Finding::new(Severity::Warning, code, place, message),
            Positions::value,
        );
    }

    /// Warns of the key that a place ends with, if there are not too many warnings.
    pub(super) fn warn_of_key(&mut self, code: Code, place: &Place, message: impl Into<String>) {
        self.note(
            Finding::new(Severity::Warning, code, place, message),
            Positions::key,
        );
    }

    fn note(
        &mut self,
        finding: Finding,
        position: impl Fn(&Positions<'a>, &Place) -> Option<Range<usize>>,
    ) {
        // A position is looked for in the whole document: not for each of very many.
        if self.has_room(finding.severity) {
            let bytes = position(&self.positions, &finding.place);
            let help = help::of(&finding);
            self.list(finding, bytes, help);
        }
    }

    /// Notes a finding about a whole file, if there are not too many.
    pub(super) fn add_about_file(&mut self, file: PathBuf, finding: Finding) {
        if self.has_room(finding.severity) {
            self.report.add_about_file(file, finding);
        }
    }

    /// Counts a finding, and tells if it is listed.
    fn has_room(&mut self, severity: Severity) -> bool {
        let count = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        *count <= MOST
    }

    /// Lists a finding, however many there are.
    pub(super) fn list(&mut self, finding: Finding, bytes: Option<Range<usize>>, help: String) {
        self.report.findings.push(Located {
            finding,
            help,
            file: self.file.name.clone(),
            span: bytes.map(|bytes| (self.text, bytes)),
        });
    }

    /// Says how many findings are not listed.
    pub(super) fn end(mut self) {
        for (severity, count) in [
            (Severity::Error, self.errors),
            (Severity::Warning, self.warnings),
        ] {
            let more = count.saturating_sub(MOST);
            if more > 0 {
                let message = format!("{more} more {}s are not listed", severity.name());
                let finding = Finding::new(severity, Code::TooMany, &Place::DOCUMENT, message);
                let help = help::of(&finding);
                self.list(finding, None, help);
            }
        }
    }
}
