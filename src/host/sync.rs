//! Brings what steps have written to disk (contract §10).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, major, minor};
use nix::unistd::syncfs;

use super::Root;
use super::file::{LOOK, kind, proc_path, read_file};
use super::mounts::{Mount, Mounts};
use crate::error::Error;

/// The most bytes of mountinfo.
const MAX_MOUNTINFO_LEN: u64 = 16 * 1024 * 1024;

impl Root {
    /// Waits until all that was written to the local file systems mounted at and below
    /// this root is on disk: what a step has done, before its flag says so.
    ///
    /// Never touches a file system of the network, one that a process serves (FUSE), one
    /// of an unknown kind, or what is mounted below such a one: its path could hang.
    /// Triggers no automount. Leaves out what is read-only, the volumes of pods, and
    /// overlays other than the root's own, whose files are in directories of the others.
    ///
    /// The wait is as long as the disks need for what is in memory for them. A signal
    /// takes effect after it.
    ///
    /// # Errors
    /// If a file system could not write all, or if /proc does not say what is mounted.
    pub fn sync(&self) -> Result<(), Error> {
        let (root, mounts) = self
            .mounts()
            .map_err(|error| Error::io("see what is mounted in", "/proc/self/mountinfo", error))?;
        let mut synced = Vec::new();
        for mount in mounts.chosen() {
            if synced.contains(&mount.device) {
                continue;
            }
            // It has no way to it any more, or another one covers it.
            let Some(fd) = self.open_mount(&root, &mount) else {
                continue;
            };
            syncfs(&fd)
                .map_err(|error| Error::io("sync the file system at", &mount.path, error))?;
            synced.push(mount.device);
        }
        Ok(())
    }

    /// Reads what is mounted. Returns it with the root's path in this namespace.
    fn mounts(&self) -> io::Result<(PathBuf, Mounts)> {
        let root = std::fs::read_link(proc_path(&self.fd))?;
        let mut mounts = Mounts::new(&root);
        // A node with thousands of pods has less than a MiB of mounts.
        let text = read_file(File::open("/proc/self/mountinfo")?, MAX_MOUNTINFO_LEN)?;
        for line in text.split(|byte| *byte == b'\n') {
            mounts.add(line);
        }
        Ok((root, mounts))
    }

    /// Opens a mount point, if the mount is what is found there.
    fn open_mount(&self, root: &Path, mount: &Mount) -> Option<OwnedFd> {
        let below = mount.path.strip_prefix(root).ok()?;
        if below.as_os_str().is_empty() {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            return openat(&self.fd, ".", flags, Mode::empty()).ok();
        }
        // O_PATH: an automount point that has not been triggered stays so.
        let found = self.resolve(below, LOOK | OFlag::O_NOFOLLOW).ok()?;
        let stat = fstat(&found).ok()?;
        if mount.has_one_device && device(&stat) != mount.device {
            return None;
        }
        open_readable(&found, &stat)
    }
}

/// Opens what was found, for syncfs does not take the descriptor of a look.
fn open_readable(found: &impl AsFd, stat: &FileStat) -> Option<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    match kind(stat) {
        SFlag::S_IFDIR => openat(found, ".", flags | OFlag::O_DIRECTORY, Mode::empty()).ok(),
        SFlag::S_IFREG => open(&*proc_path(found), flags, Mode::empty()).ok(),
        _ => None,
    }
}

fn device(stat: &FileStat) -> (u64, u64) {
    (major(stat.st_dev), minor(stat.st_dev))
}
