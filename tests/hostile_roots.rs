//! Hosts whose links lead out of the root mount: nothing may be written there.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::json;
use support::node::{Node, data, marking};
use support::{names, skipped, stderr};

/// A node whose folder is the root mount, and a folder outside it.
fn trapped() -> (Node, tempfile::TempDir) {
    (marking(), tempfile::tempdir().unwrap())
}

fn no_op(node: &Node) -> Command {
    let mut command = node.in_own_root("interrupt");
    command.arg(data(&json!({ "type": "no_op" })));
    command
}

/// The same place by a relative link that goes up as far as it can.
fn climbing(outside: &Path) -> PathBuf {
    Path::new("../../../../../../..").join(outside.strip_prefix("/").unwrap())
}

/// Where an absolute link to `outside` leads with the node's folder as root.
fn inside(node: &Node, outside: &Path) -> PathBuf {
    node.dir.path().join(outside.strip_prefix("/").unwrap())
}

#[test]
fn resolv_conf_is_not_written_through_a_link_out_of_the_root() {
    let Ok(resolv_conf) = fs::read("/etc/resolv.conf") else {
        let name = "resolv_conf_is_not_written_through_a_link_out_of_the_root";
        return skipped(name, "no /etc/resolv.conf");
    };
    let (node, outside) = trapped();
    let victim = outside.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    fs::create_dir(node.path("etc")).unwrap();
    let climbing = climbing(&victim);
    for target in [&victim, &climbing] {
        let link = node.path("etc/resolv.conf");
        symlink(target, &link).unwrap();
        let output = no_op(&node).env_remove("COPY_RESOLV").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(fs::read(inside(&node, &victim)).unwrap(), resolv_conf);
        assert_eq!(fs::read(&victim).unwrap(), b"untouched");
        assert!(link.is_symlink());
        fs::remove_file(link).unwrap();
        fs::remove_file(inside(&node, &victim)).unwrap();
    }
}

#[test]
fn links_for_state_and_logs_lead_nowhere_out_of_the_root() {
    let (node, outside) = trapped();
    let climbing = climbing(outside.path());
    for target in [outside.path(), &climbing] {
        for (folder, link) in [("etc", "etc/skyhook"), ("var/log", "var/log/skyhook")] {
            fs::create_dir_all(node.path(folder)).unwrap();
            symlink(target, node.path(link)).unwrap();
        }
        for leads_somewhere in [false, true] {
            let there = inside(&node, outside.path());
            if leads_somewhere {
                fs::create_dir_all(&there).unwrap();
            }
            // It has logs, and cannot succeed: there is no systemctl, nor any root
            // to enter for an ordinary user.
            let mut command = node.in_own_root("interrupt");
            command.arg(data(&json!({ "type": "service_restart", "services": [] })));
            assert_eq!(command.output().unwrap().status.code(), Some(1));
            for mut command in [no_op(&node), node.in_own_root("config")] {
                let output = command.output().unwrap();
                assert_eq!(output.status.success(), leads_somewhere, "{output:?}");
            }
            assert_eq!(names(outside.path()), [""; 0]);
            if leads_somewhere {
                assert_eq!(names(&there), ["flags", "interrupts", "pkg"]);
                fs::remove_dir_all(there).unwrap();
            }
        }
        fs::remove_file(node.path("etc/skyhook")).unwrap();
        fs::remove_file(node.path("var/log/skyhook")).unwrap();
    }
}

#[test]
fn a_folder_that_becomes_a_link_meanwhile_leads_nowhere_out_of_the_root() {
    let (node, outside) = trapped();
    fs::create_dir_all(node.path("etc/skyhook")).unwrap();
    fs::create_dir_all(inside(&node, outside.path())).unwrap();
    symlink(outside.path(), node.path("etc/other")).unwrap();
    let (folder, link) = (node.path("etc/skyhook"), node.path("etc/other"));
    let swap = || {
        renameat2(
            AT_FDCWD,
            &folder,
            AT_FDCWD,
            &link,
            RenameFlags::RENAME_EXCHANGE,
        )
    };
    if swap().is_err() {
        let name = "a_folder_that_becomes_a_link_meanwhile_leads_nowhere_out_of_the_root";
        return skipped(name, "the file system cannot exchange names");
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let swaps = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                swap().unwrap();
            }
        });
        for _ in 0..40 {
            // Whatever it makes of this, it stays inside.
            let output = no_op(&node).output().unwrap();
            assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        }
        done.store(true, Ordering::Relaxed);
        swaps.join().unwrap();
    });
    assert_eq!(names(outside.path()), [""; 0]);
}

#[test]
fn a_package_s_files_are_not_laid_through_a_link_out_of_the_root() {
    let (node, outside) = trapped();
    let laid = node.path("copy/root_dir/etc/folder");
    fs::create_dir_all(&laid).unwrap();
    fs::write(laid.join("file"), "package's").unwrap();
    let climbing = climbing(outside.path());
    for target in [outside.path(), &climbing] {
        symlink(target, node.path("etc")).unwrap();
        // With the link leading nowhere, and then to a folder inside the root.
        let there = inside(&node, outside.path());
        let output = node.in_own_root("config").output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        fs::create_dir_all(&there).unwrap();
        let output = node.in_own_root("config").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(there.join("folder/file").exists());
        assert_eq!(names(outside.path()), [""; 0]);
        fs::remove_dir_all(there).unwrap();
        fs::remove_file(node.path("etc")).unwrap();
    }
}
