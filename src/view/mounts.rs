//! The mounts below a root, and what a view makes of each.

use std::ffi::OsString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, open};
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, fstat};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::error::Error;
use crate::host::{is_at_or_below, unescape};
use crate::system::sys::namespaces::fork_into;

/// The longest that a file system may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The directories of a root that a view has of its own.
pub(super) const OWN: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// A mount below the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Its path, relative to the root.
    pub(super) path: PathBuf,
    /// The name of its file system.
    pub(super) file_system: String,
    /// What a view makes of it.
    pub(super) class: Class,
    /// If its files come from a program or over the network: it may never answer.
    is_remote: bool,
}

/// What a view makes of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A copy-on-write layer: it holds files.
    Layer,
    /// The mount itself, read-only: it cannot be written to in the machine either.
    Bind,
    /// An empty directory: it holds no files of a disk.
    Empty,
}

/// Reads which mounts of a view can be seen below `root`, those above others first, and
/// where anything at all is mounted below it: also files, also what is covered. `root` is
/// absolute and free of links.
pub(super) fn below(root: &Path) -> Result<(Vec<Mount>, Vec<PathBuf>), Error> {
    let path = "/proc/self/mountinfo";
    let info = fs::read(path).map_err(|error| Error::io("read", path, error))?;
    let mut mounts = Vec::new();
    let listed = info.split(|byte| *byte == b'\n');
    for (id, mount) in listed.filter_map(|line| parse(line, root)) {
        let path = root.join(&mount.path);
        if mount.is_remote {
            expect_answer(&path)?;
        }
        if is_seen(id, &path) {
            mounts.push(mount);
        }
    }
    let all = info.split(|byte| *byte == b'\n').filter_map(|line| {
        let path = unescape(line.split(|byte| *byte == b' ').nth(4)?);
        let path = PathBuf::from(OsString::from_vec(path));
        Some(path.strip_prefix(root).ok()?.to_owned())
    });
    Ok((mounts, all.collect()))
}

/// Parses `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=…`, if that
/// is the line of a directory that a view has from the root.
fn parse(line: &[u8], root: &Path) -> Option<(u64, Mount)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = fields.nth(1)?;
    let path = unescape(fields.nth(1)?);
    let options = fields.next()?;
    let mut fields = fields.skip_while(|field| *field != b"-");
    let file_system = std::str::from_utf8(fields.nth(1)?).ok()?.to_owned();
    let super_options = fields.nth(1)?;
    if !is_at_or_below(&path, root.as_os_str().as_bytes()) {
        return None;
    }
    let path = PathBuf::from(OsString::from_vec(path));
    let path = path.strip_prefix(root).ok()?.to_owned();
    let first = path.iter().next()?;
    if OWN.iter().any(|own| first == *own) {
        return None;
    }
    let is_ro = |options: &[u8]| options.split(|byte| *byte == b',').any(|o| o == b"ro");
    let class = match file_system.as_str() {
        // Those of containers are not the machine's own files. Others are: systemd-sysext
        // lays one over /usr.
        "overlay" if ["merged", "rootfs"].iter().any(|name| path.ends_with(name)) => Class::Empty,
        "aufs" | "autofs" | "tmpfs" | "ramfs" | "devtmpfs" | "proc" | "sysfs" | "cgroup"
        | "cgroup2" | "devpts" | "mqueue" | "hugetlbfs" | "securityfs" | "debugfs" | "tracefs"
        | "bpf" | "pstore" | "efivarfs" | "configfs" | "fusectl" | "nsfs" | "selinuxfs"
        | "binfmt_misc" | "rpc_pipefs" | "nfsd" => Class::Empty,
        _ if is_ro(options) || is_ro(super_options) => Class::Bind,
        _ => Class::Layer,
    };
    let mount = Mount {
        path,
        file_system,
        class,
        is_remote: class != Class::Empty && device.starts_with(b"0:"),
    };
    Some((id, mount))
}

/// Fails if the file system at `path` does not answer in time, as that of a server that is
/// down. A child asks it, so that this process never waits for the kernel.
fn expect_answer(path: &Path) -> Result<(), Error> {
    let asked = fork_into(CloneFlags::empty(), || {
        let _ = path.symlink_metadata();
        libc::EXIT_SUCCESS
    });
    let pid = asked.map_err(|error| Error::io("look at", path, error))?;
    let pid = Pid::from_raw(i32::try_from(pid).unwrap_or_default());
    let since = Instant::now();
    while let Ok(WaitStatus::StillAlive) = waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        if since.elapsed() > PATIENCE {
            let _ = kill(pid, Signal::SIGKILL);
            let path = path.display();
            return Err(Error::NotThere(format!(
                "{path} does not answer: unmount it (umount -l {path}), or rehearse in another root"
            )));
        }
        sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// Tells if the directory at `path` is the root of the mount `id`. It is not if another
/// mount covers it, or if a file is mounted there.
fn is_seen(id: u64, path: &Path) -> bool {
    // Not O_DIRECTORY: that would have an automounter mount something.
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let Ok(fd) = open(path, flags, Mode::empty()) else {
        return false;
    };
    let is_directory = fstat(&fd).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR);
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
    is_directory
        && info.is_ok_and(|info| {
            info.lines()
                .filter_map(|line| line.strip_prefix("mnt_id:"))
                .any(|seen| seen.trim().parse() == Ok(id))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(line: &str, root: &str) -> Option<(PathBuf, Class)> {
        let (_, mount) = parse(line.as_bytes(), Path::new(root))?;
        Some((mount.path, mount.class))
    }

    #[test]
    fn a_mount_below_the_root_is_known_by_its_path_in_the_root() {
        let line = "36 35 8:1 / /srv/a\\040root/home rw,noatime master:1 - ext4 /dev/sda1 rw";
        let home = Some((PathBuf::from("home"), Class::Layer));
        assert_eq!(class(line, "/srv/a root"), home);
        assert_eq!(class(line, "/srv/a root/home"), None);
        assert_eq!(class(line, "/srv/a"), None);
    }

    #[test]
    fn mounts_that_hold_no_files_are_empty_and_read_only_ones_stay_so() {
        let at = |options: &str| format!("36 35 8:1 / /data {options}");
        let of = |line: &str| class(&at(line), "/").map(|(_, class)| class);
        assert_eq!(of("rw - tmpfs none rw"), Some(Class::Empty));
        assert_eq!(of("ro - squashfs /dev/loop0 rw"), Some(Class::Bind));
        assert_eq!(of("rw - iso9660 /dev/sr0 ro"), Some(Class::Bind));
        assert_eq!(of("rw - xfs /dev/sdb rw"), Some(Class::Layer));
        assert_eq!(of("rw - overlay none rw"), Some(Class::Layer));
        let container = "36 35 0:9 / /var/lib/docker/overlay2/1a/merged rw - overlay none rw";
        let class = class(container, "/").map(|(_, class)| class);
        assert_eq!(class, Some(Class::Empty));
    }

    #[test]
    fn the_directories_that_a_view_has_of_its_own_are_left_out() {
        assert_eq!(
            class("36 35 8:1 / /run/media rw - ext4 /dev/sdb rw", "/"),
            None
        );
        assert_eq!(class("", "/"), None);
        assert_eq!(class("garbage", "/"), None);
    }
}
