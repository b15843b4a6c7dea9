//! The files of a package to start from.

use std::fmt::Write;

use super::Part;
use crate::package::Mode;

/// A file of a new package.
pub(super) struct File {
    /// Its path inside the package.
    pub(super) path: String,
    pub(super) text: String,
    pub(super) is_executable: bool,
}

/// What editors check config.json by. The package has its own, since there is no address
/// that it could name.
const SCHEMA: &str = include_str!("../../../docs/config.schema.json");

/// A mode that a package has one step for.
struct Task {
    mode: Mode,
    script: &'static str,
    purpose: &'static str,
}

const APPLY: [Task; 2] = [
    Task {
        mode: Mode::Apply,
        script: include_str!("apply.sh"),
        purpose: "does the work",
    },
    Task {
        mode: Mode::ApplyCheck,
        script: include_str!("apply_check.sh"),
        purpose: "checks that it is done",
    },
];

const CONFIG: [Task; 2] = [
    Task {
        mode: Mode::Config,
        script: include_str!("config.sh"),
        purpose: "brings the settings of the custom resource onto the node",
    },
    Task {
        mode: Mode::ConfigCheck,
        script: include_str!("config_check.sh"),
        purpose: "checks that they are there",
    },
];

const INTERRUPT: [Task; 1] = [Task {
    mode: Mode::PostInterruptCheck,
    script: include_str!("post_interrupt_check.sh"),
    purpose: "checks that what needed the interrupt is in effect",
}];

const UPGRADE: [Task; 2] = [
    Task {
        mode: Mode::Upgrade,
        script: include_str!("upgrade.sh"),
        purpose: "brings an older version to this one",
    },
    Task {
        mode: Mode::UpgradeCheck,
        script: include_str!("upgrade_check.sh"),
        purpose: "checks that",
    },
];

const UNINSTALL: [Task; 2] = [
    Task {
        mode: Mode::Uninstall,
        script: include_str!("uninstall.sh"),
        purpose: "removes everything",
    },
    Task {
        mode: Mode::UninstallCheck,
        script: include_str!("uninstall_check.sh"),
        purpose: "checks that nothing is left",
    },
];

impl Part {
    fn tasks(self) -> &'static [Task] {
        match self {
            Part::Config => &CONFIG,
            Part::Interrupt => &INTERRUPT,
            Part::Upgrade => &UPGRADE,
            Part::Uninstall => &UNINSTALL,
        }
    }

    /// What the package's entry in a custom resource has for it.
    fn resource(self) -> &'static str {
        match self {
            Part::Config => "      configMap:\n        settings.conf: |\n          level = high\n",
            Part::Interrupt => "      interrupt:\n        type: reboot\n",
            Part::Upgrade => "",
            Part::Uninstall => "      uninstall:\n        enabled: true\n",
        }
    }
}

/// Makes the files of the package `name` with these parts.
pub(super) fn files(name: &str, parts: &[Part]) -> Vec<File> {
    let tasks: Vec<&Task> = APPLY
        .iter()
        .chain(parts.iter().flat_map(|part| part.tasks()))
        .collect();
    let has_config = parts.contains(&Part::Config);
    let mut files = vec![
        plain("config.json", config_json(&tasks, has_config)),
        plain("config.schema.json", SCHEMA),
        plain("README.md", readme(&tasks, parts)),
        plain("Dockerfile", include_str!("Dockerfile")),
        plain(".dockerignore", include_str!("dockerignore")),
    ];
    files.extend(tasks.iter().map(|task| File {
        path: format!("skyhook_dir/{}", task.file()),
        text: task.script.to_owned(),
        is_executable: true,
    }));
    if has_config {
        files.push(plain(
            "configmaps/settings.conf",
            include_str!("settings.conf"),
        ));
    }
    for file in &mut files {
        file.text = file.text.replace("@NAME@", name);
    }
    files
}

fn plain(path: &str, text: impl Into<String>) -> File {
    File {
        path: path.to_owned(),
        text: text.into(),
        is_executable: false,
    }
}

impl Task {
    fn file(&self) -> String {
        format!("{}.sh", self.mode.name().replace('-', "_"))
    }
}

fn config_json(tasks: &[&Task], has_config: bool) -> String {
    let modes: Vec<String> = tasks.iter().map(|task| mode_json(task)).collect();
    let files = if has_config { r#""settings.conf""# } else { "" };
    format!(
        r#"{{
  "$schema": "./config.schema.json",
  "schema_version": "v1",
  "package_name": "@NAME@",
  "package_version": "0.1.0",
  "expected_config_files": [{files}],
  "modes": {{
{}
  }}
}}
"#,
        modes.join(",\n")
    )
}

fn mode_json(task: &Task) -> String {
    let (mode, file) = (task.mode, task.file());
    let upgrade_step = mode == Mode::Upgrade;
    format!(
        r#"    "{mode}": [
      {{
        "name": "{mode}",
        "path": "{file}",
        "arguments": [],
        "returncodes": [0],
        "on_host": true,
        "idempotence": false,
        "upgrade_step": {upgrade_step}
      }}
    ]"#
    )
}

fn readme(tasks: &[&Task], parts: &[Part]) -> String {
    let (mut steps, mut runs) = (String::new(), String::new());
    for task in tasks {
        let (mode, file, purpose) = (task.mode, task.file(), task.purpose);
        // Writing to a string cannot fail.
        let _ = writeln!(steps, "| {mode} | `{file}` | {purpose} |");
        let from = if mode.has_versions() {
            "--from 0.0.9 "
        } else {
            ""
        };
        let _ = writeln!(
            runs,
            "skyhook-agent run-step --log-dir logs --mode {mode} {from}@NAME@"
        );
    }
    let resource: String = parts.iter().map(|part| part.resource()).collect();
    include_str!("README.md")
        .replace("@STEPS@\n", &format!("{steps}\n"))
        .replace("@RUNS@", &runs)
        .replace("@RESOURCE@", &resource)
}
