//! What a view tells of changes.

use super::stage::{Maker, Stage, makers};
use crate::support::{Skip, is_root, or_skip, skip};

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

#[test]
fn a_file_of_holes_takes_no_time_and_its_bytes_are_seen() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let real = std::fs::File::create(stage.path("opt/removed")).unwrap();
        real.set_len(1 << 43).unwrap();
        let write = |at: u64, byte: &str| {
            format!(
                r#"perl -e 'open(F, "+<", "/opt/big"); sysseek(F, {at}, 0); syswrite(F, "{byte}")'"#
            )
        };
        let (high, low) = (1_u64 << 40, 12_u64);
        let scripts = [
            "perl -e 'open(F, \">\", \"/opt/big\"); truncate(F, 1 << 43)'; rm /opt/removed",
            &write(high, "a"),
            &write(high, "b"),
            &write(high, "\\0"),
            &write(low, "\\0"),
            "chmod 600 /opt/big",
        ];
        let ran = stage.run(&scripts);
        let changed = ["~ /opt/big content"];
        assert_eq!(ran[0].scan(), ["+ /opt/big", "- /opt/removed"]);
        assert_eq!(ran[1].scan(), changed);
        assert_eq!(ran[2].scan(), changed);
        assert_eq!(ran[3].scan(), changed);
        // Zeroes, where a hole was before.
        assert_eq!(ran[4].scan(), [""; 0]);
        assert_eq!(ran[5].scan(), ["~ /opt/big mode 644 600"]);
    }
}

#[test]
fn what_is_replaced_while_it_is_looked_at_is_no_problem() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let replace = r#"cat >/tmp/replace.pl <<'END'
            mkdir "/opt/all";
            chdir "/opt/all";
            my $end = time + 60;
            until (-e "/tmp/stop" or time > $end) {
                for my $name (1 .. 4) {
                    symlink("/", "new"); rename("new", $name);
                    open(F, ">", "new"); close(F); rename("new", $name);
                    unlink $name; mkdir $name; rmdir $name;
                }
            }
END
            (setsid perl /tmp/replace.pl >/dev/null 2>&1 &)"#;
        let mut scripts = vec![replace];
        scripts.extend(["true"; 60]);
        scripts.push("touch /tmp/stop");
        assert_eq!(stage.run(&scripts).len(), 62);
    }
}

#[test]
fn attributes_of_overlays_that_a_step_sets_tell_nothing_of_the_view() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        // As programs that unpack images do. Where they may not, there is nothing to tell.
        let script = r#"mkdir /etc/new; : >/etc/new/empty; perl -e '
            for my $class ("user", "trusted") {
                my $value = "y";
                for (["/etc/dir", "opaque"], ["/etc/new/empty", "whiteout"]) {
                    my ($path, $name) = ($_->[0], "$class.overlay.$_->[1]");
                    syscall(188, $path, $name, $value, 1, 0);
                }
            }'; cat /etc/dir/one /etc/new/empty"#;
        let ran = stage.run(&[script]);
        assert_eq!(ran[0].stdout_of_success(), "1\n", "{maker:?}");
        assert_eq!(
            ran[0].scan(),
            ["+ /etc/new", "+ /etc/new/empty"],
            "{maker:?}"
        );
    }
}

#[test]
fn what_a_whiteout_of_the_root_itself_hides_is_not_there() {
    if !is_root() {
        skip!(Skip::NotPossible("only root can make devices"));
    }
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let (device, mode) = (0, nix::sys::stat::Mode::from_bits_truncate(0o644));
        let kind = nix::sys::stat::SFlag::S_IFCHR;
        for name in ["opt/gone", "etc/dir/gone"] {
            nix::sys::stat::mknod(&stage.path(name), kind, mode, device).unwrap();
        }
        let ran = stage
            .run(&["test -e /opt/gone || echo new >/opt/gone; rm -r /etc/dir; mkdir /etc/dir"]);
        assert_eq!(
            ran[0].scan(),
            ["- /etc/dir/one", "- /etc/dir/two", "+ /opt/gone"],
            "{maker:?}"
        );
    }
}

#[test]
fn rights_of_a_file_are_a_part_of_it() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        // The mode stays the same.
        let set = |name: &str, value: &str| {
            format!(
                r#"perl -e 'my ($path, $name, $value) = ("/etc/config", "{name}", {value});
                    syscall(188, $path, $name, $value, length $value, 0) == 0 or die "$!"'"#
            )
        };
        let capability = set(
            "security.capability",
            r#"pack("V5", 0x02000001, 1, 0, 0, 0)"#,
        );
        let entries = "1, 6, -1, 2, 4, 0, 4, 4, -1, 16, 4, -1, 32, 4, -1";
        let list = set(
            "system.posix_acl_access",
            &format!(r#"pack("V(vvl)*", 2, {entries})"#),
        );
        let scripts = [
            &*capability,
            &list,
            "chmod u+s,g+s,+t /etc/config",
            "touch /etc/config",
        ];
        if cfg!(not(target_arch = "x86_64")) {
            return;
        }
        let ran = stage.run(&scripts);
        for ran in &ran[..2] {
            assert_eq!(ran.scan(), ["~ /etc/config content"], "{maker:?} {}", ran.0);
        }
        assert_eq!(ran[2].scan(), ["~ /etc/config mode 644 7644"], "{maker:?}");
        assert_eq!(ran[3].scan(), [""; 0], "{maker:?}");
    }
}

#[test]
fn each_type_can_take_the_place_of_each_other_one() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        or_skip!(stage.expect_replaced_directories());
        let ran = stage.run(&[
            "mkdir /opt/x; echo a >/opt/x/a",
            "rm -r /opt/x; mknod /opt/x p",
            r#"rm /opt/x; perl -e 'socket(S, 1, 1, 0); bind(S, pack("Sa*", 1, "/opt/x"))'"#,
            "rm /opt/x; ln -s a /opt/x",
            "rm /opt/x; ln -s b /opt/x",
            "rm /opt/x; : >/opt/x; chmod 777 /opt/x",
            "rm /opt/x; echo notes >/opt/x; rm -r /home/user; cp /opt/x /home/user",
        ]);
        assert_eq!(ran[0].scan(), ["+ /opt/x", "+ /opt/x/a"]);
        assert_eq!(
            ran[1].scan(),
            ["~ /opt/x content mode 755 644", "- /opt/x/a"]
        );
        assert_eq!(ran[2].scan(), ["~ /opt/x content mode 644 755"]);
        for ran in &ran[3..6] {
            assert_eq!(ran.scan(), ["~ /opt/x content"]);
        }
        let last = [
            "~ /home/user content mode 755 644",
            "~ /opt/x content mode 777 644",
        ];
        assert_eq!(ran[6].scan(), last);
        assert_eq!(ran[6].differences(), [last[0], "+ /opt/x"]);
    }
}

#[test]
fn another_owner_is_a_change() {
    if !is_root() {
        skip!(Skip::NotPossible("only root has more than one user"));
    }
    let stage = Stage::new(Maker::Self_);
    let ran = stage.run(&["chown 7:12 /etc/dir/one /home/user; chown -h 7:0 /etc/link"]);
    let owners = [
        "~ /etc/dir/one owner (0, 0) (7, 12)",
        "~ /etc/link owner (0, 0) (7, 0)",
        "~ /home/user owner (0, 0) (7, 12)",
    ];
    assert_eq!(ran[0].scan(), owners);
}

#[test]
fn directories_in_one_another_are_looked_at_to_a_depth() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let deep = |depth: u32, name: &str| {
            format!(
                "perl -e 'chdir \"/opt\"; for (1 .. {depth}) {{ mkdir \"{name}\"; chdir \"{name}\" }}'"
            )
        };
        // A path that is longer than the kernel takes in one piece.
        let ran = stage.run(&[&deep(100, &"n".repeat(255))]);
        assert_eq!(ran[0].scan().len(), 100, "{maker:?}");
        let refused = stage
            .view_of(&stage.root(), &[&deep(300, "n")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("more than 256 directories deep"), "{said}");
    }
}
