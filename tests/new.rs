//! `skyhook-agent new`, through the real binary.

mod support;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use skyhook_agent::system::sys;
use support::{
    after_banner, agent, agent_line, assert_says, names, shell, stderr, stdout, stdout_of_success,
    unstamp, with_prelude,
};
use tempfile::TempDir;

/// `new` with these words in a directory, not started yet.
fn new(dir: &TempDir, words: &[&str]) -> Command {
    let mut command = agent();
    command.arg("new").args(words).current_dir(dir.path());
    command
}

/// Makes the package `my-package` with these parts.
#[track_caller]
fn made(parts: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut command = new(&dir, &["my-package"]);
    if !parts.is_empty() {
        command.args(["--with", parts]);
    }
    stdout_of_success(&command.output().unwrap());
    assert_eq!(names(dir.path()), ["my-package"]);
    dir
}

const PARTS: [&str; 6] = [
    "",
    "upgrade",
    "uninstall",
    "config",
    "interrupt",
    "upgrade,uninstall,config,interrupt",
];

#[test]
fn what_is_made_and_what_to_do_next_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let output = new(&dir, &["my-package"]).output().unwrap();
    assert_eq!(
        stdout_of_success(&output),
        "made my-package:\n  config.json\n  config.schema.json\n  README.md\n  Dockerfile\n  .dockerignore\n  \
         skyhook_dir/apply.sh\n  skyhook_dir/apply_check.sh\n\n\
         Look at it, and run its apply on this machine:\n  \
         skyhook-agent validate my-package\n  \
         TARGET_DIR=\"$PWD/try\" skyhook-agent run-step --log-dir logs my-package\n\
         Rehearse its whole life in a view of this machine, which is not changed:\n  \
         sudo skyhook-agent rehearse my-package\n"
    );
}

/// Neither an error nor a warning, with each part and with all.
#[test]
fn validate_finds_nothing_in_a_new_package() {
    for parts in PARTS {
        let dir = made(parts);
        let mut command = agent();
        let output = command.args(["validate", "--deny-warnings", "my-package"]);
        let output = output.current_dir(dir.path()).output().unwrap();
        let expected = "1 package: no errors, no warnings\n";
        assert_eq!(stdout_of_success(&output), expected, "{parts}");
    }
}

/// They run every mode, as an ordinary user too. Nothing is said on stderr: no check is
/// missing.
#[test]
fn the_commands_in_the_readme_of_a_new_package_run() {
    for parts in PARTS {
        let dir = made(parts);
        let package = dir.path().join("my-package");
        let readme = fs::read_to_string(package.join("README.md")).unwrap();
        let commands = readme.split("```sh\n").nth(1).unwrap();
        let commands = commands.split("```").next().unwrap();
        let output = shell(dir.path(), &format!("set -eu\n{commands}")).output();
        let printed = unstamp("[out]", &stdout_of_success(&output.unwrap()));

        let verdicts = printed.lines().filter(|line| line.starts_with("SUCEEDED"));
        let scripts = names(&package.join("skyhook_dir"));
        assert_eq!(verdicts.count(), scripts.len(), "{printed}");
        for script in scripts {
            assert_says(&printed, &[&format!("SUCEEDED: {script} ")]);
        }
        assert!(!readme.contains('@'), "{readme}");
    }
}

#[test]
fn the_commands_in_the_help_of_new_run() {
    let dir = tempfile::tempdir().unwrap();
    let help = stdout_of_success(&new(&dir, &["--help"]).output().unwrap());
    let (_, examples) = help.split_once("Examples:\n").unwrap();
    let commands = examples.lines().filter(|line| line.starts_with("    "));
    let commands: Vec<&str> = commands.collect();
    assert_eq!(commands.len(), 4, "{help}");
    let script = format!("set -eu\n{}", commands.join("\n"));
    let printed = stdout_of_success(&shell(dir.path(), &script).output().unwrap());
    assert_says(
        &printed,
        &["no errors, no warnings\n", "SUCEEDED: apply.sh \n"],
    );
    assert!(names(dir.path()).contains(&"my-settings".to_owned()));
}

/// The versions of the upgrade come from the history.
#[test]
fn a_new_package_runs_under_the_agent_and_is_upgraded() {
    let dir = made("upgrade");
    let copy = dir.path().join("my-package");
    let run = |mode: &str, version: &str| {
        let config = fs::read_to_string(copy.join("config.json")).unwrap();
        let config = config.replace("\"0.1.0\"", &format!("\"{version}\""));
        fs::write(copy.join("config.json"), config).unwrap();
        let mut command = agent();
        let output = command
            .args([mode, "/"])
            .arg(&copy)
            .env("SKYHOOK_RESOURCE_ID", format!("id_my-package_{version}"))
            .env("SKYHOOK_ROOT_DIR", dir.path().join("state"))
            .env("SKYHOOK_LOG_DIR", dir.path().join("logs"))
            .env("COPY_RESOLV", "false")
            .env("TARGET_DIR", dir.path().join("target"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(stderr(&output), "");
        unstamp("[out]", &after_banner(&output))
    };
    run("apply", "0.1.0");
    run("apply-check", "0.1.0");
    assert_says(&run("apply", "0.1.0"), &["Skipping apply.sh because "]);
    assert_says(
        &run("upgrade", "0.2.0"),
        &[
            "upgrade from 0.1.0 to 0.2.0\n",
            "SUCEEDED: upgrade.sh 0.1.0 0.2.0\n",
        ],
    );
    run("upgrade-check", "0.2.0");
}

#[test]
fn the_check_of_a_new_package_can_fail() {
    let dir = made("");
    let script = "TARGET_DIR=$PWD/try skyhook-agent run-step --log-dir logs --mode apply-check \
                  my-package";
    let output = shell(dir.path(), script).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_says(&stdout(&output), &["FAILED: apply_check.sh  1\n"]);
    assert_says(&stderr(&output), &["try/hello: expected a file"]);
}

#[test]
fn what_is_there_already_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("directory")).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    symlink("nowhere", dir.path().join("link")).unwrap();
    for name in ["directory", "file", "link"] {
        let line = agent_line(&new(&dir, &[name]).output().unwrap(), 2);
        let expected = format!("skyhook-agent: {name}: expected nothing of this name");
        assert_says(&line, &[&expected]);
    }
    assert_eq!(names(dir.path()), ["directory", "file", "link"]);
    assert!(names(&dir.path().join("directory")).is_empty());
}

#[test]
fn a_name_that_the_operator_would_not_take_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let long = "a".repeat(44);
    for name in [
        "",
        ".",
        "..",
        "a",
        "a/b",
        "/a",
        "My",
        "my_package",
        "my.package",
        "h100",
        "2go",
        "-ab",
        "ab-",
        "grüße",
        "a b",
        "START",
        &long,
    ] {
        let output = new(&dir, &["--", name]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert_eq!(stdout(&output), "");
    }
    assert!(names(dir.path()).is_empty());
    let longest = "a".repeat(43);
    stdout_of_success(&new(&dir, &[&longest]).output().unwrap());
}

#[test]
fn a_part_that_does_not_exist_is_wrong_usage() {
    let dir = tempfile::tempdir().unwrap();
    let output = new(&dir, &["my-package", "--with", "config,apply"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_says(
        &stderr(&output),
        &["apply", "config", "interrupt", "upgrade"],
    );
    assert!(names(dir.path()).is_empty());
}

/// The limit refuses every write to a file.
#[test]
fn a_package_that_cannot_be_written_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = with_prelude("trap '' XFSZ; ulimit -f 0", &new(&dir, &["my-package"]));
    let output = command.current_dir(dir.path()).output().unwrap();
    assert_says(
        &agent_line(&output, 1),
        &["cannot write my-package/config.json: "],
    );
    assert!(names(dir.path()).is_empty());
}

#[test]
fn what_a_killed_run_has_left_goes_and_what_a_live_one_makes_stays() {
    let dir = tempfile::tempdir().unwrap();
    let names_before =
        ["abc123", "def456", "ghi789"].map(|end| format!(".skyhook-agent-new-{end}"));
    let [left, live, file] = names_before.each_ref().map(|name| dir.path().join(name));
    fs::create_dir_all(left.join("skyhook_dir")).unwrap();
    fs::write(left.join("config.json"), "{").unwrap();
    fs::create_dir(&live).unwrap();
    fs::write(&file, "").unwrap();
    let lock = fs::File::open(&live).unwrap();
    assert!(sys::try_lock(lock.as_fd()).unwrap());
    stdout_of_success(&new(&dir, &["my-package"]).output().unwrap());
    assert_eq!(
        names(dir.path()),
        [&*names_before[1], &*names_before[2], "my-package"]
    );
}

#[test]
fn the_modes_of_a_new_package_are_those_of_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = with_prelude("umask 027", &new(&dir, &["my-package"]));
    stdout_of_success(&command.current_dir(dir.path()).output().unwrap());
    let package = dir.path().join("my-package");
    for (path, mode) in [
        ("", 0o750),
        ("skyhook_dir", 0o750),
        ("skyhook_dir/apply.sh", 0o750),
        ("config.json", 0o640),
    ] {
        let found = fs::metadata(package.join(path))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(found & 0o7777, mode, "{path}");
    }
}
