//! Roots with files of other users and groups.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::stage::{Maker, Stage, assert_unchanged, lines, makers};
use crate::support::{Skip, is_root, or_skip, skip};

const GAP: &str = "files of other users can be replaced, but not written to: a step may fail \
     here that succeeds on a node";

#[track_caller]
fn change(stage: &Stage, words: &[&str], path: &str) {
    let mut change = Command::new(words[0]);
    change.args(&words[1..]).arg(stage.path(path));
    assert!(change.status().unwrap().success());
}

#[test]
fn directories_of_others_can_be_added_to_and_their_files_replaced() {
    if !is_root() {
        skip!(Skip::NotPossible("only root can change owners"));
    }
    for (owner, deep) in [
        (":12", "etc/dir"),
        ("7:12", "etc"),
        ("7:12", "etc/dir/a/b/c"),
    ] {
        for maker in or_skip!(makers()) {
            let stage = Stage::new(maker);
            fs::create_dir_all(stage.path("etc/dir/a/b/c/d/e")).unwrap();
            fs::write(stage.path("etc/dir/a/b/c/d/e/file"), "1\n").unwrap();
            if maker == Maker::Nobody {
                change(&stage, &["chown", "-hR", "65534:65534"], "etc/dir");
            }
            change(&stage, &["chown", "-hR", owner], deep);
            fs::set_permissions(stage.path("etc/dir/a"), Permissions::from_mode(0o2755)).unwrap();
            let before = stage.checksum();
            let script = "cd /etc/dir/a/b/c/d/e && mkdir new && cp file copy && mv copy file &&
                 echo 2 >other && echo 2 >/etc/dir/a/new && rm /etc/dir/one";
            let view = stage.view_of(&stage.root(), &[script]).output();
            let lines = lines(&view.unwrap());
            let case = format!("{maker:?} {owner} {deep}");
            assert_eq!(lines[1].0["code"], 0, "{case}: {}", lines[1].0);
            let changes: Vec<&str> = lines[1].scan();
            let expected = [
                "+ /etc/dir/a/b/c/d/e/new",
                "+ /etc/dir/a/b/c/d/e/other",
                "+ /etc/dir/a/new",
                "- /etc/dir/one",
            ];
            let names = changes
                .iter()
                .filter(|line| !line.ends_with("owner (65534, 65534) (0, 0)"));
            let names: Vec<&str> = names
                .copied()
                .filter(|line| !line.contains("/file "))
                .collect();
            assert_eq!(names, expected, "{case}");
            let gaps = if maker == Maker::Nobody {
                vec![GAP]
            } else {
                vec![]
            };
            assert_eq!(lines[0].gaps(), gaps, "{case}");
            assert_unchanged(&stage, &before);
        }
    }
}

#[test]
fn a_root_of_the_user_alone_has_no_gaps() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let view = stage.view_of(
            &stage.root(),
            &["echo >>/etc/config; chmod 700 /etc/dir/two"],
        );
        let lines = lines(&{ view }.output().unwrap());
        lines[1].stdout_of_success();
        assert_eq!(lines[0].gaps(), [""; 0], "{maker:?}");
    }
}

#[test]
fn one_file_of_others_is_a_gap() {
    if !is_root() {
        skip!(Skip::NotPossible("only root can change owners"));
    }
    or_skip!(Maker::Nobody.expect_overlays());
    let stage = Stage::new(Maker::Nobody);
    change(&stage, &["chown", "7:12"], "home/user/notes");
    let lines = lines(&stage.view_of(&stage.root(), &["true"]).output().unwrap());
    assert_eq!(lines[0].gaps(), [GAP]);
}
