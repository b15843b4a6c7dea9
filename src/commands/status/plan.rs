//! `status PACKAGE --plan MODE COPY_DIR`: what a run of a mode would do now. Runs nothing.

mod print;

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::SCHEMA;
use crate::commands::staging::expect_config_files;
use crate::error::Error;
use crate::exec::step::variable;
use crate::host::{Change, Root, compare_tree};
use crate::package::{self, Config, Mode, Severity, Step};
use crate::settings::Settings;
use crate::stamp::SystemClock;
use crate::state::marker::plain_path;
use crate::state::survey::{Place, StepFlag, operators_dir, survey};
use crate::state::{Decision, Layout, State, Why};

pub(super) use print::print;

/// The run that a plan is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) package: &'a str,
    pub(super) mode: Mode,
    pub(super) copy_dir: &'a str,
    /// Tells if the command line names state directories.
    pub(super) is_given: bool,
}

/// What a run would do. Also the JSON of it, whose fields do not change within a schema.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    /// 1.
    schema: u32,
    mode: &'static str,
    package: String,
    /// The version that config.json has.
    version: String,
    /// The state directory that the plan is made by.
    state_root: String,
    /// The steps of the mode, in their order.
    steps: Vec<PlannedStep>,
    /// What the package's files would change on the node, by path.
    overlay: Vec<OverlayChange>,
    /// Why the run could not go on, or what cannot be told.
    pub(super) problems: Vec<String>,
}

/// One step of a plan.
#[derive(Debug, Serialize)]
struct PlannedStep {
    name: String,
    path: String,
    /// The arguments that it would be given. `env:NAME` stands for the variable, whose
    /// value is not shown.
    arguments: Vec<String>,
    action: Action,
    reason: Reason,
    /// The arguments with which it succeeded before, if it runs because they are others;
    /// null if they are not known.
    arguments_before: Option<Vec<String>>,
    /// The time at which it last succeeded with these arguments: the node's local time.
    last_run: Option<String>,
    /// The variables of its arguments.
    variables: Vec<Variable>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Run,
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Reason {
    /// It has no flag.
    NeverRan,
    /// It has its flag.
    Flag,
    /// It has its flag, and its config has it run every time.
    AlwaysRuns,
    /// The mode looks at no flags; a check does not either.
    ModeIgnoresFlags,
    /// `OVERLAY_ALWAYS_RUN_STEP` is set.
    Forced,
    /// It has a flag of other arguments or return codes.
    ArgumentsChanged,
}

/// A variable that an argument stands for.
#[derive(Debug, Serialize)]
struct Variable {
    name: String,
    /// Tells if the environment of this command has it. That of a run may differ.
    is_set: bool,
}

/// Something that the package's files would change.
#[derive(Debug, Serialize)]
struct OverlayChange {
    /// The path on the node. That of a directory ends in `/`.
    path: String,
    change: ChangeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum ChangeKind {
    Add,
    Replace,
}

/// Makes the plan.
///
/// # Errors
/// If the package cannot be used, or the state directory cannot be chosen.
pub(super) fn make(
    request: &Request<'_>,
    root: &Root,
    places: &[Place],
    settings: &Settings,
) -> Result<Plan, Error> {
    let Request {
        package,
        mode,
        copy_dir,
        ..
    } = *request;
    let config = load(root, Path::new(copy_dir))?;
    if config.package_name != package {
        let problem = format!(
            "package_name: expected {package:?}, the package to plan for, got {:?}",
            config.package_name
        );
        return Err(Error::Package {
            file: root.host_path(&Path::new(copy_dir).join("config.json")),
            problems: vec![problem],
        });
    }
    let place = choose(request, root, places, settings)?;
    let found = survey(root, &place, Some(package)).packages.pop();
    let flags = found.map(|package| package.steps).unwrap_or_default();
    let planner = Planner {
        config: &config,
        mode,
        settings,
        flags: &flags,
        state: State {
            root,
            root_mount: "",
            layout: Layout {
                root_dir: &place.dir,
                package,
                version: &config.package_version,
            },
            clock: &SystemClock::default(),
        },
    };
    let mut problems = Vec::new();
    let mut overlay = Vec::new();
    if mode.has_overlay() {
        match changes(root, copy_dir) {
            Ok(changes) => overlay = changes,
            Err(error) => problems.push(error.to_string()),
        }
        if let Err(error) = expect_config_files(root, Path::new(copy_dir), &config) {
            problems.extend(error.lines());
        }
    }
    Ok(Plan {
        schema: SCHEMA,
        mode: mode.name(),
        package: package.to_owned(),
        version: config.package_version.clone(),
        steps: planner.steps()?,
        state_root: place.dir,
        overlay,
        problems,
    })
}

fn load(root: &Root, copy_dir: &Path) -> Result<Config, Error> {
    let file = copy_dir.join("config.json");
    let inspection = package::inspect(root, &file)?;
    let errors = inspection.findings.iter();
    let errors = errors.filter(|finding| finding.severity == Severity::Error);
    let problems = errors.map(ToString::to_string).collect();
    inspection.config.ok_or_else(|| Error::Package {
        file: root.host_path(&file),
        problems,
    })
}

/// Chooses the state directory that a run would use: the environment's, the one that the
/// package's directory is in, as the operator has it, or the only one that is there or
/// knows the package. Without any, the usual one.
fn choose(
    request: &Request<'_>,
    root: &Root,
    places: &[Place],
    settings: &Settings,
) -> Result<Place, Error> {
    let place = |dir: &str| {
        let found = places.iter().find(|place| place.dir == dir).cloned();
        found.unwrap_or_else(|| Place::new(dir, None, &settings.log_dir))
    };
    if !request.is_given {
        if settings.variable("SKYHOOK_ROOT_DIR").is_some() {
            return Ok(place(&settings.root_dir));
        }
        if let Some(dir) = operators_dir(request.copy_dir) {
            return Ok(place(&dir));
        }
    }
    match places {
        [] => return Ok(place(&settings.root_dir)),
        [only] => return Ok(only.clone()),
        _ => {}
    }
    let only = Some(request.package);
    let has = |place: &&Place| !survey(root, place, only).packages.is_empty();
    let mut having = places.iter().filter(has);
    if let (Some(place), None) = (having.next(), having.next()) {
        return Ok(place.clone());
    }
    let dirs: Vec<&str> = places.iter().map(|place| &*place.dir).collect();
    Err(Error::Usage(format!(
        "--plan: expected --state-dir with one of {}",
        dirs.join(", ")
    )))
}

fn changes(root: &Root, copy_dir: &str) -> Result<Vec<OverlayChange>, Error> {
    let overlay = Path::new(copy_dir).join("root_dir");
    if !root.exists(&overlay)? {
        return Ok(Vec::new());
    }
    let changes = compare_tree(root, &overlay, root, Path::new("/"))?;
    let change = |change: Change| OverlayChange {
        path: format!(
            "{}{}",
            change.path.to_string_lossy(),
            if change.is_dir { "/" } else { "" }
        ),
        change: if change.replaces {
            ChangeKind::Replace
        } else {
            ChangeKind::Add
        },
    };
    Ok(changes.into_iter().map(change).collect())
}

/// Plans the steps of one mode.
struct Planner<'a> {
    config: &'a Config,
    mode: Mode,
    settings: &'a Settings,
    /// The flags of the package.
    flags: &'a [StepFlag],
    state: State<'a>,
}

impl Planner<'_> {
    fn steps(&self) -> Result<Vec<PlannedStep>, Error> {
        let steps = self.config.modes.get(&self.mode);
        let previous = if self.mode.has_versions() {
            Some(self.state.read_history()?.version())
        } else {
            None
        };
        let plan = |step| self.step(step, previous.as_deref());
        steps.into_iter().flatten().map(plan).collect()
    }

    fn step(&self, step: &Step, previous: Option<&str>) -> Result<PlannedStep, Error> {
        let flag = self.state.layout.step_flag(step);
        let is_set = !self.mode.is_check() && self.state.is_set(&flag)?;
        let forced = self.settings.always_run_step;
        let decision = Decision::of(step, self.mode, is_set, forced);
        let other = match decision {
            Decision::Run(Why::NoFlag) => self.flag_of_other_arguments(step),
            _ => None,
        };
        let (action, reason) = match decision {
            Decision::Run(Why::NoFlag) if other.is_some() => {
                (Action::Run, Reason::ArgumentsChanged)
            }
            Decision::Run(why) => (Action::Run, Reason::of(why)),
            Decision::Skip(why) => (Action::Skip, Reason::of(why)),
        };
        let own = self.flags.iter().find(|found| found.flag == flag);
        let given = match previous {
            Some(previous) => step.with_versions(previous, self.state.layout.version),
            None => step.clone(),
        };
        let names = step
            .arguments
            .iter()
            .filter_map(|argument| variable(argument));
        let variables = names.map(|name| Variable {
            name: name.to_owned(),
            is_set: self.settings.variable(name).is_some(),
        });
        Ok(PlannedStep {
            name: step.name.clone(),
            path: step.path.clone(),
            arguments: given.arguments,
            action,
            reason,
            arguments_before: other.and_then(|flag| flag.arguments.clone()),
            last_run: own.and_then(|flag| flag.last_run.clone()),
            variables: variables.collect(),
        })
    }

    /// Finds the newest flag of the same file in this version that is of no step which the
    /// package has now.
    fn flag_of_other_arguments(&self, step: &Step) -> Option<&StepFlag> {
        let layout = &self.state.layout;
        let all = self.config.modes.values().flatten();
        let known: BTreeSet<String> = all.map(|step| layout.step_flag(step)).collect();
        let path = plain_path(&step.path);
        let flags = self.flags.iter().filter(|flag| {
            flag.version == layout.version && flag.path == path && !known.contains(&flag.flag)
        });
        flags.max_by(|a, b| a.last_run.cmp(&b.last_run))
    }
}

impl Reason {
    fn of(why: Why) -> Reason {
        match why {
            Why::NoFlag => Reason::NeverRan,
            Why::FlagIsSet => Reason::Flag,
            Why::AlwaysRuns => Reason::AlwaysRuns,
            Why::IsCheck | Why::ModeIgnoresFlags => Reason::ModeIgnoresFlags,
            Why::Forced => Reason::Forced,
        }
    }
}
