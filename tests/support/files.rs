//! Files and directories on disk.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// The content of the one log file in `dir` whose name is `{step}-{time}{ending}`.
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

/// What is in a folder, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub fn write_script(path: &Path, script: &str) {
    // Written by another process: a descriptor of ours that is open for writing
    // may be in a child that another test is just starting, and then executing
    // the file fails with ETXTBSY.
    let mut sh = Command::new("/bin/sh")
        .args(["-c", "cat > \"$0\"; chmod 755 \"$0\""])
        .arg(path)
        .stdin(std::process::Stdio::piped())
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
