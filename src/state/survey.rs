//! What a node has: the packages of its state directories, their flags, interrupts, logs
//! and runs. Pure reading: needs no lock and changes nothing.
//!
//! The state may be broken or hostile. So each directory is read up to a bound, no fifo
//! and no device is opened, no link leads out of the root, and what cannot be understood
//! is a [`Problem`] beside the rest. Texts are as they were found: the caller that
//! prints them escapes them.

mod flags;
mod found;
mod interrupts;
mod logs;
mod roots;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use super::History;
use super::layout::{Layout, Lock};
use super::lock::{Look, look};
use crate::error::Error;
use crate::host::{self, FileLocks, Holder, Kind, Root, is_temporary};
use crate::package::OWN_NAME;

pub use flags::{Check, Mark, StepFlag};
pub use found::{Package, Problem, StateRoot};
pub use interrupts::InterruptFlag;
pub use logs::Logs;
pub use roots::{Place, find, may_have_logs_in, operators_dir};

/// The most names of one directory, or of one package's flags, that are looked at.
const MOST_NAMES: usize = 10_000;

/// The most names that one survey looks at.
const MOST_OF_ALL: usize = 1_000_000;

/// The most bytes of a flag; the agent writes less than 100.
const MOST_OF_FLAG: u64 = 4096;

/// The most bytes of the results of checks.
const MOST_OF_RESULTS: u64 = 1024 * 1024;

/// Surveys a state directory. Of packages, only the one named `only` if there is a name.
#[must_use]
pub fn survey(root: &Root, place: &Place, only: Option<&str>) -> StateRoot {
    let survey = Survey {
        root,
        dir: &place.dir,
        log_dir: &place.log_dir,
        locks: FileLocks::read(root),
        room: Cell::new(MOST_OF_ALL),
        is_cut: Cell::new(false),
    };
    survey.run(only)
}

/// A survey that is being made.
struct Survey<'a> {
    root: &'a Root,
    dir: &'a str,
    log_dir: &'a str,
    locks: FileLocks,
    /// The number of names that may still be looked at.
    room: Cell<usize>,
    /// Tells if there was more than that, or something unreadable.
    is_cut: Cell<bool>,
}

/// The packages that have been found so far.
type Packages = BTreeMap<String, Package>;

impl Survey<'_> {
    fn run(&self, only: Option<&str>) -> StateRoot {
        let mut found = StateRoot {
            path: self.dir.to_owned(),
            log_dir: self.log_dir.to_owned(),
            ..StateRoot::default()
        };
        let mut packages = Packages::new();
        self.top(&mut found, &mut packages);
        self.flag_root(&mut found, &mut packages);
        self.histories(&mut found, &mut packages);
        let is_chosen = |package: &Package| only.is_none_or(|name| name == package.name);
        self.resources(&mut found, &mut packages, is_chosen);
        let is_cut = self.is_cut.get();
        self.log_root(&mut found, &mut packages);
        // Logs say nothing of what has finished.
        self.is_cut.set(is_cut);
        let (mut chosen, mut others): (Vec<_>, Vec<_>) =
            packages.into_values().partition(is_chosen);
        for package in &mut chosen {
            self.locks(package);
            self.history(package);
            self.steps(package);
            package.steps.sort();
        }
        found.is_whole = !self.is_cut.get();
        for package in &mut chosen {
            self.logs(package);
        }
        if !found.checks.is_empty() {
            for package in &mut others {
                self.logs(package);
            }
            assign_checks(&found.checks, &mut chosen, &others);
        }
        found.packages = chosen;
        found
    }

    /// Looks at what is in the state directory itself.
    fn top(&self, found: &mut StateRoot, packages: &mut Packages) {
        for entry in self.list(self.dir, &mut found.problems) {
            let path = join(self.dir, &entry.path);
            let Some(name) = entry.path.to_str() else {
                continue;
            };
            if is_temporary(OsStr::new(name)) {
                // Its maker has it locked as long as it lives.
                if self.locks.holder(self.root, Path::new(&path), None) == Holder::NoProcess {
                    found.leftovers.push(path);
                }
            } else if name.ends_with(".partial") {
                found.leftovers.push(path);
            } else if let Some(package) = lock_owner(name) {
                // A long name is a hash there, and then its package is found elsewhere.
                if !is_hash(package) {
                    add(packages, package);
                }
            }
        }
    }

    /// Looks for histories.
    fn histories(&self, found: &mut StateRoot, packages: &mut Packages) {
        let dir = self.layout("").history_dir();
        for entry in self.list(&dir, &mut found.problems) {
            let path = join(&dir, &entry.path);
            let Some(name) = entry.path.to_str() else {
                found
                    .problems
                    .push(problem(path, "expected a name in UTF-8"));
                continue;
            };
            if let Some(package) = name.strip_suffix(".json").filter(|name| is_package(name)) {
                add(packages, package);
            } else if let Some(package) = name.strip_suffix(".json.backup") {
                add(packages, package).leftovers.push(path);
            } else if !self.is_new_file(name, path.clone(), found, packages) {
                found.problems.push(problem(path, "this is no history"));
            }
        }
    }

    /// Notes a file that a killed run has not given its name. Returns `false` if it is no
    /// such file.
    fn is_new_file(
        &self,
        name: &str,
        path: String,
        found: &mut StateRoot,
        packages: &mut Packages,
    ) -> bool {
        let owner = name
            .strip_prefix(OWN_NAME)
            .and_then(|name| name.strip_suffix(".new"));
        match owner {
            Some(hash) if is_hash(hash) => found.leftovers.push(path),
            // Removed again by `locks` if its package runs.
            Some(package) => add(packages, package).leftovers.push(path),
            None => return false,
        }
        true
    }

    /// Finds out if the package runs.
    fn locks(&self, package: &mut Package) {
        for lock in [Lock::Run, Lock::State] {
            match look(self.root, self.layout(&package.name), lock, &self.locks) {
                Ok(Look::Missing) => {}
                Ok(Look::Held(run)) => {
                    package.running.get_or_insert(run);
                }
                Ok(Look::LeftOver) => {
                    let name = self.layout(&package.name).lock_name(lock);
                    package.leftovers.push(format!("{}/{name}", self.dir));
                }
                Ok(Look::Unknown) => package.may_run = true,
                Err(error) => package.problems.push(problem_of(self.dir, &error)),
            }
        }
        if package.running.is_some() || package.may_run {
            package.leftovers.retain(|path| !path.ends_with(".new"));
        }
    }

    fn history(&self, package: &mut Package) {
        let path = self.layout(&package.name).history_file();
        match self.root.look(Path::new(&path)) {
            Ok(None) => return,
            Ok(Some(_)) => {}
            Err(error) => return package.problems.push(problem_of(&path, &error)),
        }
        match self.root.read(Path::new(&path)) {
            Ok(text) => match History::parse(&text) {
                Some(history) => {
                    package.since = history.since().map(str::to_owned);
                    package.version = Some(history.current_version);
                    package.history = history.history;
                }
                None => {
                    let text = "this is no history: expected JSON with a current-version";
                    package.problems.push(problem(path, text));
                }
            },
            Err(error) => package.problems.push(problem_of(&path, &error)),
        }
    }

    fn layout<'l>(&'l self, package: &'l str) -> Layout<'l> {
        Layout {
            root_dir: self.dir,
            package,
            version: "",
        }
    }

    /// Lists a directory; notes what is wrong with it.
    fn list(&self, path: &str, problems: &mut Vec<Problem>) -> Vec<host::Entry> {
        let most = self.room.get().min(MOST_NAMES);
        let listing = self.root.list(Path::new(path), most);
        self.take(path, listing, problems)
    }

    /// Lists all that is below a directory, at most `most` names; notes what is wrong.
    fn list_all(&self, path: &str, most: usize, problems: &mut Vec<Problem>) -> Vec<host::Entry> {
        let listing = self
            .root
            .list_all(Path::new(path), self.room.get().min(most));
        self.take(path, listing, problems)
    }

    fn take(
        &self,
        path: &str,
        listing: Result<host::Listing, Error>,
        problems: &mut Vec<Problem>,
    ) -> Vec<host::Entry> {
        let listing = match listing {
            Ok(listing) => listing,
            Err(error) => {
                self.is_cut.set(true);
                problems.push(problem_of(path, &error));
                return Vec::new();
            }
        };
        if listing.more > 0 || !listing.unreadable.is_empty() {
            self.is_cut.set(true);
        }
        self.room
            .set(self.room.get().saturating_sub(listing.entries.len()));
        if listing.more > 0 {
            let text = format!(
                "{} names here are shown, and {} more are not looked at",
                listing.entries.len(),
                listing.more
            );
            problems.push(problem(path.to_owned(), &text));
        }
        for (below, reason) in listing.unreadable {
            problems.push(problem(join(path, &below), &reason));
        }
        listing.entries
    }

    /// Reads a file of at most `most` bytes; links are followed inside the root, as the
    /// agent does. Notes why if it cannot be read.
    fn read(&self, path: &str, most: u64, problems: &mut Vec<Problem>) -> Option<String> {
        match self.root.read_up_to(Path::new(path), most) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => {
                problems.push(problem_of(path, &error));
                None
            }
        }
    }

    /// Tells if an entry is a directory, or a link to one, which the agent follows.
    fn is_dir(&self, path: &str, kind: Kind) -> bool {
        match kind {
            Kind::Directory => true,
            Kind::Link => self.root.open_dir(Path::new(path)).is_ok(),
            Kind::File | Kind::Special => false,
        }
    }
}

/// Gives the results of the last checks to the package that they are of: the only one, or
/// the only one that has logs of all of them. That may be one of those not asked for.
fn assign_checks(checks: &[Check], chosen: &mut [Package], others: &[Package]) {
    let is_alone = chosen.len() + others.len() == 1;
    let may_have = |package: &&mut Package| is_alone || has_logs_of(checks, package);
    let mut candidates = chosen.iter_mut().filter(may_have);
    if let (Some(package), None) = (candidates.next(), candidates.next())
        && !others.iter().any(|other| has_logs_of(checks, other))
    {
        package.checks = checks.to_vec();
    }
}

/// Tells if a package has logs of all of the checks.
fn has_logs_of(checks: &[Check], package: &Package) -> bool {
    let mut checks = checks.iter();
    checks.all(|check| package.logs.steps.contains(&check.path))
}

fn add<'p>(packages: &'p mut Packages, name: &str) -> &'p mut Package {
    packages.entry(name.to_owned()).or_insert_with(|| Package {
        name: name.to_owned(),
        ..Package::default()
    })
}

/// Tells if a name can be a package's.
fn is_package(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.starts_with(OWN_NAME)
}

/// Names the package of a lock file, by the file's name.
fn lock_owner(name: &str) -> Option<&str> {
    let owner = name.strip_prefix(OWN_NAME)?;
    let (owner, lock) = owner.rsplit_once('.')?;
    (matches!(lock, "run" | "state") && !owner.is_empty()).then_some(owner)
}

fn is_hash(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn join(dir: &str, name: &Path) -> String {
    format!("{dir}/{}", name.to_string_lossy())
}

fn problem(path: String, problem: &str) -> Problem {
    Problem {
        path,
        problem: problem.to_owned(),
    }
}

/// Makes a problem of an error. Its path is the node's, and so not the error's.
fn problem_of(path: &str, error: &Error) -> Problem {
    let text = match error {
        Error::Io { doing, source, .. } => format!("cannot {doing} it: {source}"),
        other => other.to_string(),
    };
    problem(path.to_owned(), &text)
}
