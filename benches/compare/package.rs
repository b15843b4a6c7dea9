//! Writes the packages whose steps the agent runs.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::Result;

/// Writes a package whose apply steps are these programs with their arguments.
pub fn write_config(package: &Path, steps: &[(String, Vec<&str>)]) -> Result<()> {
    let mut apply = Vec::new();
    let mut checks = Vec::new();
    for (path, arguments) in steps {
        apply.push(step(path, arguments));
        // A package is valid only if each step has a check. None of them is run.
        let check = format!("{path}_check");
        fs::write(package.join("skyhook_dir").join(&check), "")?;
        checks.push(step(&check, &[]));
    }
    let config = json!({
        "schema_version": "v1", "package_name": "compare", "package_version": "1.0.0",
        "expected_config_files": [], "modes": { "apply": apply, "apply-check": checks },
    });
    fs::write(package.join("config.json"), config.to_string())?;
    Ok(())
}

fn step(path: &str, arguments: &[&str]) -> Value {
    json!({
        "name": path, "path": path, "arguments": arguments, "returncodes": [0],
        "on_host": true, "idempotence": false, "upgrade_step": false,
    })
}

/// Copies a program into a package, if it is not there yet.
pub fn copy_program(from: &Path, to: &Path) -> Result<()> {
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir)?;
    }
    if !to.exists() {
        fs::copy(from, to)?;
    }
    Ok(())
}

/// `run-step` of a package. Control files go where the logs go: creating and removing
/// them is not what is measured, and a disk makes it slow.
pub fn run_step(agent: &Path, logs: &Path, package: &Path) -> Command {
    let mut command = Command::new(agent);
    command
        .args(["run-step", "--log-dir"])
        .arg(logs)
        .arg(package)
        .env("TMPDIR", logs);
    command
}
