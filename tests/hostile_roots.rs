//! Hosts whose links lead out of the root mount: nothing may be written there.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::json;
use support::{Node, Skip, interrupt_data, names, skip, stderr};

/// A node whose directory is the root mount, and a directory outside it.
fn node_and_outside() -> (Node, tempfile::TempDir) {
    (Node::one_step(), tempfile::tempdir().unwrap())
}

fn no_op(node: &Node) -> Command {
    let mut command = node.in_own_root("interrupt");
    command.arg(interrupt_data(&json!({ "type": "no_op" })));
    command
}

/// The same target as a relative link, with more `..` than there are directories.
fn as_relative(outside: &Path) -> PathBuf {
    Path::new("../../../../../../..").join(outside.strip_prefix("/").unwrap())
}

/// Where a link to `outside` leads inside the root mount.
fn inside_root(node: &Node, outside: &Path) -> PathBuf {
    node.dir.path().join(outside.strip_prefix("/").unwrap())
}

#[test]
fn resolv_conf_is_not_written_through_a_link_out_of_the_root() {
    let Ok(resolv_conf) = fs::read("/etc/resolv.conf") else {
        skip!(Skip::NotPossible("no /etc/resolv.conf"));
    };
    let (node, outside) = node_and_outside();
    let victim = outside.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    fs::create_dir(node.path("etc")).unwrap();
    let relative = as_relative(&victim);
    for target in [&victim, &relative] {
        let link = node.path("etc/resolv.conf");
        symlink(target, &link).unwrap();
        let output = no_op(&node).env_remove("COPY_RESOLV").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(fs::read(inside_root(&node, &victim)).unwrap(), resolv_conf);
        assert_eq!(fs::read(&victim).unwrap(), b"untouched");
        assert!(link.is_symlink());
        fs::remove_file(link).unwrap();
        fs::remove_file(inside_root(&node, &victim)).unwrap();
    }
}

#[test]
fn links_for_state_and_logs_lead_nowhere_out_of_the_root() {
    let (node, outside) = node_and_outside();
    let relative = as_relative(outside.path());
    for target in [outside.path(), &relative] {
        for (dir, link) in [("etc", "etc/skyhook"), ("var/log", "var/log/skyhook")] {
            fs::create_dir_all(node.path(dir)).unwrap();
            symlink(target, node.path(link)).unwrap();
        }
        for target_exists in [false, true] {
            let there = inside_root(&node, outside.path());
            if target_exists {
                fs::create_dir_all(&there).unwrap();
            }
            // This one writes logs. It fails: the root has no systemctl, and an ordinary
            // user cannot enter it.
            let mut command = node.in_own_root("interrupt");
            command.arg(interrupt_data(
                &json!({ "type": "service_restart", "services": [] }),
            ));
            assert_eq!(command.output().unwrap().status.code(), Some(1));
            for mut command in [no_op(&node), node.in_own_root("config")] {
                let output = command.output().unwrap();
                assert_eq!(output.status.success(), target_exists, "{output:?}");
            }
            assert_eq!(names(outside.path()), [""; 0]);
            if target_exists {
                assert_eq!(names(&there), ["flags", "interrupts", "pkg"]);
                fs::remove_dir_all(there).unwrap();
            }
        }
        fs::remove_file(node.path("etc/skyhook")).unwrap();
        fs::remove_file(node.path("var/log/skyhook")).unwrap();
    }
}

#[test]
fn a_directory_replaced_by_a_link_during_runs_leads_nowhere_out_of_the_root() {
    let (node, outside) = node_and_outside();
    fs::create_dir_all(node.path("etc/skyhook")).unwrap();
    fs::create_dir_all(inside_root(&node, outside.path())).unwrap();
    symlink(outside.path(), node.path("etc/other")).unwrap();
    let (dir, link) = (node.path("etc/skyhook"), node.path("etc/other"));
    let swap = || {
        renameat2(
            AT_FDCWD,
            &dir,
            AT_FDCWD,
            &link,
            RenameFlags::RENAME_EXCHANGE,
        )
    };
    if swap().is_err() {
        skip!(Skip::NotPossible("the file system cannot exchange names"));
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let swaps = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                swap().unwrap();
            }
        });
        for _ in 0..40 {
            // It may succeed or fail, but it stays inside.
            let output = no_op(&node).output().unwrap();
            assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        }
        done.store(true, Ordering::Relaxed);
        swaps.join().unwrap();
    });
    assert_eq!(names(outside.path()), [""; 0]);
}

#[test]
fn files_of_root_dir_are_not_written_through_a_link_out_of_the_root() {
    let (node, outside) = node_and_outside();
    let laid = node.path("copy/root_dir/etc/sub");
    fs::create_dir_all(&laid).unwrap();
    fs::write(laid.join("file"), "package's").unwrap();
    let relative = as_relative(outside.path());
    for target in [outside.path(), &relative] {
        symlink(target, node.path("etc")).unwrap();
        // First the link's target does not exist inside the root, then it does.
        let there = inside_root(&node, outside.path());
        let output = node.in_own_root("config").output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        fs::create_dir_all(&there).unwrap();
        let output = node.in_own_root("config").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(there.join("sub/file").exists());
        assert_eq!(names(outside.path()), [""; 0]);
        fs::remove_dir_all(there).unwrap();
        fs::remove_file(node.path("etc")).unwrap();
    }
}
