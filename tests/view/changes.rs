//! What a view tells of changes.

use super::stage::{Stage, makers};
use crate::support::or_skip;

#[test]
fn changes_are_told_once_and_differences_until_they_are_undone() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        or_skip!(stage.expect_replaced_directories());
        let ran = stage.run(&[
            "echo b >/etc/config; rm /etc/dir/one; mkdir /opt/new; echo x >/opt/new/file
             chmod 711 /home/user; ln -sfn dir /etc/link",
            "",
            "echo y >/opt/new/file; rm -r /home/user",
            "rm -r /opt/new; echo 'a = 1' >/etc/config; echo 1 >/etc/dir/one
             ln -sfn config /etc/link; mkdir /home/user; echo notes >/home/user/notes",
        ]);
        let first = [
            "~ /etc/config content",
            "- /etc/dir/one",
            "~ /etc/link content",
            "~ /home/user mode 755 711",
            "+ /opt/new",
            "+ /opt/new/file",
        ];
        assert_eq!(ran[0].scan(), first);
        assert_eq!(ran[0].differences(), first);
        assert_eq!(ran[1].scan(), [""; 0]);
        assert_eq!(ran[1].differences(), first);
        assert_eq!(ran[2].scan(), ["- /home/user", "~ /opt/new/file content"]);
        let restored = [
            "~ /etc/config content",
            "+ /etc/dir/one",
            "~ /etc/link content",
            "+ /home/user",
            "+ /home/user/notes",
            "- /opt/new",
            "- /opt/new/file",
        ];
        assert_eq!(ran[3].scan(), restored);
        assert_eq!(ran[3].differences(), [""; 0]);
    }
}

#[test]
fn what_is_written_with_the_same_bytes_or_only_copied_up_is_no_change() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let ran = stage.run(&[
            "echo 'a = 1' >/etc/config; touch /etc/dir/one; chmod 755 /etc/dir
             touch /opt/x; rm /opt/x; echo new >/etc/new",
            "echo new >/etc/new; cp /etc/config /etc/copy; mv /etc/copy /etc/config",
        ]);
        assert_eq!(ran[0].scan(), ["+ /etc/new"]);
        assert_eq!(ran[1].scan(), [""; 0]);
    }
}

#[test]
fn a_directory_in_the_place_of_another_hides_what_that_had() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        or_skip!(stage.expect_replaced_directories());
        let ran = stage.run(&[
            "rm -r /etc/dir; mkdir /etc/dir; echo 3 >/etc/dir/three; echo 1 >/etc/dir/one",
            "rm -r /etc/dir; echo file >/etc/dir",
            "rm /etc/dir",
        ]);
        let hidden = ["+ /etc/dir/three", "- /etc/dir/two"];
        assert_eq!(ran[0].scan(), hidden);
        assert_eq!(
            ran[1].scan(),
            [
                "~ /etc/dir content mode 755 644",
                "- /etc/dir/one",
                "- /etc/dir/three"
            ]
        );
        assert_eq!(ran[2].scan(), ["- /etc/dir"]);
        assert_eq!(ran[2].differences(), ["- /etc/dir"]);
    }
}

#[test]
fn a_directory_in_the_place_of_a_link_is_not_what_the_link_led_to() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        or_skip!(stage.expect_replaced_directories());
        // The link leads to the root of the machine.
        let ran = stage.run(&["rm /home/out; mkdir -p /home/out/etc; echo >/home/out/etc/passwd"]);
        assert_eq!(
            ran[0].scan(),
            [
                "~ /home/out content",
                "+ /home/out/etc",
                "+ /home/out/etc/passwd"
            ]
        );
    }
}

#[test]
fn names_and_files_that_are_no_text_are_told_too() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let ran = stage.run(&[
            r#"cd /opt; perl -e 'open(F, ">", "a\xff\n b")'; mknod fifo p; ln /etc/config hard"#,
        ]);
        assert_eq!(ran[0].scan().len(), 3, "{}", ran[0].0);
        assert_eq!(ran[0].scan()[1..], ["+ /opt/fifo", "+ /opt/hard"]);
    }
}
