//! Copies whose calls fail or are interrupted, and copies that are cancelled or killed.

use std::io::Write;

use super::*;

#[test]
fn a_read_that_is_interrupted_is_repeated_and_one_that_fails_is_an_error() {
    const TEST: &str =
        "interrupted::a_read_that_is_interrupted_is_repeated_and_one_that_fails_is_an_error";
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
fn a_file_that_cannot_get_its_name_later_is_written_under_a_temporary_one() {
    const TEST: &str =
        "interrupted::a_file_that_cannot_get_its_name_later_is_written_under_a_temporary_one";
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
