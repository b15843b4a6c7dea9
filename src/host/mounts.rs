//! Which mounted file systems hold what steps may have written: what
//! `/proc/self/mountinfo` says, and the choice.
//!
//! To open a path on a mount that hangs would hang too. So only what is known to be
//! harmless is walked over, and only what is known to be local is chosen.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A file system that is chosen to be synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The mount point. It is the root, or below it.
    pub(super) path: PathBuf,
    /// The device's major and minor number.
    pub(super) device: (u64, u64),
    /// Tells if files on it have the device number that the mount has. On btrfs each
    /// subvolume has another one.
    pub(super) has_one_device: bool,
}

/// The mounts at and below a root, as they are read line by line.
#[derive(Debug)]
pub(super) struct Mounts {
    root: Vec<u8>,
    /// The mount that the root is on: the one with the longest path so far.
    holder: Option<Line>,
    /// Local file systems below the root.
    local: Vec<Mount>,
    /// Mount points below the root whose walk could hang.
    barriers: Vec<Vec<u8>>,
    /// Automount points below the root.
    automounts: Vec<Vec<u8>>,
}

/// The fields of one line.
#[derive(Debug)]
struct Line {
    path: Vec<u8>,
    device: (u64, u64),
    file_system: String,
    is_read_only: bool,
}

/// The kind of a file system, as far as a sync is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// It keeps files on a disk of this node.
    Local,
    /// It keeps its files in directories of other file systems.
    Overlay,
    /// Nothing on it outlives a power cut, and nothing on it can hang.
    Harmless,
    /// A file system mounted on it may be synced. What is below it is not looked at.
    Automount,
    /// It may hang: the network, a process (FUSE), or unknown.
    MayHang,
}

impl Class {
    /// An allow-list: what is not known is not touched, since a run that hangs is
    /// worse than one file system of a new kind that is not synced.
    fn of(file_system: &str, device: (u64, u64)) -> Class {
        // Several nodes share their device and wait for each other; a process serves it.
        let is_shared = matches!(file_system, "gfs2" | "ocfs2" | "lustre");
        if is_shared || file_system.starts_with("fuse") {
            return Class::MayHang;
        }
        match file_system {
            "btrfs" | "bcachefs" | "zfs" | "ubifs" => Class::Local,
            "overlay" | "aufs" => Class::Overlay,
            "autofs" => Class::Automount,
            "tmpfs" | "ramfs" | "devtmpfs" | "proc" | "sysfs" | "cgroup" | "cgroup2" | "devpts"
            | "mqueue" | "hugetlbfs" | "securityfs" | "debugfs" | "tracefs" | "bpf" | "pstore"
            | "efivarfs" | "configfs" | "nsfs" | "selinuxfs" | "binfmt_misc" | "rpc_pipefs"
            | "squashfs" | "erofs" | "rootfs" => Class::Harmless,
            // A number of a block device; the others have none of their own.
            _ if device.0 != 0 => Class::Local,
            _ => Class::MayHang,
        }
    }
}

impl Mounts {
    /// Starts with no mount. `root` is the root's path in this process's namespace.
    pub(super) fn new(root: &Path) -> Mounts {
        Mounts {
            root: root.as_os_str().as_bytes().to_owned(),
            holder: None,
            local: Vec::new(),
            barriers: Vec::new(),
            automounts: Vec::new(),
        }
    }

    /// Adds a line of mountinfo. Of a line that cannot be understood nothing is known,
    /// and nothing is done.
    pub(super) fn add(&mut self, line: &[u8]) {
        let Some(line) = Line::parse(line) else {
            return;
        };
        if is_at_or_below(&self.root, &line.path) {
            let longest = self.holder.as_ref().map_or(0, |line| line.path.len());
            // A later mount at the same place covers the earlier one.
            if line.path.len() >= longest {
                self.holder = Some(line);
            }
            return;
        }
        if !is_at_or_below(&line.path, &self.root) {
            return;
        }
        match Class::of(&line.file_system, line.device) {
            Class::MayHang => self.barriers.push(line.path),
            Class::Automount => self.automounts.push(line.path),
            Class::Local if !line.is_read_only && !is_of_a_pod(&line.path) => {
                self.local.push(line.mount_at(line.path.clone()));
            }
            // What is written to an overlay is in a directory of another one of these.
            Class::Local | Class::Overlay | Class::Harmless => {}
        }
    }

    /// Chooses what is to be synced, the root's own file system first. One device may
    /// be there several times: the first that can be opened is enough.
    pub(super) fn chosen(self) -> Vec<Mount> {
        let mut chosen = Vec::new();
        if let Some(line) = self.holder {
            let class = Class::of(&line.file_system, line.device);
            // An overlay that holds the root may have its directories anywhere.
            if matches!(class, Class::Local | Class::Overlay) && !line.is_read_only {
                chosen.push(line.mount_at(self.root));
            }
        }
        let is_safe = |mount: &Mount| {
            let path = mount.path.as_os_str().as_bytes();
            let is_below = |above: &Vec<u8>| is_at_or_below(path, above);
            !self.barriers.iter().any(is_below)
                && !self
                    .automounts
                    .iter()
                    .any(|above| is_below(above) && path != *above)
        };
        chosen.extend(self.local.into_iter().filter(is_safe));
        chosen
    }
}

impl Line {
    /// Parses `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=…`.
    fn parse(line: &[u8]) -> Option<Line> {
        let mut fields = line.trim_ascii_end().split(|byte| *byte == b' ');
        let device = std::str::from_utf8(fields.nth(2)?).ok()?;
        let (major, minor) = device.split_once(':')?;
        let path = unescape(fields.nth(1)?);
        let options = fields.next()?;
        let mut fields = fields.skip_while(|field| *field != b"-");
        let file_system = std::str::from_utf8(fields.nth(1)?).ok()?;
        let super_options = fields.nth(1)?;
        let is_ro = |options: &[u8]| options.split(|byte| *byte == b',').any(|o| o == b"ro");
        Some(Line {
            path,
            device: (major.parse().ok()?, minor.parse().ok()?),
            file_system: file_system.to_owned(),
            is_read_only: is_ro(options) || is_ro(super_options),
        })
    }

    fn mount_at(&self, path: Vec<u8>) -> Mount {
        Mount {
            path: PathBuf::from(OsString::from_vec(path)),
            device: self.device,
            has_one_device: self.file_system != "btrfs" && self.file_system != "bcachefs",
        }
    }
}

/// Tells if a path is another one, or below it.
pub(crate) fn is_at_or_below(path: &[u8], above: &[u8]) -> bool {
    let above = above.strip_suffix(b"/").unwrap_or(above);
    let rest = path.strip_prefix(above);
    rest.is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

/// Tells if a mount is a volume of a pod, or the place at which kubelet keeps it. Steps
/// have no business there, and its owner syncs it as it needs.
fn is_of_a_pod(path: &[u8]) -> bool {
    let has = |names: &[u8]| path.windows(names.len()).any(|part| part == names);
    has(b"/kubelet/pods/") || has(b"/kubelet/plugins/")
}

/// Undoes the escapes of mountinfo: `\040` is a blank.
pub(crate) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(code) if *byte == b'\\' => {
                bytes.push(code);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
