//! `status PACKAGE --forget STEP`: removes a step's flags, so that it runs again.

use std::ffi::OsStr;
use std::io::{self, BufRead, IsTerminal};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::SCHEMA;
use super::human::arguments;
use crate::commands::Outcome;
use crate::error::Error;
use crate::host::Root;
use crate::output::Printer;
use crate::stamp::SystemClock;
use crate::state::lock::{self, take};
use crate::state::marker::plain_path;
use crate::state::survey::{Place, StepFlag, survey};
use crate::state::{Layout, Lock};
use crate::system::cancel::Cancellation;
use crate::text::escape;

/// The time for which an agent that runs is waited for. A person rather tries again.
const PATIENCE: Duration = Duration::from_secs(2);

/// The task that other agents show if they wait.
const TASK: &str = "forget";

/// What is to be forgotten.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) package: &'a str,
    pub(super) step: &'a str,
    pub(super) yes: bool,
    pub(super) json: bool,
}

/// What was removed, as JSON. The fields do not change within a schema.
#[derive(Debug, Serialize)]
struct Removed<'a> {
    /// 1.
    schema: u32,
    package: &'a str,
    step: &'a str,
    /// The paths of the flags.
    removed: Vec<&'a str>,
}

/// Removes the flags of the step in all versions of the package, after a question.
///
/// # Errors
/// If there is no terminal to ask on, the package is in use, or a flag cannot be removed. Others
/// may have been removed then, and that has been said.
pub(super) fn run(
    request: Request<'_>,
    root: &Root,
    places: &[Place],
    printer: &mut Printer,
) -> Result<Outcome, Error> {
    let mut flags = Vec::new();
    for place in places {
        flags.extend(find(request, root, place)?);
    }
    if flags.is_empty() {
        return Err(Error::NotThere(no_such_flag(request, root, places)));
    }
    if !request.yes && !ask(&flags, request.json, printer)? {
        return Ok(Outcome::Cancelled);
    }
    let mut removed = Vec::new();
    let mut outcome = Ok(());
    for place in places {
        if outcome.is_ok() {
            outcome = forget(request, root, place, &mut removed);
        }
    }
    // Before the error, if there is one: what is gone is gone.
    if request.json {
        printer.json(&Removed {
            schema: SCHEMA,
            package: request.package,
            step: request.step,
            removed: removed.iter().map(|flag| &*flag.flag).collect(),
        })?;
    } else {
        for flag in &removed {
            printer.line(format_args!("removed {}", escape(&flag.flag)))?;
        }
    }
    outcome.map(|()| Outcome::Succeeded)
}

/// Finds the flags of the step in one state directory.
///
/// # Errors
/// If not all of the package's flags can be looked at.
fn find(request: Request<'_>, root: &Root, place: &Place) -> Result<Vec<StepFlag>, Error> {
    let step = plain_path(request.step);
    let found = survey(root, place, Some(request.package));
    if !found.is_whole {
        let dir = escape(&place.dir);
        return Err(Error::NotThere(format!(
            "{dir}: not all of the flags here can be looked at; status says why"
        )));
    }
    let flags = found.packages.into_iter().flat_map(|package| package.steps);
    Ok(flags.filter(|flag| flag.path == step).collect())
}

/// Says that there is nothing to forget, and which steps there are.
fn no_such_flag(request: Request<'_>, root: &Root, places: &[Place]) -> String {
    let (package, step) = (request.package, request.step);
    let mut steps: Vec<String> = places
        .iter()
        .flat_map(|place| survey(root, place, Some(package)).packages)
        .flat_map(|package| package.steps)
        .map(|flag| escape(&flag.path).into_owned())
        .collect();
    steps.sort();
    steps.dedup();
    let known = match &steps[..] {
        [] => "none".to_owned(),
        steps => steps.join(", "),
    };
    format!("--forget {step}: expected a step of {package} that has a flag; there are: {known}")
}

/// Asks if the flags are to be removed.
fn ask(flags: &[StepFlag], json: bool, printer: &mut Printer) -> Result<bool, Error> {
    let stdin = io::stdin();
    let refusal = |why| {
        Err(Error::Usage(format!(
            "--forget: expected --yes, since {why}"
        )))
    };
    if json {
        return refusal("--output json is for a program");
    }
    if !stdin.is_terminal() || !printer.is_terminal() {
        return refusal("there is no terminal to ask on");
    }
    for flag in flags {
        printer.line(format_args!(
            "{}  {}{}",
            escape(&flag.version),
            escape(&flag.path),
            arguments(flag.arguments.as_deref()),
        ))?;
    }
    let what = match flags.len() {
        1 => "this flag".to_owned(),
        count => format!("these {count} flags"),
    };
    printer.bytes(format!("Remove {what}, so that the step runs again? [y/N] ").as_bytes())?;
    printer.flush()?;
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    read.map_err(|error| Error::io("read the answer from", "stdin", error))?;
    let is_yes = matches!(&*answer.trim().to_lowercase(), "y" | "yes");
    if !is_yes {
        printer.line("nothing is removed")?;
    }
    Ok(is_yes)
}

/// Removes the flags of one state directory under the locks that a run holds. Looks again
/// what there is: a run may have come in between.
fn forget(
    request: Request<'_>,
    root: &Root,
    place: &Place,
    removed: &mut Vec<StepFlag>,
) -> Result<(), Error> {
    if find(request, root, place)?.is_empty() {
        return Ok(());
    }
    // In the order in which a run takes them.
    let _run = lock(request, root, place, Lock::Run)?;
    let _state = lock(request, root, place, Lock::State)?;
    for flag in find(request, root, place)? {
        let path = Path::new(&flag.flag);
        let dir = root.open_dir(path.parent().unwrap_or(Path::new("/")))?;
        let name = path.file_name().unwrap_or(OsStr::new(""));
        dir.remove(name)
            .and_then(|()| dir.sync())
            .map_err(|error| Error::io("remove", root.host_path(path), error))?;
        removed.push(flag);
    }
    Ok(())
}

/// Takes a lock of the package.
fn lock<'r>(
    request: Request<'_>,
    root: &'r Root,
    place: &Place,
    lock: Lock,
) -> Result<lock::Held<'r>, Error> {
    let layout = Layout {
        root_dir: &place.dir,
        package: request.package,
        version: "",
    };
    let mut holder = String::new();
    let held = take(
        root,
        layout,
        lock,
        lock::Request {
            task: TASK,
            clock: &SystemClock::default(),
            // No signal is caught: it ends this command, as it should.
            cancellation: &Cancellation::on_signals(&[]).map_err(Error::Signals)?,
            notice_after: PATIENCE,
        },
        |by| {
            by.clone_into(&mut holder);
            ControlFlow::Break(())
        },
    )?;
    let package = request.package;
    held.ok_or_else(|| Error::InUse {
        package: package.to_owned(),
        holder,
    })
}
