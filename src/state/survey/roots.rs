//! Which state directories a node has, and where their logs are.

use std::path::Path;

use super::{MOST_NAMES, join, lock_owner};
use crate::host::Root;
use crate::settings::Settings;

/// The state directory that the agent uses if nothing else is said.
const DEFAULT: &str = "/etc/skyhook";

/// The directory in which the operator keeps a state directory for each custom resource.
const OPERATORS: &str = "/var/lib/skyhook";

/// The directory in which the operator keeps the logs of each custom resource.
const OPERATORS_LOGS: &str = "/var/log/skyhook";

/// A state directory and the directory of its packages' logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The state directory's path inside the root.
    pub dir: String,
    /// The path of the log directory.
    pub log_dir: String,
}

impl Place {
    /// Takes a state directory. Its logs are in `log_dir`, or where the operator has those
    /// of this state directory, or else in `usual_log_dir`.
    #[must_use]
    pub fn new(dir: &str, log_dir: Option<&str>, usual_log_dir: &str) -> Place {
        let dir = dir.trim_end_matches('/');
        let of_operator = operators_name(dir).map(|name| format!("{OPERATORS_LOGS}/{name}"));
        let log_dir = match (log_dir, of_operator) {
            (Some(given), _) => given.to_owned(),
            (None, Some(of_operator)) => of_operator,
            (None, None) => usual_log_dir.to_owned(),
        };
        Place {
            dir: if dir.is_empty() { "/" } else { dir }.to_owned(),
            log_dir: log_dir.trim_end_matches('/').to_owned(),
        }
    }
}

/// Finds the state directories of a node: the agent's usual one, those of the operator's
/// custom resources, and that of the environment, if it has one and it is there. A
/// directory that cannot be read counts, so that this is said.
#[must_use]
pub fn find(root: &Root, settings: &Settings) -> Vec<String> {
    let mut found = Vec::new();
    if looks_like_one(root, DEFAULT) {
        found.push(DEFAULT.to_owned());
    }
    let listing = root.list(Path::new(OPERATORS), MOST_NAMES);
    if listing.as_ref().map_or(true, |listing| listing.more > 0) {
        // As if it were a state directory: a survey of it says what is wrong.
        found.push(OPERATORS.to_owned());
    }
    for entry in listing.unwrap_or_default().entries {
        let path = join(OPERATORS, &entry.path);
        if entry.path.to_str().is_some() && looks_like_one(root, &path) {
            found.push(path);
        }
    }
    let own = &settings.root_dir;
    if settings.variable("SKYHOOK_ROOT_DIR").is_some()
        && root.open_dir(Path::new(own)).is_ok()
        && !found.contains(own)
    {
        found.push(own.clone());
    }
    found
}

/// Tells if the logs in `log_dir` may be of the packages of a state directory: the operator
/// has both under one name.
#[must_use]
pub fn may_have_logs_in(dir: &str, log_dir: &Path) -> bool {
    let of_logs = log_dir.strip_prefix(OPERATORS_LOGS).ok();
    let of_logs = of_logs.filter(|name| !name.as_os_str().is_empty());
    operators_name(dir).map(Path::new) == of_logs
}

/// The name that the operator gave to a state directory; `None` if it is none of its own.
fn operators_name(dir: &str) -> Option<&str> {
    dir.strip_prefix(OPERATORS)?.strip_prefix('/')
}

/// Names the state directory of the operator that `path` is below: the operator puts
/// packages beside their state.
#[must_use]
pub fn operators_dir(path: &str) -> Option<String> {
    let below = path.strip_prefix(OPERATORS)?.strip_prefix('/')?;
    let (name, _) = below.split_once('/')?;
    (!matches!(name, "" | "." | "..")).then(|| format!("{OPERATORS}/{name}"))
}

/// Tells if a directory has what only a state directory has, or cannot be looked at.
fn looks_like_one(root: &Root, dir: &str) -> bool {
    let is_dir = |path: &str| root.open_dir(Path::new(path)).is_ok();
    if !is_dir(dir) {
        return root.exists(Path::new(dir)).is_err();
    }
    let known = ["flags", "history", "interrupts/flags"];
    if known.iter().any(|name| is_dir(&format!("{dir}/{name}"))) {
        return true;
    }
    // An agent that runs for the first time has only its lock.
    match root.list(Path::new(dir), MOST_NAMES) {
        Ok(listing) => listing.entries.iter().any(|entry| {
            let name = entry.path.to_str();
            name.is_some_and(|name| lock_owner(name).is_some())
        }),
        Err(_) => true,
    }
}
