//! Rewriting one file, and what is a mount.

use super::*;

#[test]
fn a_file_that_is_a_mount_is_rewritten() {
    let Some(root) = root_given() else {
        // Not every sandbox lets even root mount.
        let mounts = Command::new("unshare").args(["-m", "true"]).output();
        if !mounts.is_ok_and(|output| output.status.success()) {
            return;
        }
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
    copy_tree(&root, Path::new("/pkg/root_dir"), &root, Path::new("/")).unwrap();
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
