//! The programs of a view that are replaced: where their stand-ins lie, and what counts as
//! lying there.
//!
//! A stand-in lies in a layer below what steps write. So a step can install a program over
//! one, as it can over any file. After the step, the stand-in is laid over that program in
//! turn: the program is *covered*.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::changes::holder;
use super::digest::digest;
use super::layers::{Layer, make_dir, mirror};
use super::snapshot::{Entries, Entry, What};
use super::{Presence, StandIn};
use crate::error::Error;
use crate::host::Root;

/// The directories in which programs are looked for.
const DIRECTORIES: [&str; 6] = [
    "usr/local/sbin",
    "usr/local/bin",
    "usr/sbin",
    "usr/bin",
    "sbin",
    "bin",
];

/// Those for a program that the root does not have, the first one that it has of them.
const DEFAULTS: [&str; 4] = ["usr/bin", "bin", "usr/sbin", "sbin"];

/// The mode of a stand-in that covers nothing.
pub(super) const MODE: u32 = 0o755;

/// The name of a stand-in while it is written.
const TEMPORARY: &str = ".skyhook-agent-stand-in";

/// Lays stand-ins into `over`, which is laid over the real root. Each is `program`.
pub(super) fn lay(
    stand_ins: &[StandIn],
    program: &Path,
    root: &Path,
    over: &Path,
) -> Result<(), Error> {
    let is_real = |directory: &&&str| {
        let mut path = root.to_owned();
        Path::new(directory).iter().all(|part| {
            path.push(part);
            is_directory(&path)
        })
    };
    let directories: Vec<&str> = DIRECTORIES.iter().filter(is_real).copied().collect();
    let default = DEFAULTS.iter().find(|name| directories.contains(name));
    for StandIn { name, presence, .. } in stand_ins {
        // A link too: its target may have another use.
        let has = |directory: &&&str| root.join(directory).join(name).symlink_metadata().is_ok();
        let mut places: Vec<&str> = directories.iter().filter(has).copied().collect();
        if places.is_empty() && *presence == Presence::Always {
            places.push(default.unwrap_or(&"usr/bin"));
        }
        for directory in places {
            place(name, program, directory, root, over)?;
        }
    }
    Ok(())
}

fn place(
    name: &str,
    program: &Path,
    directory: &str,
    root: &Path,
    over: &Path,
) -> Result<(), Error> {
    let mut here = over.to_owned();
    let mut real = root.to_owned();
    for part in Path::new(directory) {
        here.push(part);
        real.push(part);
        if !is_directory(&here) {
            make_dir(&here, 0o755)?;
            if is_directory(&real) {
                mirror(&real, &here)?;
            }
        }
    }
    here.push(name);
    fs::hard_link(program, &here).map_err(|error| Error::io("make the stand-in", here, error))
}

/// Tells if a path is a directory, and no link to one.
pub(super) fn is_directory(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| metadata.is_dir())
}

/// What the stand-ins of a view cover.
#[derive(Debug)]
pub(super) struct Covers {
    /// The stand-in, in this process's files.
    program: PathBuf,
    /// The size of the stand-in.
    size: u64,
    /// The content of the stand-in. It is read if it is needed.
    content: OnceCell<What>,
    /// Where stand-ins lie, or would.
    paths: Vec<PathBuf>,
    /// What steps have installed, by its path.
    covered: BTreeMap<PathBuf, Entry>,
}

impl Covers {
    pub(super) fn new(stand_ins: &[StandIn], program: &Path) -> Result<Covers, Error> {
        let metadata = program.metadata();
        let metadata = metadata.map_err(|error| Error::io("look at", program, error))?;
        let in_all = |StandIn { name, .. }: &StandIn| {
            let path = |directory| Path::new("/").join(directory).join(name);
            DIRECTORIES.map(path)
        };
        Ok(Covers {
            program: program.to_owned(),
            size: metadata.len(),
            content: OnceCell::new(),
            paths: stand_ins.iter().flat_map(in_all).collect(),
            covered: BTreeMap::new(),
        })
    }

    /// Gives what there is without stand-ins: in the place of one lies what it covers, or
    /// else what the real root has there.
    pub(super) fn lift<'e>(
        &self,
        entries: &'e Entries,
        layers: &[Layer],
    ) -> Result<Cow<'e, Entries>, Error> {
        let mut lifted = Cow::Borrowed(entries);
        for path in &self.paths {
            let Some(entry) = entries.get(path) else {
                continue;
            };
            if !self.is_stand_in(entry)? {
                continue;
            }
            let mut entry = entry.clone();
            if let Some(covered) = self.covered.get(path) {
                entry.what = covered.what.clone();
                entry.size = covered.size;
            } else if let Some(real) = holder(path, layers).and_then(|layer| layer.below(path)) {
                // A step may have changed the mode or the owner, and nothing else.
                if entry.mode == MODE {
                    entry.mode = real.mode;
                }
                if entry.owner == (0, 0) {
                    entry.owner = real.owner;
                }
                entry.what = real.what;
                entry.size = real.size;
            } else {
                entry.what = What::Removed;
            }
            lifted.to_mut().insert(path.clone(), entry);
        }
        Ok(lifted)
    }

    /// Covers what steps have installed where stand-ins lie. `last` is what the last look
    /// has found, and is kept true. Gives a line for each program that stays as it is.
    pub(super) fn cover(
        &mut self,
        root: &Root,
        last: &mut Entries,
        layers: &[Layer],
    ) -> Result<Vec<String>, Error> {
        let mut problems = Vec::new();
        for path in &self.paths {
            let (Some(entry), Some(layer)) = (last.get(path), holder(path, layers)) else {
                continue;
            };
            let mode = match entry.what {
                What::File(_) if !self.is_stand_in(entry)? => entry.mode,
                // As on a node, a link to nothing is no program.
                What::Link(_) if root.exists(path)? => MODE,
                _ => continue,
            };
            if let Err(error) = self.put(root, path, mode, entry.owner) {
                let path = path.display();
                problems.push(format!("{path} is run for real: {error}"));
                continue;
            }
            self.covered.insert(path.clone(), entry.clone());
            if let Some(entry) = layer.known(path, self.content()?.clone()) {
                last.insert(path.clone(), entry);
            }
        }
        Ok(problems)
    }

    /// Puts the stand-in at a path of the view, in place of what is there.
    fn put(&self, root: &Root, path: &Path, mode: u32, owner: (u32, u32)) -> io::Result<()> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(());
        };
        let directory = root.open_dir(directory).map_err(io::Error::other)?;
        let temporary = TEMPORARY.as_ref();
        directory.remove(temporary)?;
        let written = || {
            let mut file = directory.create_new(temporary)?;
            io::copy(&mut File::open(&self.program)?, &mut file)?;
            // In a user namespace most owners have no name.
            let _ = fchown(&file, Some(owner.0), Some(owner.1));
            file.set_permissions(Permissions::from_mode(mode))?;
            directory.rename(temporary, name)
        };
        written().inspect_err(|_| {
            let _ = directory.remove(temporary);
        })
    }

    fn is_stand_in(&self, entry: &Entry) -> Result<bool, Error> {
        match entry.what {
            What::File(_) if u64::try_from(entry.size) == Ok(self.size) => {
                Ok(entry.what == *self.content()?)
            }
            _ => Ok(false),
        }
    }

    fn content(&self) -> Result<&What, Error> {
        if let Some(content) = self.content.get() {
            return Ok(content);
        }
        let digest = File::open(&self.program).and_then(|file| digest(file.into()));
        let digest = digest.map_err(|error| Error::io("read", &self.program, error))?;
        Ok(self.content.get_or_init(|| What::File(Some(digest))))
    }
}
