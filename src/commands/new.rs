//! `skyhook-agent new`: makes a package to start from. For package authors.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::str::FromStr;

use anstream::ColorChoice;

use super::Outcome;
use crate::error::Error;
use crate::output::Printer;
use crate::system::sys;
use template::File;

mod template;

/// The options of `new`, as the command line has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Tells if colours are used.
    pub color: ColorChoice,
    /// The package's name, and that of its directory.
    pub name: Name,
    /// What it has besides apply.
    pub parts: Vec<Part>,
}

/// What a package can have besides apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Settings from the custom resource.
    Config,
    /// A check after an interrupt.
    Interrupt,
    /// Steps of an upgrade.
    Upgrade,
    /// Steps of an uninstall.
    Uninstall,
}

/// The name of a new package: one that both the operator and the agent accept, and that
/// needs no quotes in a shell, in JSON and in YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// The most characters of a package's name, by the operator's rules.
const NAME_MAX: usize = 43;

impl FromStr for Name {
    type Err = String;

    fn from_str(name: &str) -> Result<Name, String> {
        let is_letter = |c: char| c.is_ascii_lowercase();
        let is_allowed = |c: char| is_letter(c) || c.is_ascii_digit() || c == '-';
        let is_name = (2..=NAME_MAX).contains(&name.len())
            && name.starts_with(is_letter)
            && name.ends_with(is_letter)
            && name.chars().all(is_allowed);
        if is_name {
            Ok(Name(name.to_owned()))
        } else {
            Err(format!(
                "expected 2 to {NAME_MAX} of a-z, 0-9 and -, the first and the last a letter: \
                 the operator takes no other"
            ))
        }
    }
}

/// Makes the package in the working directory, and says what it has made.
///
/// # Errors
/// [`Error::Usage`] if there is something of that name, [`Error::Io`] if the system
/// refuses. Nothing is left then.
pub fn run(options: &Options, printer: &mut Printer) -> Result<Outcome, Error> {
    let Name(name) = &options.name;
    let mut parts = options.parts.clone();
    parts.sort();
    parts.dedup();
    let files = template::files(name, &parts);
    make(Path::new(name), &files)?;
    print(name, &files, printer)?;
    Ok(Outcome::Succeeded)
}

/// The start of the name that a package has until all of its files are there.
const STAGING: &str = ".skyhook-agent-new-";

/// Makes the directory with these files under a temporary name, and gives it its own when
/// all of them are there.
fn make(dir: &Path, files: &[File]) -> Result<(), Error> {
    if fs::symlink_metadata(dir).is_ok() {
        return Err(taken(dir));
    }
    remove_leftovers();
    let staging = tempfile::Builder::new()
        .prefix(STAGING)
        // Less the umask, as for any other directory.
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(".")
        .map_err(|error| Error::io("create a directory in", ".", error))?;
    // Others see that it is no leftover. It stays locked until it has its own name.
    let lock = fs::File::open(staging.path());
    let _lock = lock.inspect(|dir| {
        let _ = sys::try_lock(dir.as_fd());
    });
    for file in files {
        write(staging.path(), file)
            .map_err(|error| Error::io("write", dir.join(&file.path), error))?;
    }
    // If another process has made something of that name in the meantime, only an empty directory
    // is replaced.
    match fs::rename(staging.path(), dir) {
        Ok(()) => {
            // It has no longer the name under which it would be removed.
            let _ = staging.keep();
            Ok(())
        }
        Err(error) if is_taken(&error) => Err(taken(dir)),
        Err(error) => Err(Error::io("create", dir, error)),
    }
}

/// Removes the directories that killed processes have left here: those that no process has
/// locked. One that cannot be removed does no harm.
fn remove_leftovers() {
    for entry in fs::read_dir(".").into_iter().flatten().flatten() {
        let is_staging = entry.file_name().to_string_lossy().starts_with(STAGING)
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        let path = entry.path();
        if is_staging
            && let Ok(dir) = fs::File::open(&path)
            && let Ok(true) = sys::try_lock(dir.as_fd())
        {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    matches!(
        error.kind(),
        AlreadyExists | DirectoryNotEmpty | NotADirectory
    )
}

fn taken(dir: &Path) -> Error {
    Error::Usage(format!(
        "{}: expected nothing of this name, and it is there already",
        dir.display()
    ))
}

fn write(package: &Path, file: &File) -> io::Result<()> {
    let path = package.join(&file.path);
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o777).create(dir)?;
    }
    let mode = if file.is_executable { 0o777 } else { 0o666 };
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?
        .write_all(file.text.as_bytes())
}

fn print(name: &str, files: &[File], printer: &mut Printer) -> Result<(), Error> {
    let (good, strong) = (printer.palette.good, printer.palette.strong);
    printer.line(format_args!("{good}made{good:#} {strong}{name}{strong:#}:"))?;
    for file in files {
        printer.line(format_args!("  {}", file.path))?;
    }
    printer.line("")?;
    printer.line("Look at it, and run its apply on this machine:")?;
    printer.line(format_args!("  skyhook-agent validate {name}"))?;
    printer.line(format_args!(
        "  TARGET_DIR=\"$PWD/try\" skyhook-agent run-step --log-dir logs {name}"
    ))?;
    printer.line("Rehearse its whole life in a view of this machine, which is not changed:")?;
    printer.line(format_args!("  sudo skyhook-agent rehearse {name}"))
}
