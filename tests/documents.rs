//! The documents: each test that they name exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The files of a directory that end in `.{extension}`.
fn files(dir: &str, extension: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let paths = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect()
}

/// The functions in the files of a directory of tests, as `{prefix}{file}::{function}`.
fn functions(dir: &str, prefix: &str) -> Vec<String> {
    let mut functions = Vec::new();
    for path in files(dir, "rs") {
        let module = path.file_stem().unwrap().to_str().unwrap();
        for after in fs::read_to_string(&path).unwrap().split("fn ").skip(1) {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let name = after.split(|c| !is_name(c)).next().unwrap();
            functions.push(format!("{prefix}{module}::{name}"));
        }
    }
    functions
}

/// The words in backticks of the form `file::test`.
fn named_tests(text: &str) -> impl Iterator<Item = &str> {
    let is_path = |word: &&str| {
        let is_name = |name: &str| {
            !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        word.contains("::") && word.split("::").all(is_name)
    };
    text.split('`').skip(1).step_by(2).filter(is_path)
}

#[test]
fn every_test_that_a_document_names_exists() {
    let mut known: BTreeSet<String> = functions("tests", "").into_iter().collect();
    known.extend(functions("tests/faults", "faults::"));
    known.extend(functions("tests/logs", "logs::"));
    // How the documents write the name of a test.
    known.insert("file::test".to_owned());
    let mut named = 0;
    for document in [files(".", "md"), files("docs", "md")].concat() {
        let text = fs::read_to_string(&document).unwrap();
        for test in named_tests(&text) {
            assert!(known.contains(test), "{}: {test}", document.display());
            named += 1;
        }
    }
    assert!(named > 50, "only {named} tests are named");
}
