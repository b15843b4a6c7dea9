//! Reads and writes files and directories.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The content of the only log file in `dir` named `{step}-{time}{ending}`.
#[track_caller]
pub fn log_in(dir: &Path, step: &str, ending: &str) -> String {
    let mut found = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(&format!("{step}-20")) && name.ends_with(ending)
        });
    let path = found
        .next()
        .unwrap_or_else(|| panic!("no {step} log in {dir:?}"));
    assert_eq!(found.next(), None, "one log of {step}");
    fs::read_to_string(path).unwrap()
}

/// The names in a directory, sorted.
#[track_caller]
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Every file below a directory, sorted. There are none if it does not exist.
pub fn files(below: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(below).into_iter().flatten() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(self::files(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}

/// Writes an executable file.
///
/// Another process writes it. If this one had it open for writing, a child that
/// another test starts at the same time would inherit the descriptor, and executing
/// the file would fail with ETXTBSY.
pub fn write_script(path: &Path, script: &str) {
    let mut sh = Command::new("/bin/sh")
        .args(["-c", "cat > \"$0\"; chmod 755 \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    sh.stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    assert!(sh.wait().unwrap().success());
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}
