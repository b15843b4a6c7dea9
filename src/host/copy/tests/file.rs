//! Rewriting one file, and what is a mount.

use super::*;

#[test]
fn a_file_that_is_a_mount_is_rewritten() {
    let Some(root) = root_given() else {
        // Not every sandbox lets even root mount.
        or_skip!(try_out(
            Command::new("unshare").args(["-m", "true"]),
            "this user may not mount"
        ));
        for host in fixtures() {
            host.write("from", "nameserver 1\n");
            host.write("pkg/root_dir/etc/hosts", "new");
            for name in ["etc/resolv.conf", "etc/hosts", "mounted", "hosts"] {
                host.write(name, "something longer that was there");
            }
            host.write("etc/same", "");
            let shell = "mount --bind mounted etc/resolv.conf; mount --bind hosts etc/hosts; \
                mount --bind from etc/same";
            run_again(
                "file::a_file_that_is_a_mount_is_rewritten",
                &["unshare", "-m"],
                shell,
                &host,
            );
            assert_eq!(read(host.path("mounted")), "nameserver 1\n");
            assert_eq!(read(host.path("hosts")), "new");
            assert_eq!(read(host.path("from")), "nameserver 1\n");
            assert_eq!(names(host.path("etc")), ["hosts", "resolv.conf", "same"]);
        }
        return;
    };
    let (from, etc) = (Path::new("/from"), Path::new("/etc"));
    for name in ["resolv.conf", "same"] {
        copy_file(&root, from, &root, &etc.join(name)).unwrap();
    }
    lay(&root, Path::new("/pkg/root_dir"), &root, Path::new("/")).unwrap();
}

#[test]
fn the_resolver_is_written_where_the_hosts_links_lead() {
    for (target, lands) in [
        (
            "../run/systemd/resolve/stub-resolv.conf",
            "run/systemd/resolve/stub-resolv.conf",
        ),
        (
            "/run/systemd/resolve/stub-resolv.conf",
            "run/systemd/resolve/stub-resolv.conf",
        ),
        ("second", "run/third"),
        ("../../../outside/file", "outside/file"),
    ] {
        for there in [true, false] {
            for host in fixtures() {
                host.write("container", "nameserver 1\n");
                host.link("container", "from");
                let link = host.link(target, "etc/resolv.conf");
                host.link("/run/third", "etc/second");
                if there {
                    set_mode(host.write(lands, "nameserver 127.0.0.53\n"), 0o664);
                }
                host.resolv_conf().unwrap();
                assert_eq!(fs::read_link(link).unwrap(), Path::new(target));
                assert_eq!(read(host.path(lands)), "nameserver 1\n");
                assert_eq!(mode(host.path(lands)), if there { 0o664 } else { 0o644 });
                assert_eq!(
                    host.root.read(Path::new("/etc/resolv.conf")).unwrap(),
                    b"nameserver 1\n"
                );
                assert_eq!(names(host.outside()), [""; 0]);
                assert_eq!(names(host.dir.path()), ["outside", "root"]);
            }
        }
    }
}

#[test]
fn the_resolver_over_itself_is_left_alone() {
    for host in fixtures() {
        let file = host.write("run/resolv.conf", "nameserver 1\n");
        host.link("/run/resolv.conf", "etc/resolv.conf");
        let before = fs::metadata(&file).unwrap().ino();
        let path = Path::new("/etc/resolv.conf");
        copy_file(&host.root, path, &host.root, path).unwrap();
        assert_eq!(read(&file), "nameserver 1\n");
        assert_eq!(fs::metadata(&file).unwrap().ino(), before);
    }
}

#[test]
fn a_resolver_that_cannot_be_written_is_named() {
    for host in fixtures() {
        host.write("from", "nameserver 1\n");
        host.link("resolv.conf", "etc/resolv.conf");
        let named = |host: &Fixture| {
            let error = host.resolv_conf().unwrap_err().to_string();
            let path = host.path("etc/resolv.conf");
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        };
        named(&host);
        fs::remove_file(host.path("etc/resolv.conf")).unwrap();
        // As /dev/null would be, it is not replaced.
        nix::unistd::mkfifo(&host.path("null"), Mode::S_IRWXU).unwrap();
        host.link("/null", "etc/resolv.conf");
        named(&host);
        fs::remove_file(host.path("etc/resolv.conf")).unwrap();
        fs::create_dir(host.path("etc/resolv.conf")).unwrap();
        named(&host);
    }
}

#[test]
fn a_cancelled_copy_leaves_no_half_file_that_is_a_mount() {
    const TEST: &str = "file::a_cancelled_copy_leaves_no_half_file_that_is_a_mount";
    // More than is copied between two questions.
    const LEN: usize = 17 * 1024 * 1024;
    let Some(root) = root_given() else {
        or_skip!(try_out(
            Command::new("unshare").args(["-m", "true"]),
            "this user may not mount"
        ));
        for host in fixtures() {
            let source = host.write("pkg/root_dir/etc/large", "");
            fs::write(&source, vec![b'n'; LEN]).unwrap();
            host.write("etc/large", "");
            host.write("mounted", "old");
            run_again(
                TEST,
                &["unshare", "-m"],
                "mount --bind mounted etc/large",
                &host,
            );
            assert!(fs::read(host.path("mounted")).unwrap() == fs::read(source).unwrap());
        }
        return;
    };
    // Before the file, and twice while a new one is written, which cannot get the name.
    let asked = std::cell::Cell::new(0);
    let copying = Copying {
        cancelled: &|| asked.replace(asked.get() + 1) >= 3,
        durable: true,
    };
    let (source, to) = (Path::new("/pkg/root_dir"), Path::new("/"));
    copy_tree(&root, source, &root, to, &copying).unwrap();
}

/// The disk of a file that is a mount has less room than the new content takes.
#[test]
fn a_file_that_is_a_mount_keeps_its_content_if_the_disk_is_full() {
    const TEST: &str = "file::a_file_that_is_a_mount_keeps_its_content_if_the_disk_is_full";
    let Some(root) = root_given() else {
        // The second time, the file system cannot say beforehand if there is room.
        let no_fallocate = ["strace", "-qq", "-o", "/dev/null", "-f", "-e"];
        let inject = ["inject=fallocate:error=EOPNOTSUPP"];
        let unshare = ["unshare", "-m"];
        let traced = [&unshare[..], &no_fallocate, &inject].concat();
        for wrapper in [&unshare[..], &traced] {
            or_skip!(try_out(
                Command::new("env").args(wrapper).arg("true"),
                "this user may not mount, or not trace"
            ));
            for host in fixtures() {
                let long = "nameserver 1\n".repeat(3000);
                host.write("from", &long);
                host.write("pkg/root_dir/etc/hosts", &long);
                for name in ["etc/resolv.conf", "etc/hosts"] {
                    host.write(name, "");
                }
                fs::create_dir(host.path("small")).unwrap();
                // The third one is too large to be put back.
                if wrapper.len() == unshare.len() {
                    host.write("large/etc/large", &"new".repeat(1024 * 1024));
                }
                host.write("etc/large", "");
                let shell = "mount -t tmpfs -o size=2m none small; \
                    for name in resolv.conf hosts; do echo old > small/$name; done; \
                    head -c 1500k /dev/zero > small/large; \
                    for name in resolv.conf hosts large; do \
                        mount --bind small/$name etc/$name; done; \
                    head -c 520k /dev/zero > small/fill";
                run_again(TEST, wrapper, shell, &host);
            }
        }
        return;
    };
    let (from, etc, small) = (Path::new("/from"), Path::new("/etc"), Path::new("/small"));
    for _ in 0..2 {
        let lay_all = |source: &str| lay(&root, Path::new(source), &root, Path::new("/")).map(drop);
        let mut copies = vec![
            copy_file(&root, from, &root, &etc.join("resolv.conf")),
            lay_all("/pkg/root_dir"),
        ];
        if root.exists(Path::new("/large")).unwrap() {
            copies.push(lay_all("/large"));
        }
        for error in copies {
            let error = error.unwrap_err().to_string();
            assert!(error.contains("No space left on device"), "{error}");
        }
        for name in ["resolv.conf", "hosts"] {
            assert_eq!(root.read(&etc.join(name)).unwrap(), b"old\n");
        }
        let large = fs::read(root.host_path(&etc.join("large"))).unwrap();
        assert!(large == vec![0; 1500 * 1024]);
    }
    fs::remove_file(root.host_path(&small.join("fill"))).unwrap();
    copy_file(&root, from, &root, &etc.join("resolv.conf")).unwrap();
    let new = root.read(&etc.join("resolv.conf")).unwrap();
    assert_eq!(new.len(), 3000 * "nameserver 1\n".len());
}
