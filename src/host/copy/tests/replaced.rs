//! The files that are replaced, and those that are left alone.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{chown, lchown};
use std::time::{Duration, SystemTime};

use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, fstatat, utimensat};
use nix::sys::time::TimeSpec;

use super::*;
use crate::system::sys;

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

#[test]
fn the_owner_of_an_old_file_stays_only_where_none_but_root_may_write() {
    if !is_root() {
        skip!(NEEDS_ROOT);
    }
    for host in fixtures() {
        for (mode, uid, stays) in [
            (0o755, 0, true),
            (0o1755, 0, true),
            (0o777, 0, false),
            (0o1777, 0, false),
            (0o775, 0, false),
            (0o757, 0, false),
            (0o755, 12, false),
        ] {
            for content in ["new", "old"] {
                let old = host.write("there/tool.sh", "old");
                chown(&old, Some(12), Some(34)).unwrap();
                set_mode(&old, 0o755);
                set_mode(host.path("there"), mode);
                chown(host.path("there"), Some(uid), Some(0)).unwrap();
                // Also if nothing else is to be changed.
                set_mode(host.write("pkg/root_dir/there/tool.sh", content), 0o755);
                host.overlay().unwrap();
                let now = fs::metadata(&old).unwrap();
                let owner = if stays { (12, 34) } else { (0, 0) };
                assert_eq!(
                    (now.uid(), now.gid()),
                    owner,
                    "{mode:o} of {uid}: {content}"
                );
                assert_eq!(read(&old), content);

                let resolver = host.write("there/resolv.conf", "old");
                chown(&resolver, Some(12), Some(34)).unwrap();
                host.write("from", content);
                host.root.create_dir_all(Path::new("/etc")).unwrap();
                let _ = fs::remove_file(host.path("etc/resolv.conf"));
                host.link("/there/resolv.conf", "etc/resolv.conf");
                host.resolv_conf().unwrap();
                let now = fs::metadata(&resolver).unwrap();
                assert_eq!(
                    (now.uid(), now.gid()),
                    owner,
                    "{mode:o} of {uid}: {content}"
                );
                fs::remove_dir_all(host.path("there")).unwrap();
            }
        }
    }
}

#[test]
fn another_user_s_link_is_replaced_where_others_may_write() {
    if !is_root() {
        skip!(NEEDS_ROOT);
    }
    for host in fixtures() {
        host.link("target", "pkg/root_dir/there/link");
        let link = host.link("target", "there/link");
        lchown(&link, Some(12), Some(12)).unwrap();
        set_mode(host.path("there"), 0o1777);
        host.overlay().unwrap();
        assert_eq!(fs::symlink_metadata(&link).unwrap().uid(), 0);
    }
}

#[test]
fn what_is_the_same_already_is_left_alone() {
    for host in fixtures() {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        // Longer than a block that is compared at once.
        let long = "x".repeat(200_000);
        for (name, content) in [("a", ""), ("b", "content"), ("c", &long)] {
            for place in ["etc", "pkg/root_dir/etc"] {
                set_mode(host.write(&format!("{place}/{name}"), content), 0o640);
            }
            // A time of its own, which stays.
            let file = File::open(host.path("etc").join(name)).unwrap();
            file.set_times(FileTimes::new().set_modified(then)).unwrap();
        }
        for place in ["etc", "pkg/root_dir/etc"] {
            host.link("a", &format!("{place}/link"));
        }
        host.write("from", "content");
        host.write("etc/resolv.conf", "content");
        let all = ["a", "b", "c", "link", "resolv.conf"].map(|name| host.path("etc").join(name));
        let before = all.clone().map(|path| identity(&path));
        host.overlay().unwrap();
        host.resolv_conf().unwrap();
        assert_eq!(all.map(|path| identity(&path)), before);
    }
}

#[test]
fn the_same_is_left_alone_if_a_copy_would_have_its_owner() {
    if !is_root() {
        skip!(NEEDS_ROOT);
    }
    for (owner, mode, stays) in [
        (12345, 0o755, true),
        (0, 0o777, true),
        (12345, 0o777, false),
    ] {
        for host in fixtures() {
            for place in ["etc/file", "pkg/root_dir/etc/file"] {
                set_mode(host.write(place, "same"), 0o644);
            }
            set_mode(host.path("etc"), mode);
            let file = host.path("etc/file");
            chown(&file, Some(owner), None).unwrap();
            let before = identity(&file);
            host.overlay().unwrap();
            assert_eq!(identity(&file) == before, stays, "{owner} {mode:o}");
        }
    }
}

#[test]
fn whatever_differs_is_replaced() {
    let long = "x".repeat(200_000);
    let differs_at_the_end = format!("{}y", &long[1..]);
    for (old, mode, new) in [
        ("old", 0o644, "new"),
        ("same", 0o600, "same"),
        ("same", 0o4644, "same"),
        ("longer", 0o644, "long"),
        ("", 0o644, "not empty"),
        (&*long, 0o644, &*differs_at_the_end),
    ] {
        for host in fixtures() {
            let file = host.write("etc/file", old);
            set_mode(&file, mode);
            set_mode(host.write("pkg/root_dir/etc/file", new), 0o644);
            let before = identity(&file).0;
            host.overlay().unwrap();
            assert!(read(&file) == new);
            assert_eq!(super::mode(&file), 0o644);
            assert_ne!(identity(&file).0, before, "{mode:o}");
        }
    }
    for host in fixtures() {
        host.link("new", "pkg/root_dir/etc/link");
        let link = host.link("old", "etc/link");
        host.overlay().unwrap();
        assert_eq!(fs::read_link(link).unwrap(), Path::new("new"));
    }
}

/// Sets an attribute; `false` if the file system has none of this kind.
fn set(path: &Path, name: &std::ffi::CStr, value: &[u8]) -> bool {
    sys::set_xattr(File::open(path).unwrap().as_fd(), name, value).is_ok()
}

fn get(path: &Path, name: &std::ffi::CStr) -> Option<Vec<u8>> {
    sys::get_xattr(File::open(path).unwrap().as_fd(), name).ok()
}

/// `cap_net_raw+ep`, version 2.
const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// An ACL: read and write for the owner, read for user 12, read for the mask, nothing
/// for all others.
const ACL: [u8; 44] = [
    2, 0, 0, 0, //
    0x01, 0, 6, 0, 255, 255, 255, 255, //
    0x02, 0, 4, 0, 12, 0, 0, 0, //
    0x04, 0, 4, 0, 255, 255, 255, 255, //
    0x10, 0, 4, 0, 255, 255, 255, 255, //
    0x20, 0, 0, 0, 255, 255, 255, 255,
];

#[test]
fn extended_attributes_are_copied_except_labels_of_the_host() {
    for host in fixtures() {
        let source = host.write("pkg/root_dir/bin/tool", "tool");
        set_mode(&source, 0o755);
        if !set(&source, c"user.of-the-package", b"value") {
            skip!(Skip::NotPossible("no extended attributes here"));
        }
        let target = host.path("bin/tool");
        let acl = host.write("pkg/root_dir/bin/acl", "");
        let has_acl = set(&acl, c"system.posix_acl_access", &ACL);
        let dir = host.path("pkg/root_dir/bin");
        let mut default = ACL;
        default[6] = 7;
        let has_default = set(&dir, c"system.posix_acl_default", &default);
        if is_root() {
            for (name, value) in [
                (c"security.capability", &CAPABILITY[..]),
                (c"trusted.of-the-package", b"value"),
                (c"security.selinux", b"system_u:object_r:bin_t:s0\0"),
                (c"security.SMACK64", b"_"),
                (c"trusted.overlay.opaque", b"y"),
            ] {
                assert!(set(&source, name, value), "{name:?}");
            }
        }
        for _ in 0..2 {
            host.overlay().unwrap();
            assert_eq!(get(&target, c"user.of-the-package").unwrap(), b"value");
            if is_root() {
                assert_eq!(get(&target, c"security.capability").unwrap(), CAPABILITY);
                assert_eq!(get(&target, c"trusted.of-the-package").unwrap(), b"value");
                assert_eq!(get(&target, c"security.selinux"), None);
                assert_eq!(get(&target, c"security.SMACK64"), None);
                assert_eq!(get(&target, c"trusted.overlay.opaque"), None);
            }
            if has_acl {
                let acl = get(&host.path("bin/acl"), c"system.posix_acl_access");
                assert_eq!(acl.unwrap(), ACL);
                assert_eq!(mode(host.path("bin/acl")), 0o640);
            }
            if has_default {
                let default_acl = get(&host.path("bin"), c"system.posix_acl_default");
                assert_eq!(default_acl.unwrap(), default);
            }
        }
        // The second time, nothing was to be done.
        let before = identity(&target);
        host.overlay().unwrap();
        assert_eq!(identity(&target), before);
        // A value that differs, and one that the host has added.
        set(&target, c"user.of-the-host", b"stays");
        let before = identity(&target);
        host.overlay().unwrap();
        assert_eq!(identity(&target), before);
        set(&source, c"user.of-the-package", b"other");
        host.overlay().unwrap();
        assert_eq!(get(&target, c"user.of-the-package").unwrap(), b"other");
    }
}

#[test]
fn a_capability_that_the_package_does_not_have_goes() {
    if !is_root() {
        skip!(NEEDS_ROOT);
    }
    for host in fixtures() {
        for place in ["bin/tool", "pkg/root_dir/bin/tool"] {
            let file = host.write(place, "tool");
            set_mode(&file, 0o755);
            // An attribute that both have is no capability.
            assert!(set(&file, c"trusted.of-the-package", b"value"));
        }
        assert!(set(
            &host.path("bin/tool"),
            c"security.capability",
            &CAPABILITY
        ));
        host.overlay().unwrap();
        assert_eq!(get(&host.path("bin/tool"), c"security.capability"), None);
    }
}

#[test]
fn an_attribute_that_this_user_may_not_set_is_named_and_no_error() {
    const TEST: &str = "replaced::an_attribute_that_this_user_may_not_set_is_named_and_no_error";
    let (source, to) = (Path::new("/pkg/root_dir"), Path::new("/"));
    let Some(root) = root_given() else {
        let without = ["setpriv", "--bounding-set", "-setfcap"];
        if !is_root() {
            skip!(NEEDS_ROOT);
        }
        or_skip!(try_out(
            Command::new("env").args(without).arg("true"),
            "this root has no capability to drop"
        ));
        for host in fixtures() {
            for name in ["a", "b"] {
                let source = host.write(&format!("pkg/root_dir/{name}"), "tool");
                assert!(set(&source, c"security.capability", &CAPABILITY));
            }
            run_again(TEST, &without, ":", &host);
            assert_eq!(read(host.path("a")), "tool");
            assert_eq!(read(host.path("b")), "tool");
        }
        return;
    };
    let notice = match lay(&root, source, &root, to).unwrap() {
        Copied::Whole { notice } => notice,
        Copied::Cancelled => None,
    };
    let notice = notice.unwrap();
    let start = "cannot set the extended attribute security.capability of ";
    assert!(notice.starts_with(start), "{notice}");
    let end = ": not permitted to this user; 2 files have lost some";
    assert!(notice.ends_with(end), "{notice}");
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

#[test]
fn a_file_system_without_attributes_is_no_error_and_a_failure_is_one() {
    const TEST: &str =
        "replaced::a_file_system_without_attributes_is_no_error_and_a_failure_is_one";
    let Some(root) = root_given() else {
        or_skip!(can_trace());
        for (call, error, copies) in [
            ("fsetxattr", "EOPNOTSUPP", true),
            ("flistxattr", "EOPNOTSUPP", true),
            ("fsetxattr", "ENOSPC", false),
            ("flistxattr", "EIO", false),
            // It has been removed since it was listed, or is not for this user.
            ("fgetxattr", "ENODATA", true),
            ("fgetxattr", "EPERM", true),
            ("fgetxattr", "EIO", false),
        ] {
            for host in fixtures() {
                let source = host.write("pkg/root_dir/file", "new");
                if !set(&source, c"user.of-the-package", b"value") {
                    skip!(Skip::NotPossible("no extended attributes here"));
                }
                let inject = format!("{call}:error={error}");
                run_again_injecting(TEST, &inject, &format!("export COPIES={copies}"), &host);
                assert_eq!(host.path("file").exists(), copies, "{call} {error}");
            }
        }
        return;
    };
    let copied = lay(&root, Path::new("/pkg/root_dir"), &root, Path::new("/"));
    if std::env::var("COPIES").unwrap() == "true" {
        assert_eq!(copied.unwrap(), Copied::Whole { notice: None });
    } else {
        copied.unwrap_err();
    }
}

#[test]
fn a_read_that_is_interrupted_is_repeated_and_one_that_fails_is_an_error() {
    const TEST: &str =
        "replaced::a_read_that_is_interrupted_is_repeated_and_one_that_fails_is_an_error";
    let Some(root) = root_given() else {
        or_skip!(can_trace());
        for (error, copies) in [("EINTR:when=1", true), ("EIO", false)] {
            let host = &fixtures()[0];
            host.write("pkg/root_dir/file", "same");
            let file = host.write("file", "same");
            let before = identity(&file);
            let inject = format!("inject=read:error={error}");
            let strace = [
                "timeout",
                "60",
                "strace",
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-P",
            ];
            let only = [file.to_str().unwrap(), "-e", &inject];
            let wrapper = [&strace[..], &only].concat();
            run_again(TEST, &wrapper, &format!("export COPIES={copies}"), host);
            assert_eq!(identity(&file), before);
        }
        return;
    };
    let copied = lay(&root, Path::new("/pkg/root_dir"), &root, Path::new("/"));
    assert_eq!(copied.is_ok().to_string(), std::env::var("COPIES").unwrap());
}

#[test]
fn a_file_without_an_attribute_of_its_source_is_replaced() {
    for host in fixtures() {
        let source = host.write("pkg/root_dir/file", "same");
        if !set(&source, c"user.of-the-package", b"value") {
            skip!(Skip::NotPossible("no extended attributes here"));
        }
        let file = host.write("file", "same");
        host.overlay().unwrap();
        assert_eq!(get(&file, c"user.of-the-package").unwrap(), b"value");
    }
}

#[test]
fn a_file_that_cannot_get_its_name_later_is_written_under_a_temporary_one() {
    const TEST: &str =
        "replaced::a_file_that_cannot_get_its_name_later_is_written_under_a_temporary_one";
    let Some(root) = root_given() else {
        or_skip!(can_trace());
        for host in fixtures() {
            host.write("pkg/root_dir/file", "new");
            run_again_injecting(TEST, "linkat:error=EXDEV", ":", &host);
            assert_eq!(read(host.path("file")), "new");
            assert_eq!(names(host.path("")), ["file", "pkg"]);
        }
        return;
    };
    lay(&root, Path::new("/pkg/root_dir"), &root, Path::new("/")).unwrap();
}

#[test]
fn temporary_files_of_killed_copies_are_removed_and_never_copied() {
    for host in fixtures() {
        let stale = ".skyhook-agent-1-123.tmp";
        host.write(&format!("pkg/root_dir/etc/{stale}"), "half");
        host.write(&format!("pkg/root_dir/{stale}/file"), "half");
        host.write("pkg/root_dir/etc/file", "whole");
        host.write(&format!("etc/{stale}"), "half");
        host.link("nowhere", ".skyhook-agent-1-124.tmp");
        host.overlay().unwrap();
        assert_eq!(names(host.path("etc")), ["file"]);
        assert_eq!(names(host.path("")), ["etc", "pkg"]);

        host.write("from", "nameserver 1\n");
        host.write(&format!("etc/{stale}"), "half");
        host.resolv_conf().unwrap();
        assert_eq!(names(host.path("etc")), ["file", "resolv.conf"]);
    }
}

#[test]
fn a_cancelled_copy_stops_at_the_next_file_and_inside_a_large_one() {
    for host in fixtures() {
        for name in ["a", "b", "c"] {
            let file = host.write(&format!("pkg/root_dir/etc/{name}"), "");
            // Two pieces and a bit, without blocks.
            let file = File::options().write(true).open(file).unwrap();
            file.set_len(17 * 1024 * 1024).unwrap();
            (&file).write_all(b"start").unwrap();
        }
        // Each file asks before it and after two pieces: nine questions in all.
        for (answer, whole) in [(0, 0), (1, 0), (2, 0), (3, 1), (5, 1), (6, 2), (8, 2)] {
            let asked = std::cell::Cell::new(0);
            let copying = Copying {
                cancelled: &|| asked.replace(asked.get() + 1) >= answer,
                durable: true,
            };
            let (source, to) = (Path::new("/pkg/root_dir"), Path::new("/"));
            let copied = copy_tree(&host.root, source, &host.root, to, &copying);
            assert_eq!(copied.unwrap(), Copied::Cancelled, "{answer}");
            let there = names(host.path("etc"));
            assert_eq!(there.len(), whole, "{answer}: {there:?}");
            for name in there {
                let len = fs::metadata(host.path("etc").join(name)).unwrap().len();
                assert_eq!(len, 17 * 1024 * 1024);
            }
            fs::remove_dir_all(host.path("etc")).unwrap();
        }
        host.overlay().unwrap();
        assert_eq!(names(host.path("etc")), ["a", "b", "c"]);
    }
}

#[test]
fn a_cancelled_copy_stops_inside_a_large_file_that_it_compares() {
    for host in fixtures() {
        // Four blocks, and a bit.
        let content = "x".repeat(4 * 64 * 1024 + 1);
        for place in ["etc/large", "pkg/root_dir/etc/large"] {
            host.write(place, &content);
        }
        let asked = std::cell::Cell::new(0);
        let copying = Copying {
            cancelled: &|| asked.replace(asked.get() + 1) >= 2,
            durable: true,
        };
        let (source, to) = (Path::new("/pkg/root_dir"), Path::new("/"));
        let copied = copy_tree(&host.root, source, &host.root, to, &copying);
        assert_eq!(copied.unwrap(), Copied::Cancelled);
        // Once more when the copy has stopped.
        assert_eq!(asked.get(), 4);
    }
}

#[test]
fn an_error_of_a_copy_stays_one_if_the_run_is_cancelled() {
    let copying = |cancelled| Copying {
        cancelled,
        durable: true,
    };
    let [full, cancelled] = [Errno::ENOSPC, Errno::ECANCELED].map(io::Error::from);
    assert!(is_cancelled(&cancelled, &copying(&|| true)));
    assert!(!is_cancelled(&full, &copying(&|| true)));
    assert!(!is_cancelled(&cancelled, &copying(&|| false)));
}

#[test]
fn a_path_longer_than_the_kernel_takes_is_refused_before_anything_is_written() {
    for host in fixtures() {
        host.write("pkg/root_dir/etc/file", "");
        // The target is longer than the source.
        let target = format!("/{}", "t/".repeat(2000));
        let source = Path::new("/pkg/root_dir");
        let deep = host.write(&format!("pkg/root_dir/{}file", "d/".repeat(100)), "");
        let error = lay(&host.root, source, &host.root, Path::new(&target));
        let error = error.unwrap_err().to_string();
        assert!(
            error.ends_with("File name too long (os error 36)"),
            "{error}"
        );
        assert!(error.starts_with("cannot copy "), "{error}");
        assert_eq!(names(host.path("")), ["pkg"]);
        assert!(deep.exists());
    }
}

#[test]
fn times_before_the_epoch_are_kept() {
    for host in fixtures() {
        let file = host.write("pkg/root_dir/file", "");
        let then = TimeSpec::new(-5, 0);
        let at = nix::fcntl::AT_FDCWD;
        let follow = nix::sys::stat::UtimensatFlags::FollowSymlink;
        utimensat(at, &file, &then, &then, follow).unwrap();
        host.overlay().unwrap();
        assert_eq!(identity(&host.path("file")).1, -5);
    }
}
