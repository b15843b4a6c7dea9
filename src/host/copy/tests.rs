//! Each test runs with both ways of resolving paths.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::symlink;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, fstatat};

use super::super::resolve::Resolver;
use super::*;
use crate::support::skip::{Skip, or_skip, skip, try_out};

mod attributes;
mod file;
mod interrupted;
mod replaced;
mod tree;

/// Copies a tree as the overlay is.
fn lay(from: &Root, source: &Path, to: &Root, target: &Path) -> Result<Copied, Error> {
    let copying = Copying {
        cancelled: &|| false,
        durable: true,
    };
    copy_tree(from, source, to, target, &copying)
}

/// A root, and beside it a directory that nothing may reach.
struct Fixture {
    dir: tempfile::TempDir,
    root: Root,
}

impl Fixture {
    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path)
    }

    fn write(&self, path: &str, content: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn link(&self, target: impl AsRef<Path>, path: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, &path).unwrap();
        path
    }

    fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    /// Lays the package's root_dir over the root.
    fn overlay(&self) -> Result<(), Error> {
        let overlay = Path::new("/pkg/root_dir");
        let copied = lay(&self.root, overlay, &self.root, Path::new("/"))?;
        assert_eq!(copied, Copied::Whole { notice: None });
        Ok(())
    }

    /// Copies the resolver's configuration.
    fn resolv_conf(&self) -> Result<(), Error> {
        let (from, to) = (Path::new("/from"), Path::new("/etc/resolv.conf"));
        copy_file(&self.root, from, &self.root, to)
    }
}

fn fixtures() -> [Fixture; 2] {
    [Resolver::Openat2, Resolver::Userspace].map(|resolve| {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        let mut root = Root::open(&dir.path().join("root")).unwrap();
        root.resolver = resolve;
        Fixture { dir, root }
    })
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn names(path: impl AsRef<Path>) -> Vec<OsString> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

/// Runs one of these tests again, alone and after a line of shell, with `host`'s
/// root as [`root_given`].
fn run_again(test: &str, wrapper: &[&str], shell: &str, host: &Fixture) {
    let output = Command::new("env")
        .args(wrapper)
        .args(["sh", "-ec", &format!("{shell}; exec \"$@\""), "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([&format!("host::copy::tests::{test}"), "--exact"])
        .env("COPY_TEST_ROOT", host.path(""))
        .env("COPY_TEST_RESOLVE", format!("{:?}", host.root.resolver))
        .current_dir(host.path(""))
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("1 passed"), "{output:?}");
}

/// The root of the test that runs this one again.
fn root_given() -> Option<Root> {
    let mut root = Root::open(Path::new(&std::env::var_os("COPY_TEST_ROOT")?)).unwrap();
    root.resolver = match std::env::var("COPY_TEST_RESOLVE").unwrap().as_str() {
        "Userspace" => Resolver::Userspace,
        _ => Resolver::Openat2,
    };
    Some(root)
}

const NEEDS_ROOT: Skip = Skip::NotPossible("only root gives files away and sets capabilities");

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The path's inode, times of contents and of all else, and links.
fn identity(path: &Path) -> (u64, i64, i64, i64, i64) {
    let stat: FileStat = fstatat(nix::fcntl::AT_FDCWD, path, AtFlags::AT_SYMLINK_NOFOLLOW).unwrap();
    (
        stat.st_ino,
        stat.st_mtime,
        stat.st_mtime_nsec,
        stat.st_ctime,
        stat.st_ctime_nsec,
    )
}

fn can_trace() -> Result<(), Skip> {
    try_out(
        Command::new("strace").args(["-o", "/dev/null", "true"]),
        "this user may not trace",
    )
}

/// Runs a test again, under strace that does this to its calls.
fn run_again_injecting(test: &str, inject: &str, shell: &str, host: &Fixture) {
    let inject = format!("inject={inject}");
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
    run_again(test, &strace, shell, host);
}
