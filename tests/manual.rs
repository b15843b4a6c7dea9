//! The man pages and completions of a release say what the help says.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

fn manual() -> TempDir {
    let program = Path::new(env!("CARGO_BIN_EXE_skyhook-agent"))
        .with_file_name("examples")
        .join("manual");
    let dir = TempDir::new().unwrap();
    let status = Command::new(program).arg(dir.path()).status();
    assert!(status.expect("cargo build --examples").success());
    dir
}

/// The words of the long help that a man page or a completion must have: options,
/// variables and positional arguments.
fn names(words: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_skyhook-agent"))
        .args(words)
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let is_name = |word: &&str| {
        word.starts_with("--") || word.contains('_') && !word.contains(char::is_lowercase)
    };
    let words = help.split(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c));
    words.filter(is_name).map(str::to_owned).collect()
}

#[test]
fn the_man_pages_have_what_the_help_has() {
    let dir = manual();
    for (page, words) in [
        ("skyhook-agent.1", &[][..]),
        ("skyhook-agent-run-step.1", &["run-step"]),
    ] {
        // roff escapes hyphens.
        let text = fs::read_to_string(dir.path().join(page)).unwrap();
        let text = text.replace('\\', "");
        let names = names(words);
        assert!(names.len() > 10, "{names:?}");
        for name in names {
            assert!(text.contains(&name), "{page}: {name}");
        }
        assert!(!text.contains("chroot-exec"), "{page}");
    }
}

#[test]
fn the_completions_offer_what_the_help_shows() {
    let dir = manual();
    for (file, dashes) in [
        ("skyhook-agent.bash", "--"),
        ("skyhook-agent.fish", "-l "),
        ("_skyhook-agent", "--"),
    ] {
        let text = fs::read_to_string(dir.path().join(file)).unwrap();
        for option in ["mode", "step", "chroot", "log-dir"] {
            assert!(text.contains(&format!("{dashes}{option}")), "{file}");
        }
        assert!(text.contains("run-step"), "{file}");
        assert!(!text.contains("chroot-exec"), "{file}");
    }
}
