//! What `run-step` would run, for people.

use std::ffi::OsStr;

use super::package::Steps;
use crate::commands::Outcome;
use crate::exec::step::resolve;
use crate::output::Console;
use crate::text::{escape, words};

/// Prints the steps with their resolved arguments. Fails if a variable of an argument
/// cannot be used: that step would not run.
pub(super) fn print<'e>(
    chosen: &[Steps],
    lookup: impl Fn(&str) -> Option<&'e OsStr>,
    console: &mut Console,
) -> Outcome {
    let mut outcome = Outcome::Succeeded;
    let steps = chosen.iter().flat_map(|steps| &steps.steps);
    let width = steps.map(|step| step.name.chars().count()).max();
    let width = width.unwrap_or_default();
    for Steps { mode, steps } in chosen {
        console.print(&format!("{mode}:"));
        for step in steps {
            let (name, path) = (&step.name, escape(&step.path));
            let arguments = match resolve(&step.arguments, &lookup) {
                Ok(arguments) => words(&arguments),
                Err(problems) => {
                    outcome = Outcome::Failed;
                    for problem in &problems {
                        console.notice(&format!("{path}: {problem}"));
                    }
                    words(&step.arguments)
                }
            };
            console.print(&format!("  {name:width$}  {path}{arguments}"));
        }
    }
    outcome
}
