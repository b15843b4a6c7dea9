//! Paths on the host, resolved inside its root mount (contract §10): a symbolic
//! link there, absolute or with `..`, cannot lead a read or a write out of it.
//!
//! A path is resolved once, to a folder's descriptor; what is done in the folder
//! is done by plain names from there and follows no link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{
    AtFlags, Flock, FlockArg, OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat,
    renameat,
};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

use crate::error::Error;

mod copy;

pub use copy::{copy_file, copy_tree};

/// How many symbolic links one path may lead over, as in the kernel.
const MOST_LINKS: u32 = 40;

/// A root mount. Paths given to it are absolute inside it, with or without their
/// leading `/`.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
    resolve: Resolve,
}

/// Who resolves paths.
#[derive(Clone, Copy, Debug)]
enum Resolve {
    /// The kernel: openat2, Linux 5.6.
    InKernel,
    /// This module, name by name.
    Here,
}

/// A folder inside a root.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl Root {
    /// The root mount at `path`; `/` for the whole of this file system.
    ///
    /// # Errors
    /// Where it is no folder that can be entered.
    pub fn open(path: &Path) -> Result<Root, Error> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = open(path, flags, Mode::empty())
            .map_err(io::Error::from)
            .map_err(Error::io("enter the root", path))?;
        let mut root = Root {
            fd,
            path: path.to_owned(),
            resolve: Resolve::InKernel,
        };
        // Older kernels do not have the call, and some sandboxes refuse it.
        if matches!(
            root.resolve(Path::new("/"), flags),
            Err(Errno::ENOSYS | Errno::EPERM)
        ) {
            root.resolve = Resolve::Here;
        }
        Ok(root)
    }

    /// What `path` is called outside the root, for messages.
    #[must_use]
    pub fn outside(&self, path: &Path) -> PathBuf {
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// All of a file.
    ///
    /// # Errors
    /// Where it is not there or cannot be read.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let read = || {
            let fd = self.resolve(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC)?;
            let mut bytes = Vec::new();
            File::from(fd).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(Error::io("read", self.outside(path)))
    }

    /// A folder, created where it is missing, and those above it.
    ///
    /// # Errors
    /// Where one cannot be created, or a name on the way is no folder.
    pub fn create_dir_all(&self, path: &Path) -> Result<Dir, Error> {
        let create = || {
            let mut dir = self.dir(Path::new("/"))?;
            let mut done = PathBuf::from("/");
            for name in path.components() {
                done.push(name);
                dir = match self.dir(&done) {
                    Err(Errno::ENOENT) => {
                        match mkdirat(&dir.0, name.as_os_str(), Mode::from_bits_truncate(0o777)) {
                            Ok(()) => {
                                // A durable file needs a durable way to it.
                                dir.sync_names()?;
                                self.dir(&done)?
                            }
                            Err(Errno::EEXIST) => self.dir(&done)?,
                            Err(error) => return Err(error),
                        }
                    }
                    found => found?,
                };
            }
            Ok(dir)
        };
        create()
            .map_err(io::Error::from)
            .map_err(Error::io("create the folder", self.outside(path)))
    }

    /// A folder that is there.
    ///
    /// # Errors
    /// Where it is not.
    pub fn open_dir(&self, path: &Path) -> Result<Dir, Error> {
        self.dir(path)
            .map_err(io::Error::from)
            .map_err(Error::io("open the folder", self.outside(path)))
    }

    /// Whether a path leads to something.
    ///
    /// # Errors
    /// The system's, where it cannot tell.
    pub fn exists(&self, path: &Path) -> Result<bool, Error> {
        match self.resolve(path, OFlag::O_PATH | OFlag::O_CLOEXEC) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
            Err(error) => Err(Error::io("look for", self.outside(path))(error.into())),
        }
    }

    fn dir(&self, path: &Path) -> nix::Result<Dir> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        self.resolve(path, flags).map(Dir)
    }

    fn resolve(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        match self.resolve {
            Resolve::InKernel => {
                let inside = ResolveFlag::RESOLVE_IN_ROOT;
                let how = OpenHow::new().flags(flags).resolve(inside);
                loop {
                    match openat2(&self.fd, path, how) {
                        // A rename beside it made the kernel unsure of a `..`.
                        Err(Errno::EAGAIN | Errno::EINTR) => {}
                        done => return done,
                    }
                }
            }
            Resolve::Here => self.walk(path, flags),
        }
    }

    /// What openat2 does: from descriptor to descriptor, so that nothing that is
    /// renamed or replaced meanwhile can lead out.
    fn walk(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let mut folders: Vec<OwnedFd> = Vec::new();
        let mut names = names(path);
        let mut links = 0;
        while let Some(name) = names.pop() {
            if name == ".." {
                // In the root, `..` is the root.
                folders.pop();
                continue;
            }
            let at = folders.last().unwrap_or(&self.fd);
            let look = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let found = openat(at, name.as_os_str(), look, Mode::empty())?;
            if is_link(&found)? {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::ELOOP);
                }
                // Of the link that was found, even if another has its name by now.
                let target = PathBuf::from(readlinkat(&found, "")?);
                if target.is_absolute() {
                    folders.clear();
                }
                names.extend(self::names(&target));
            } else if names.is_empty() && !flags.contains(OFlag::O_PATH) {
                let flags = flags | OFlag::O_NOFOLLOW;
                return openat(at, name.as_os_str(), flags, Mode::empty());
            } else {
                folders.push(found);
            }
        }
        match folders.pop() {
            // It need not be a folder, which alone could be opened once more.
            Some(found) if flags.contains(OFlag::O_PATH) && !flags.contains(OFlag::O_DIRECTORY) => {
                Ok(found)
            }
            Some(found) => openat(&found, ".", flags, Mode::empty()),
            None => openat(&self.fd, ".", flags, Mode::empty()),
        }
    }
}

/// The names along a path, last first; the root itself is none.
fn names(path: &Path) -> Vec<OsString> {
    let names = path
        .components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        });
    names.collect()
}

fn is_link(fd: &OwnedFd) -> nix::Result<bool> {
    let kind = SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT;
    Ok(kind == SFlag::S_IFLNK)
}

impl Dir {
    /// Creates a file that is not there yet, to be written.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where something of that name is, a link
    /// included; otherwise the system's.
    pub fn create_new(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let fd = openat(&self.0, name, flags, Mode::from_bits_truncate(0o666))?;
        Ok(File::from(fd))
    }

    /// Removes a file, or a link itself. One that is not there is removed.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        match unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a whole file, durably: after a crash at any moment it has its old
    /// content or the new, and once this returns, the new.
    ///
    /// # Errors
    /// The system's; the file is as it was then.
    pub fn replace(&self, name: &OsStr, content: &[u8]) -> io::Result<()> {
        let (temporary, mut file) = self.temporary(|name| self.create_new(name))?;
        let written = file
            .write_all(content)
            .and_then(|()| file.sync_all())
            .and_then(|()| Ok(renameat(&self.0, &*temporary, &self.0, name)?));
        if let Err(error) = written {
            // The error above is the one to tell.
            let _ = self.remove(&temporary);
            return Err(error);
        }
        self.sync()
    }

    /// Makes something under a name that nobody else has.
    fn temporary<T>(&self, make: impl Fn(&OsStr) -> io::Result<T>) -> io::Result<(OsString, T)> {
        let pid = std::process::id();
        let mut n = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |time| time.subsec_nanos());
        loop {
            let name = OsString::from(format!(".skyhook-agent-{pid}-{n}.tmp"));
            match make(&name) {
                // Every agent in a container of its own has the same process id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    n = n.wrapping_add(1);
                }
                made => return Ok((name, made?)),
            }
        }
    }

    /// Gives a file another name, durably, in place of what had it.
    ///
    /// # Errors
    /// The system's.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        renameat(&self.0, from, &self.0, to)?;
        self.sync()
    }

    /// Makes the names in the folder durable.
    ///
    /// # Errors
    /// The system's.
    pub fn sync(&self) -> io::Result<()> {
        Ok(self.sync_names()?)
    }

    fn sync_names(&self) -> nix::Result<()> {
        fsync(self.readable()?)
    }

    /// Waits until no other agent has this folder locked. Dropping the lock
    /// releases it, and so does the end of the process.
    ///
    /// # Errors
    /// The system's.
    pub fn lock(&self) -> io::Result<Flock<OwnedFd>> {
        Flock::lock(self.readable()?, FlockArg::LockExclusive).map_err(|(_, error)| error.into())
    }

    /// All of a file of this folder; never a link's target.
    ///
    /// # Errors
    /// The system's.
    pub fn read(&self, name: &OsStr) -> io::Result<Vec<u8>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut bytes = Vec::new();
        File::from(openat(&self.0, name, flags, Mode::empty())?).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn readable(&self) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        openat(&self.0, ".", flags, Mode::empty())
    }

    /// The names in the folder.
    ///
    /// # Errors
    /// The system's.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut names = Vec::new();
        for entry in nix::dir::Dir::openat(&self.0, ".", flags, Mode::empty())?.iter() {
            names.push(OsString::from_vec(entry?.file_name().to_bytes().to_vec()));
        }
        Ok(names)
    }

    /// When a file, or a link itself, was last modified: seconds since the epoch,
    /// and nanoseconds.
    ///
    /// # Errors
    /// The system's.
    pub fn modified(&self, name: &OsStr) -> io::Result<(i64, i64)> {
        let stat = fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        Ok((stat.st_mtime, stat.st_mtime_nsec))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A root with a file and links of every kind, and beside it what no path
    /// may reach; once for each way of resolving.
    fn roots() -> (tempfile::TempDir, [Root; 2]) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("data/logs")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(root.join("data/file"), "inside").unwrap();
        fs::write(dir.path().join("file"), "outside").unwrap();
        for (target, link) in [
            ("/data", "absolute"),
            ("data", "relative"),
            ("../../../../data", "climbing"),
            ("../outside", "out"),
            ("/data/file", "to-file"),
            ("loop", "loop"),
            ("nowhere", "dangling"),
            ("/data", "data/deep"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        symlink(dir.path().join("outside"), root.join("out-absolute")).unwrap();
        let in_kernel = Root::open(&root).unwrap();
        let here = Root {
            resolve: Resolve::Here,
            ..Root::open(&root).unwrap()
        };
        (dir, [in_kernel, here])
    }

    #[test]
    fn links_lead_where_they_would_with_the_root_as_root() {
        let (_dir, roots) = roots();
        for root in roots {
            for path in [
                "/data/file",
                "data/file",
                "/../../data/./file",
                "/absolute/file",
                "/relative/file",
                "/climbing/file",
                "/relative/../absolute/logs/../file",
                "/to-file",
                "/data/deep/file",
            ] {
                assert_eq!(
                    root.read(Path::new(path)).unwrap(),
                    b"inside",
                    "{path} {root:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_there_is_seen_behind_links_and_nothing_outside() {
        let (_dir, roots) = roots();
        for root in roots {
            let exists = |path: &str| root.exists(Path::new(path));
            for path in [
                "/data",
                "/data/file",
                "/to-file",
                "/data/deep/logs",
                "/",
                "/..",
            ] {
                assert!(exists(path).unwrap(), "{path} {root:?}");
            }
            for path in ["/file", "/../file", "/dangling", "/out", "/data/file/x"] {
                assert!(!exists(path).unwrap(), "{path} {root:?}");
            }
            let error = exists("/loop").unwrap_err().to_string();
            assert!(error.starts_with("cannot look for "), "{error}");
        }
    }

    #[test]
    fn no_path_leads_out() {
        let (dir, roots) = roots();
        for root in roots {
            for path in [
                "/../file",
                "/out/x",
                "/out-absolute/x",
                "/loop/x",
                "/dangling/x",
            ] {
                let error = root.read(Path::new(path)).unwrap_err().to_string();
                assert!(error.starts_with("cannot read "), "{path}: {error}");
                assert!(error.contains(path), "{path}: {error}");
            }
            for path in ["/out/new", "/dangling/new", "/loop/new", "/data/file/new"] {
                let error = root.create_dir_all(Path::new(path)).unwrap_err();
                assert!(
                    error.to_string().starts_with("cannot create the folder "),
                    "{error}"
                );
            }
            // What the link names is created inside, not where it points from here.
            root.create_dir_all(Path::new("/../new")).unwrap();
            assert!(dir.path().join("root/new").is_dir());
            fs::remove_dir(dir.path().join("root/new")).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn folders_are_made_and_files_claimed_once() {
        let (dir, roots) = roots();
        for (root, name) in roots.iter().zip(["a", "b"]) {
            let folder = root
                .create_dir_all(&Path::new("/absolute/logs/x/y").join(name))
                .unwrap();
            folder.create_new(OsStr::new("f")).unwrap();
            let taken = folder.create_new(OsStr::new("f")).unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
            assert!(
                dir.path()
                    .join("root/data/logs/x/y")
                    .join(name)
                    .join("f")
                    .exists()
            );

            symlink(
                "/data/file",
                dir.path().join("root/data/logs/x/y").join(name).join("l"),
            )
            .unwrap();
            let link = folder.create_new(OsStr::new("l")).unwrap_err();
            assert_eq!(link.kind(), io::ErrorKind::AlreadyExists);
            let mut names = folder.names().unwrap();
            names.retain(|name| name != "." && name != "..");
            names.sort();
            assert_eq!(names, ["f", "l"]);
            folder.remove(OsStr::new("l")).unwrap();
            folder.remove(OsStr::new("l")).unwrap();
            assert_eq!(root.read(Path::new("/data/file")).unwrap(), b"inside");
        }
    }
}
