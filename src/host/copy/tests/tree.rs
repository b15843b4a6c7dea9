//! Laying a tree over a root.

use std::os::unix::fs::chown;
use std::thread;
use std::time::{Duration, SystemTime};

use super::*;

#[test]
fn files_bring_content_permissions_and_times() {
    for host in fixtures() {
        let then = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
        for (name, mode) in [("a", 0o755), ("b", 0o640), ("c", 0o4755), ("d", 0o400)] {
            let path = host.write(&format!("pkg/root_dir/new/{name}"), name);
            set_mode(&path, mode);
            let times = FileTimes::new().set_modified(then).set_accessed(then);
            File::open(&path).unwrap().set_times(times).unwrap();
        }
        host.write("new/b", "something longer that was there");
        host.overlay().unwrap();
        for (name, expected) in [("a", 0o755), ("b", 0o640), ("c", 0o4755), ("d", 0o400)] {
            let path = host.path("new").join(name);
            assert_eq!(read(&path), name);
            assert_eq!(mode(&path), expected, "{name}");
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(metadata.modified().unwrap(), then);
        }
        // No temporary file stays.
        assert_eq!(names(host.path("new")), ["a", "b", "c", "d"]);
    }
}

#[test]
fn only_directories_that_are_created_get_their_sources_permissions() {
    for host in fixtures() {
        host.write("pkg/root_dir/tmp/file", "");
        host.write("pkg/root_dir/opt/secret/file", "");
        fs::create_dir(host.path("tmp")).unwrap();
        set_mode(host.path("tmp"), 0o1777);
        set_mode(host.path(""), 0o755);
        set_mode(host.path("pkg/root_dir"), 0o700);
        set_mode(host.path("pkg/root_dir/tmp"), 0o700);
        set_mode(host.path("pkg/root_dir/opt"), 0o777);
        set_mode(host.path("pkg/root_dir/opt/secret"), 0o2750);
        host.overlay().unwrap();
        assert_eq!(mode(host.path("")), 0o755);
        assert_eq!(mode(host.path("tmp")), 0o1777);
        assert_eq!(mode(host.path("opt")), 0o777, "whatever the umask");
        assert_eq!(mode(host.path("opt/secret")), 0o2750);
    }
}

#[test]
fn a_directory_is_merged_through_a_link_to_a_directory_and_the_link_stays() {
    for host in fixtures() {
        host.write("usr/lib/old", "old");
        host.link("usr/lib", "lib");
        host.link("/usr/lib", "lib64");
        host.write("pkg/root_dir/lib/systemd/new", "new");
        host.write("pkg/root_dir/lib64/new", "64");
        host.overlay().unwrap();
        assert_eq!(
            fs::read_link(host.path("lib")).unwrap(),
            Path::new("usr/lib")
        );
        assert_eq!(
            fs::read_link(host.path("lib64")).unwrap(),
            Path::new("/usr/lib")
        );
        assert_eq!(read(host.path("usr/lib/systemd/new")), "new");
        assert_eq!(read(host.path("usr/lib/new")), "64");
        assert_eq!(read(host.path("usr/lib/old")), "old");
    }
}

#[test]
fn links_in_the_source_stay_links() {
    for host in fixtures() {
        host.link("file", "pkg/root_dir/etc/relative");
        host.link("/etc/nowhere", "pkg/root_dir/etc/dangling");
        host.link("../../..", "pkg/root_dir/etc/up");
        host.write("etc/relative", "a file that was there");
        host.link("old", "etc/dangling");
        host.overlay().unwrap();
        for (name, target) in [
            ("relative", "file"),
            ("dangling", "/etc/nowhere"),
            ("up", "../../.."),
        ] {
            assert_eq!(
                fs::read_link(host.path("etc").join(name)).unwrap(),
                Path::new(target)
            );
        }
        assert_eq!(names(host.path("etc")), ["dangling", "relative", "up"]);
    }
}

#[test]
fn a_file_replaces_a_link_and_leaves_the_target_alone() {
    for host in fixtures() {
        host.write("usr/share/zoneinfo/UTC", "UTC");
        host.link("/usr/share/zoneinfo/UTC", "etc/localtime");
        fs::write(host.outside().join("file"), "outside").unwrap();
        host.link(host.outside().join("file"), "etc/out");
        host.link("../../outside/file", "etc/climbing");
        for name in ["localtime", "out", "climbing"] {
            host.write(&format!("pkg/root_dir/etc/{name}"), "new");
        }
        host.overlay().unwrap();
        for name in ["localtime", "out", "climbing"] {
            let path = host.path("etc").join(name);
            assert!(fs::symlink_metadata(&path).unwrap().is_file());
            assert_eq!(read(path), "new");
        }
        assert_eq!(read(host.path("usr/share/zoneinfo/UTC")), "UTC");
        assert_eq!(read(host.outside().join("file")), "outside");
    }
}

#[test]
fn a_file_keeps_the_owner_of_the_file_that_it_replaces() {
    for host in fixtures() {
        let old = host.write("etc/chrony.keys", "old");
        set_mode(host.write("pkg/root_dir/etc/chrony.keys", "new"), 0o4640);
        // Root can give it away; another user's file stays its own.
        let ids = match nix::unistd::geteuid().as_raw() {
            0 => (12, 34),
            uid => (uid, nix::unistd::getegid().as_raw()),
        };
        chown(&old, Some(ids.0), Some(ids.1)).unwrap();
        host.overlay().unwrap();
        let metadata = fs::metadata(&old).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), ids);
        assert_eq!(mode(&old), 0o4640);
        assert_eq!(read(old), "new");
    }
}

#[test]
fn a_program_that_runs_is_replaced() {
    for host in fixtures() {
        let program = host.path("bin/sleep");
        fs::create_dir(host.path("bin")).unwrap();
        // Not by this process: a child forked at this moment would hold it open for writing.
        let copied = Command::new("cp").arg("/bin/sleep").arg(&program).status();
        assert!(copied.unwrap().success());
        set_mode(host.write("pkg/root_dir/bin/sleep", "#!/bin/sh\n"), 0o755);
        let mut child = Command::new(&program).arg("60").spawn().unwrap();
        let replaced = host.overlay();
        child.kill().unwrap();
        child.wait().unwrap();
        replaced.unwrap();
        assert_eq!(read(&program), "#!/bin/sh\n");
        assert_eq!(mode(&program), 0o755);
    }
}

#[test]
fn a_special_file_is_named_before_anything_is_written() {
    for host in fixtures() {
        host.write("pkg/root_dir/etc/file", "");
        let fifo = host.path("pkg/root_dir/etc/deep/fifo");
        fs::create_dir(fifo.parent().unwrap()).unwrap();
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let error = host.overlay().unwrap_err().to_string();
        let expected = "expected a file, a directory or a link";
        assert_eq!(error, format!("cannot copy {}: {expected}", fifo.display()));
        assert_eq!(names(host.path("")), ["pkg"]);

        let resolver = host.link("/pkg/root_dir/etc/deep/fifo", "from");
        let error = host.resolv_conf().unwrap_err().to_string();
        assert_eq!(
            error,
            format!("cannot copy {}: expected a file", resolver.display())
        );
    }
}

#[test]
fn a_target_of_another_kind_is_named_and_left_alone() {
    for host in fixtures() {
        for (source, target, doing) in [
            ("a/file", "a", "create the directory"),
            ("b", "b/file", "replace"),
            ("c", "c", "replace"),
            ("d/file", "d", "create the directory"),
        ] {
            let source = host.write(&format!("pkg/root_dir/{source}"), "new");
            match target {
                "c" => nix::unistd::mkfifo(&host.path(target), Mode::S_IRWXU).unwrap(),
                "d" => drop(host.link("/nowhere", "d")),
                _ => drop(host.write(target, "old")),
            }
            let error = host.overlay().unwrap_err().to_string();
            let (name, _) = target.split_once('/').unwrap_or((target, ""));
            let expected = format!("cannot {doing} {}: ", host.path(name).display());
            assert!(error.starts_with(&expected), "{error}");
            fs::remove_file(source).unwrap();
            let _ = fs::remove_dir(host.path("pkg/root_dir").join(name));
            // The next one is the only one.
            assert_eq!(names(host.path("pkg/root_dir")), [""; 0]);
        }
        assert_eq!(read(host.path("a")), "old");
        assert_eq!(read(host.path("b/file")), "old");
        assert_eq!(names(host.path("")), ["a", "b", "c", "d", "pkg"]);

        // A link over a directory.
        host.link("/a", "pkg/root_dir/b");
        let error = host.overlay().unwrap_err().to_string();
        assert!(error.contains(host.path("b").to_str().unwrap()), "{error}");
        assert_eq!(read(host.path("b/file")), "old");
    }
}

#[test]
fn no_directory_and_no_file_leads_out_of_the_root() {
    for host in fixtures() {
        for (target, link) in [
            (host.outside(), "absolute"),
            ("../outside".into(), "climbing"),
            ("../../../../../../../../".into(), "up"),
            ("/proc/self/root".into(), "magic"),
        ] {
            let link_path = host.link(&target, link);
            let file = host.write(&format!("pkg/root_dir/{link}/file"), "new");
            // Inside, some lead to the root itself, and the others nowhere.
            let _ = host.overlay();
            fs::remove_file(file).unwrap();
            assert_eq!(fs::read_link(link_path).unwrap(), target);
            fs::remove_dir(host.path("pkg/root_dir").join(link)).unwrap();
        }
        assert_eq!(names(host.outside()), [""; 0]);
        assert_eq!(names(host.dir.path()), ["outside", "root"]);
    }
}

#[test]
fn a_directory_that_has_become_a_link_is_not_entered() {
    let [host, _] = fixtures();
    host.link(host.outside(), "link");
    let root = host.root.open_dir(Path::new("/")).unwrap();
    let error = inner_dir(&root, OsStr::new("link")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotADirectory);
}

#[test]
fn a_link_swapped_in_during_a_copy_does_not_lead_out_of_the_root() {
    for host in fixtures() {
        for n in 0..20 {
            host.write(&format!("pkg/root_dir/etc/deep/{n}"), "new");
        }
        host.write("from", "new");
        fs::create_dir_all(host.path("etc/deep")).unwrap();
        let (etc, aside) = (host.path("etc"), host.path("aside"));
        thread::scope(|scope| {
            let swapping = scope.spawn(|| {
                for turn in 0..2000 {
                    let outside = match turn % 2 {
                        0 => host.outside(),
                        _ => "../outside".into(),
                    };
                    // Any of it may fail: the copy creates the directory, too.
                    let _ = fs::rename(&etc, &aside);
                    let _ = symlink(outside, &etc);
                    let _ = fs::remove_file(&etc);
                    let _ = fs::rename(&aside, &etc);
                }
            });
            while !swapping.is_finished() {
                let _ = host.overlay();
                let _ = host.resolv_conf();
            }
        });
        host.overlay().unwrap();
        assert_eq!(names(host.outside()), [""; 0]);
        assert_eq!(names(host.dir.path()), ["outside", "root"]);
    }
}

#[test]
fn directories_inside_one_another_are_copied_once() {
    for host in fixtures() {
        host.write("a/b/file", "file");
        let (a, inside) = (Path::new("/a"), Path::new("a/b/copy"));
        lay(&host.root, a, &host.root, inside).unwrap();
        assert_eq!(read(host.path("a/b/copy/b/file")), "file");
        assert_eq!(names(host.path("a/b/copy/b")), ["file"]);

        // Over itself, and with a package inside the package.
        lay(&host.root, a, &host.root, a).unwrap();
        assert_eq!(read(host.path("a/b/file")), "file");
        host.write("pkg/root_dir/pkg/root_dir/file", "inner");
        host.overlay().unwrap();
        assert_eq!(read(host.path("pkg/root_dir/file")), "inner");
    }
}

#[test]
fn a_tree_comes_from_another_root_with_the_directories_above_it() {
    for host in fixtures() {
        let package = Fixture {
            root: Root::open(Path::new("/")).unwrap(),
            ..fixtures().into_iter().next().unwrap()
        };
        package.write("data/steps/apply.sh", "#!/bin/sh\n");
        set_mode(package.path("data"), 0o711);
        let target = Path::new("var/lib/pkg");
        lay(&package.root, &package.path("data"), &host.root, target).unwrap();
        assert_eq!(read(host.path("var/lib/pkg/steps/apply.sh")), "#!/bin/sh\n");
        assert_eq!(mode(host.path("var/lib/pkg")), 0o711);

        let missing = lay(&package.root, &package.path("no"), &host.root, target);
        let expected = format!(
            "cannot open the directory {}: ",
            package.path("no").display()
        );
        assert!(missing.unwrap_err().to_string().starts_with(&expected));
    }
}

#[test]
fn a_deep_tree_needs_few_descriptors() {
    let deep = "d/".repeat(600) + "file";
    let Some(root) = root_given() else {
        for host in fixtures() {
            host.write(&format!("pkg/root_dir/{deep}"), "deep");
            run_again(
                "tree::a_deep_tree_needs_few_descriptors",
                &[],
                "ulimit -n 256",
                &host,
            );
        }
        return;
    };
    let copied = lay(&root, Path::new("/pkg/root_dir"), &root, Path::new("/"));
    if matches!(root.resolver, Resolver::Openat2) {
        copied.unwrap();
        assert_eq!(read(root.host_path(deep.as_ref())), "deep");
    } else {
        // The walk holds the directories it is below, for the sake of `..`.
        let error = copied.unwrap_err().to_string();
        assert!(error.contains("/pkg/root_dir/d/d/"), "{error}");
        assert!(error.contains("Too many open files"), "{error}");
    }
}
