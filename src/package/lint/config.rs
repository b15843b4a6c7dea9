//! What the agent refuses in a config.json, with its lines.

use std::ops::Range;
use std::path::Path;

use serde_json::Value;

use super::super::config::no_json;
use super::super::position::{Extra, Positions, without_extras};
use super::super::{Code, Finding, Place, Severity, schema};
use super::report::{Located, Report, Text};
use super::{Dir, Files};
use crate::error::Error;
use crate::host::Root;

/// Looks at the config.json, and gives what it holds.
pub(super) fn lint(
    root: &Root,
    files: &Files,
    report: &mut Report,
) -> Result<Option<Value>, Error> {
    let config = files.find(root, &files.config)?;
    let Some(config) = config.or_else(|| files.own(&files.config)) else {
        return Ok(None);
    };
    let bytes = match root.read(&config.path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let finding = Finding {
                severity: Severity::Error,
                code: Code::Unreadable,
                place: Place::DOCUMENT,
                message: error.to_string(),
            };
            report.findings.push(Located {
                finding,
                help: String::new(),
                file: config.name,
                span: None,
            });
            return Ok(None);
        }
    };
    // What is no UTF-8 is no JSON, and has no positions.
    let text = str::from_utf8(&bytes).unwrap_or_default();
    let positions = Positions::of(text);
    let mut findings = Vec::new();
    let document = match serde_json::from_slice(&bytes) {
        Ok(document) => Some(document),
        Err(error) => repaired(text, &positions, &mut findings).or_else(|| {
            let at = offset(&bytes, &error);
            findings.push((no_json(&error), Some(at..at)));
            None
        }),
    };
    for (place, key) in positions.repeated_keys() {
        let finding = Finding {
            severity: Severity::Warning,
            code: Code::RepeatedKey,
            place,
            message: "this key is here again below, and that one counts".to_owned(),
        };
        findings.push((finding, Some(key)));
    }
    if let Some(document) = &document {
        let exists = |path: &str| {
            let found = files.find(root, &Path::new("skyhook_dir").join(path))?;
            Ok(found.is_some())
        };
        let refused = schema::read(document, &exists).err().unwrap_or_default();
        for finding in refused {
            let span = match finding.code {
                Code::UnknownKey | Code::UnknownMode => positions.key(&finding.place),
                _ => positions.value(&finding.place),
            };
            findings.push((finding, span));
        }
    }
    add(report, &config, bytes, findings);
    Ok(document)
}

/// Reads a document without what is no JSON in it, and notes that as errors. Gives
/// nothing if that is not all that is wrong.
fn repaired(
    text: &str,
    positions: &Positions<'_>,
    findings: &mut Vec<(Finding, Option<Range<usize>>)>,
) -> Option<Value> {
    let repaired = without_extras(text, &positions.extras);
    let document = serde_json::from_slice(&repaired);
    for (extra, range) in &positions.extras {
        let (code, message) = match extra {
            Extra::ByteOrderMark => (
                Code::ByteOrderMark,
                "expected JSON, got a byte order mark in front of it",
            ),
            Extra::Comment => (Code::Comment, "expected JSON, which has no comments"),
            Extra::TrailingComma => (
                Code::TrailingComma,
                "expected no comma behind the last value",
            ),
        };
        let finding = Finding {
            severity: Severity::Error,
            code,
            place: Place::DOCUMENT,
            message: message.to_owned(),
        };
        findings.push((finding, Some(range.clone())));
    }
    document.ok()
}

/// Finds the byte that a reader of JSON stopped at.
fn offset(bytes: &[u8], error: &serde_json::Error) -> usize {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let start: usize = lines
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    (start + error.column().saturating_sub(1)).min(bytes.len())
}

fn add(
    report: &mut Report,
    file: &Dir,
    bytes: Vec<u8>,
    findings: Vec<(Finding, Option<Range<usize>>)>,
) {
    let text = report.add_text(Text {
        file: file.name.clone(),
        bytes,
    });
    let located = |(finding, span): (Finding, Option<Range<usize>>)| Located {
        finding,
        help: String::new(),
        file: file.name.clone(),
        span: span.map(|span| (text, span)),
    };
    report.findings.extend(findings.into_iter().map(located));
}
