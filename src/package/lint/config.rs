//! What the agent refuses in a config.json.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::config::no_json;
use super::super::position::{Extra, without_extras};
use super::super::schema::{self, STEP_KEYS};
use super::super::{Code, Finding, Place, Severity};
use super::near::near;
use super::report::Report;
use super::{Dir, Files, Notes, help};
use crate::error::Error;
use crate::host::{Entry, Root};

/// Reads the config.json. If it cannot be read, that is a finding.
pub(super) fn read(
    root: &Root,
    files: &Files,
    report: &mut Report,
) -> Result<Option<(Dir, Vec<u8>)>, Error> {
    let config = files.find(root, &files.config)?;
    let Some(config) = config.or_else(|| files.own(&files.config)) else {
        return Ok(None);
    };
    match root.read(&config.path) {
        Ok(bytes) => Ok(Some((config, bytes))),
        Err(error) => {
            let code = Code::Unreadable;
            let finding = Finding::new(Severity::Error, code, &Place::DOCUMENT, error.to_string());
            report.add_about_file(config.name, finding);
            Ok(None)
        }
    }
}

/// Notes what is wrong with a config.json, and gives the document that it holds, or that it
/// would hold without what is no JSON in it.
pub(super) fn lint(
    root: &Root,
    files: &Files,
    bytes: &[u8],
    text: &str,
    step_files: &[Entry],
    notes: &mut Notes<'_>,
) -> Option<Value> {
    let document = match serde_json::from_slice(bytes) {
        Ok(document) => document,
        Err(error) => match repaired(text, notes) {
            Some(document) => document,
            None => {
                let at = offset(bytes, &error);
                let finding = no_json(&error);
                let help = help::of(&finding);
                notes.list(finding, Some(at..at), help);
                return None;
            }
        },
    };
    for (place, key) in notes.positions.repeated_keys() {
        let message = "this key comes again below, and only the last one counts";
        let finding = Finding::new(Severity::Warning, Code::RepeatedKey, &place, message);
        notes.add(finding, key);
    }
    let exists = |path: &str| {
        let found = files.find(root, &in_step_dir(Path::new(path)))?;
        Ok(found.is_some())
    };
    let refused = schema::read(&document, &exists).err().unwrap_or_default();
    let misspelled = misspelled(&refused);
    for finding in refused {
        if finding.code == Code::MissingValue && misspelled.contains(&finding.place) {
            continue;
        }
        let bytes = match finding.code {
            Code::UnknownKey | Code::UnknownMode => notes.positions.key(&finding.place),
            _ => notes.positions.value(&finding.place),
        };
        let help = match finding.code {
            Code::NoFile => near_file(&document, &finding.place, step_files),
            Code::MissingValue => near_key(&document, &finding.place),
            _ => None,
        };
        let help = help.unwrap_or_else(|| help::of(&finding));
        notes.list(finding, bytes, help);
    }
    Some(document)
}

/// The keys that unknown ones were probably meant to be: the findings about those say so.
fn misspelled(refused: &[Finding]) -> HashSet<Place> {
    let unknown = refused
        .iter()
        .filter(|finding| finding.code == Code::UnknownKey);
    let meant = unknown.filter_map(|Finding { place, .. }| {
        let key = near(place.last_key()?, STEP_KEYS)?;
        Some(place.above().key(key))
    });
    meant.collect()
}

/// Says which key of the document was probably meant to be the missing one.
fn near_key(document: &Value, missing: &Place) -> Option<String> {
    let above = missing.above().value(document)?.as_object()?;
    let key = near(missing.last_key()?, above.keys().map(String::as_str))?;
    Some(format!("is {key} meant to be it? Then correct that key"))
}

/// Reads a document without what is no JSON in it, and notes that as errors. Gives
/// nothing if that is not all that is wrong.
fn repaired(text: &str, notes: &mut Notes<'_>) -> Option<Value> {
    let extras = notes.positions.extras.clone();
    for (extra, bytes) in &extras {
        let (code, message) = match extra {
            Extra::ByteOrderMark => (
                Code::ByteOrderMark,
                "expected JSON, got a byte order mark in front of it",
            ),
            Extra::Comment => (
                Code::Comment,
                "expected JSON, which has no comments, got one",
            ),
            Extra::TrailingComma => (
                Code::TrailingComma,
                "expected no comma after the last value, got one",
            ),
        };
        let finding = Finding::new(Severity::Error, code, &Place::DOCUMENT, message);
        notes.add(finding, bytes.clone());
    }
    serde_json::from_slice(&without_extras(text, &extras)).ok()
}

/// Finds the byte at which a reader of JSON stopped.
fn offset(bytes: &[u8], error: &serde_json::Error) -> usize {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let before = lines.take(error.line().saturating_sub(1));
    let start: usize = before.map(<[u8]>::len).sum();
    (start + error.column().saturating_sub(1)).min(bytes.len())
}

/// Says which file a step's path was probably meant to be.
fn near_file(document: &Value, place: &Place, step_files: &[Entry]) -> Option<String> {
    let path = place.value(document)?.as_str()?;
    let names = step_files.iter().filter_map(|entry| entry.path.to_str());
    let near = near(path, names)?;
    Some(format!("did you mean {near}?"))
}

/// Looks for the files that are expected in `configmaps`.
pub(super) fn expected_files(
    root: &Root,
    document: &Value,
    configmaps: Option<&Dir>,
    notes: &mut Notes<'_>,
) -> Result<(), Error> {
    let expected = document
        .get("expected_config_files")
        .and_then(Value::as_array);
    let (Some(configmaps), Some(expected)) = (configmaps, expected) else {
        return Ok(());
    };
    for (i, file) in expected.iter().enumerate() {
        let Some(file) = file.as_str().filter(|file| !schema::leads_out(file)) else {
            continue;
        };
        if !root.exists(&configmaps.path.join(file))? {
            let dir = configmaps.name.display();
            let message = format!("expected a file in {dir}, which has no {file:?}");
            let place = Place::DOCUMENT.key("expected_config_files").index(i);
            notes.error(Code::NoConfigFile, &place, message);
        }
    }
    Ok(())
}

/// The path below skyhook_dir of a step's file.
pub(super) fn in_step_dir(path: &Path) -> PathBuf {
    Path::new("skyhook_dir").join(path)
}
