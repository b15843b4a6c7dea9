//! `skyhook-agent rehearse`: lives a package's whole life in a copy-on-write view of a
//! root, and says what came of it. For package authors.
//!
//! Each stage is the agent itself, started in the view with the environment of the
//! operator's containers: `stage` starts and follows it, `channel` is how it tells of its
//! steps. `life` has the order of things, `cut` the life in which stages are cut off,
//! `recorder` writes down, `report` shows.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anstream::ColorChoice;
use serde::Serialize;

use super::{Outcome, validate};
use crate::error::Error;
use crate::output::Printer;
use crate::package::Interrupt;
use crate::system::signals::Signals;
use crate::view::{self, StandIn};

mod channel;
mod cut;
mod diff;
mod ignored;
mod life;
mod lint;
mod live;
mod package;
mod plan;
mod processes;
mod recorder;
mod report;
mod stage;
pub mod stand_ins;

pub use channel::{Channel, STAGE};
use ignored::Ignored;
use life::Rehearsal;
use live::Live;
pub use package::is_resource_name;
use package::{Package, absolute, expect_directory};
use report::Report;

/// The options of `rehearse`, as the command line has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Tells if colours are used.
    pub color: ColorChoice,
    /// The form of the report.
    pub output: Output,
    /// The file for a report in the form of JUnit.
    pub junit: Option<PathBuf>,
    /// The package's directory, or its config.json.
    pub package: PathBuf,
    /// The root to rehearse on.
    pub root: PathBuf,
    /// The version before an upgrade.
    pub from: Option<PathBuf>,
    /// The package's name in the custom resource.
    pub name: Option<String>,
    /// The interrupt to play.
    pub interrupt: Option<InterruptData>,
    /// What a reboot that is played adds to the kernel's command line.
    pub cmdline: Option<String>,
    /// The files of the package's ConfigMap.
    pub configmaps: Option<PathBuf>,
    /// The files that the operator puts into the package's `node-metadata`.
    pub metadata: Option<PathBuf>,
    /// The variables of the package in the custom resource.
    pub env: Vec<(String, String)>,
    /// All programs that are replaced.
    pub stand_ins: Vec<StandIn>,
    /// Tells if the network is there.
    pub network: bool,
    /// Tells if stages are cut off and started anew.
    pub cut: bool,
    /// The time that a stage may take.
    pub timeout: Duration,
    /// The findings that are accepted.
    pub allow: Allow,
    /// The paths that findings leave out, besides those that are built in.
    pub ignored: Vec<PathBuf>,
    /// Tells if changes of texts are shown.
    pub diff: bool,
    /// The directory that keeps what the package wrote.
    pub keep: Option<PathBuf>,
    /// Tells if a shell is opened in the view.
    pub shell: bool,
}

/// An interrupt, and the same as the operator gives it: base64 of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "said above")]
pub struct InterruptData {
    pub interrupt: Interrupt,
    pub base64: String,
}

/// The forms of the report on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// For people. The stages are shown as they end.
    Human,
    /// One JSON document.
    Json,
    /// A page in Markdown.
    Markdown,
}

/// The findings that are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Allow {
    /// What is left behind after uninstall.
    pub leftovers: bool,
    /// What a second pass changes.
    pub changes: bool,
}

/// Rehearses a package and prints what came of it. It has failed if something was found
/// that is not accepted.
///
/// # Errors
/// If the package cannot be used, there can be no view, or the rehearsal is cancelled.
pub fn run(options: &Options, signals: &Signals, printer: &mut Printer) -> Result<Outcome, Error> {
    match rehearse(options, signals, printer) {
        // The life has not come to its end: it is not known if the package is good.
        Err(Error::ReaderLeft) => Ok(Outcome::Failed),
        outcome => outcome,
    }
}

fn rehearse(options: &Options, signals: &Signals, printer: &mut Printer) -> Result<Outcome, Error> {
    let root = absolute(&options.root)?;
    expect_directory("--root", &root)?;
    for (option, dir) in [
        ("--configmaps", &options.configmaps),
        ("--metadata", &options.metadata),
    ] {
        if let Some(dir) = dir {
            expect_directory(option, dir)?;
        }
    }
    let keep = options.keep.as_deref().map(absolute).transpose()?;
    if let Some(keep) = &keep
        && fs::read_dir(keep).is_ok_and(|mut entries| entries.next().is_some())
    {
        let keep = keep.display();
        return Err(Error::Usage(format!(
            "--keep {keep}: expected an empty directory"
        )));
    }
    if options.shell && !io::stdin().is_terminal() {
        return Err(Error::Usage("--shell: expected a terminal".to_owned()));
    }
    let generation = if options.from.is_some() { 2 } else { 1 };
    let name = options.name.as_deref();
    let package = Package::load(&options.package, generation, name)?;
    let old = match &options.from {
        Some(from) => Some(Package::load(from, 1, name)?),
        None => None,
    };
    if let Some(old) = &old {
        expect_same_name(old, &package)?;
        expect_lower_version(old, &package)?;
    }
    let linted = lint::look(&options.package, options.configmaps.as_deref(), name)?;
    if let Some(junit) = &options.junit {
        expect_writable(junit)?;
    }
    if options.output == Output::Human {
        lint::show(&linted, printer)?;
    }
    view::enter()?;

    let config = &package.config;
    let heading = format!(
        "rehearse {} {} in a view of {}",
        config.package_name,
        config.package_version,
        root.display()
    );
    let warnings = linted.findings.iter();
    let warnings = warnings.map(|located| validate::finding(&linted, located));
    let interrupt = match options.interrupt {
        Some(_) => None,
        None => package.note_on_interrupt(),
    };
    let upgrade = match options.from {
        Some(_) => None,
        None => package.note_on_upgrade(),
    };
    let gaps = [package.note_on_name(), interrupt, upgrade];
    let gaps = gaps.into_iter().flatten();
    let mut rehearsal = Rehearsal {
        options,
        root: &root,
        keep: keep.as_deref(),
        package: &package,
        old: old.as_ref(),
        cancellation: &signals.cancellation,
        live: Live::new(printer, options.output == Output::Human, options.network),
        report: Report {
            schema: 1,
            package: config.package_name.clone(),
            version: config.package_version.clone(),
            from: old.as_ref().map(|old| old.config.package_version.clone()),
            allowed: options.allow,
            gaps: gaps.collect(),
            ignored: Ignored::new(&options.ignored),
            warnings: warnings.collect(),
            has_network: options.network,
            ..Report::default()
        },
        counts: cut::Counts::default(),
        heading,
        has_shown_shell: false,
    };
    let lived = rehearsal.run();
    let erased = rehearsal.live.erase();
    let report = rehearsal.report;
    lived.and(erased)?;
    show(&report, options, printer)
}

fn show(report: &Report, options: &Options, printer: &mut Printer) -> Result<Outcome, Error> {
    // First of all: the reader of stdout may leave. If the disk is full, the other report
    // still has what was found.
    let written = options.junit.as_ref().map_or(Ok(()), |junit| {
        let document = report::junit::document(report);
        fs::write(junit, document).map_err(|error| Error::io("write", junit, error))
    });
    let printed = match options.output {
        Output::Human => report::human::print(report, printer),
        Output::Json => report::json::print(report, printer),
        Output::Markdown => printer.bytes(report::markdown::page(report).as_bytes()),
    };
    let printed = printed.and_then(|()| printer.flush());
    written?;
    // The exit code tells what was found, also if no one reads the rest.
    match printed {
        Ok(()) | Err(Error::ReaderLeft) => {}
        Err(error) => return Err(error),
    }
    Ok(match report.ok {
        true => Outcome::Succeeded,
        false => Outcome::Failed,
    })
}

/// Refuses another package's version.
fn expect_same_name(old: &Package, new: &Package) -> Result<(), Error> {
    let (old, new) = (&old.config.package_name, &new.config.package_name);
    match old == new {
        true => Ok(()),
        false => Err(Error::Usage(format!(
            "--from: expected a version of the package {new}, got the package {old}"
        ))),
    }
}

/// Refuses an upgrade that is none. Of versions that have no order, equal ones.
fn expect_lower_version(old: &Package, new: &Package) -> Result<(), Error> {
    let (old, new) = (&old.config.package_version, &new.config.package_version);
    let numbers = |version: &str| -> Option<Vec<u64>> {
        version.split('.').map(|part| part.parse().ok()).collect()
    };
    let is_lower = match (numbers(old), numbers(new)) {
        (Some(old), Some(new)) => old < new,
        _ => old != new,
    };
    match is_lower {
        true => Ok(()),
        false => Err(Error::Usage(format!(
            "--from: expected a package_version before {new}, got {old}"
        ))),
    }
}

/// Refuses a file that cannot be written, before a rehearsal of minutes.
fn expect_writable(file: &Path) -> Result<(), Error> {
    let opened = OpenOptions::new().create(true).append(true).open(file);
    match opened {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::io("write", file, error)),
    }
}
