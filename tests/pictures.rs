//! The pictures of the README show what the binary prints.

mod support;

use std::path::Path;
use std::process::Command;

use support::skip::try_out;
use support::{agent, or_skip};

#[test]
fn the_pictures_show_what_the_binary_prints() {
    let python = "this python does not run";
    or_skip!(try_out(Command::new("python3").arg("--version"), python));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/pictures");
    let agent = agent();
    let mut command = Command::new(script);
    command
        .arg("--check")
        .env("SKYHOOK_AGENT", agent.get_program());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
