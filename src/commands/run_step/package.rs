//! The package of a `run-step`: where it is, what it says, and what of it runs.

use std::path::Path;

use super::Options;
use crate::commands::Process;
use crate::error::Error;
use crate::host::{Root, inside};
use crate::package::{self, Config, Mode, Severity, Step};

/// The steps of one mode, as they run.
#[derive(Debug)]
pub(super) struct Steps {
    pub(super) mode: Mode,
    pub(super) steps: Vec<Step>,
}

/// Makes the package's directory an absolute path inside the root: from the working
/// directory in this root, from `/` in another root. The package's config.json stands
/// for its directory.
pub(super) fn copy_dir(root: &Root, named: &Path, is_local: bool) -> Result<String, Error> {
    let absolute = inside(named, is_local)?;
    let dir = match absolute.parent() {
        Some(parent) if absolute.ends_with("config.json") && root.open_dir(&absolute).is_err() => {
            parent.to_owned()
        }
        _ => absolute,
    };
    // The control file is JSON, which holds UTF-8 alone.
    dir.into_os_string()
        .into_string()
        .map_err(|path| Error::Usage(format!("COPY_DIR: expected UTF-8, got {}", path.display())))
}

/// Reads the package's config.json. What the agent warns of there goes by the names of
/// files, and is wrong where a check has another name; [`warn`] knows better.
pub(super) fn load(root: &Root, file: &Path) -> Result<Config, Error> {
    let inspection = package::inspect(root, file)?;
    inspection.config.ok_or_else(|| {
        let findings = inspection.findings.iter();
        let errors = findings.filter(|finding| finding.severity == Severity::Error);
        Error::Package {
            file: root.host_path(file),
            problems: errors.map(ToString::to_string).collect(),
        }
    })
}

/// Chooses what to run: the steps of the mode, and those of its check if they are asked
/// for.
pub(super) fn choose(
    config: &Config,
    options: &Options,
    config_file: &Path,
) -> Result<Vec<Steps>, Error> {
    let steps = of_mode(config, options.mode);
    for name in &options.steps {
        if !steps.iter().any(|step| step.name == *name) {
            let names: Vec<&str> = steps.iter().map(|step| &*step.name).collect();
            return Err(Error::Usage(format!(
                "--step {name}: expected a step of mode {} in {}, which has: {}",
                options.mode,
                config_file.display(),
                if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                }
            )));
        }
    }
    let mut modes = vec![options.mode];
    if options.check {
        let check = options.mode.check();
        modes.push(check.ok_or_else(|| {
            let mode = options.mode;
            Error::Usage(format!(
                "--check: expected a mode with checks, {mode} has none"
            ))
        })?);
    }
    if options.from.is_some() && !options.mode.has_versions() {
        return Err(Error::Usage(format!(
            "--from: expected mode upgrade or upgrade-check, got {}",
            options.mode
        )));
    }
    let previous = options.from.as_deref().unwrap_or(UNKNOWN);
    let as_it_runs = |step: &Step, mode: Mode| match mode.has_versions() {
        true => step.with_versions(previous, &config.package_version),
        false => step.clone(),
    };
    let chosen = |mode| Steps {
        mode,
        steps: of_mode(config, mode)
            .iter()
            .filter(|step| options.steps.is_empty() || options.steps.contains(&step.name))
            .map(|step| as_it_runs(step, mode))
            .collect(),
    };
    Ok(modes.into_iter().map(chosen).collect())
}

/// The previous version of an upgrade on a node that has no history of the package.
const UNKNOWN: &str = "unknown";

fn of_mode(config: &Config, mode: Mode) -> &[Step] {
    config.modes.get(&mode).map_or(&[], Vec::as_slice)
}

/// Says what differs from a run on a node, and what a person may have meant otherwise.
pub(super) fn warn(
    config: &Config,
    options: &Options,
    chosen: &[Steps],
    config_file: &Path,
    process: &mut Process<'_>,
) {
    let file = config_file.display();
    let mut warn = |warning: &str| process.console.notice(&format!("warning: {warning}"));
    for steps in chosen.iter().filter(|steps| steps.steps.is_empty()) {
        let mode = steps.mode;
        if of_mode(config, mode).is_empty() {
            warn(&format!("{file}: no steps for mode {mode}"));
        } else {
            warn(&format!("{file}: mode {mode} has no step of these names"));
        }
    }
    if options.mode.has_versions() && options.from.is_none() {
        warn(&format!(
            "without --from VERSION, steps are told that the version before is {UNKNOWN}"
        ));
    }
}

/// Refuses what the agent refuses: config files that are expected and not there.
pub(super) fn expect_config_files(
    root: &Root,
    copy_dir: &Path,
    config: &Config,
    options: &Options,
    process: &mut Process<'_>,
) -> Result<(), Error> {
    let expected = crate::commands::staging::expect_config_files(root, copy_dir, config);
    if expected.is_err() && options.configmaps.is_none() {
        process
            .console
            .notice("the package expects config files; --configmaps DIR names their directory");
    }
    expected
}
