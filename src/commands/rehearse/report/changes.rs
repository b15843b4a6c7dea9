//! The changes of a report, for the forms that people read.

use super::findings::by;
use super::fold::fold;
use super::{Change, Kind, Report};
use crate::commands::rehearse::plan::Pass;
use crate::package::Mode;

/// The changes of one step.
pub(super) struct OfStep<'a> {
    /// The step, as a heading.
    pub(super) by: String,
    pub(super) mode: Mode,
    pub(super) step: Option<&'a str>,
    pub(super) lines: Vec<Changed<'a>>,
    /// The number of changes. One line can have many.
    pub(super) number: usize,
}

/// A line of what a step has changed.
pub(super) struct Changed<'a> {
    /// The change, or the first one of several.
    pub(super) change: &'a Change,
    pub(super) path: String,
    pub(super) detail: String,
    pub(super) diff: Option<&'a str>,
}

impl Report {
    /// The changes of installing and upgrading, step by step.
    pub(super) fn of_steps(&self) -> Vec<OfStep<'_>> {
        let of_one_step =
            |a: &Change, b: &Change| (a.pass, a.mode, &a.step) == (b.pass, b.mode, &b.step);
        let steps = self.changes.chunk_by(of_one_step).filter_map(|changes| {
            let first = changes.first()?;
            let Change { pass, mode, .. } = first;
            if !matches!(pass, Pass::Old | Pass::First) {
                return None;
            }
            let step = first.step.as_deref();
            let old = if *pass == Pass::Old { "old " } else { "" };
            Some(OfStep {
                by: format!("{old}{mode} {}", by(step)),
                mode: *mode,
                step,
                lines: lines(changes),
                number: changes.len(),
            })
        });
        steps.collect()
    }
}

fn lines(changes: &[Change]) -> Vec<Changed<'_>> {
    let entries = changes.iter();
    let entries = entries.map(|change| {
        let mut detail = change.detail();
        if change.ignored {
            let comma = if detail.is_empty() { "" } else { ", " };
            detail = format!("{detail}{comma}ignored");
        }
        (change.path.clone(), (change.kind, detail))
    });
    let entries: Vec<(String, (Kind, String))> = entries.collect();
    let details: Vec<String> = entries
        .iter()
        .map(|(_, (_, detail))| detail.clone())
        .collect();
    let lines = fold(entries).into_iter().filter_map(|line| {
        let change = changes.get(line.entry)?;
        Some(Changed {
            change,
            path: line.path,
            detail: details.get(line.entry).cloned().unwrap_or_default(),
            diff: change.diff.as_deref().filter(|_| !line.is_folded),
        })
    });
    lines.collect()
}
