//! Each test runs with both ways of resolving paths.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use nix::sys::stat::Mode;

use super::file::Found;
use super::resolve::Resolver;
use super::*;
use crate::support::skip::{or_skip, try_out};

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
    let roots = [Resolver::Openat2, Resolver::Userspace].map(|resolver| {
        let mut root = Root::open(&root).unwrap();
        root.resolver = resolver;
        root
    });
    (dir, roots)
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
fn exists_follows_links_and_sees_nothing_outside() {
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
                error
                    .to_string()
                    .starts_with("cannot create the directory "),
                "{error}"
            );
        }
        root.create_dir_all(Path::new("/made/../new/x")).unwrap();
        assert!(dir.path().join("root/made").is_dir());
        assert!(dir.path().join("root/new/x").is_dir());
        fs::remove_dir(dir.path().join("root/made")).unwrap();
        fs::remove_dir_all(dir.path().join("root/new")).unwrap();
        // The target of the link is created inside the root.
        root.create_dir_all(Path::new("/../new")).unwrap();
        assert!(dir.path().join("root/new").is_dir());
        fs::remove_dir(dir.path().join("root/new")).unwrap();
    }
    assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
}

#[test]
fn directories_are_created_and_names_taken_only_once() {
    let (dir, roots) = roots();
    for (root, name) in roots.iter().zip(["a", "b"]) {
        let directory = root
            .create_dir_all(&Path::new("/absolute/logs/x/y").join(name))
            .unwrap();
        directory.create_new(OsStr::new("f")).unwrap();
        let taken = directory.create_new(OsStr::new("f")).unwrap_err();
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
        let link = directory.create_new(OsStr::new("l")).unwrap_err();
        assert_eq!(link.kind(), io::ErrorKind::AlreadyExists);
        let mut names = directory.names(|_| true).unwrap();
        names.retain(|name| name != "." && name != "..");
        names.sort();
        assert_eq!(names, ["f", "l"]);
        directory.remove(OsStr::new("l")).unwrap();
        directory.remove(OsStr::new("l")).unwrap();
        assert_eq!(root.read(Path::new("/data/file")).unwrap(), b"inside");
    }
}

#[test]
fn as_many_links_as_in_the_kernel_are_followed() {
    let (dir, roots) = roots();
    let path = |i: u32| dir.path().join(format!("root/{i}"));
    symlink("data", path(1)).unwrap();
    for i in 2..=MAX_SYMLINKS + 1 {
        symlink((i - 1).to_string(), path(i)).unwrap();
    }
    for root in roots {
        let read = |i: u32| root.read(Path::new(&format!("{i}/file")));
        assert_eq!(read(MAX_SYMLINKS).unwrap(), b"inside");
        let error = read(MAX_SYMLINKS + 1).unwrap_err().to_string();
        assert!(error.contains("symbolic links"), "{error}");
    }
}

#[test]
fn to_ask_what_there_is_opens_nothing() {
    let (dir, roots) = roots();
    let data = dir.path().join("root/data");
    let opened = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    opened.add_watch(&data, AddWatchFlags::IN_OPEN).unwrap();
    for root in roots {
        assert!(root.exists(Path::new("/data/file")).unwrap());
        assert!(root.follow(Path::new("/to-file")).unwrap().is_some());
    }
    assert_eq!(opened.read_events().unwrap_err(), Errno::EAGAIN);
    fs::read(data.join("file")).unwrap();
    assert!(!opened.read_events().unwrap().is_empty(), "the watch works");
}

/// To open a watchdog starts it. This fifo's opening would show.
#[test]
fn what_is_no_file_is_refused_without_being_opened() {
    let (dir, roots) = roots();
    nix::unistd::mkfifo(&dir.path().join("root/data/fifo"), Mode::S_IRWXU).unwrap();
    let opened = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    opened
        .add_watch(&dir.path().join("root/data"), AddWatchFlags::IN_OPEN)
        .unwrap();
    for root in roots {
        let fifo = OsStr::new("fifo");
        let data = Path::new("/data");
        let error = root.read(&data.join(fifo)).unwrap_err().to_string();
        assert!(error.ends_with(": expected a file"), "{error}");
        let directory = root.open_dir(data).unwrap();
        let error = directory.read(fifo).unwrap_err().to_string();
        assert_eq!(error, "expected a file");
        let error = copy_file(&root, &data.join(fifo), &root, Path::new("/to")).unwrap_err();
        assert!(error.to_string().ends_with(": expected a file"), "{error}");
    }
    let is_of_the_fifo = |event: &InotifyEvent| event.name.as_deref() == Some(OsStr::new("fifo"));
    let events = opened.read_events().unwrap_or_default();
    assert!(!events.iter().any(is_of_the_fifo), "{events:?}");
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(dir.path().join("root/data/fifo"))
        .unwrap();
    let events = opened.read_events().unwrap();
    assert!(events.iter().any(is_of_the_fifo), "the watch works");
}

#[test]
fn a_listing_has_all_directories_and_only_the_files_that_are_wanted() {
    let (dir, roots) = roots();
    fs::write(dir.path().join("root/data/other"), "").unwrap();
    for root in roots {
        let data = root.open_dir(Path::new("/data")).unwrap();
        let listed = data.list(|name| name == "file").unwrap();
        assert_eq!(listed.files, ["file"]);
        assert_eq!(listed.dirs, ["logs"]);
    }
}

#[test]
fn what_happens_in_a_directory_is_told_once_for_each_of_its_paths() {
    let (dir, [root, _]) = roots();
    let mut watcher = Watcher::new().unwrap();
    for path in ["/data", "/absolute"] {
        // Watched for what is written, and then for less.
        for contents in [true, false] {
            assert!(watcher.watch(&root, Path::new(path), contents).unwrap());
        }
    }
    for path in ["/missing", "/data/file"] {
        assert!(!watcher.watch(&root, Path::new(path), true).unwrap());
    }
    fs::write(dir.path().join("root/data/file"), "more").unwrap();
    let changes = watcher.changes().unwrap();
    for path in ["/data/file", "/absolute/file"] {
        let closed = Event::Closed(path.into());
        let told = changes.iter().filter(|change| **change == closed);
        assert_eq!(told.count(), 1, "{changes:?}");
    }
}

#[test]
fn what_is_no_directory_is_not_listed_and_a_missing_one_is_empty() {
    let (_dir, roots) = roots();
    for root in roots {
        let file = Path::new("/data/file");
        for listed in [root.list(file, 9), root.list_all(file, 9)] {
            let error = listed.unwrap_err().to_string();
            assert!(error.starts_with("cannot list "), "{error}");
            assert!(error.contains("/data/file: Not a directory"), "{error}");
        }
        let missing = Path::new("/missing");
        for listed in [root.list(missing, 9), root.list_all(missing, 9)] {
            assert_eq!(listed.unwrap(), Listing::default());
        }
    }
}

/// Without /proc a file is opened again by its name: as what was found, and as it was
/// asked for.
#[test]
fn a_file_is_opened_without_proc_only_if_it_is_the_one_that_was_found() {
    const TEST: &str =
        "host::tests::a_file_is_opened_without_proc_only_if_it_is_the_one_that_was_found";
    let (dir, roots) = roots();
    if fs::exists("/proc/self").unwrap() {
        let without_proc = |program: &std::ffi::OsStr| {
            let mut command = Command::new("unshare");
            command.args([
                "-m",
                "sh",
                "-ec",
                "mount -t tmpfs none /proc; exec \"$@\"",
                "sh",
            ]);
            command.arg(program);
            command
        };
        or_skip!(try_out(
            &mut without_proc(OsStr::new("true")),
            "this user may not mount"
        ));
        let again = std::env::current_exe().unwrap();
        let output = without_proc(again.as_os_str())
            .args([TEST, "--exact"])
            .output()
            .unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.contains("1 passed"), "{output:?}");
        return;
    }
    let path = |name: &str| dir.path().join("root/data").join(name);
    symlink("file", path("link")).unwrap();
    for root in roots {
        assert_eq!(root.read(Path::new("/data/file")).unwrap(), b"inside");
        assert_eq!(root.read(Path::new("/to-file")).unwrap(), b"inside");
        let data = root.open_dir(Path::new("/data")).unwrap();
        let file = OsStr::new("file");
        let found = Found::in_dir(&data, file).unwrap();
        let mut opened = found.open_in(&data, file, OFlag::O_RDWR).unwrap();
        opened.write_all(b"inside").unwrap();
        let link = found.open_in(&data, OsStr::new("link"), OFlag::O_RDONLY);
        assert_eq!(link.unwrap_err().raw_os_error(), Some(Errno::ELOOP as i32));
        fs::write(path("new"), "inside").unwrap();
        fs::rename(path("new"), path("file")).unwrap();
        let error = found.open_in(&data, file, OFlag::O_RDONLY).unwrap_err();
        assert_eq!(error.to_string(), "another file has its name now");
    }
}
