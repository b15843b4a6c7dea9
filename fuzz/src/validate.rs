//! What validate says about a config.json. Its verdict is the agent's, and each finding
//! can be shown.

use std::fs;
use std::path::{Path, PathBuf};

use skyhook_agent::commands::validate::human;
use skyhook_agent::host::Root;
use skyhook_agent::output::Palette;
use skyhook_agent::package::lint::{Dir, Files, Located, Options, Report, lint};
use skyhook_agent::package::{Code, Severity, inspect};
use tempfile::TempDir;

/// The step files of the package that config.json belongs to.
const STEP_FILES: [&str; 3] = ["a.sh", "a_check.sh", "steps/b"];

/// A package on disk.
pub struct Package {
    dir: TempDir,
    root: Root,
}

impl Package {
    /// Creates one with a few step files.
    pub fn on_disk() -> Package {
        let dir = tempfile::tempdir().unwrap();
        let step_dir = dir.path().join("copy/skyhook_dir");
        fs::create_dir_all(step_dir.join("steps")).unwrap();
        for file in STEP_FILES {
            fs::write(step_dir.join(file), "#!/bin/sh\n").unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        Package { dir, root }
    }

    /// Checks any bytes as its config.json.
    pub fn check(&self, json: &[u8]) {
        fs::write(self.dir.path().join("copy/config.json"), json).unwrap();
        let is_accepted = inspect(&self.root, Path::new("/copy/config.json"))
            .unwrap()
            .config
            .is_some();
        let files = Files {
            config: PathBuf::from("config.json"),
            dirs: vec![Dir {
                path: PathBuf::from("/copy"),
                name: PathBuf::from("copy"),
            }],
        };
        let report = lint(&self.root, &files, &Options::default());
        // The agent finds that a directory is no program when it starts the step.
        let refuses = |located: &Located| {
            let finding = &located.finding;
            finding.severity == Severity::Error && finding.code != Code::NotAFile
        };
        let refused = report.findings.iter().find(|located| refuses(located));
        assert_eq!(refused.is_none(), is_accepted, "{refused:?}");
        for located in &report.findings {
            check_finding(&report, located, json);
        }
    }
}

fn check_finding(report: &Report, located: &Located, json: &[u8]) {
    assert!(!located.help.is_empty(), "{located:?}");
    if let Some((text, bytes)) = &located.span {
        assert_eq!(report.texts[*text].bytes, json, "{located:?}");
        assert!(bytes.start <= bytes.end && bytes.end <= json.len());
        let (line, column) = report.position(located).unwrap();
        let newlines = json[..bytes.start].iter().filter(|byte| **byte == b'\n');
        assert_eq!(line, newlines.count() + 1);
        assert!(column >= 1);
    }
    for width in [None, Some(0), Some(30), Some(200)] {
        for line in human::lines(report, located, Palette::PLAIN, width) {
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}
