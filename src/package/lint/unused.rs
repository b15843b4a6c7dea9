//! The files in skyhook_dir that nothing seems to need.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::{Code, Finding, Place, Severity};
use super::config::in_step_dir;
use super::scripts::Scripts;
use super::{Files, Notes};
use crate::host::{Entry, Root};

/// The most bytes of a file that are searched for names.
const MOST: u64 = 1024 * 1024;

/// Warns of each file that is no step, and that no step names: neither itself nor a
/// directory that it is in. A file that a step names may name others.
pub(super) fn lint(
    root: &Root,
    files: &Files,
    config: &str,
    scripts: &Scripts,
    step_files: &[Entry],
    notes: &mut Notes<'_>,
) {
    // Arguments name files too.
    let mut words = Words::default();
    words.add(config.as_bytes());
    for bytes in scripts.values() {
        words.add(bytes);
    }
    let mut unused: Vec<&Path> = step_files
        .iter()
        .map(|entry| &*entry.path)
        .filter(|path| !scripts.contains_key(path.as_os_str()) && !is_for_people(path))
        .collect();
    // Each round reads what the one before has found to be used.
    loop {
        let (used, rest): (Vec<&Path>, Vec<&Path>) =
            unused.into_iter().partition(|path| words.name(path));
        unused = rest;
        if used.is_empty() || unused.is_empty() {
            break;
        }
        for path in used {
            if let Some(file) = files.own(&in_step_dir(path))
                && let Ok(bytes) = root.read_start(&file.path, MOST)
            {
                words.add(&bytes);
            }
        }
    }
    for path in unused {
        let message = "no step is this file, and none names it";
        let code = Code::UnusedFile;
        let finding = Finding::new(Severity::Warning, code, &Place::DOCUMENT, message);
        let file = files.own(&in_step_dir(path));
        let file = file.map(|file| file.name).unwrap_or_default();
        notes.add_about_file(file, finding);
    }
}

/// Tells if a file is there for people, or for other tools.
fn is_for_people(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_hidden = |part: &std::ffi::OsStr| part.to_string_lossy().starts_with('.');
    path.iter().any(is_hidden)
        || name.ends_with(".md")
        || ["README", "LICENSE", "NOTICE"]
            .iter()
            .any(|start| name.starts_with(start))
}

/// The words of texts that can be names of files.
#[derive(Default)]
struct Words(BTreeSet<Vec<u8>>);

impl Words {
    fn add(&mut self, text: &[u8]) {
        for word in text.split(|byte| !is_of_name(*byte)) {
            let word = word.strip_suffix(b".").unwrap_or(word);
            if !word.is_empty() && !self.0.contains(word) {
                self.0.insert(word.to_vec());
            }
        }
    }

    /// Tells if a path is named: by its last part, by a directory in it, by a pattern for
    /// its extension, or as a module of Python.
    fn name(&self, path: &Path) -> bool {
        let has = |word: &[u8]| self.0.contains(word);
        let named = |part: &std::ffi::OsStr| {
            let part = part.as_encoded_bytes();
            // Words like `a b.sh` cannot be found in a text.
            has(part) || !part.iter().copied().all(is_of_name)
        };
        let extension = path.extension().unwrap_or_default().as_encoded_bytes();
        let stem = path.file_stem().unwrap_or_default().as_encoded_bytes();
        path.iter().any(named)
            || has(&[b"*.", extension].concat())
            || extension == b"py" && has(stem)
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-*+@".contains(&byte) || byte >= 0x80
}
