//! What the kernel refuses: one line says what is missing, and what would do.

use super::stage::{Maker, Stage};
use crate::support::{Skip, is_root, or_skip, skip, wrapped};

/// Asserts that no view can be made after `words`, and that the one line says `what`.
#[track_caller]
fn assert_refused(words: &[&str], what: &str) {
    let stage = Stage::new(Maker::Self_);
    let mut view = wrapped(words, &stage.view_of(&stage.root(), &["true"]));
    view.env_clear().env("PATH", env!("PATH"));
    let output = view.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    let line = format!("the kernel refuses {what}");
    assert!(told.contains(&line), "{told}");
    assert!(told.contains("run this as root"), "{told}");
}

#[test]
fn root_without_rights_is_told_what_would_do() {
    if !is_root() {
        skip!(Skip::NotPossible("only root can give up its rights"));
    }
    let words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    assert_refused(&words, "to map a user (Operation not permitted");
}

#[test]
fn the_limit_of_user_namespaces_is_named() {
    or_skip!(Maker::Self_.expect_overlays());
    let script = "echo 0 >/proc/sys/user/max_user_namespaces; exec \"$@\"";
    let words = ["unshare", "-Urpf", "--mount-proc", "sh", "-c", script, "sh"];
    assert_refused(&words, "a user namespace (No space left on device");
}

#[test]
fn a_view_that_is_refused_leaves_nothing_in_the_directory_to_keep() {
    or_skip!(Maker::Self_.expect_overlays());
    let stage = Stage::new(Maker::Self_);
    let keep = stage.dir.path().join("kept");
    let script = "echo 0 >/proc/sys/user/max_user_namespaces; exec \"$@\"";
    let words = ["unshare", "-Urpf", "--mount-proc", "sh", "-c", script, "sh"];
    let mut view = wrapped(&words, &stage.view_of(&stage.root(), &["true"]));
    view.env_clear()
        .env("PATH", env!("PATH"))
        .env("VIEW_KEEP", &keep);
    assert!(!view.output().unwrap().status.success());
    assert_eq!(crate::support::names(&keep), [""; 0]);
}
