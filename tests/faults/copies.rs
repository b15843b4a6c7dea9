//! Copies onto the host: whole, on disk before the run goes on, and without a trace of
//! those that were killed.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use crate::moments::{Moments, usual_duration};
use crate::notices::notices;
use crate::strace::traced;
use crate::support::process::pid;
use crate::support::{Node, Running, Skip, files, names, or_skip, set_mode};

/// The calls that write a copy, and make it durable.
const CALLS: &str = "trace=openat,write,copy_file_range,sendfile,fsync,fdatasync,syncfs,linkat,\
    rename,renameat,renameat2,mkdirat,symlinkat";

fn trace(command: &Command) -> Result<Vec<String>, Skip> {
    let run = traced(&["-f", "-e", CALLS], command)?;
    assert_eq!(run.output.status.code(), Some(0), "{:?}", run.output);
    Ok(run.trace)
}

/// Finds the first line from `from` on that has all these parts.
#[track_caller]
fn find(trace: &[String], from: usize, parts: &[&str]) -> usize {
    let has_all = |line: &String| parts.iter().all(|part| line.contains(part));
    let found = trace.iter().skip(from).position(has_all);
    from + found.unwrap_or_else(|| panic!("{parts:?} after {from} in {trace:#?}"))
}

/// The line at which the run says that it has come as far as its steps.
#[track_caller]
fn start_flag(trace: &[String]) -> usize {
    let names_it = |line: &String| line.contains(", \"START\"");
    trace.iter().position(names_it).expect("START is written")
}

/// A node whose package lays two files and a link over it: one file is new in a new
/// directory, the other one and the link replace a file.
fn with_overlay() -> Node {
    let node = Node::one_step();
    for (path, content) in [
        ("copy/root_dir/new/dir/file", "new"),
        ("copy/root_dir/there/file", "new"),
        ("there/file", "old"),
        ("there/link", "old"),
    ] {
        let path = node.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    set_mode(&node.path("copy/root_dir/new"), 0o711);
    set_mode(&node.path("copy/root_dir/new/dir"), 0o755);
    std::os::unix::fs::symlink("file", node.path("copy/root_dir/there/link")).unwrap();
    node
}

#[test]
fn what_is_laid_over_the_host_is_on_disk_before_the_run_goes_on() {
    let node = with_overlay();
    let root = node.dir.path().to_str().unwrap();
    let trace = or_skip!(trace(&node.in_own_root("config")));
    let start = start_flag(&trace);
    for (dir, replaces) in [("new/dir", false), ("there", true)] {
        let dir = format!("<{root}/{dir}>");
        // None but its owner can read it until it is whole.
        let created = find(&trace, 0, &["O_TMPFILE", &dir, ", 0600)"]);
        // It is synced under a temporary name: btrfs brings nothing of a file without a name
        // to disk.
        let linked = find(&trace, created, &["linkat(", &dir, ".skyhook-agent-"]);
        // strace goes on to show it without a name.
        let unnamed = format!("<{}/#", &dir[1..dir.len() - 1]);
        let synced = find(&trace, linked, &["fsync(", &unnamed]);
        let named = find(&trace, synced, &["rename", &dir, ", \"file\""]);
        let last = if replaces {
            named.max(find(&trace, 0, &["rename", &dir, ", \"link\""]))
        } else {
            named
        };
        let durable = find(&trace, last, &["fsync(", &format!("{dir})")]);
        assert!(durable < start, "{trace:#?}");
    }
    // The names of new directories, too.
    for (above, name) in [("", "new"), ("/new", "dir")] {
        // With its mode from the start: a later run leaves the mode alone.
        let mode = [", 0711)", ", 0755)"][usize::from(name == "dir")];
        let made = find(
            &trace,
            0,
            &["mkdirat(", &format!("<{root}{above}>, \"{name}\"{mode}")],
        );
        let durable = find(&trace, made, &["fsync(", &format!("<{root}{above}>)")]);
        assert!(durable < start, "{trace:#?}");
    }

    // What is the same already may be from a run that was killed before it was durable.
    let trace = crate::copies::trace(&node.in_own_root("config")).unwrap();
    let start = start_flag(&trace);
    for path in ["new/dir/file", "new/dir", "there/file", "there", "new"] {
        let durable = find(&trace, 0, &["fsync(", &format!("<{root}/{path}>)")]);
        assert!(durable < start, "{path}: {trace:#?}");
    }
    let writes = ["linkat(", "O_TMPFILE", "rename"];
    let of_copies = trace[..start]
        .iter()
        .filter(|line| !line.contains("/etc/skyhook/"));
    for line in of_copies {
        assert!(!writes.iter().any(|call| line.contains(call)), "{line}");
    }
}

#[test]
fn the_resolver_s_configuration_is_on_disk_before_the_run_goes_on() {
    if !Path::new("/etc/resolv.conf").exists() {
        crate::support::skip!(Skip::NotPossible("no /etc/resolv.conf"));
    }
    let node = Node::one_step();
    let etc = node.path("etc");
    let mut command = node.in_own_root("config");
    let trace = or_skip!(trace(command.env("COPY_RESOLV", "true")));
    let etc = format!("<{}", etc.display());
    let linked = find(&trace, 0, &["linkat(", &etc, ".skyhook-agent-"]);
    let synced = find(&trace, linked, &["fsync(", &format!("{etc}/#")]);
    let named = find(&trace, synced, &["rename", "\"resolv.conf\""]);
    let durable = find(&trace, named, &["fsync(", &format!("{etc}>)")]);
    assert!(durable < start_flag(&trace), "{trace:#?}");
}

#[test]
fn a_package_is_on_disk_before_it_has_its_name_and_its_name_before_the_run_goes_on() {
    let node = Node::one_step();
    fs::rename(node.path("copy"), node.path("data")).unwrap();
    let root = node.dir.path().to_str().unwrap();
    let mut command = node.agent(&["config", root, "/opt/pkg"]);
    command.env("SKYHOOK_ROOT_DIR", "/state");
    let trace = or_skip!(trace(&command));
    let written = find(&trace, 0, &["rename", "\"config.json\""]);
    let synced = find(&trace, written, &["syncfs("]);
    let named = find(&trace, synced, &["rename", ", \"pkg\""]);
    let makes_a_name = |line: &String| {
        (line.contains("linkat(") || line.contains("mkdirat(")) && line.contains(".skyhook-agent-")
    };
    let last_write = trace.iter().rposition(makes_a_name);
    assert!(last_write.unwrap() < synced, "{trace:#?}");
    let durable = find(&trace, named, &["fsync(", &format!("<{root}/opt>)")]);
    assert!(durable < start_flag(&trace), "{trace:#?}");
}

/// So that little is left to wait for at its end, when no signal is seen.
#[test]
fn a_large_file_is_brought_to_disk_while_it_is_copied() {
    let node = Node::one_step();
    let file = node.path("copy/root_dir/there/large");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    File::create(file)
        .unwrap()
        .set_len(130 * 1024 * 1024)
        .unwrap();
    let trace = or_skip!(trace(&node.in_own_root("config")));
    let flushes = trace.iter().filter(|line| line.contains("fdatasync("));
    assert_eq!(flushes.count(), 2, "{trace:#?}");
}

/// A node with a package of some large files and a large `root_dir`.
fn large(data: bool) -> Node {
    let node = Node::one_step();
    let content = vec![b'x'; 6 * 1024 * 1024];
    for name in ["a", "b", "c"] {
        let old = node.path("there").join(name);
        fs::create_dir_all(old.parent().unwrap()).unwrap();
        fs::write(old, "old").unwrap();
        let new = node.path("copy/root_dir/there").join(name);
        fs::create_dir_all(new.parent().unwrap()).unwrap();
        fs::write(new, &content).unwrap();
    }
    if data {
        fs::rename(node.path("copy"), node.path("data")).unwrap();
    }
    node
}

/// Kills copies, and looks that every file is old or new, and that the next run leaves
/// nothing else.
fn kill_copies(count: u32) {
    let mut moments = Moments::new();
    for data in [false, true] {
        let takes = usual_duration(|| {
            let node = large(data);
            let command = node.in_own_root("config");
            (node, command)
        });
        for i in 0..count {
            let node = large(data);
            // Twice, so that what one killed run leaves meets the next one.
            for _ in 0..2 {
                let mut command = node.in_own_root("config");
                command.stdout(Stdio::null()).stderr(Stdio::null());
                let mut run = command.spawn().unwrap();
                std::thread::sleep(moments.next(takes, i, count));
                // It may have ended.
                let _ = kill(pid(&run), Signal::SIGKILL);
                run.wait().unwrap();
                for name in ["a", "b", "c"] {
                    let len = fs::metadata(node.path("there").join(name)).unwrap().len();
                    assert!(matches!(len, 3 | 6_291_456), "{name}: {len}");
                }
                let is_whole = !node.path("copy").exists()
                    || node.path("copy/root_dir/there/c").exists()
                        && node.path("copy/skyhook_dir/a_check.sh").exists();
                assert!(is_whole, "a package with its name is whole");
            }
            let output = node.in_own_root("config").output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            assert_eq!(names(&node.path("there")), ["a", "b", "c"]);
            for file in files(node.dir.path()) {
                let name = file.file_name().unwrap().to_str().unwrap();
                let state = file.to_str().unwrap().contains("/skyhook/");
                assert!(state || !name.ends_with(".tmp"), "{file:?}");
            }
            let top = names(node.dir.path());
            assert!(!top.iter().any(|name| name.ends_with(".tmp")), "{top:?}");
        }
    }
}

#[test]
fn copies_that_are_killed_leave_no_half_file_and_nothing_after_the_next_run() {
    kill_copies(10);
}

#[test]
#[ignore = "250 kills of each kind: takes a minute, on a busy machine two"]
fn copies_that_are_killed_250_times_leave_nothing() {
    kill_copies(250);
}

#[test]
fn many_agents_with_one_missing_package_all_succeed() {
    for round in 0..10 {
        let node = Node::one_step();
        fs::write(node.path("copy/large"), vec![b'x'; 1024 * 1024]).unwrap();
        fs::rename(node.path("copy"), node.path("data")).unwrap();
        // An interrupt keeps no state of the package: nothing but the copy is shared.
        let start = || {
            let mut command = node.in_own_root("interrupt");
            let data = crate::support::interrupt_data(&serde_json::json!({ "type": "no_op" }));
            Running::start(command.arg(data))
        };
        let runs: Vec<Running> = (0..8).map(|_| start()).collect();
        for run in runs {
            let output = run.finish();
            assert_eq!(output.status.code(), Some(0), "{round}: {output:?}");
        }
        assert_eq!(
            fs::read(node.path("copy/large")).unwrap().len(),
            1024 * 1024
        );
        let mut there = names(node.dir.path());
        there.retain(|name| name != "etc");
        assert_eq!(there, ["copy", "data"], "{round}");
    }
}

#[test]
fn many_agents_that_lay_the_same_files_over_the_host_all_succeed() {
    let node = Node::one_step();
    fs::create_dir_all(node.path("copy/root_dir/there")).unwrap();
    for round in 0..10 {
        let content = format!("of round {round}");
        for i in 0..20 {
            let path = node.path(&format!("copy/root_dir/there/{i}"));
            let _ = fs::remove_file(&path);
            // The last one is a link in every other round.
            if i == 19 && round % 2 == 0 {
                std::os::unix::fs::symlink(&content, path).unwrap();
            } else {
                fs::write(path, &content).unwrap();
            }
        }
        let start = || Running::start(&mut node.in_own_root("config"));
        let runs: Vec<Running> = (0..6).map(|_| start()).collect();
        for run in runs {
            let output = run.finish();
            assert_eq!(output.status.code(), Some(0), "{round}: {output:?}");
        }
        for i in 0..19 {
            let path = node.path(&format!("there/{i}"));
            assert_eq!(fs::read_to_string(path).unwrap(), content);
        }
        assert_eq!(node.path("there/19").is_symlink(), round % 2 == 0);
        assert_eq!(names(&node.path("there")).len(), 20, "{round}");
    }
}

/// A file that takes longer to copy than a signal to come.
fn huge_file(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = File::create(path).unwrap();
    file.set_len(64 * 1024 * 1024 * 1024).unwrap();
}

#[test]
fn a_signal_during_a_copy_ends_the_run_and_leaves_nothing_half() {
    for (data, notice) in [
        (
            false,
            "cancelled: not all of root_dir is laid over the host",
        ),
        (true, "cancelled: the package is not copied to the host"),
    ] {
        let node = Node::one_step();
        huge_file(&node.path("copy/root_dir/there/huge"));
        if data {
            fs::rename(node.path("copy"), node.path("data")).unwrap();
        }
        let mut run = Running::start(&mut node.in_own_root("apply"));
        // The banner's last line before the copy; and the copy of so much takes minutes.
        run.wait_for_line("/etc/skyhook/history/pkg.json");
        std::thread::sleep(Duration::from_millis(200));
        assert!(run.has_not_ended());
        kill(run.pid(), Signal::SIGTERM).unwrap();
        let output = run.finish();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(notices(&output), [notice]);
        let mut left = names(node.dir.path());
        left.retain(|name| name != "there");
        assert_eq!(left, [if data { "data" } else { "copy" }]);
        if !data {
            assert_eq!(names(&node.path("there")), [""; 0]);
        }
    }
}
