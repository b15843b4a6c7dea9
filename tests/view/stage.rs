//! A small root, and scripts that run in a view of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::support::skip::{self, try_out};
use crate::support::{Skip, is_root};

/// The user and group without rights.
const NOBODY: u32 = 65534;

/// Who makes a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    /// The user who runs the tests.
    Self_,
    /// An ordinary user. To become one takes root.
    Nobody,
}

/// Who can make views here: with root, an ordinary user too, if the kernel lets one.
pub(crate) fn makers() -> Result<Vec<Maker>, Skip> {
    if !is_root() {
        Maker::Self_.expect_overlays()?;
        return Ok(vec![Maker::Self_]);
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "true"]);
    try_out(&mut unshare, "this user may have no user namespace")?;
    let mut makers = vec![Maker::Self_];
    match Maker::Nobody.expect_overlays() {
        Ok(()) => makers.push(Maker::Nobody),
        Err(why) => skip::report("views of an ordinary user", &why),
    }
    Ok(makers)
}

impl Maker {
    fn run(self, command: &mut Command) {
        if self == Maker::Nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
    }

    /// Fails if the kernel has no overlays for ordinary users, as before Linux 5.11.
    pub(crate) fn expect_overlays(self) -> Result<(), Skip> {
        let script = "mount -t tmpfs none /sys && cd /sys && mkdir lower upper work view &&
            mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work,userxattr none view";
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        self.run(&mut unshare);
        try_out(&mut unshare, "this user may have no overlay")
    }
}

/// A root that belongs to who makes views of it.
pub(crate) struct Stage {
    pub(crate) dir: TempDir,
    pub(crate) maker: Maker,
}

impl Stage {
    pub(crate) fn new(maker: Maker) -> Stage {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let stage = Stage { dir, maker };
        let root = stage.root();
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(programs()).arg(&root);
        assert!(copy.status().unwrap().success());
        for directory in ["etc/dir", "home/user", "opt", "var/empty"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for (file, content) in [
            ("etc/config", "a = 1\n"),
            ("etc/dir/one", "1\n"),
            ("etc/dir/two", "2\n"),
            ("home/user/notes", "notes\n"),
        ] {
            fs::write(root.join(file), content).unwrap();
        }
        fs::hard_link(root.join("etc/config"), root.join("etc/config.same")).unwrap();
        symlink("config", root.join("etc/link")).unwrap();
        symlink("/", root.join("home/out")).unwrap();
        fs::set_permissions(root.join("etc/dir/two"), Permissions::from_mode(0o4750)).unwrap();
        let mut attribute = Command::new("setfattr");
        attribute.args(["-n", "user.name", "-v", "value"]);
        // Not every machine has the tool, nor every file system the attributes.
        let _ = attribute.arg(root.join("etc/config")).output();
        if maker == Maker::Nobody {
            let mut chown = Command::new("chown");
            chown.args(["-hR", "65534:65534"]).arg(&root);
            assert!(chown.status().unwrap().success());
        }
        // Where an ordinary user can reach them.
        for program in [driver(), agent()] {
            let here = stage.dir.path().join(program.file_name().unwrap());
            fs::hard_link(&program, &here)
                .or_else(|_| fs::copy(&program, &here).map(drop))
                .unwrap();
        }
        stage
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Words in front of a command that root starts, with which the maker runs it.
    pub(crate) fn as_maker(&self) -> Vec<&'static str> {
        match self.maker {
            Maker::Self_ => vec!["setpriv"],
            Maker::Nobody => {
                vec![
                    "setpriv",
                    "--reuid=65534",
                    "--regid=65534",
                    "--clear-groups",
                ]
            }
        }
    }

    /// The command that runs `scripts`, one after the other, in a view of `root`.
    pub(crate) fn view_of(&self, root: &Path, scripts: &[&str]) -> Command {
        let mut command = Command::new(self.dir.path().join("view"));
        command
            .arg(root)
            .arg(self.dir.path().join("skyhook-agent"))
            .args(scripts)
            .current_dir("/")
            .env_clear();
        self.maker.run(&mut command);
        command
    }

    /// Fails if directories of the root cannot be replaced in a view of it.
    pub(crate) fn expect_replaced_directories(&self) -> Result<(), Skip> {
        let output = self.view_of(&self.root(), &[]).output().unwrap();
        let view = lines(&output).remove(0);
        match view.list("gaps").iter().any(|gap| is_of_old_kernel(gap)) {
            true => Err(Skip::NotPossible("this kernel's tmpfs keeps no attributes")),
            false => Ok(()),
        }
    }

    /// Runs scripts in one view of the root, and gives what came of each.
    #[track_caller]
    pub(crate) fn run(&self, scripts: &[&str]) -> Vec<Ran> {
        ran(&self.view_of(&self.root(), scripts).output().unwrap())
    }

    /// Gives a line for each file of the root, with all that can be known of it.
    pub(crate) fn checksum(&self) -> Vec<String> {
        let mut lines = Vec::new();
        checksum(&self.root(), &mut lines);
        lines
    }
}

/// Fails if a root is not what it was, and says in what.
#[track_caller]
pub(crate) fn assert_unchanged(stage: &Stage, before: &[String]) {
    let now = stage.checksum();
    let differs = |from: &[String], to: &[String]| -> Vec<String> {
        from.iter()
            .filter(|line| !to.contains(line))
            .cloned()
            .collect()
    };
    let differences = (differs(before, &now), differs(&now, before));
    assert_eq!(differences, (vec![], vec![]), "{:?}", stage.maker);
}

/// Tells if a gap is that of kernels whose tmpfs keeps no attributes of users.
fn is_of_old_kernel(gap: &str) -> bool {
    gap.contains("removed or replaced")
}

/// What came of a script.
#[derive(Clone, Debug)]
pub(crate) struct Ran(pub(crate) Value);

impl Ran {
    pub(crate) fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap()
    }

    #[track_caller]
    pub(crate) fn stdout_of_success(&self) -> &str {
        assert_eq!(self.0["code"], 0, "{}", self.0);
        self.text("stdout")
    }

    pub(crate) fn list(&self, key: &str) -> Vec<&str> {
        let list = self.0[key].as_array().unwrap();
        list.iter().map(|line| line.as_str().unwrap()).collect()
    }

    /// What the view lacks, except what an old kernel keeps it from.
    pub(crate) fn gaps(&self) -> Vec<&str> {
        let mut gaps = self.list("gaps");
        gaps.retain(|gap| !is_of_old_kernel(gap));
        gaps
    }

    pub(crate) fn scan(&self) -> Vec<&str> {
        self.list("scan")
    }

    pub(crate) fn differences(&self) -> Vec<&str> {
        self.list("differences")
    }
}

/// What the driver has printed of the scripts.
#[track_caller]
pub(crate) fn ran(output: &Output) -> Vec<Ran> {
    let mut lines = lines(output);
    lines.remove(0);
    lines
}

/// What the driver has printed: a line for the view itself comes first.
#[track_caller]
pub(crate) fn lines(output: &Output) -> Vec<Ran> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let lines = stdout.lines().map(serde_json::from_str);
    lines.map(|line| Ran(line.unwrap())).collect()
}

fn agent() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_skyhook-agent"))
}

fn driver() -> PathBuf {
    let driver = agent().with_file_name("examples").join("view");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/view.rs");
    let built = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    assert!(
        built(&driver) > built(&source),
        "missing or old: cargo build --examples"
    );
    driver
}

/// A root with the programs of scripts in it, and what they need. Made once.
fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<TempDir> = OnceLock::new();
    let made = PROGRAMS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let script = "cd $0 && mkdir usr && for name in bin lib lib64 sbin; do
                 mkdir usr/$name && ln -s usr/$name $name || exit 1
             done
             for program in sh cat chmod chown chroot cp ln ls mkdir mknod mount mv \
             nsenter perl pivot_root readlink rm sleep setsid touch umount unshare; do
                 program=$(command -v $program) || exit 1
                 cp -L --parents $program $(ldd $program | grep -o '/[^ ]*') $0 || exit 1
             done
             for library in $(ldd $1 | grep -o '/[^ ]*'); do
                 cp -L --parents $library $0 || exit 1
             done
             mkdir dev proc sys run tmp && chmod 1777 tmp";
        let copied = Command::new("/bin/sh")
            .args(["-c", script])
            .arg(dir.path())
            .arg(agent())
            .status();
        assert!(copied.unwrap().success());
        dir
    });
    made.path()
}

/// Tells if the kernel can list a directory for a view without setting the time of its last
/// reading: Linux 5.12 or newer.
fn lists_without_trace() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    (numbers.next(), numbers.next()) >= (Some(5), Some(12))
}

fn checksum(path: &Path, lines: &mut Vec<String>) {
    let stat = path.symlink_metadata().unwrap();
    let mut line = format!(
        "{} {:o} {}:{} {} links {} device {} {}.{} {}.{}",
        path.display(),
        stat.mode(),
        stat.uid(),
        stat.gid(),
        stat.size(),
        stat.nlink(),
        stat.rdev(),
        stat.mtime(),
        stat.mtime_nsec(),
        stat.ctime(),
        stat.ctime_nsec()
    );
    if stat.is_symlink() {
        line += &format!(" -> {}", fs::read_link(path).unwrap().display());
        lines.push(line);
        return;
    }
    if !stat.is_dir() || lists_without_trace() {
        line += &format!(" {}.{}", stat.atime(), stat.atime_nsec());
    }
    let attributes = Command::new("getfattr")
        .args(["--dump", "--match=-", "--absolute-names"])
        .arg(path)
        .output();
    if let Ok(attributes) = attributes {
        line += &String::from_utf8_lossy(&attributes.stdout);
    }
    // So that this look does not change the times.
    let flags = OFlag::O_RDONLY | OFlag::O_NOATIME;
    let fd = open(path, flags, Mode::empty()).unwrap();
    if stat.is_dir() {
        lines.push(line);
        let mut directory = nix::dir::Dir::from_fd(fd).unwrap();
        let names = directory.iter().map(|entry| {
            let entry = entry.unwrap();
            entry.file_name().to_str().unwrap().to_owned()
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        for name in names.iter().filter(|name| *name != "." && *name != "..") {
            checksum(&path.join(name), lines);
        }
    } else {
        let mut file = fs::File::from(fd);
        let mut hash = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut hash).unwrap();
        line += &format!(" {:x?}", Sha256::digest(&hash));
        lines.push(line);
    }
}
