//! Runs shell scripts in a view of a root, as the steps of a package are run, and prints
//! what came of each as a line of JSON. The tests of the view drive it: entering a
//! namespace takes a process with one thread, which a test is not.
//!
//!     view ROOT AGENT SCRIPT...
//!
//! In place of a script, `reboot!` gives the view another boot id, and `again!` ends it and
//! makes another one. AGENT is the binary of the agent. In the environment, VIEW_KEEP names a directory that
//! keeps the upper layers, VIEW_NETWORK shares the network, and VIEW_STAND_INS has the
//! stand-ins, as NAME=EXIT with commas between; NAME=?EXIT is there only if it is installed.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use serde_json::{Value, json};
use skyhook_agent::error::Error;
use skyhook_agent::view::{self, Change, Kind, Options, Presence, StandIn, View};

fn main() {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let root = arguments.next().expect("a root");
    let agent = arguments.next().expect("the agent");
    let scripts = arguments.map(|script| script.into_os_string().into_string().unwrap());
    let keep = env::var_os("VIEW_KEEP").map(PathBuf::from);
    let stand_ins = env::var("VIEW_STAND_INS").unwrap_or_default();
    let stand_ins: Vec<StandIn> = stand_ins
        .split(',')
        .filter_map(|stand_in| stand_in.split_once('='))
        .map(|(name, exit)| StandIn {
            name: name.to_owned(),
            presence: match exit.strip_prefix('?') {
                Some(_) => Presence::IfInstalled,
                None => Presence::Always,
            },
            exit: exit.trim_start_matches('?').parse().expect("an exit code"),
        })
        .collect();

    let options = Options {
        root: &root,
        keep: keep.as_deref(),
        network: env::var_os("VIEW_NETWORK").is_some(),
        cmdline: None,
        stand_ins: &stand_ins,
        binary: &agent,
    };
    let start = Instant::now();
    view::enter().unwrap_or_else(|error| fail(&error));
    let mut view = View::make(&options).unwrap_or_else(|error| fail(&error));
    let seconds = start.elapsed().as_secs_f64();
    println!("{}", json!({"seconds": seconds, "gaps": view.gaps()}));
    for script in scripts {
        match &*script {
            "reboot!" => view.play_reboot().unwrap_or_else(|error| fail(&error)),
            "again!" => {
                drop(view);
                view = View::make(&options).unwrap_or_else(|error| fail(&error));
            }
            script => {
                let ran = run(&mut view, script).unwrap_or_else(|error| fail(&error));
                println!("{ran}");
            }
        }
    }
}

fn fail(error: &Error) -> ! {
    eprintln!("{error}");
    std::process::exit(1)
}

fn run(view: &mut View, script: &str) -> Result<Value, Error> {
    // The way of the agent: it enters the root of the view, and becomes the step.
    let control = view.root().with_file_name("tmp").join("control.json");
    let command = json!({
        "cmd": ["/bin/sh", "-c", script],
        "no_chmod": true,
        "copy_dir": "/",
    });
    fs::write(&control, command.to_string()).expect("the control file");
    let mut command = view.command();
    command
        .as_std()
        .args(["chroot-exec", "/tmp/control.json", "/root"])
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = command.spawn()?.wait_with_output().expect("the output");
    let start = Instant::now();
    let scan = view.scan()?;
    let scan_seconds = start.elapsed().as_secs_f64();
    view.cover()?;
    Ok(json!({
        "code": output.status.code(),
        "stdout": String::from_utf8_lossy(&output.stdout),
        "stderr": String::from_utf8_lossy(&output.stderr),
        "scan": changes(&scan),
        "scan_seconds": scan_seconds,
        "differences": changes(&view.differences()?),
        "calls": view.calls()?,
    }))
}

/// As `+ /path`, `- /path`, or `~ /path` and what changed.
fn changes(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| {
            let path = change.path.display();
            match change.kind {
                Kind::Added => format!("+ {path}"),
                Kind::Removed => format!("- {path}"),
                Kind::Changed => {
                    let detail = &change.detail;
                    let mut line = format!("~ {path}");
                    if detail.content {
                        line += " content";
                    }
                    if let Some((before, after)) = detail.mode {
                        line += &format!(" mode {before:o} {after:o}");
                    }
                    if let Some((before, after)) = detail.owner {
                        line += &format!(" owner {before:?} {after:?}");
                    }
                    line
                }
            }
        })
        .collect()
}
