//! What findings mean on a node, and what to do about them.

use super::Stage;
use crate::commands::rehearse::plan::Pass;

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

const STAGE_FAILED: Help = &[
    (
        "note",
        "on a node the operator starts this stage again until it succeeds, and goes no further",
    ),
    (
        "help",
        "mend the step, or give it what it needs: --env, --configmaps, --metadata, --root",
    ),
];

const STAGE_FAILED_WITHOUT_NETWORK: Help = &[
    (
        "note",
        "on a node the operator starts this stage again until it succeeds, and goes no further",
    ),
    (
        "help",
        "there is no network in the view; --network lets steps use that of this machine",
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
        _ if lacks_network && !has_network => STAGE_FAILED_WITHOUT_NETWORK,
        _ => STAGE_FAILED,
    }
}
