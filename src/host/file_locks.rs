//! Who has a file locked, found out without touching the lock: the kernel lists the locks
//! of all processes in /proc/locks.
//!
//! To ask by trying the lock would hold it for a moment, and another process that tries
//! it at this moment would wait. /proc/locks has only processes that are visible from the
//! /proc that it is read in. So a lock that is not listed may be held all the same, unless
//! every process is visible there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fstat, major, minor};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::Root;
use super::file::LOOK;

/// The most bytes that are read of /proc/locks and of the list of mounts.
const MOST: u64 = 64 * 1024 * 1024;

/// The namespace of all processes of the machine: its number is the same on each kernel.
const ALL_PROCESSES: &str = "pid:[4026531836]";

/// The locks that processes hold now.
#[derive(Debug, Default)]
pub struct FileLocks {
    /// The process of each lock, by the file's device and number.
    held: BTreeMap<FileId, u32>,
    /// The device of each mount, by the mount's number.
    mounts: BTreeMap<u64, (u64, u64)>,
    /// The namespace of processes that this process lives in.
    namespace: Option<String>,
    is_readable: bool,
}

type FileId = ((u64, u64), u64);

/// The holder of a file's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This process has it locked.
    Process(u32),
    /// This process has it locked, or another file: files of several subvolumes of btrfs
    /// can have one number.
    Likely(u32),
    /// No process has.
    NoProcess,
    /// No visible process has, and others are not visible from here.
    Unknown,
}

impl FileLocks {
    /// Reads the locks: those that this process sees, and those that `root` shows, if
    /// /proc is mounted in it.
    #[must_use]
    pub fn read(root: &Root) -> FileLocks {
        let mut locks = FileLocks {
            namespace: own_namespace(),
            ..FileLocks::default()
        };
        if let Ok((_, file)) = root.open_file(Path::new("/proc/locks"))
            && is_of_the_kernel(&file)
        {
            locks.add(file);
        }
        // The last, so that the numbers of processes are those of this process.
        if let Ok(file) = File::open("/proc/locks")
            && is_of_the_kernel(&file)
        {
            locks.is_readable = locks.add(file);
        }
        if let Ok(file) = File::open("/proc/self/mountinfo") {
            let lines = BufReader::new(file.take(MOST)).lines();
            locks.mounts = lines
                .map_while(Result::ok)
                .filter_map(|line| parse_mount(&line))
                .collect();
        }
        locks
    }

    /// Adds the locks of a file; tells if all of it could be read.
    fn add(&mut self, file: File) -> bool {
        let mut reader = BufReader::with_capacity(1024 * 1024, file.take(MOST));
        let mut line = String::new();
        loop {
            line.clear();
            match reader.read_line(&mut line) {
                Ok(0) => return reader.into_inner().limit() > 0,
                Ok(_) => self.held.extend(parse_lock(&line)),
                Err(_) => return false,
            }
        }
    }

    /// Tells who has the file or directory at `path` inside `root` locked. A link is not
    /// followed. `namespace` is that of the processes which may have locked it, if it is
    /// known, as in `/proc/self/ns/pid`.
    #[must_use]
    pub fn holder(&self, root: &Root, path: &Path, namespace: Option<&str>) -> Holder {
        match self.find(root, path) {
            Some(Some((pid, true))) => Holder::Process(pid),
            Some(Some((pid, false))) => Holder::Likely(pid),
            Some(None) if self.sees(namespace) => Holder::NoProcess,
            _ => Holder::Unknown,
        }
    }

    /// Finds the process that holds the lock, and tells if no other file can be meant;
    /// `None` if the file cannot be looked at.
    fn find(&self, root: &Root, path: &Path) -> Option<Option<(u32, bool)>> {
        let dir = root.dir(path.parent()?).ok()?;
        let look = LOOK | OFlag::O_NOFOLLOW;
        let fd = dir.open_at(path.file_name()?, look, Mode::empty()).ok()?;
        let stat = fstat(&fd).ok()?;
        // What stat calls the device is another number on btrfs and overlayfs. The mount
        // has the one that /proc/locks has.
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok();
        let mount = info.as_deref().and_then(parse_mount_id);
        let device = mount.and_then(|id| self.mounts.get(&id).copied());
        let of_file = (major(stat.st_dev), minor(stat.st_dev));
        let device = device.unwrap_or(of_file);
        let pid = self.held.get(&(device, stat.st_ino));
        Some(pid.map(|pid| (*pid, device == of_file)))
    }

    /// Tells if all processes of a namespace are listed. If it is not known, only a
    /// process that sees all others can tell.
    fn sees(&self, namespace: Option<&str>) -> bool {
        let own = self.namespace.as_deref();
        let sees_all = own == Some(ALL_PROCESSES);
        self.is_readable && (sees_all || (own.is_some() && own == namespace))
    }

    /// The namespace of processes that this process lives in.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }
}

/// Identifies the numbering of processes that this process lives in.
#[must_use]
pub fn own_namespace() -> Option<String> {
    let link = fs::read_link("/proc/self/ns/pid").ok()?;
    link.into_os_string().into_string().ok()
}

/// Tells if a file is the kernel's: another one can hold anything.
fn is_of_the_kernel(file: &File) -> bool {
    fstatfs(file).is_ok_and(|stat| stat.filesystem_type() == PROC_SUPER_MAGIC)
}

/// Parses `1: FLOCK  ADVISORY  WRITE 17 fe:00:1011 0 EOF`. A process that waits for a lock
/// has `->` in front of its kind.
fn parse_lock(line: &str) -> Option<(FileId, u32)> {
    let mut words = line.split_whitespace().skip(1);
    if words.next()? != "FLOCK" || words.nth(1)? != "WRITE" {
        return None;
    }
    let pid = words.next()?.parse().ok()?;
    let mut id = words.next()?.split(':');
    let mut number = || u64::from_str_radix(id.next()?, 16).ok();
    let device = (number()?, number()?);
    let inode = id.next()?.parse().ok()?;
    Some(((device, inode), pid))
}

/// Parses the number and the device of a mount: `36 35 98:0 …`.
fn parse_mount(line: &str) -> Option<(u64, (u64, u64))> {
    let mut words = line.split(' ');
    let id = words.next()?.parse().ok()?;
    let (major, minor) = words.nth(1)?.split_once(':')?;
    Some((id, (major.parse().ok()?, minor.parse().ok()?)))
}

fn parse_mount_id(info: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::sys;
    use std::os::fd::AsFd;

    #[test]
    fn only_a_held_exclusive_lock_of_a_whole_file_counts() {
        let line = "1: FLOCK  ADVISORY  WRITE 17 fe:1a:1011 0 EOF\n";
        assert_eq!(parse_lock(line), Some((((0xfe, 0x1a), 1011), 17)));
        for other in [
            "1: -> FLOCK  ADVISORY  WRITE 17 fe:00:1011 0 EOF",
            "1: FLOCK  ADVISORY  READ 17 fe:00:1011 0 EOF",
            "1: POSIX  ADVISORY  WRITE 17 fe:00:1011 0 EOF",
            "1: OFDLCK ADVISORY  WRITE -1 fe:00:1011 0 EOF",
            "1: FLOCK  ADVISORY  WRITE -1 fe:00:1011 0 EOF",
            "1: FLOCK  ADVISORY  WRITE 17 fe:00 0 EOF",
            "",
        ] {
            assert_eq!(parse_lock(other), None, "{other}");
        }
        assert_eq!(
            parse_mount("36 35 98:1 / /m rw - ext4 /dev/x rw"),
            Some((36, (98, 1)))
        );
        assert_eq!(
            parse_mount_id("pos:\t0\nflags:\t02\nmnt_id:\t27\n"),
            Some(27)
        );
    }

    #[test]
    fn the_holder_of_a_lock_is_found_and_the_lock_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let file = File::create(dir.path().join("lock")).unwrap();
        let holder = || FileLocks::read(&root).holder(&root, Path::new("/lock"), None);
        let own = own_namespace();
        let sees = FileLocks::read(&root).sees(own.as_deref());
        let free = || FileLocks::read(&root).holder(&root, Path::new("/lock"), own.as_deref());
        if sees {
            assert_eq!(free(), Holder::NoProcess);
            assert!(sys::try_lock(file.as_fd()).unwrap());
            assert_eq!(holder(), Holder::Process(std::process::id()));
            drop(file);
            assert_eq!(free(), Holder::NoProcess);
        }
        // Processes of another namespace may be invisible.
        let locks = FileLocks {
            namespace: Some("pid:[2]".to_owned()),
            ..FileLocks::read(&root)
        };
        assert_eq!(
            locks.holder(&root, Path::new("/lock"), Some("pid:[3]")),
            Holder::Unknown
        );
        assert_eq!(
            locks.holder(&root, Path::new("/lock"), None),
            Holder::Unknown
        );
    }

    #[test]
    fn a_list_of_locks_that_is_not_the_kernels_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("proc")).unwrap();
        let file = File::create(dir.path().join("lock")).unwrap();
        let stat = fstat(&file).unwrap();
        let (device, inode) = (stat.st_dev, stat.st_ino);
        let line = format!(
            "1: FLOCK  ADVISORY  WRITE 1 {:02x}:{:02x}:{inode} 0 EOF\n",
            major(device),
            minor(device)
        );
        fs::write(dir.path().join("proc/locks"), line).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let holder = FileLocks::read(&root).holder(&root, Path::new("/lock"), None);
        assert!(!matches!(holder, Holder::Process(_)), "{holder:?}");
    }
}
