//! The extended attributes that are copied, and those that are not.

use std::os::fd::AsFd;

use super::*;
use crate::system::sys;

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
    const TEST: &str = "attributes::an_attribute_that_this_user_may_not_set_is_named_and_no_error";
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

#[test]
fn a_file_system_without_attributes_is_no_error_and_a_failure_is_one() {
    const TEST: &str =
        "attributes::a_file_system_without_attributes_is_no_error_and_a_failure_is_one";
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
