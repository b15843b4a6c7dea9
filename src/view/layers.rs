//! The copy-on-write layers of a view.
//!
//! An overlay takes one file system. So the root has one, and each mount below it that holds
//! files has one. In a user namespace the kernel refuses an overlay of a directory that has
//! mounts below it, because it would uncover what they cover. Such a directory becomes a
//! *skeleton*: a directory of a tmpfs with the links of the real one, its files bound
//! read-only, and each of its directories laid in turn.

use std::ffi::{CString, OsStr};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::adopt;
use super::mounts::{Class, Mount, OWN};
use super::private;
use crate::error::Error;
use crate::system::sys::namespaces::{Mounts, clone_mount, make_read_only};
use crate::system::sys::set_xattr;

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC);

/// The directories of a layer.
const UPPER: &str = "upper";
const WORK: &str = "work";

/// The longest name of a layer's directory. What tells it from another one comes after.
const LONGEST_NAME: usize = 200;

/// An overlay of a view.
#[derive(Debug)]
pub(super) struct Layer {
    /// Where it is laid, relative to the root; empty for the root itself.
    pub(super) path: PathBuf,
    /// What the view has changed.
    pub(super) upper: OwnedFd,
    /// The stand-ins and directories that are laid over the real ones.
    pub(super) stand_ins: Option<OwnedFd>,
    /// The real directory.
    pub(super) real: OwnedFd,
    /// The directory that holds this layer's own two: one for what has changed, and one for
    /// the kernel's own use.
    directory: PathBuf,
}

/// The layers of a view.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) overlays: Vec<Layer>,
    /// If there are directories that are no part of an overlay.
    pub(super) has_skeleton: bool,
    /// What could not be laid as it is, one line for each.
    pub(super) gaps: Vec<String>,
    is_kept: bool,
}

/// Where layers come from, and where they go.
#[derive(Debug)]
pub(super) struct Places<'a> {
    /// The real root, absolute and free of links.
    pub(super) root: &'a Path,
    /// What is mounted below it: see [`super::mounts::below`].
    pub(super) mounts: &'a (Vec<Mount>, Vec<PathBuf>),
    /// The directory that becomes the root of the view.
    pub(super) view: &'a Path,
    /// A directory with what is laid over the real root, as in a root.
    pub(super) stand_ins: &'a Path,
    /// The directory for the upper layers.
    pub(super) uppers: &'a Path,
    /// If the upper layers are there after the view's end.
    pub(super) is_kept: bool,
    /// If this process is root in a user namespace alone.
    pub(super) in_user_namespace: bool,
}

/// Lays the view of a root.
pub(super) fn lay(places: &Places<'_>) -> Result<Layers, Error> {
    let mut laying = Laying {
        places,
        mounts: &places.mounts.0,
        all: &places.mounts.1,
        layers: Layers {
            is_kept: places.is_kept,
            ..Layers::default()
        },
        has_others: false,
    };
    laying.lay(Path::new(""))?;
    if laying.has_others {
        laying.layers.gaps.push(
            "files of other users can be replaced, but not written to: a step may fail here \
             that succeeds on a node"
                .to_owned(),
        );
    }
    if places.in_user_namespace && !keeps_attributes(places.uppers)? {
        laying.layers.gaps.push(
            "directories of the root cannot be removed or replaced: this kernel's tmpfs keeps \
             no attributes for that (Linux 6.6 does). With root, or --keep DIR on a disk, they can"
                .to_owned(),
        );
    }
    if laying.layers.overlays.is_empty() {
        return Err(private::refused("each copy-on-write layer", Errno::EINVAL));
    }
    Ok(laying.layers)
}

impl Layers {
    /// Removes what the kernel had in a kept directory for its own use, and the layers that
    /// nothing has been written to. To be called after the overlays are gone.
    pub(super) fn clean_up(&self) {
        for layer in self.overlays.iter().filter(|_| self.is_kept) {
            let work = layer.directory.join(WORK);
            // The kernel makes it with no permission at all.
            let inner = work.join("work");
            let _ = fs::set_permissions(&inner, Permissions::from_mode(0o700));
            for empty in [
                &inner,
                &work,
                &layer.directory.join(UPPER),
                &layer.directory,
            ] {
                let _ = fs::remove_dir(empty);
            }
        }
    }
}

struct Laying<'a> {
    places: &'a Places<'a>,
    mounts: &'a [Mount],
    /// Where anything is mounted.
    all: &'a [PathBuf],
    layers: Layers,
    /// If there are files of other users.
    has_others: bool,
}

impl<'a> Laying<'a> {
    fn lay(&mut self, path: &Path) -> Result<(), Error> {
        let below = |mount: &&Mount| mount.path != path && mount.path.starts_with(path);
        let below: Vec<&'a Mount> = self.mounts.iter().filter(below).collect();
        if self.places.in_user_namespace && !below.is_empty() {
            return self.skeleton(path);
        }
        match self.overlay(path) {
            // The kernel may see mounts that a view has nothing of: as /proc.
            Err(Error::Io { source, .. })
                if self.places.in_user_namespace
                    && source.raw_os_error() == Some(libc::EINVAL)
                    && self.all.iter().any(|at| at != path && at.starts_with(path)) =>
            {
                return self.skeleton(path);
            }
            laid => laid?,
        }
        for mount in below {
            self.mount(mount);
        }
        Ok(())
    }

    /// Lays what is mounted below the root. Never fails: what cannot be laid is a gap.
    fn mount(&mut self, mount: &Mount) {
        let problem = match mount.class {
            Class::Empty => return,
            Class::Bind => None,
            Class::Layer if self.places.in_user_namespace => self.lay(&mount.path).err(),
            Class::Layer => self.overlay(&mount.path).err(),
        };
        if problem.is_none() && mount.class == Class::Layer {
            return;
        }
        let source = self.places.root.join(&mount.path);
        let target = self.places.view.join(&mount.path);
        let bound = bind_read_only(&source, &target, Mounts::AllBelow);
        let path = Path::new("/").join(&mount.path);
        match (problem, bound) {
            (_, Err(error)) => self.gap(&path, "is empty", &error.to_string()),
            (Some(_), Ok(())) => {
                let why = format!("no overlay takes {}", mount.file_system);
                self.gap(&path, "is read-only", &why);
            }
            (None, Ok(())) => {}
        }
    }

    fn gap(&mut self, path: &Path, how: &str, why: &str) {
        let path = path.display();
        self.layers.gaps.push(format!("{path} {how} here: {why}"));
    }

    fn overlay(&mut self, path: &Path) -> Result<(), Error> {
        let real_path = self.places.root.join(path);
        let refused = |error: Errno| Error::io("lay a copy-on-write view of", &real_path, error);
        let real = open(&real_path, DIRECTORY | OFlag::O_PATH, Mode::empty()).map_err(refused)?;

        let directory = self.directory_for(path)?;
        let work = directory.join(WORK);
        let upper = directory.join(UPPER);
        make_dir(&work, 0o700)?;
        make_dir(&upper, 0o700)?;
        // The kernel takes the attributes of the directory itself from the upper layer.
        mirror(&real_path, &upper)?;
        let upper = open(&upper, DIRECTORY, Mode::empty()).map_err(refused)?;
        let work_fd = open(&work, DIRECTORY | OFlag::O_PATH, Mode::empty()).map_err(refused)?;
        let unwritten = unwritten(&real_path, Mounts::This);
        let stand_ins = self.places.stand_ins.join(path);
        // What the kernel does not let be copied, because of mounts below it, takes no overlay.
        if let (true, Some(real)) = (self.places.in_user_namespace, &unwritten) {
            self.has_others |= adopt::adopt(&by_fd(real), &stand_ins);
        }
        let stand_ins = open(&stand_ins, DIRECTORY, Mode::empty()).ok();

        // By their descriptors: a path might hold what has a meaning in these options.
        let over = stand_ins
            .as_ref()
            .map(|fd| format!("{}:", by_fd(fd).display()));
        // A renamed directory stays a copy, as it is in a user namespace: so what is in the
        // upper layer lies where it is in the view.
        let more = if self.places.in_user_namespace {
            "userxattr"
        } else {
            "redirect_dir=off,index=off,metacopy=off"
        };
        let options = format!(
            "lowerdir={}{},upperdir={},workdir={},{more}",
            over.unwrap_or_default(),
            by_fd(&real).display(),
            by_fd(&upper).display(),
            by_fd(&work_fd).display(),
        );
        let target = self.places.view.join(path);
        // A device in the root must not be opened.
        let flags = MsFlags::MS_NODEV;
        let overlay = Some("overlay");
        let mounted = mount(overlay, &target, overlay, flags, Some(&*options));
        if let Err(error) = mounted {
            let _ = fs::remove_dir_all(&directory);
            return Err(match error {
                Errno::EPERM => private::refused("an overlay", error),
                error => refused(error),
            });
        }
        self.layers.overlays.push(Layer {
            path: path.to_owned(),
            upper,
            stand_ins,
            real: unwritten.unwrap_or(real),
            directory,
        });
        Ok(())
    }

    /// Makes the directory of a layer: `root`, or as `var-lib` for var/lib.
    fn directory_for(&self, path: &Path) -> Result<PathBuf, Error> {
        let mut name: Vec<u8> = match path.as_os_str().as_bytes() {
            b"" => b"root".to_vec(),
            path => path.to_vec(),
        };
        for byte in name.iter_mut().filter(|byte| **byte == b'/') {
            *byte = b'-';
        }
        name.truncate(LONGEST_NAME);
        let mut directory = self.places.uppers.join(OsStr::from_bytes(&name));
        // a-b and a/b.
        while directory.exists() {
            directory.as_mut_os_string().push("-");
        }
        make_dir(&directory, 0o700)?;
        Ok(directory)
    }

    fn skeleton(&mut self, path: &Path) -> Result<(), Error> {
        self.layers.has_skeleton = true;
        let real = self.places.root.join(path);
        let here = self.places.view.join(path);
        // With all that is mounted below it, which is not looked at: less is refused.
        let unwritten = unwritten(&real, Mounts::AllBelow);
        let looked_at = unwritten.as_ref().map_or(real.clone(), by_fd);
        let entries = fs::read_dir(looked_at).map_err(|error| Error::io("list", &real, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| Error::io("list", &real, error))?;
            let name = entry.file_name();
            let path = path.join(&name);
            let (real, here) = (real.join(&name), here.join(&name));
            if OWN.iter().any(|own| path == Path::new(own)) {
                continue;
            }
            let kind = entry.file_type();
            let kind = kind.map_err(|error| Error::io("look at", &real, error))?;
            if kind.is_symlink() {
                fs::read_link(entry.path())
                    .and_then(|target| symlink(target, &here))
                    .map_err(|error| Error::io("copy the link", &real, error))?;
            } else if kind.is_dir() {
                make_dir(&here, 0o755)?;
                self.directory_of_skeleton(&path);
                // Not if something is mounted there by now.
                let _ = mirror(&real, &here);
            } else if kind.is_file() {
                let bound =
                    File::create(&here).and_then(|_| bind_read_only(&real, &here, Mounts::This));
                if let Err(error) = bound {
                    self.gap(&Path::new("/").join(&path), "is empty", &error.to_string());
                }
            }
        }
        if path == Path::new("") {
            for own in OWN {
                make_dir(&here.join(own), 0o755)?;
            }
        }
        mirror(&real, &here)
    }

    fn directory_of_skeleton(&mut self, path: &Path) {
        if let Some(mount) = self.mounts.iter().find(|mount| mount.path == path) {
            return self.mount(mount);
        }
        if let Err(error) = self.lay(path) {
            let path = Path::new("/").join(path);
            self.gap(&path, "is empty", &error.to_string());
        }
    }
}

/// Tells if files below a directory can have the attributes by which an overlay in a user
/// namespace marks a directory as new.
fn keeps_attributes(uppers: &Path) -> Result<bool, Error> {
    let probe = uppers.join("probe");
    make_dir(&probe, 0o700)?;
    let refused = |error: io::Error| Error::io("try attributes of", &probe, error);
    let opened = File::open(&probe).map_err(refused)?;
    let set = set_xattr(opened.as_fd(), c"user.overlay.opaque", b"y");
    fs::remove_dir(&probe).map_err(refused)?;
    Ok(set.is_ok())
}

/// Opens a directory so that reading it does not even change the times of its files; `None`
/// before Linux 5.12.
fn unwritten(path: &Path, which: Mounts) -> Option<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let copy = clone_mount(&path, which).ok()?;
    make_read_only(copy.as_fd(), which).ok()?;
    Some(copy)
}

/// A path to what is open, whatever its name is.
fn by_fd(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Opens the directory `name` of the mount at `mount`, without what is mounted below it.
pub(super) fn uncovered(mount: &Path, name: &str) -> Result<OwnedFd, Error> {
    let open = |path: &Path| -> io::Result<OwnedFd> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let copy = clone_mount(&path, Mounts::This)?;
        Ok(openat(&copy, name, DIRECTORY, Mode::empty())?)
    };
    open(mount).map_err(|error| Error::io("open", mount.join(name), error))
}

/// Binds a file or a directory, so that it can be read alone.
pub(super) fn bind_read_only(source: &Path, target: &Path, which: Mounts) -> io::Result<()> {
    let none = None::<&str>;
    let recursive = match which {
        Mounts::This => MsFlags::empty(),
        Mounts::AllBelow => MsFlags::MS_REC,
    };
    mount(
        Some(source),
        target,
        none,
        MsFlags::MS_BIND | recursive,
        none,
    )?;
    let fd = open(target, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    match make_read_only(fd.as_fd(), which) {
        // Linux 5.11 and older. What is mounted below it stays as it is.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            // The flags that it has are to stay.
            let has = fstatvfs(&fd)?.flags();
            let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            for (flag, same) in [
                (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
                (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
                (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
                (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
                (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
                (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
            ] {
                if has.contains(flag) {
                    flags |= same;
                }
            }
            Ok(mount(none, target, none, flags, none)?)
        }
        made => made,
    }
}

/// Makes a directory that is not there yet.
pub(super) fn make_dir(path: &Path, mode: u32) -> Result<(), Error> {
    let made = DirBuilder::new().mode(mode).create(path);
    made.map_err(|error| Error::io("make the directory", path, error))
}

/// Gives a directory the mode and, as far as this user may, the owner of the real one.
pub(super) fn mirror(real: &Path, copy: &Path) -> Result<(), Error> {
    let refused = |error| Error::io("copy the mode of", real, error);
    let metadata = fs::symlink_metadata(real).map_err(refused)?;
    // In a user namespace most owners have no name.
    let _ = chown(copy, Some(metadata.uid()), Some(metadata.gid()));
    let mode = Permissions::from_mode(metadata.mode() & 0o7777);
    fs::set_permissions(copy, mode).map_err(refused)
}
