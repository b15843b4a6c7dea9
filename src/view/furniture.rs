//! What a view has of its own: devices, empty /run and /tmp, and the agent's container.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::layers::{bind_read_only, make_dir, mirror};
use super::mounts::OWN;
use super::private::mount_tmpfs;
use super::programs::{self, is_directory};
use super::stand_in;
use super::{Options, StandIn};
use crate::error::Error;
use crate::system::sys::namespaces::Mounts;

/// The files of this process that belong to a view.
#[derive(Debug)]
pub(super) struct Files {
    /// The copy of this program. A view never has the real one: root in the view could
    /// write to it.
    pub(super) program: PathBuf,
    /// The calls of stand-ins.
    pub(super) calls: PathBuf,
    /// The boot id.
    pub(super) boot_id: PathBuf,
    /// The kernel's command line.
    pub(super) cmdline: PathBuf,
    /// What a reboot adds to it.
    added: Option<String>,
    /// What is laid over the real root.
    pub(super) stand_ins: PathBuf,
    /// The exit codes of the stand-ins.
    exits: PathBuf,
    /// Tells if the programs of systemd are stand-ins.
    plays_systemd: bool,
}

impl Files {
    /// Makes them in `home`.
    pub(super) fn make(home: &Path, options: &Options<'_>, root: &Path) -> Result<Files, Error> {
        let files = Files {
            program: home.join("program"),
            calls: home.join("calls"),
            boot_id: home.join("boot_id"),
            cmdline: home.join("cmdline"),
            added: options.cmdline.map(str::to_owned),
            stand_ins: home.join("stand-ins"),
            exits: home.join("exits"),
            plays_systemd: options.stand_ins.iter().any(|one| one.name == "systemctl"),
        };
        fs::copy(options.binary, &files.program)
            .map_err(|error| Error::io("copy", options.binary, error))?;
        set_mode(&files.program, programs::MODE)?;
        write(&files.calls, "")?;
        // Steps may call programs as another user.
        set_mode(&files.calls, 0o666)?;
        let exits = options.stand_ins.iter();
        let exits: String = exits
            .map(|stand_in| format!("{} {}\n", stand_in.exit, stand_in.name))
            .collect();
        write(&files.exits, &exits)?;
        new_boot_id(&files.boot_id)?;
        write(&files.cmdline, command_line()?)?;
        make_dir(&files.stand_ins, 0o755)?;
        files.lay_over(root, options.stand_ins)?;
        Ok(files)
    }

    /// Makes them what they are after a reboot.
    pub(super) fn reboot(&self) -> Result<(), Error> {
        new_boot_id(&self.boot_id)?;
        let Some(added) = &self.added else {
            return Ok(());
        };
        let line = command_line()?;
        write(&self.cmdline, format!("{} {added}\n", line.trim_end()))
    }

    /// Makes what is laid over the real root: the stand-ins, and directories of a view's
    /// own that the root lacks.
    fn lay_over(&self, root: &Path, stand_ins: &[StandIn]) -> Result<(), Error> {
        mirror(root, &self.stand_ins)?;
        for own in OWN {
            if !is_directory(&root.join(own)) {
                make_dir(&self.stand_ins.join(own), 0o755)?;
            }
        }
        programs::lay(stand_ins, &self.program, root, &self.stand_ins)
    }
}

/// Lays out the agent's container at `container`, where a tmpfs is mounted. The view of the
/// root goes to `root` in it.
pub(super) fn container(container: &Path, files: &Files) -> Result<(), Error> {
    for (name, mode) in [
        ("dev", 0o755),
        ("proc", 0o555),
        ("etc", 0o755),
        ("root", 0o755),
    ] {
        make_dir(&container.join(name), mode)?;
    }
    let tmp = container.join("tmp");
    make_dir(&tmp, 0o755)?;
    set_mode(&tmp, 0o1777)?;
    // As a runtime copies it for a pod of the host's network.
    if let Some(resolv_conf) = read_without_trace(Path::new("/etc/resolv.conf")) {
        write(&container.join("etc/resolv.conf"), resolv_conf)?;
    }
    libraries(container)?;
    let program = container.join("skyhook-agent");
    bind(&files.program, &program)
}

/// Copies what a program that is not static needs: what this process has mapped, which is
/// the same program.
fn libraries(container: &Path) -> Result<(), Error> {
    let path = "/proc/self/maps";
    let maps = fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
    let mapped = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| line.split_at(at).1));
    for library in mapped.filter(|path| path.contains(".so")) {
        let relative = library.trim_start_matches('/');
        let copy = container.join(relative);
        if copy.exists() {
            continue;
        }
        let copied = copy
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::copy(library, &copy).map(drop));
        copied.map_err(|error| Error::io("copy", library, error))?;
        // The loader is named by another directory than the one it is in.
        for directory in ["lib", "lib64"] {
            if let (true, Some(name)) = (library.contains("/ld-"), copy.file_name()) {
                let _ = fs::create_dir(container.join(directory));
                let _ = symlink(library, container.join(directory).join(name));
            }
        }
    }
    Ok(())
}

/// Mounts what the view of the root at `root` has of its own, except /proc and /sys: those
/// come from inside of its namespaces.
pub(super) fn own(root: &Path, container: &Path, files: &Files) -> Result<(), Error> {
    let tmpfs = |at: &Path, options: &str| {
        mount_tmpfs(at, options).map_err(|error| Error::io("mount a tmpfs at", at, error))
    };
    let run = root.join("run");
    tmpfs(&run, "mode=0755")?;
    if files.plays_systemd {
        // By this directory programs see that systemd runs. Scripts of packages of
        // distributions call systemctl only then.
        make_dir(&run.join("systemd"), 0o755)?;
        make_dir(&run.join("systemd/system"), 0o755)?;
    }
    tmpfs(&root.join("tmp"), "mode=1777")?;
    let stand_ins = root.join(stand_in::DIRECTORY.trim_start_matches('/'));
    make_dir(&stand_ins, 0o755)?;
    // Mounts: what empties /run does not take them.
    write(&stand_ins.join(stand_in::CALLS), "")?;
    let calls = stand_ins.join(stand_in::CALLS);
    let none = None::<&str>;
    mount(Some(&files.calls), &calls, none, MsFlags::MS_BIND, none)
        .map_err(|error| Error::io("mount", &calls, error))?;
    bind(&files.exits, &stand_ins.join(stand_in::EXITS))?;
    let dev = root.join("dev");
    tmpfs(&dev, "mode=0755")?;
    devices(&dev)?;
    let recursive = MsFlags::MS_BIND | MsFlags::MS_REC;
    let container_dev = container.join("dev");
    mount(Some(&dev), &container_dev, none, recursive, none)
        .map_err(|error| Error::io("mount", &container_dev, error))
}

fn devices(dev: &Path) -> Result<(), Error> {
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        // Read-only is enough to write to a device, and its mode stays.
        bind(&Path::new("/dev").join(name), &dev.join(name))?;
    }
    let pts = dev.join("pts");
    make_dir(&pts, 0o755)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let terminals = |options| mount(Some("devpts"), &pts, Some("devpts"), flags, Some(options));
    // 5 is the group tty. An ordinary user's namespace has no such group.
    terminals("newinstance,ptmxmode=0666,mode=0620,gid=5")
        .or_else(|_| terminals("newinstance,ptmxmode=0666,mode=0620"))
        .map_err(|error| Error::io("mount terminals at", &pts, error))?;
    let shm = dev.join("shm");
    make_dir(&shm, 0o755)?;
    mount_tmpfs(&shm, "mode=1777").map_err(|error| Error::io("mount a tmpfs at", &shm, error))?;
    for (name, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        let link = dev.join(name);
        symlink(target, &link).map_err(|error| Error::io("make the link", link, error))?;
    }
    Ok(())
}

/// The kernel's command line on this machine.
fn command_line() -> Result<String, Error> {
    let source = "/proc/cmdline";
    let line = fs::read(source).map_err(|error| Error::io("read", source, error))?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Writes another boot id.
fn new_boot_id(file: &Path) -> Result<(), Error> {
    let source = "/proc/sys/kernel/random/uuid";
    let id = fs::read(source).map_err(|error| Error::io("read", source, error))?;
    write(file, id)
}

/// Reads a file of the machine, if it is there, and leaves the time of its last reading as it
/// is, if this user may do that.
fn read_without_trace(path: &Path) -> Option<Vec<u8>> {
    let open = |flags| OpenOptions::new().read(true).custom_flags(flags).open(path);
    let mut content = Vec::new();
    let mut file = open(libc::O_NOATIME).or_else(|_| open(0)).ok()?;
    file.read_to_end(&mut content).ok()?;
    Some(content)
}

/// Binds a file read-only at a path that is not there yet.
fn bind(source: &Path, target: &Path) -> Result<(), Error> {
    File::create_new(target)
        .and_then(|_| bind_read_only(source, target, Mounts::This))
        .map_err(|error| Error::io("mount", target, error))
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Error> {
    fs::write(path, content).map_err(|error| Error::io("write", path, error))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    let set: io::Result<()> = fs::set_permissions(path, Permissions::from_mode(mode));
    set.map_err(|error| Error::io("set the mode of", path, error))
}
