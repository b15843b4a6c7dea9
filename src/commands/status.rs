//! `skyhook-agent status`: what a node has of the packages, what a run would do, and
//! forgetting that a step has finished. For operators.

mod forget;
mod human;
mod json;
mod plan;

use std::path::{Path, PathBuf};

use anstream::ColorChoice;

use super::Outcome;
use crate::error::Error;
use crate::host::{self, Root};
use crate::output::Printer;
use crate::package::Mode;
use crate::settings::Settings;
use crate::state::survey::{self, Place, StateRoot};

/// The version of the JSON that this command writes.
const SCHEMA: u32 = 1;

/// The options of `status`, as the command line has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The root of the node.
    pub root: PathBuf,
    /// The state directories, inside the root; those that are found if there is none.
    pub state_dirs: Vec<PathBuf>,
    /// The log directory, inside the root; `None` for the usual ones.
    pub log_dir: Option<PathBuf>,
    /// The package; `None` for all.
    pub package: Option<String>,
    /// What is to be done.
    pub task: Task,
    /// Tells if the answer is JSON.
    pub json: bool,
    /// Tells if the answer has colours.
    pub color: ColorChoice,
}

/// What `status` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// To show what there is.
    Show,
    /// To show what a run would do.
    Plan {
        /// The package.
        package: String,
        /// The mode of the run.
        mode: Mode,
        /// The package's directory, inside the root.
        copy_dir: PathBuf,
    },
    /// To remove a step's flags.
    Forget {
        /// The package.
        package: String,
        /// The step's path below `skyhook_dir`.
        step: String,
        /// Tells if it is done without a question.
        yes: bool,
    },
}

/// Answers.
///
/// # Errors
/// If the node cannot be looked at, or its state not be changed.
pub fn run(
    options: &Options,
    settings: &Settings,
    printer: &mut Printer,
) -> Result<Outcome, Error> {
    let root = Root::open(&options.root)?;
    let places = places(options, settings, &root)?;
    match &options.task {
        Task::Show => show(options, &root, &places, printer),
        Task::Plan {
            package,
            mode,
            copy_dir,
        } => {
            let request = plan::Request {
                package,
                mode: *mode,
                copy_dir: &inside(options, copy_dir)?,
                is_given: !options.state_dirs.is_empty(),
            };
            let plan = plan::make(&request, &root, &places, settings)?;
            if options.json {
                printer.json(&plan)?;
            } else {
                plan::print(&plan, printer)?;
            }
            Ok(outcome(plan.problems.is_empty()))
        }
        Task::Forget { package, step, yes } => {
            let request = forget::Request {
                package,
                step,
                yes: *yes,
                json: options.json,
            };
            forget::run(request, &root, &places, printer)
        }
    }
}

fn show(
    options: &Options,
    root: &Root,
    places: &[Place],
    printer: &mut Printer,
) -> Result<Outcome, Error> {
    let only = options.package.as_deref();
    let found: Vec<StateRoot> = places
        .iter()
        .map(|place| survey::survey(root, place, only))
        .collect();
    if options.json {
        printer.json(&json::Document::of(&found))?;
    } else {
        human::print(&found, only, printer)?;
    }
    let has_it = only.is_none() || found.iter().any(|root| !root.packages.is_empty());
    Ok(outcome(has_it && found.iter().all(is_well)))
}

/// Tells if nothing is wrong: all could be understood, and no check failed.
fn is_well(root: &StateRoot) -> bool {
    root.problems.is_empty()
        && !root.checks.iter().any(|check| check.failed)
        && root
            .packages
            .iter()
            .all(|package| package.problems.is_empty())
}

fn outcome(is_well: bool) -> Outcome {
    if is_well {
        Outcome::Succeeded
    } else {
        Outcome::Failed
    }
}

/// Chooses the state directories: those given, which must be there; otherwise those that
/// are found, and the environment's.
fn places(options: &Options, settings: &Settings, root: &Root) -> Result<Vec<Place>, Error> {
    let log_dir = match &options.log_dir {
        Some(dir) => Some(inside(options, dir)?),
        None => settings
            .variable("SKYHOOK_LOG_DIR")
            .map(|_| settings.log_dir.clone()),
    };
    let mut dirs = Vec::new();
    for dir in &options.state_dirs {
        let dir = inside(options, dir)?;
        root.open_dir(Path::new(&dir))?;
        dirs.push(dir);
    }
    if options.state_dirs.is_empty() {
        dirs = survey::find(root, settings);
    }
    let mut places: Vec<Place> = Vec::new();
    for dir in dirs {
        let place = Place::new(&dir, log_dir.as_deref(), &settings.log_dir);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Ok(places)
}

/// Makes a path absolute inside the root.
fn inside(options: &Options, path: &Path) -> Result<String, Error> {
    host::inside(path, options.root == Path::new("/"))?
        .into_os_string()
        .into_string()
        .map_err(|path| Error::Usage(format!("expected a path in UTF-8, got {}", path.display())))
}
