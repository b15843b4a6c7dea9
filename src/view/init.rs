//! The init of a view: process 1 of its pid namespace.
//!
//! It makes the namespaces, and then waits for the end of the process that made the view.
//! With it, the kernel ends all others of the view. It executes nothing: so root in the
//! view cannot look into it.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, pivot_root, setsid};

use super::layers::bind_read_only;
use super::private::refused;
use crate::error::Error;
use crate::system::sys;
use crate::system::sys::namespaces::{self, Mounts, clone_mount};

/// The longest that a step of the init, or its end, may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Namespaces that a command enters, in this order, each with its kind.
pub(super) type Namespaces = Arc<[(OwnedFd, CloneFlags)]>;

/// What the init works with.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// The root of the container.
    pub(super) container: &'a Path,
    /// The file that has the boot id.
    pub(super) boot_id: &'a Path,
    /// The file that has the kernel's command line.
    pub(super) cmdline: &'a Path,
    /// If the network is that of this process.
    pub(super) network: bool,
}

/// A running init. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Init {
    pid: Pid,
    /// The init lives as long as this is open.
    link: Option<UnixStream>,
    /// The pid namespace.
    pub(super) pids: Arc<OwnedFd>,
    /// The others.
    pub(super) namespaces: Namespaces,
    /// What of the view could not be made.
    pub(super) gaps: Vec<String>,
}

/// Starts the init of a view.
pub(super) fn start(plan: &Plan<'_>) -> Result<Init, Error> {
    let failed = |source: io::Error| Error::Lost {
        program: "the init of the view".to_owned(),
        source,
    };
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    ours.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut kinds = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    if !plan.network {
        // The sysfs of a view is mounted by the owner of a network.
        kinds |= CloneFlags::CLONE_NEWNET;
    }
    let mut ends = Some((ours, theirs));
    let pid = namespaces::fork_into(kinds, || {
        let Some((ours, theirs)) = ends.take() else {
            return libc::EXIT_FAILURE;
        };
        // Else the end of the other process would not be seen.
        drop(ours);
        run(plan, theirs)
    })
    .map_err(|error| Error::NotThere(format!("the kernel refuses a pid namespace: {error}")))?;
    let Some((link, _)) = ends.take() else {
        return Err(failed(io::Error::from(io::ErrorKind::NotFound)));
    };
    let pid = Pid::from_raw(i32::try_from(pid).unwrap_or_default());
    // From here on, it ends if anything fails.
    let mut running = Running(pid, Some(link));
    let (namespaces, pids, gaps) = lead(pid, plan.network, &mut running.1)?;
    Ok(Init {
        pid,
        link: running.1.take(),
        pids: Arc::new(pids),
        namespaces,
        gaps,
    })
}

/// An init that ends with this value, unless its link is taken.
struct Running(Pid, Option<UnixStream>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.1.take().is_some() {
            reap(self.0);
        }
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        drop(self.link.take());
        reap(self.pid);
    }
}

/// Waits for the end of an init whose link is closed. The kernel has ended all other
/// processes of the view by then.
fn reap(pid: Pid) {
    let pause = Duration::from_millis(1);
    let mut left = PATIENCE;
    while let (Ok(WaitStatus::StillAlive), false) =
        (waitpid(pid, Some(WaitPidFlag::WNOHANG)), left.is_zero())
    {
        std::thread::sleep(pause);
        left = left.saturating_sub(pause);
    }
}

/// Does this process's part of the start of the init.
fn lead(
    pid: Pid,
    network: bool,
    link: &mut Option<UnixStream>,
) -> Result<(Namespaces, OwnedFd, Vec<String>), Error> {
    let broken = |source: io::Error| Error::Lost {
        program: "the init of the view".to_owned(),
        source,
    };
    let Some(link) = link.as_ref() else {
        return Err(broken(io::Error::from(io::ErrorKind::NotConnected)));
    };
    let mut lines = BufReader::new(link).lines();
    let mut gaps = Vec::new();
    let mut expect = |word: &str| loop {
        match lines.next() {
            None => break Err(broken(io::Error::from(io::ErrorKind::UnexpectedEof))),
            Some(Err(error)) => break Err(broken(error)),
            Some(Ok(line)) if line == word => break Ok(()),
            Some(Ok(line)) => match line.strip_prefix("gap ") {
                Some(gap) => gaps.push(gap.to_owned()),
                None => break Err(Error::NotThere(line)),
            },
        }
    };
    expect(NAMESPACES)?;
    // All ids that this process knows are the same in the view.
    for name in ["uid_map", "gid_map"] {
        let own = format!("/proc/self/{name}");
        let own = fs::read_to_string(&own).map_err(|error| Error::io("read", own, error))?;
        let path = format!("/proc/{pid}/{name}");
        fs::write(&path, identity(&own)).map_err(|error| Error::io("write", path, error))?;
    }
    let open = |name: &str| {
        let path = format!("/proc/{pid}/ns/{name}");
        let file = File::open(&path).map_err(|error| Error::io("open", path, error))?;
        Ok::<_, Error>(OwnedFd::from(file))
    };
    // The user namespace comes last: who is in it has no right to enter the others.
    let mut kinds = vec![
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("net", CloneFlags::CLONE_NEWNET),
        ("mnt", CloneFlags::CLONE_NEWNS),
        ("user", CloneFlags::CLONE_NEWUSER),
    ];
    kinds.retain(|(name, _)| !(network && *name == "net"));
    let opened: Result<Vec<_>, Error> = kinds
        .into_iter()
        .map(|(name, kind)| Ok((open(name)?, kind)))
        .collect();
    let (namespaces, pids) = (opened?, open("pid")?);
    let mut writer = link;
    writer.write_all(b"go\n").map_err(broken)?;
    expect(READY)?;
    Ok((Arc::from(namespaces), pids, gaps))
}

/// Makes the map that gives each id inside the same id outside.
fn identity(own: &str) -> String {
    own.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (inside, count) = (fields.next()?, fields.nth(1)?);
            Some(format!("{inside} {inside} {count}\n"))
        })
        .collect()
}

const NAMESPACES: &str = "namespaces";
const READY: &str = "ready";

/// The whole life of the init.
fn run(plan: &Plan<'_>, link: UnixStream) -> i32 {
    // An init is spared the signals that it has no handler for.
    sys::default_signals();
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    namespaces::reap_children_unseen();
    // Not in the session of a terminal.
    let _ = setsid();
    let mut link = File::from(OwnedFd::from(link));
    let set_up = set_up(plan, &link).and_then(|()| {
        namespaces::close_all_but(link.as_fd())?;
        writeln!(link, "{READY}")
    });
    if let Err(error) = set_up {
        let _ = match error.get_ref().filter(|inner| inner.is::<Error>()) {
            Some(refusal) => writeln!(link, "{refusal}"),
            None => writeln!(link, "cannot set up the view: {error}"),
        };
        return libc::EXIT_FAILURE;
    }
    // Until the end of the other process, by whatever.
    while !matches!(link.read(&mut [0; 64]), Ok(0) | Err(_)) {}
    libc::EXIT_SUCCESS
}

fn set_up(plan: &Plan<'_>, mut link: &File) -> io::Result<()> {
    let proc = plan.container.join("proc");
    let writable = mount_proc(&proc, plan)?;
    mount_sys(&plan.container.join("root/sys"), link)?;
    enter_root(plan.container)?;

    let mut kinds = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    if !plan.network {
        // Once more: root in the view may set up this one.
        kinds |= CloneFlags::CLONE_NEWNET;
    }
    unshare(kinds).map_err(|error| io::Error::other(refused("a user namespace", error)))?;
    writeln!(link, "{NAMESPACES}")?;
    let mut go = [0; 3];
    link.read_exact(&mut go)?;

    // The files of cgroups go by the user alone, and root in the view is root. It cannot
    // mount them without a cgroup namespace of its own.
    let limit = openat(
        &writable,
        "sys/user/max_cgroup_namespaces",
        OFlag::O_WRONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .map_err(|error| named("forbid cgroup namespaces", error.into()))?;
    File::from(limit).write_all(b"0")?;
    if !plan.network {
        namespaces::set_loopback_up().map_err(|error| named("set lo up", error))?;
    }
    namespaces::hide_from_ptrace();
    Ok(())
}

fn named(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Mounts the /proc of this pid namespace, at `proc` and in the view of the root. Gives one
/// that can be written to, and is seen nowhere.
fn mount_proc(proc: &Path, plan: &Plan<'_>) -> io::Result<OwnedFd> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let none = None::<&str>;
    mount(Some("proc"), proc, Some("proc"), flags, none)
        .map_err(|error| io::Error::other(refused("a fresh /proc", error)))?;
    let path = CString::new(proc.as_os_str().as_bytes())?;
    let writable = clone_mount(&path, Mounts::This)?;
    // Before the user namespace is entered: the kernel goes by the user alone for many of
    // these, as /proc/sysrq-trigger, and root in the view is root.
    for entry in fs::read_dir(proc)? {
        let entry = entry?;
        let name = entry.file_name();
        let kind = entry.file_type()?;
        let is_process = name.as_bytes().first().is_some_and(u8::is_ascii_digit);
        if kind.is_symlink() || is_process {
            continue;
        }
        let path = proc.join(&name);
        let secret = SECRETS.iter().any(|secret| name == *secret);
        let source = if secret {
            Path::new("/dev/null")
        } else {
            &path
        };
        if secret || kind.is_dir() || is_writable(&path) {
            bind_read_only(source, &path, Mounts::This)
                .map_err(|error| named(&format!("cover {}", path.display()), error))?;
        }
    }
    let boot_id = proc.join("sys/kernel/random/boot_id");
    bind_read_only(plan.boot_id, &boot_id, Mounts::This)
        .map_err(|error| named("cover the boot id", error))?;
    bind_read_only(plan.cmdline, &proc.join("cmdline"), Mounts::This)
        .map_err(|error| named("cover the kernel's command line", error))?;
    let recursive = MsFlags::MS_BIND | MsFlags::MS_REC;
    let in_view: PathBuf = plan.container.join("root/proc");
    mount(Some(proc), &in_view, none, recursive, none)?;
    Ok(writable)
}

/// The files of /proc that tell too much of the machine.
const SECRETS: [&str; 6] = [
    "kcore",
    "keys",
    "kmsg",
    "latency_stats",
    "sched_debug",
    "timer_list",
];

fn is_writable(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    // What cannot be asked is covered, too.
    path.symlink_metadata()
        .map_or(true, |metadata| metadata.mode() & 0o222 != 0)
}

fn mount_sys(at: &Path, mut link: &File) -> io::Result<()> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match mount(Some("sysfs"), at, Some("sysfs"), flags, None::<&str>) {
        Ok(()) => Ok(()),
        // As to an ordinary user who shares the machine's network.
        Err(error) => writeln!(link, "gap /sys is empty here: {}", error.desc()),
    }
}

/// Makes `root` the root of this mount namespace, and lets go of all other mounts.
fn enter_root(root: &Path) -> io::Result<()> {
    chdir(root)?;
    // The old root is mounted over the new one then, and detached.
    pivot_root(".", ".").map_err(|error| named("pivot_root", error.into()))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(|error| named("detach", error.into()))?;
    chdir("/")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::identity;

    #[test]
    fn each_id_is_mapped_to_itself() {
        let all = "         0          0 4294967295\n";
        assert_eq!(identity(all), "0 0 4294967295\n");
        let two = "0 1000 1\n1 100000 65536\n";
        assert_eq!(identity(two), "0 0 1\n1 1 65536\n");
    }
}
