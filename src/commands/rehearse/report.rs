//! What a rehearsal found, as data. Its four forms are in the files below.

use std::path::Path;

use serde::{Deserialize, Serialize, Serializer};

use super::ignored::Ignored;
use super::plan::Pass;
use crate::commands::validate;
use crate::package::Mode;
use crate::view;

mod changes;
mod findings;
mod fold;
pub(super) mod help;
pub(super) mod human;
pub(super) mod json;
pub(super) mod junit;
pub(super) mod markdown;
#[cfg(test)]
mod tests;

pub(super) use findings::how;

/// The report of a rehearsal. It is the JSON document, too.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Report {
    /// The form of the document: 1.
    pub(super) schema: u32,
    /// Tells if nothing was found, except what is allowed.
    pub(super) ok: bool,
    pub(super) package: String,
    pub(super) version: String,
    /// The version that it was upgraded from.
    pub(super) from: Option<String>,
    pub(super) seconds: f64,
    pub(super) stages: Vec<Stage>,
    /// What steps changed, in order.
    pub(super) changes: Vec<Change>,
    /// What a second pass changed.
    pub(super) not_idempotent: Vec<Finding>,
    /// What apply changed after an upgrade, which should have done it.
    pub(super) forgotten_by_upgrade: Vec<Finding>,
    pub(super) not_restartable: Vec<NotRestartable>,
    /// The stages that were not cut off, since one before them failed. In order.
    #[serde(serialize_with = "mode_names")]
    pub(super) not_cut: Vec<Mode>,
    /// What differs from the root after uninstall; `null` if that was not looked at.
    pub(super) left_behind: Option<Vec<LeftBehind>>,
    /// The paths that have left something out of the findings, and what else would.
    pub(super) ignored: Ignored,
    /// What `validate` warns of.
    pub(super) warnings: Vec<validate::Finding>,
    /// The calls of programs that are replaced, in order.
    pub(super) stand_ins: Vec<Call>,
    pub(super) operator: Operator,
    /// What of the root is not in the view.
    pub(super) gaps: Vec<String>,
    /// The findings that are accepted.
    pub(super) allowed: super::Allow,
    /// Tells if steps have the network.
    #[serde(skip)]
    pub(super) has_network: bool,
}

/// One run of the agent.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Stage {
    #[serde(serialize_with = "mode_name")]
    pub(super) mode: Mode,
    pub(super) pass: Pass,
    pub(super) outcome: StageOutcome,
    pub(super) seconds: f64,
    pub(super) steps: Vec<Step>,
    /// What was said last, stamped, if it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) output: String,
    /// The log of the step that failed, in the view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<String>,
}

/// The end of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StageOutcome {
    Succeeded,
    Failed,
    /// It took longer than a stage may take.
    OutOfTime,
    /// It was cut off, as it was to be.
    Cut,
    /// It asked for a reboot, which was played.
    Rebooted,
}

/// One step of a stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Step {
    pub(super) path: String,
    pub(super) outcome: StepOutcome,
    /// The exit code, or `-signum`, if it is known.
    pub(super) code: Option<i32>,
    pub(super) seconds: f64,
}

/// The end of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StepOutcome {
    Succeeded,
    Failed,
    /// Its flag is set.
    Skipped,
    /// It was cut off.
    Cut,
    /// It could not be started.
    NotRun,
    OutOfTime,
}

/// A change of one path.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Change {
    pub(super) path: String,
    pub(super) kind: Kind,
    #[serde(serialize_with = "mode_name")]
    pub(super) mode: Mode,
    /// `null` if no step did it, but the agent: it lays the package's root_dir over the
    /// root. Or a process that went on after its step.
    pub(super) step: Option<String>,
    pub(super) pass: Pass,
    /// Of a path that was there: if the contents, or what kind of file it is, changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<bool>,
    /// The permissions before and after, if they changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) permissions: Option<[String; 2]>,
    /// `UID:GID` before and after, if they changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<[String; 2]>,
    /// The change of a text, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) diff: Option<String>,
    /// Tells if findings leave the path out.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) ignored: bool,
}

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Added,
    Changed,
    Removed,
}

/// A change that should not have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) path: String,
    #[serde(serialize_with = "mode_name")]
    pub(super) mode: Mode,
    pub(super) step: Option<String>,
    pub(super) pass: Pass,
    pub(super) kind: Kind,
    /// What changed besides the content, in words.
    #[serde(skip)]
    pub(super) detail: String,
    /// The change of a text, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) diff: Option<String>,
}

/// A step after whose cut its stage failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct NotRestartable {
    #[serde(serialize_with = "mode_name")]
    pub(super) mode: Mode,
    pub(super) step: String,
}

/// A path that differs from the root after uninstall. In JSON, the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeftBehind {
    pub(super) path: String,
    pub(super) kind: Kind,
    /// What differs besides the content, in words.
    pub(super) detail: String,
    /// How a text differs from that of the root, if it was asked for.
    pub(super) diff: Option<String>,
}

/// A call of a program that is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Call {
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    #[serde(serialize_with = "mode_name")]
    pub(super) mode: Mode,
    pub(super) step: Option<String>,
    pub(super) pass: Pass,
}

/// What an operator must know.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Operator {
    /// Tells if the package, or its interrupt, asked for a reboot.
    pub(super) reboot: bool,
    /// The services that were restarted, reloaded, started or stopped, by name.
    pub(super) services: Vec<String>,
    /// The step that took longest: a stage's time-out must be longer.
    pub(super) longest_step: Option<LongestStep>,
}

/// The step that took longest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct LongestStep {
    #[serde(serialize_with = "mode_name")]
    pub(super) mode: Mode,
    pub(super) step: String,
    pub(super) seconds: f64,
}

impl Stage {
    /// Tells if it failed. One that was cut off did not.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.outcome, StageOutcome::Failed | StageOutcome::OutOfTime)
    }

    /// The steps that have no flag from before.
    pub(super) fn steps_that_ran(&self) -> impl Iterator<Item = &Step> {
        let steps = self.steps.iter();
        steps.filter(|step| step.outcome != StepOutcome::Skipped)
    }

    /// Tells if one of its steps was cut off.
    pub(super) fn has_cut_step(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| step.outcome == StepOutcome::Cut)
    }

    /// Finds the step that took longest, and its place among those that ran.
    pub(super) fn longest_step(&self) -> Option<(usize, &Step)> {
        let ran = self.steps_that_ran();
        ran.enumerate()
            .max_by(|(_, a), (_, b)| a.seconds.total_cmp(&b.seconds))
    }
}

impl StepOutcome {
    /// Tells if the step has failed.
    pub(super) fn is_failure(self) -> bool {
        matches!(
            self,
            StepOutcome::Failed | StepOutcome::NotRun | StepOutcome::OutOfTime
        )
    }
}

impl Kind {
    /// The mark in front of a path.
    pub(super) fn mark(self) -> char {
        match self {
            Kind::Added => '+',
            Kind::Changed => '~',
            Kind::Removed => '-',
        }
    }
}

impl From<view::Kind> for Kind {
    fn from(kind: view::Kind) -> Kind {
        match kind {
            view::Kind::Added => Kind::Added,
            view::Kind::Changed => Kind::Changed,
            view::Kind::Removed => Kind::Removed,
        }
    }
}

impl Change {
    /// Takes over a change of the view.
    pub(super) fn new(change: &view::Change, mode: Mode, pass: Pass, step: Option<&str>) -> Change {
        let detail = &change.detail;
        let both = |(before, after): (u32, u32)| {
            [before, after].map(|mode| format!("{:04o}", mode & 0o7777))
        };
        Change {
            path: shown(&change.path),
            kind: change.kind.into(),
            mode,
            step: step.map(str::to_owned),
            pass,
            content: (change.kind == view::Kind::Changed).then_some(detail.content),
            permissions: detail
                .mode
                .map(both)
                .filter(|[before, after]| before != after),
            owner: detail.owner.map(|(before, after)| {
                [before, after].map(|(user, group)| format!("{user}:{group}"))
            }),
            diff: None,
            ignored: false,
        }
    }

    /// What changed, in words, if there is more to say than the kind.
    pub(super) fn detail(&self) -> String {
        let mut parts = Vec::new();
        if self.content == Some(true) {
            parts.push("content".to_owned());
        }
        parts.extend(Some(self.rights()).filter(|rights| !rights.is_empty()));
        parts.join(", ")
    }

    /// What changed of mode and owner, in words.
    pub(super) fn rights(&self) -> String {
        let mut parts = Vec::new();
        if let Some([before, after]) = &self.permissions {
            parts.push(format!("mode {before} to {after}"));
        }
        if let Some([before, after]) = &self.owner {
            parts.push(format!("owner {before} to {after}"));
        }
        parts.join(", ")
    }
}

/// A path as a report has it. Bytes that are no UTF-8 are replaced.
pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Serialize for LeftBehind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.path)
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn mode_names<S: Serializer>(modes: &[Mode], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(modes.iter().map(|mode| mode.name()))
}

fn mode_name<S: Serializer>(mode: &Mode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(mode.name())
}
