//! The files that are replaced, and those that are left alone.

use std::os::unix::fs::{chown, lchown};
use std::time::{Duration, SystemTime};

use nix::sys::stat::utimensat;
use nix::sys::time::TimeSpec;

use super::*;

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
