//! The state of a node as JSON, for programs. Fields are added, and none is changed, as
//! long as the schema has its number.

use serde::Serialize;

use super::SCHEMA;
use crate::state::Entry;
use crate::state::lock::Run;
use crate::state::survey::{Check, InterruptFlag, Logs, Package, Problem, StateRoot, StepFlag};

/// The whole answer.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    /// 1.
    schema: u32,
    /// The packages of all state directories.
    packages: Vec<PackageJson<'a>>,
    /// The state directories, each with what is known of no package.
    state_roots: &'a [StateRoot],
}

/// One package in one state directory.
#[derive(Debug, Serialize)]
struct PackageJson<'a> {
    name: &'a str,
    /// The path of its state directory.
    state_root: &'a str,
    /// The current version; null without a history.
    version: Option<&'a str>,
    /// The time since when the node has that version.
    since: Option<&'a str>,
    history: &'a [Entry],
    steps: &'a [StepFlag],
    checks: &'a [Check],
    interrupts: &'a [InterruptFlag],
    logs: &'a Logs,
    /// The run under way; null if there is none that can be seen.
    running: Option<&'a Run>,
    /// True if there is a lock, and it cannot be told from here if a process holds it.
    may_run: bool,
    leftovers: &'a [String],
    problems: &'a [Problem],
}

impl<'a> Document<'a> {
    pub(super) fn of(state_roots: &'a [StateRoot]) -> Document<'a> {
        let packages = |root: &'a StateRoot| {
            let packages = root.packages.iter();
            packages.map(|package| PackageJson::of(package, root))
        };
        Document {
            schema: SCHEMA,
            packages: state_roots.iter().flat_map(packages).collect(),
            state_roots,
        }
    }
}

impl<'a> PackageJson<'a> {
    fn of(package: &'a Package, root: &'a StateRoot) -> PackageJson<'a> {
        PackageJson {
            name: &package.name,
            state_root: &root.path,
            version: package.version.as_deref(),
            since: package.since.as_deref(),
            history: &package.history,
            steps: &package.steps,
            checks: &package.checks,
            interrupts: &package.interrupts,
            logs: &package.logs,
            running: package.running.as_ref(),
            may_run: package.may_run,
            leftovers: &package.leftovers,
            problems: &package.problems,
        }
    }
}
