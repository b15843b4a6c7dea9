//! What validate says about a config.json. Its verdict is the agent's, and each finding
//! can be shown.

use std::path::PathBuf;

use skyhook_agent::commands::validate::human;
use skyhook_agent::output::Palette;
use skyhook_agent::package::lint::{Dir, Files, Located, Options, Report, lint};
use skyhook_agent::package::{Code, Severity, inspect};

use super::package::Package;

/// Checks any bytes as the config.json of a package.
pub fn check(package: &Package, json: &[u8]) {
    let file = package.set_config(json);
    let inspection = inspect(&package.root, file).unwrap();
    let is_accepted = inspection.config.is_some();
    let files = Files {
        config: PathBuf::from("config.json"),
        dirs: vec![Dir {
            path: PathBuf::from("/copy"),
            name: PathBuf::from("copy"),
        }],
    };
    let report = lint(&package.root, &files, &Options::default());
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
