//! A copy-on-write view of a root, to rehearse a package in.
//!
//! Promises that nothing that runs in the view changes the root below it, and that no
//! mount, process or directory is left when the process that made the view ends, by
//! whatever. The view ends with it.

mod adopt;
mod below;
mod calls;
mod changes;
mod command;
mod digest;
mod furniture;
mod init;
mod layers;
mod mounts;
mod private;
mod programs;
mod snapshot;
pub mod stand_in;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use nix::mount::{MntFlags, umount2};

use crate::error::Error;
use crate::host::Root;
pub use calls::{Call, Parameter};
pub use command::ViewCommand;
use furniture::Files;
use init::{Init, Plan};
use layers::{Layers, Places, make_dir};
use programs::Covers;
use snapshot::Entries;

/// What a view is made of.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The root that is looked at: `/`, or a directory that holds a root.
    pub root: &'a Path,
    /// A directory that keeps the upper layer after the view's end.
    pub keep: Option<&'a Path>,
    /// If the view shares the network of this process.
    pub network: bool,
    /// What a reboot adds to the kernel's command line.
    pub cmdline: Option<&'a str>,
    /// The programs that are replaced.
    pub stand_ins: &'a [StandIn],
    /// This program: the agent of the view, and its stand-ins.
    pub binary: &'a Path,
}

/// A program that is replaced in the view. Its calls are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// The base name of the program.
    pub name: String,
    /// The exit code of each call.
    pub exit: u8,
    /// Where it is.
    pub presence: Presence,
}

/// When a program that is replaced is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// In each view: every node has it, also if the root lacks it.
    Always,
    /// Where the root has it, or a step installs it.
    IfInstalled,
}

/// A copy-on-write view of a root. Its processes end when it is dropped.
#[derive(Debug)]
pub struct View {
    // Dropped first: the mounts go after the processes.
    init: Init,
    mounted: Mounted,
    root: PathBuf,
    files: Files,
    /// The directories that are no part of an overlay.
    skeleton: Option<OwnedFd>,
    /// What there was before anything ran.
    fresh: Entries,
    /// What there was at the last scan.
    last: Entries,
    /// What lies below stand-ins.
    covers: Covers,
    /// The number of bytes of the record of calls that have been read.
    calls_read: u64,
    gaps: Vec<String>,
}

/// The mounts of a view, in this process's namespace.
#[derive(Debug)]
struct Mounted {
    home: PathBuf,
    layers: Layers,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // With all that is mounted below it.
        let _ = umount2(&self.home, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.home);
        self.layers.clean_up();
    }
}

/// What differs in the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path in the view, absolute.
    pub path: PathBuf,
    /// The kind of change.
    pub kind: Kind,
    /// What changed of it.
    pub detail: Detail,
}

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The path is new.
    Added,
    /// The path was there, and differs now.
    Changed,
    /// The path is gone.
    Removed,
}

/// What changed of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// If the bytes of a file, the target of a link, or the type of the entry changed.
    pub content: bool,
    /// The permission bits before and after, if they changed; with those for set-user-ID,
    /// set-group-ID and sticky.
    pub mode: Option<(u32, u32)>,
    /// Owner and group before and after, if they changed.
    pub owner: Option<((u32, u32), (u32, u32))>,
}

/// Has this process leave the mounts of the machine for a private copy of them, as root of
/// the machine or, if it is not that, as root of a user namespace. To be called once,
/// before any view, by a process with one thread.
///
/// /sys is empty for this process from then on: the views are there.
///
/// # Errors
/// One line: what the kernel does not allow, and what would help.
pub fn enter() -> Result<(), Error> {
    private::enter()
}

impl View {
    /// Makes a view and starts its init. To be called by a process with one thread.
    ///
    /// # Errors
    /// If the root is no directory, the directory to keep the layers in is not empty, or the
    /// kernel refuses a part of it.
    pub fn make(options: &Options<'_>) -> Result<View, Error> {
        let root = fs::canonicalize(options.root)
            .map_err(|error| Error::io("open the root", options.root, error))?;
        // First of all: one that does not answer must not be touched.
        let mounts = mounts::below(&root)?;
        let home = new_home()?;
        // From here on, it is unmounted if anything fails.
        let mut mounted = Mounted {
            home,
            layers: Layers::default(),
        };
        let home = &mounted.home;
        mount_tmpfs(home)?;
        let container = home.join("container");
        make_dir(&container, 0o755)?;
        mount_tmpfs(&container)?;

        let files = Files::make(home, options, &root)?;
        furniture::container(&container, &files)?;
        let uppers = uppers(home, options.keep)?;
        let in_view = container.join("root");
        mounted.layers = layers::lay(&Places {
            root: &root,
            mounts: &mounts,
            view: &in_view,
            stand_ins: &files.stand_ins,
            uppers: &uppers,
            is_kept: options.keep.is_some(),
            in_user_namespace: private::is_in_user_namespace(),
        })?;
        furniture::own(&in_view, &container, &files)?;
        let skeleton = match mounted.layers.has_skeleton {
            true => Some(layers::uncovered(&container, "root")?),
            false => None,
        };
        let init = init::start(&Plan {
            container: &container,
            boot_id: &files.boot_id,
            cmdline: &files.cmdline,
            network: options.network,
        })?;
        let gaps = [&mounted.layers.gaps[..], &init.gaps].concat();
        let fresh = Entries::new();
        let fresh = snapshot::take(skeleton.as_ref(), &mounted.layers.overlays, &fresh)?;
        Ok(View {
            init,
            root: in_view,
            covers: Covers::new(options.stand_ins, &files.program)?,
            files,
            skeleton,
            last: fresh.clone(),
            fresh,
            calls_read: 0,
            gaps,
            mounted,
        })
    }

    /// The root of the view, as this process sees it.
    ///
    /// What runs in the view may have made any path in it a link. So this process opens
    /// paths below it by [`crate::host::Root`] alone.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The agent in the view, ready for arguments, environment and descriptors. Its
    /// environment is empty and its stdin /dev/null.
    #[must_use]
    pub fn command(&self) -> ViewCommand {
        let mut command = ViewCommand::new(&self.init, "/skyhook-agent", None);
        command.as_std().stdin(Stdio::null());
        command
    }

    /// Opens a shell in the view, on the terminal of this process, and waits for its end.
    /// `environment` is all that it has.
    ///
    /// # Errors
    /// If no shell can be started.
    pub fn shell(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<ExitStatus, Error> {
        let mut command = ViewCommand::new(&self.init, "/bin/sh", Some(c"/root"));
        let bash_if_there = "command -v bash >/dev/null && exec bash; exec sh";
        command
            .as_std()
            .args(["-c", bash_if_there])
            .envs(environment);
        let mut shell = command.spawn()?;
        let ended = shell.wait();
        ended.map_err(|source| Error::Lost {
            program: "/bin/sh".to_owned(),
            source,
        })
    }

    /// Gives what changed since the last scan, sorted by path. Looks at the upper layers
    /// alone.
    ///
    /// # Errors
    /// If a layer cannot be read.
    pub fn scan(&mut self) -> Result<Vec<Change>, Error> {
        let now = self.look()?;
        let changes = self.between(&self.last, &now)?;
        self.last = now;
        Ok(changes)
    }

    /// Puts stand-ins over the programs of their names that steps have installed by the last
    /// scan. What they cover counts as being there, in scans and differences.
    ///
    /// # Errors
    /// If the view cannot be looked at. A program that cannot be covered is a gap.
    pub fn cover(&mut self) -> Result<(), Error> {
        let root = Root::open(&self.root)?;
        let layers = &self.mounted.layers.overlays;
        for problem in self.covers.cover(&root, &mut self.last, layers)? {
            if !self.gaps.contains(&problem) {
                self.gaps.push(problem);
            }
        }
        Ok(())
    }

    /// Gives what differs from the root now, sorted by path.
    ///
    /// # Errors
    /// If a layer cannot be read.
    pub fn differences(&self) -> Result<Vec<Change>, Error> {
        let now = self.look()?;
        self.between(&self.fresh, &now)
    }

    fn between(&self, before: &Entries, now: &Entries) -> Result<Vec<Change>, Error> {
        let layers = &self.mounted.layers.overlays;
        let before = self.covers.lift(before, layers)?;
        let now = self.covers.lift(now, layers)?;
        Ok(changes::between(&before, &now, layers))
    }

    fn look(&self) -> Result<Entries, Error> {
        let layers = &self.mounted.layers.overlays;
        snapshot::take(self.skeleton.as_ref(), layers, &self.last)
    }

    /// Gives the calls of stand-ins since the last time, in order.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub fn calls(&mut self) -> Result<Vec<Call>, Error> {
        let found = calls::read(&self.files.calls, self.calls_read)
            .map_err(|error| Error::io("read", &self.files.calls, error))?;
        self.calls_read = found.read;
        if found.has_more && !self.gaps.iter().any(|gap| gap == calls::LEFT_OUT) {
            self.gaps.push(calls::LEFT_OUT.to_owned());
        }
        let calls = found.calls.into_iter();
        Ok(calls.filter(|call| !call.is_boot()).collect())
    }

    /// Gives the view a new boot id, and the kernel's new command line, as a reboot does. The
    /// stand-ins hear of it.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn play_reboot(&self) -> Result<(), Error> {
        let calls = &self.files.calls;
        Call::boot()
            .record(calls)
            .map_err(|error| Error::io("write", calls, error))?;
        self.files.reboot()
    }

    /// What of the root could not be laid into the view, and why: one line for each.
    #[must_use]
    pub fn gaps(&self) -> &[String] {
        &self.gaps
    }
}

/// Makes the directory of a view, and gives its path.
fn new_home() -> Result<PathBuf, Error> {
    let refused = |path: &Path, error| Error::io("make the directory", path, error);
    for number in 1..=u16::MAX {
        let home = Path::new(private::HOME).join(number.to_string());
        match fs::create_dir(&home) {
            Ok(()) => return Ok(home),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(refused(&home, error)),
        }
    }
    let error = io::Error::from(io::ErrorKind::AlreadyExists);
    Err(refused(Path::new(private::HOME), error))
}

fn mount_tmpfs(at: &Path) -> Result<(), Error> {
    private::mount_tmpfs(at, "mode=0755").map_err(|error| Error::io("mount a tmpfs at", at, error))
}

/// Gives the directory for the upper layers: that of the person, made if it is missing, or
/// one that goes with the view.
fn uppers(home: &Path, keep: Option<&Path>) -> Result<PathBuf, Error> {
    let Some(keep) = keep else {
        let uppers = home.join("layers");
        make_dir(&uppers, 0o700)?;
        // One of its own: if steps fill it, calls and the boot id can still be written.
        mount_tmpfs(&uppers)?;
        return Ok(uppers);
    };
    fs::create_dir_all(keep).map_err(|error| Error::io("make the directory", keep, error))?;
    let mut entries = fs::read_dir(keep).map_err(|error| Error::io("list", keep, error))?;
    if entries.next().is_some() {
        let keep = keep.display();
        return Err(Error::NotThere(format!(
            "{keep}: expected an empty directory"
        )));
    }
    Ok(keep.to_owned())
}
