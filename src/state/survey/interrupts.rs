//! The flags of interrupts.

use std::path::Path;

use serde::Serialize;

use super::flags::utc;
use super::{MOST_OF_FLAG, Package, Packages, Problem, StateRoot, Survey, add, join, problem};
use crate::host::Root;
use crate::state::{BOOT_ID, is_reboot_pending};

/// The flag of an interrupt's command: it has begun, and is not begun again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InterruptFlag {
    /// `SKYHOOK_RESOURCE_ID` of the run: `{id}_{package}_{version}`.
    pub resource: String,
    /// The interrupt's type, such as `node_restart`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The index of its command; `None` if it has none, as `no_op`.
    pub index: Option<u32>,
    /// The time at which it began: UTC, ISO-8601; `None` if the flag does not say it.
    pub time: Option<String>,
    /// Tells if a reboot was asked for in this boot of the node: it is still to come.
    pub pending_reboot: bool,
}

impl Survey<'_> {
    /// Looks at the interrupts of each resource whose package is chosen.
    pub(super) fn resources(
        &self,
        found: &mut StateRoot,
        packages: &mut Packages,
        is_chosen: impl Fn(&Package) -> bool,
    ) {
        let dir = format!("{}/interrupts/flags", self.dir);
        for entry in self.list(&dir, &mut found.problems) {
            let path = join(&dir, &entry.path);
            let resource = entry.path.to_str().unwrap_or_default();
            let parts: Vec<&str> = resource.split('_').collect();
            let package = match parts[..] {
                [_, package, _] if !package.is_empty() && self.is_dir(&path, entry.kind) => package,
                _ => {
                    let text = "expected a directory named {id}_{package}_{version}";
                    found.problems.push(problem(path, text));
                    continue;
                }
            };
            let package = add(packages, package);
            if !is_chosen(package) {
                continue;
            }
            for entry in self.list(&path, &mut package.problems) {
                let dir = &path;
                let path = join(dir, &entry.path);
                let name = entry.path.to_string_lossy();
                if let Some(id) = name.strip_suffix(".complete") {
                    let flag = self.interrupt(resource, dir, id, &mut package.problems);
                    package.interrupts.push(flag);
                } else if name.ends_with(".new") {
                    package.leftovers.push(path);
                } else if let Some(id) = name.strip_suffix(".boot") {
                    let flag = format!("{dir}/{id}.complete");
                    if !self.root.exists(Path::new(&flag)).unwrap_or(true) {
                        package.leftovers.push(path);
                    }
                } else {
                    let text = "this is no flag of an interrupt";
                    package.problems.push(problem(path, text));
                }
            }
        }
    }

    fn interrupt(
        &self,
        resource: &str,
        dir: &str,
        id: &str,
        problems: &mut Vec<Problem>,
    ) -> InterruptFlag {
        let path = format!("{dir}/{id}.complete");
        let boot = format!("{dir}/{id}.boot");
        let content = self.read(&path, MOST_OF_FLAG, problems);
        let time = content.as_deref().and_then(parse_epoch);
        if content.is_some() && time.is_none() {
            let text = "expected the flag to say the seconds since the epoch";
            problems.push(problem(path, text));
        }
        let has_boot = self
            .root
            .look(Path::new(&boot))
            .is_ok_and(|boot| boot.is_some());
        let pending_reboot = has_boot
            && self
                .read(&boot, MOST_OF_FLAG, problems)
                .is_some_and(|asked_in| match own_boot() {
                    Some(own) => is_reboot_pending(asked_in.trim(), &own),
                    None => {
                        problems.push(problem(BOOT_ID.to_owned(), "cannot tell this boot"));
                        false
                    }
                });
        let (kind, index) = match id.rsplit_once('_') {
            Some((kind, index)) => match index.parse() {
                Ok(index) => (kind, Some(index)),
                Err(_) => (id, None),
            },
            None => (id, None),
        };
        InterruptFlag {
            resource: resource.to_owned(),
            kind: kind.to_owned(),
            index,
            time,
            pending_reboot,
        }
    }
}

/// The kernel's id of this boot.
fn own_boot() -> Option<String> {
    let id = Root::open(Path::new("/"))
        .ok()?
        .read(Path::new(BOOT_ID))
        .ok()?;
    Some(String::from_utf8_lossy(&id).trim().to_owned())
}

/// Reads seconds since the epoch with a fraction.
fn parse_epoch(content: &str) -> Option<String> {
    let seconds: f64 = content.trim().parse().ok()?;
    let time = time::Duration::checked_seconds_f64(seconds)?;
    utc(time.whole_seconds(), time.subsec_nanoseconds().into())
}
