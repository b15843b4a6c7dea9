//! What findings mean on a node, and what to do about them.

use super::{Stage, StageOutcome};
use crate::commands::rehearse::plan::Pass;
use crate::commands::rehearse::stand_ins;
use crate::package::Mode;

/// Lines about a finding, each with its label.
pub(in crate::commands::rehearse) type Help = &'static [(&'static str, &'static str)];

pub(super) const FORGOTTEN: Help = &[
    (
        "note",
        "the operator runs no apply after an upgrade, so upgraded nodes differ from new ones",
    ),
    (
        "help",
        "do in upgrade what apply does; the same script will do",
    ),
];

pub(super) const NOT_IDEMPOTENT: Help = &[
    (
        "note",
        "a node runs a step again if it was cut off, its flag is gone, or its mode is config",
    ),
    (
        "help",
        "write whole files in place of appending, and ask first: grep -q LINE FILE || ...",
    ),
];

pub(super) const LEFT_BEHIND: Help = &[
    (
        "note",
        "it stays on each node that the package is removed from",
    ),
    (
        "help",
        "remove it in uninstall; --ignore PATH leaves out what changes by itself",
    ),
];

pub(super) const NOT_RESTARTABLE: Help = &[
    (
        "note",
        "a pod can be ended at any moment; the step is started again, and fails",
    ),
    (
        "help",
        "let it take over what is there: mkdir -p, ln -sf, files written whole, old locks removed",
    ),
];

const ON_A_NODE: (&str, &str) = (
    "note",
    "on a node the operator starts this stage again until it succeeds, and goes no further",
);

const WHAT_IT_NEEDS: (&str, &str) = (
    "help",
    "mend the step, or give it what it needs: --env, --configmaps, --metadata, --root",
);

const STAGE_FAILED: Help = &[ON_A_NODE, WHAT_IT_NEEDS];

const WITHOUT_NETWORK: Help = &[
    ON_A_NODE,
    (
        "help",
        "there is no network in the view; --network lets steps use that of this machine",
    ),
];

const WITHOUT_PROGRAM: Help = &[
    ON_A_NODE,
    (
        "help",
        "the root lacks a program that nodes may have: --stand-in NAME plays it, --root takes \
         another root",
    ),
];

const OUT_OF_TIME: Help = &[
    ON_A_NODE,
    (
        "help",
        "bound what can wait, as with timeout 60 COMMAND, or let stages take longer: --timeout",
    ),
];

const AFTER_INTERRUPT: Help = &[
    ON_A_NODE,
    WHAT_IT_NEEDS,
    (
        "help",
        "the kernel is that of this machine; --cmdline plays what a reboot adds to /proc/cmdline",
    ),
];

/// What the C library and its users say if there is no network.
const NO_NETWORK: [&str; 6] = [
    "Temporary failure in name resolution",
    "Temporary failure resolving",
    "Could not resolve host",
    "Name or service not known",
    "Network is unreachable",
    "unable to resolve host address",
];

/// What to say about a stage that failed.
pub(in crate::commands::rehearse) fn of_stage(stage: &Stage, has_network: bool) -> Help {
    let lacks_network = NO_NETWORK.iter().any(|said| stage.output.contains(said));
    match stage.pass {
        // A finding of its own says more.
        Pass::Anew => &[],
        _ if lacks_network && !has_network => WITHOUT_NETWORK,
        _ if lacks_program(&stage.output) => WITHOUT_PROGRAM,
        _ if stage.outcome == StageOutcome::OutOfTime => OUT_OF_TIME,
        _ if matches!(stage.mode, Mode::PostInterrupt | Mode::PostInterruptCheck) => {
            AFTER_INTERRUPT
        }
        _ => STAGE_FAILED,
    }
}

/// Tells if a shell has not found one of the programs that are replaced.
fn lacks_program(output: &str) -> bool {
    stand_ins::names().any(|name| {
        let lacks = |how| output.contains(&format!("{name}: {how}"));
        lacks("not found") || lacks("command not found")
    })
}
