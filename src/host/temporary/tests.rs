use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::super::Root;
use super::*;
use crate::support::skip::{or_skip, try_out};

fn dir() -> (tempfile::TempDir, Dir) {
    let temp = tempfile::tempdir().unwrap();
    let root = Root::open(temp.path()).unwrap();
    let dir = root.open_dir(Path::new("/")).unwrap();
    (temp, dir)
}

fn names(path: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn a_file_has_its_name_only_when_it_is_published_and_none_but_its_owner_reads_it_before() {
    for kind in [Kind::Unnamed, Kind::Named] {
        for replaces in [false, true] {
            let (temp, dir) = dir();
            let old = if replaces { &["file"][..] } else { &[] };
            if replaces {
                fs::write(temp.path().join("file"), "old").unwrap();
            }
            let dropped = Temporary::create(&dir, kind).unwrap();
            drop(dropped);
            assert_eq!(names(temp.path()), old);

            let new = Temporary::create(&dir, kind).unwrap();
            assert_eq!(new.kind(), kind, "this file system has O_TMPFILE");
            let mode = new.file().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
            new.file().write_all(b"new").unwrap();
            let temporary = usize::from(kind == Kind::Named);
            assert_eq!(names(temp.path()).len(), old.len() + temporary);
            new.publish(OsStr::new("file"), true).unwrap();
            assert_eq!(names(temp.path()), ["file"]);
            assert_eq!(fs::read(temp.path().join("file")).unwrap(), b"new");
        }
    }
}

/// Another process makes the file between the look and the name.
#[test]
fn a_file_that_is_there_unexpectedly_is_replaced() {
    for kind in [Kind::Unnamed, Kind::Named] {
        let (temp, dir) = dir();
        let new = Temporary::create(&dir, kind).unwrap();
        fs::write(temp.path().join("file"), "other").unwrap();
        new.publish(OsStr::new("file"), false).unwrap();
        assert_eq!(fs::read(temp.path().join("file")).unwrap(), b"");
        assert_eq!(names(temp.path()), ["file"]);

        // A directory is not, and nothing is left.
        fs::create_dir(temp.path().join("dir")).unwrap();
        let new = Temporary::create(&dir, kind).unwrap();
        let refused = new.publish(OsStr::new("dir"), false).unwrap_err();
        assert!(matches!(refused, Refused::By(Errno::EISDIR)), "{refused:?}");
        assert_eq!(names(temp.path()), ["dir", "file"]);
    }
}

#[test]
fn a_name_that_is_taken_is_followed_by_others_but_not_for_ever() {
    let tried = std::cell::RefCell::new(Vec::new());
    let taken_for = |times: usize| {
        tried.borrow_mut().clear();
        let made = make(|name| {
            tried.borrow_mut().push(name.to_owned());
            match tried.borrow().len() > times {
                true => Ok(()),
                false => Err(io::ErrorKind::AlreadyExists.into()),
            }
        });
        made.map(|(name, ())| name)
    };
    let made = taken_for(3).unwrap();
    let mut names = tried.take();
    assert_eq!((names.len(), names.last()), (4, Some(&made)));
    names.dedup();
    assert_eq!(names.len(), 4, "{names:?}");
    let error = taken_for(usize::MAX).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn only_names_that_the_agent_makes_are_temporary() {
    let (made, ()) = make(|_| Ok(())).unwrap();
    assert!(is_temporary(&made));
    for name in [
        ".skyhook-agent-1-2.tmp.",
        ".skyhook-agent-1.tmp",
        ".skyhook-agent-1-2-3.tmp",
        ".skyhook-agent-1-.tmp",
        ".skyhook-agent-a-2.tmp",
        "skyhook-agent-1-2.tmp",
        ".skyhook-agent-1-2",
        "",
    ] {
        assert!(!is_temporary(OsStr::new(name)), "{name}");
    }
}

#[test]
fn what_killed_runs_have_left_is_removed_and_what_live_ones_use_stays() {
    let (temp, dir) = dir();
    let path = |name: &str| temp.path().join(name);
    let live = Temporary::create(&dir, Kind::Named).unwrap();
    let (live_dir, _lock) = create_dir(&dir).unwrap();
    let mut stay = vec![live.name.clone().unwrap(), live_dir];
    stay.push("victim".into());
    fs::write(path("victim"), "").unwrap();

    fs::write(path(".skyhook-agent-1-1.tmp"), "half").unwrap();
    symlink("victim", path(".skyhook-agent-1-2.tmp")).unwrap();
    // Deeper than any path.
    let deep = path(".skyhook-agent-1-3.tmp");
    fs::create_dir(&deep).unwrap();
    let mut at = Dir(dir
        .open_at(deep.file_name().unwrap(), OPEN_DIR, Mode::empty())
        .unwrap());
    for _ in 0..60 {
        let name = OsString::from("d".repeat(200));
        at.mkdir_at(&name, Mode::S_IRWXU).unwrap();
        at = Dir(at.open_at(&name, OPEN_DIR, Mode::empty()).unwrap());
        at.create_new(OsStr::new("file")).unwrap();
    }
    drop(at);
    symlink("../victim", deep.join("link")).unwrap();
    fs::write(deep.join(".1"), "a name that is taken").unwrap();
    // A user's own, or what is no file, is none of the agent's.
    nix::unistd::mkfifo(&path(".skyhook-agent-1-4.tmp"), Mode::S_IRWXU).unwrap();
    stay.push(".skyhook-agent-1-4.tmp".into());
    if geteuid().is_root() {
        fs::write(path(".skyhook-agent-1-5.tmp"), "").unwrap();
        chown(path(".skyhook-agent-1-5.tmp"), Some(12), None).unwrap();
        stay.push(".skyhook-agent-1-5.tmp".into());
    }

    remove_stale(&dir);
    stay.sort();
    assert_eq!(names(temp.path()), stay);
    live.publish(OsStr::new("file"), false).unwrap();
    assert!(path("file").exists());
}

/// Between two calls of one agent, another may take what it has made for stale.
#[test]
fn rivals_that_tidy_up_do_not_disturb_each_other() {
    const AGAIN: &str = "RIVALS_TEST_AGAIN";
    let is_slow = std::env::var_os(AGAIN).is_some();
    let (temp, dir) = dir();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                remove_stale(&dir);
            }
        });
        let wrote = || {
            for i in 0..if is_slow { 60 } else { 300 } {
                replace_by_link(&dir, OsStr::new("link"), OsStr::new("target"))?;
                let new = Temporary::create(&dir, [Kind::Named, Kind::Unnamed][i % 2])?;
                new.file().write_all(b"new")?;
                new.publish(OsStr::new("file"), true)?;
                let (name, made) = create_dir(&dir)?;
                made.create_new(OsStr::new("in it"))?;
                remove_tree(&dir, &name, &made)?;
            }
            Ok::<_, io::Error>(())
        };
        let wrote = wrote();
        done.store(true, Ordering::Relaxed);
        wrote.unwrap();
    });
    assert_eq!(names(temp.path()), ["file", "link"]);
    assert_eq!(fs::metadata(temp.path().join("file")).unwrap().size(), 3);
    if is_slow {
        return;
    }
    // Once more, with time between what is made and its lock.
    or_skip!(try_out(
        Command::new("strace").args(["-o", "/dev/null", "true"]),
        "this user may not trace"
    ));
    let again = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null"])
        .args(["-e", "inject=flock:delay_enter=2000:when=1+3"])
        .arg(std::env::current_exe().unwrap())
        .args(["host::temporary::tests::rivals", "--test-threads=1"])
        .env(AGAIN, "1")
        .output()
        .unwrap();
    assert!(again.status.success(), "{again:?}");
}
