//! What is found in the files of a package.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};

use super::support::{Node, agent, assert_says, set_mode, stderr, stdout, stdout_of_success};
use super::{PLAIN, briefs, found, json_of, plain_with, validate};

#[test]
fn the_files_of_steps_must_be_such_that_the_kernel_starts_them() {
    let bin: &[u8] = b"\x7fELF\x02\r\n";
    for (script, expected) in [
        (&b"#!/bin/sh\n"[..], None),
        (b"#!/usr/bin/env python3\nprint()\r\n", None),
        (bin, None),
        (b"", Some("no-interpreter-line 1:1")),
        (b"echo hi\n", Some("no-interpreter-line 1:1")),
        (b" #!/bin/sh\n", Some("no-interpreter-line 1:1")),
        (b"\xef\xbb\xbf#!/bin/sh\n", Some("byte-order-mark 1:1")),
        (b"#!/bin/sh\r\n", Some("line-ends 1:10")),
        (b"#!/bin/sh\r", Some("line-ends 1:10")),
        (b"#!/usr/bin/python3\r\n", Some("line-ends 1:19")),
        (b"#!/bin/bash -e\necho\r\n", Some("line-ends 2:5")),
    ] {
        let node = Node::one_step();
        node.write_config(PLAIN);
        fs::write(node.path("copy/skyhook_dir/a.sh"), script).unwrap();
        let expected = expected.map(|expected| format!("{expected} modes.apply[0].path"));
        assert_eq!(
            found(&node, &[]),
            Vec::from_iter(expected),
            "{}",
            script.escape_ascii()
        );
    }
    let node = Node::one_step();
    node.write_config(PLAIN);
    fs::write(node.path("copy/skyhook_dir/a.sh"), "#!/bin/bash\r\n").unwrap();
    let expected = "\
error[line-ends]: expected lines that end in \\n: the kernel would look for an interpreter called \"/bin/bash\\r\"
 --> copy/skyhook_dir/a.sh:1:12 (modes.apply[0].path)
  |
1 | #!/bin/bash
  |            ^
  = help: convert the file: sed -i 's/\\r$//' FILE

1 package: 1 error, no warnings
";
    assert_eq!(stdout(&validate(&node, &[])), expected);
}

#[test]
fn what_a_path_leads_to_must_be_a_file_that_can_be_executed() {
    let node = plain_with("a.sh", "steps");
    fs::create_dir(node.path("copy/skyhook_dir/steps")).unwrap();
    assert_eq!(found(&node, &[])[0], "not-a-file 8:29 modes.apply[0].path");

    let node = Node::one_step().step("b.sh", "#!/bin/sh\n");
    set_mode(&node.path("copy/skyhook_dir/b_check.sh"), 0o644);
    let output = validate(&node, &[]);
    let says = "warning[not-executable]: copy/skyhook_dir/b_check.sh is not executable";
    assert_says(&stdout_of_success(&output), &[says]);
    set_mode(&node.path("copy/skyhook_dir/a.sh"), 0o600);
    set_mode(&node.path("copy/skyhook_dir/b.sh"), 0o600);
    let says = "a.sh and 2 other files of steps are not executable; the agent makes them so";
    assert_says(
        &stdout(&validate(&node, &[])),
        &[says, "no errors, 1 warning"],
    );
}

#[test]
fn a_link_leads_where_it_leads_in_a_run() {
    let node = Node::one_step();
    node.write_config(PLAIN);
    let file = node.path("copy/skyhook_dir/a.sh");
    fs::remove_file(&file).unwrap();
    symlink("a_check.sh", &file).unwrap();
    assert_eq!(found(&node, &[]), Vec::<String>::new());
    fs::remove_file(&file).unwrap();
    symlink("nowhere", &file).unwrap();
    assert_eq!(found(&node, &[]), ["no-file 8:29 modes.apply[0].path"]);
    fs::remove_file(&file).unwrap();
    symlink("a.sh", &file).unwrap();
    assert_eq!(found(&node, &[]), ["unreadable 8:29 modes.apply[0].path"]);
    let node = plain_with("a.sh", &"x".repeat(256));
    let long =
        ["name-too-long", "unreadable"].map(|code| format!("{code} 8:29 modes.apply[0].path"));
    assert_eq!(found(&node, &[]), long);
}

#[test]
fn interpreters_are_looked_for_in_the_root_of_the_node() {
    let node = Node::one_step();
    for (line, missing) in [
        ("#!/bin/sh", None),
        ("#! /bin/sh -e", None),
        ("#!/bin/bash", Some("/bin/bash")),
        ("#!/usr/bin/env python3", None),
        ("#!/usr/bin/env -S python3 -u", None),
        ("#!/usr/bin/env A=1 perl", Some("perl")),
        ("#!/link/sh", None),
    ] {
        node.write_config(PLAIN);
        fs::write(node.path("copy/skyhook_dir/a.sh"), format!("{line}\n")).unwrap();
        for file in ["bin/sh", "usr/bin/env", "usr/bin/python3"] {
            let file = node.path("host").join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let _ = symlink("/bin", node.path("host/link"));
        let output = validate(&node, &["--host-root", "host"]);
        match missing {
            None => assert_eq!(output.status.code(), Some(0), "{line}"),
            Some(missing) => {
                let says = format!("which has no {missing}\n --> copy/skyhook_dir/a.sh:1:1 ");
                assert_says(&stdout(&output), &["error[no-interpreter]: ", &says]);
            }
        }
        assert_eq!(found(&node, &[]), Vec::<String>::new());
    }
}

#[test]
fn a_step_s_own_path_is_where_env_looks() {
    let node = plain_with("\"env\": {}", "\"env\": {\"PATH\": \"/opt/bin:/usr/bin\"}");
    fs::write(node.path("copy/skyhook_dir/a.sh"), "#!/usr/bin/env tool\n").unwrap();
    for file in ["bin/sh", "usr/bin/env", "opt/bin/tool"] {
        let file = node.path("host").join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }
    assert_eq!(found(&node, &["--host-root", "host"]), Vec::<String>::new());
    fs::remove_file(node.path("host/opt/bin/tool")).unwrap();
    assert_eq!(found(&node, &["--host-root", "host"]).len(), 1);
}

#[test]
fn a_script_that_its_shell_refuses_is_a_warning_and_is_not_run() {
    let node = Node::one_step();
    node.write_config(PLAIN);
    for shell in ["sh", "bash"] {
        let script = format!("#!/usr/bin/env {shell}\n: > ran\nif true; then\n)\nfi\n");
        fs::write(node.path("copy/skyhook_dir/a.sh"), script).unwrap();
        assert_eq!(
            found(&node, &[]),
            ["shell-syntax 4:1 modes.apply[0].path"],
            "{shell}"
        );
        assert!(!node.path("ran").exists());
    }
    let script = "#!/bin/sh\nif true; then\n";
    fs::write(node.path("copy/skyhook_dir/a.sh"), script).unwrap();
    assert_eq!(found(&node, &[])[0].split(' ').next(), Some("shell-syntax"));
    let mut command = agent();
    let rc = node.path("rc");
    fs::write(&rc, "touch ran\n").unwrap();
    command
        .args(["validate", "copy"])
        .env("BASH_ENV", &rc)
        .env("ENV", &rc);
    command.current_dir(node.dir.path()).output().unwrap();
    assert!(!node.path("ran").exists());
}

#[test]
fn files_that_no_step_needs_are_found_and_those_that_others_name_are_not() {
    let node = Node::one_step();
    node.write_config(PLAIN.replacen("nts\": []", "nts\": [\"args.txt\"]", 1));
    let script =
        "#!/bin/sh\n. \"$STEP_ROOT/lib.sh\"\ncat \"$STEP_ROOT\"/data/*\nls \"$STEP_ROOT\"/*.conf\n";
    node.script("a.sh", script);
    node.script("lib.sh", "python3 -m helper\n");
    for used in [
        "args.txt",
        "data/x",
        "data/y/z",
        "p.conf",
        "helper.py",
        "README",
        ".hidden",
        "a b",
    ] {
        node.script(used, "");
    }
    assert_eq!(found(&node, &[]), Vec::<String>::new());
    node.script("old.sh", "#!/bin/sh\n. other.sh\n");
    node.script("other.sh", "");
    let document = json_of(&node, &[]);
    assert_eq!(
        briefs(&document),
        ["unused-file null:null ", "unused-file null:null "]
    );
    assert_eq!(document["findings"][0]["file"], "copy/skyhook_dir/old.sh");
    assert_eq!(document["findings"][1]["file"], "copy/skyhook_dir/other.sh");
    let shown = "\
warning[unused-file]: no step is this file, and none names it
 --> copy/skyhook_dir/old.sh
  = help: remove it, or add the step that was meant to run it
";
    assert_says(&stdout(&validate(&node, &[])), &[shown]);
}

#[test]
fn of_very_many_files_that_no_step_needs_the_first_are_listed() {
    let node = Node::one_step();
    for i in 0..120 {
        fs::write(node.path(&format!("copy/skyhook_dir/x{i}")), "").unwrap();
    }
    let found = found(&node, &[]);
    assert_eq!((found.len(), &*found[100]), (101, "too-many null:null "));
}

#[test]
fn a_fifo_in_root_dir_is_an_error_as_in_a_run() {
    let node = Node::one_step();
    fs::create_dir_all(node.path("copy/root_dir/etc")).unwrap();
    fs::write(node.path("copy/root_dir/etc/file"), "").unwrap();
    symlink("/nowhere", node.path("copy/root_dir/link")).unwrap();
    assert_eq!(found(&node, &[]), Vec::<String>::new());
    let fifo = node.path("copy/root_dir/etc/fifo");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let document = json_of(&node, &[]);
    assert_eq!(briefs(&document), ["not-copied null:null "]);
    assert_eq!(document["findings"][0]["file"], "copy/root_dir/etc/fifo");
    let run = node.in_own_root("apply").output().unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert_says(&stderr(&run), &["fifo"]);
}

/// The kernel takes no path of more than 4096 bytes, not even from root.
#[test]
fn a_directory_that_cannot_be_listed_is_an_error() {
    let node = Node::one_step();
    let name = "d".repeat(200);
    for dir in ["root_dir", "skyhook_dir"] {
        let top = node.path("copy").join(dir);
        fs::create_dir_all(&top).unwrap();
        let mut at = File::open(top).unwrap();
        for _ in 0..25 {
            mkdirat(&at, &*name, Mode::S_IRWXU).unwrap();
            at = openat(&at, &*name, OFlag::O_DIRECTORY, Mode::empty())
                .unwrap()
                .into();
        }
        fs::write(format!("/proc/self/fd/{}/file", at.as_raw_fd()), "").unwrap();
    }
    let document = json_of(&node, &[]);
    assert_eq!(briefs(&document), ["unreadable null:null "; 2]);
    let finding = &document["findings"][0];
    let message = "cannot list this directory: File name too long";
    assert_says(finding["message"].as_str().unwrap(), &[message]);
    let file = finding["file"].as_str().unwrap();
    assert!(file.starts_with(&format!("copy/skyhook_dir/{name}/")));
}

#[test]
fn expected_config_files_are_looked_for_where_configmaps_says() {
    let node = plain_with("files\": []", "files\": [\"a.conf\", \"b.conf\", \"/x\"]");
    let leads_out = "config-file-path 5:49 expected_config_files[2]";
    assert_eq!(found(&node, &[]), [leads_out]);
    fs::create_dir(node.path("maps")).unwrap();
    fs::write(node.path("maps/a.conf"), "").unwrap();
    let missing = "no-config-file 5:39 expected_config_files[1]";
    assert_eq!(
        found(&node, &["--configmaps", "maps"]),
        [missing, leads_out]
    );
}

#[test]
fn a_package_inherits_the_files_of_its_bases() {
    let node = Node::one_step();
    let check = node.path("copy/skyhook_dir/a_check.sh");
    for dir in ["base/skyhook_dir", "far"] {
        fs::create_dir_all(node.path(dir)).unwrap();
    }
    fs::rename(check, node.path("base/skyhook_dir/a_check.sh")).unwrap();
    assert_eq!(validate(&node, &[]).status.code(), Some(1));
    let none: [&str; 0] = [];
    assert_eq!(found(&node, &["--base", "base"]), none);
    assert_eq!(found(&node, &["--base", "far", "--base", "base"]), none);
    // A file of the package covers that of the base.
    fs::write(node.path("base/skyhook_dir/a.sh"), "no script").unwrap();
    assert_eq!(found(&node, &["--base", "base"]), none);
    // So it is with config.json.
    fs::rename(node.path("copy/config.json"), node.path("far/config.json")).unwrap();
    assert_eq!(found(&node, &["--base", "base", "--base", "far"]), none);
}
