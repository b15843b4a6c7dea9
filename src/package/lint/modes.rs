//! What the steps of modes have to do with each other.

use std::collections::HashMap;

use serde_json::Value;

use super::super::{Code, Mode};
use super::Notes;
use super::steps::{Step, mode_place};

pub(super) fn lint(document: &Value, steps: &[Step<'_>], notes: &mut Notes<'_>) {
    same_names(steps, notes);
    same_flags(steps, notes);
    for mode in Mode::ALL {
        if let Some(check) = mode.check() {
            checks(document, steps, mode, check, notes);
        }
    }
}

fn same_names(steps: &[Step<'_>], notes: &mut Notes<'_>) {
    let mut seen = HashMap::new();
    for step in steps {
        let Some(name) = step.name() else { continue };
        let other = *seen.entry((step.mode.name(), name)).or_insert(step);
        if !std::ptr::eq(other, step) {
            let message = format!("{} is called {name} too", other.place);
            notes.warn(Code::SameName, &step.place.key("name"), message);
        }
    }
}

/// The modes whose steps set flags, in the order in which they run. What uninstall sets is
/// removed at its end.
const SET_FLAGS: [Mode; 4] = [
    Mode::Apply,
    Mode::Upgrade,
    Mode::Config,
    Mode::PostInterrupt,
];

fn same_flags(steps: &[Step<'_>], notes: &mut Notes<'_>) {
    let mut seen = HashMap::new();
    let modes = SET_FLAGS.into_iter();
    for step in modes.flat_map(|mode| steps.iter().filter(move |step| step.mode == mode)) {
        let Some(flag) = step.flag() else { continue };
        let always_runs = matches!(step.mode, Mode::Upgrade | Mode::Config)
            || step.get("idempotence") == Some(&Value::Bool(true));
        let other = *seen.entry(flag).or_insert(step);
        if !std::ptr::eq(other, step) && !always_runs {
            let message = format!("this step is skipped, since {} sets its flag", other.place);
            notes.warn(Code::SameFlag, &step.place.key("path"), message);
        }
    }
}

fn checks(document: &Value, steps: &[Step<'_>], mode: Mode, check: Mode, notes: &mut Notes<'_>) {
    let of = |mode| steps.iter().filter(move |step| step.mode == mode);
    let program = |step: &Step<'_>| Some((step.path()?, step.list("arguments").to_vec()));
    if of(check).next().is_none() {
        return;
    }
    if of(mode).next().is_none() {
        // After an interrupt there is something to check without a step, and a mode that is
        // there says that it is meant.
        let is_meant = document.pointer(&format!("/modes/{mode}")).is_some();
        if mode != Mode::PostInterrupt && !is_meant {
            let message = format!("these steps check {mode}, which has none");
            notes.warn_of_key(Code::LoneCheck, &mode_place(check), message);
        }
        return;
    }
    let programs: Vec<_> = of(mode).filter_map(program).collect();
    let is_own = |step: &Step<'_>| program(step).is_none_or(|check| !programs.contains(&check));
    if !of(check).any(is_own) {
        let message = format!("each of these steps is one of {mode} again, and checks nothing");
        notes.warn_of_key(Code::SameCheck, &mode_place(check), message);
    }
}
