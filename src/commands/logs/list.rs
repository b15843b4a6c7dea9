//! Lists runs.

use serde::Serialize;

use super::{Form, Logs, stamp};
use crate::error::Error;
use crate::output::runs::Run;
use crate::stamp::{Iso8601, Stamp};
use crate::state::outcomes::{self, RunOutcome};
use crate::state::survey;
use crate::text;

/// A run as JSON, schema 1.
#[derive(Serialize)]
struct Row<'r> {
    /// The start of the run, in UTC, as the names of its logs have it.
    run: String,
    package: &'r str,
    version: &'r str,
    /// The path of the step, `interrupts/{type}_{i}` for an interrupt.
    step: &'r str,
    /// The size of the log of standard output; `null` if there is none, or it cannot be
    /// opened.
    stdout_bytes: Option<u64>,
    /// The size of the log of standard error, likewise.
    stderr_bytes: Option<u64>,
    outcome: RunOutcome,
}

/// Lists the `chosen` of all `runs`, in the same order: those that have been written to
/// since this time, if there is one.
pub(super) fn print(
    logs: &mut Logs<'_, '_>,
    runs: &[Run],
    chosen: &[&Run],
    since: Option<Stamp>,
) -> Result<(), Error> {
    let state_dirs = survey::find(logs.root, logs.context.settings);
    let (outcomes, errors) = outcomes::of(logs.root, &state_dirs, runs);
    logs.report(errors)?;
    let mut rows = Vec::new();
    let mut chosen = chosen.iter().peekable();
    for (run, known) in runs.iter().zip(outcomes) {
        if chosen.next_if(|next| **next == run).is_none() {
            continue;
        }
        let written = |at| stamp(Iso8601(logs.zone.local(at)));
        if since.is_some_and(|since| known.written.is_some_and(|at| written(at) < since)) {
            continue;
        }
        rows.push(Row {
            run: run.id(),
            package: &run.package,
            version: &run.version,
            step: &run.step,
            stdout_bytes: known.stdout_len,
            stderr_bytes: known.stderr_len,
            outcome: known.outcome,
        });
    }
    if logs.options.form == Form::Json {
        return rows
            .iter()
            .try_for_each(|row| logs.context.printer.json(row));
    }
    table(logs, &rows)
}

/// Prints the rows for people, in columns.
fn table(logs: &mut Logs<'_, '_>, rows: &[Row<'_>]) -> Result<(), Error> {
    let printer = &mut *logs.context.printer;
    let palette = printer.palette;
    let cells: Vec<[String; 6]> = rows
        .iter()
        .map(|row| {
            [
                row.run.clone(),
                text::escape(row.package).into_owned(),
                text::escape(row.version).into_owned(),
                text::escape(row.step).into_owned(),
                size(row.stdout_bytes),
                size(row.stderr_bytes),
            ]
        })
        .collect();
    let titles = ["RUN (UTC)", "PACKAGE", "VERSION", "STEP", "OUT", "ERR"].map(str::to_owned);
    let width = |column: usize| {
        let cells = cells.iter().chain([&titles]);
        let widths = cells.filter_map(|cells| cells.get(column).map(|cell| cell.chars().count()));
        widths.max().unwrap_or_default()
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |[run, package, version, step, out, err]: &[String; 6]| {
        let [a, b, c, d, e, f] = widths;
        format!("{run:a$}  {package:b$}  {version:c$}  {step:d$}  {out:>e$}  {err:>f$}")
    };
    let strong = palette.strong;
    printer.line(format_args!("{strong}{}  OUTCOME{strong:#}", line(&titles)))?;
    for (row, cells) in rows.iter().zip(&cells) {
        let style = match row.outcome {
            RunOutcome::Succeeded => palette.good,
            RunOutcome::Failed => palette.bad,
            RunOutcome::Running => palette.note,
            RunOutcome::Unknown => palette.dim,
        };
        let outcome = row.outcome.name();
        printer.line(format_args!("{}  {style}{outcome}{style:#}", line(cells)))?;
    }
    Ok(())
}

/// The size of a log; `-` if there is none.
fn size(bytes: Option<u64>) -> String {
    bytes.map_or("-".to_owned(), text::size)
}
