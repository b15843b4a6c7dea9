//! The help, and its examples, each of which is run.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::support::{agent, or_skip, shell, stdout_of_success};
use super::{can_have_a_view, package};

fn help(option: &str) -> String {
    stdout_of_success(&agent().args(["rehearse", option]).output().unwrap())
}

#[test]
fn the_short_help_fits_a_screen() {
    let help = help("-h");
    assert!(help.lines().count() <= 30, "{help}");
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn the_long_help_has_no_long_lines() {
    for line in help("--help").lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn each_example_of_the_help_works() {
    or_skip!(can_have_a_view());
    let help = help("--help");
    let (_, examples) = help.split_once("Examples:\n").unwrap();
    let (examples, _) = examples.split_once("\n\nThe life").unwrap();
    let commands: String = examples
        .lines()
        .filter(|line| line.starts_with("    "))
        .map(|line| format!("{}\n", line.trim_start()))
        .collect();
    assert_eq!(commands.matches("skyhook-agent rehearse").count(), 4);
    let dir = TempDir::new().unwrap();
    let copy = |name: &str, to: &str| {
        let to = dir.path().join(to);
        let mut cp = Command::new("cp");
        let copied = cp.arg("-R").arg(package(name)).arg(to).status();
        assert!(copied.unwrap().success());
    };
    copy("good", "my-package");
    copy("good", "my-package-1.0.0");
    let config = dir.path().join("my-package/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"1.0.0\"", "\"1.1.0\"")).unwrap();
    let root = format!("skyhook-agent rehearse --root {} ", super::root().display());
    let commands = commands.replace("skyhook-agent rehearse ", &root);
    let script = format!("set -e\n{commands}");
    let output = shell(dir.path(), &script).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(dir.path().join("rehearsal.xml").exists());
}
