//! The package: where it is, what it says, and how it comes into the view.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Options;
use crate::error::Error;
use crate::host::{Copied, Copying, Root, copy_tree};
use crate::package::{self, Config, Mode, Severity};
use crate::system::cancel::Cancellation;

/// The name of the custom resource of a rehearsal.
const RESOURCE: &str = "rehearse";

/// The directory of state and packages in the view, as the operator's chart has it.
pub(super) const STATE_DIR: &str = "/var/lib/skyhook/rehearse";

/// The directory of logs in the view.
pub(super) const LOG_DIR: &str = "/var/log/skyhook/rehearse";

/// A package, and its place in the view.
#[derive(Clone, Debug)]
pub(super) struct Package {
    dir: PathBuf,
    /// Its name in the custom resource.
    name: String,
    pub(super) config: Config,
    /// `SKYHOOK_RESOURCE_ID`.
    pub(super) resource_id: String,
    /// Its directory in the view.
    pub(super) copy_dir: String,
}

impl Package {
    /// Reads the package at `path`, for the custom resource of this generation, which has it
    /// under this name if there is one.
    pub(super) fn load(path: &Path, generation: u32, name: Option<&str>) -> Result<Package, Error> {
        let dir = directory(path)?;
        let root = Root::open(Path::new("/"))?;
        let file = dir.join("config.json");
        let inspection = package::inspect(&root, &file)?;
        let Some(config) = inspection.config else {
            let findings = inspection.findings.iter();
            let errors = findings.filter(|finding| finding.severity == Severity::Error);
            return Err(Error::Package {
                problems: errors.map(ToString::to_string).collect(),
                file,
            });
        };
        let version = &config.package_version;
        if version.contains('_') {
            return Err(Error::Package {
                problems: vec![format!(
                    "package_version: expected no _, which separates the parts of \
                     SKYHOOK_RESOURCE_ID, got {version}"
                )],
                file,
            });
        }
        let name = name.map_or_else(|| usual_name(&config), str::to_owned);
        Ok(Package {
            resource_id: format!("{RESOURCE}-0-{generation}_{name}_{version}"),
            copy_dir: format!("{STATE_DIR}/{name}-{version}-0-{generation}"),
            dir,
            name,
            config,
        })
    }

    /// Says if the custom resource may have the package under another name.
    pub(super) fn note_on_name(&self) -> Option<String> {
        let (name, own) = (&self.name, &self.config.package_name);
        let how = match () {
            () if !is_resource_name(name) => "which no custom resource allows",
            () if *name == usual_name(&self.config) && name != own => "as a name has no _ there",
            () => return None,
        };
        Some(format!(
            "the package has the name {name} in the custom resource, {how}: --name gives another"
        ))
    }

    /// Says if there are steps that a node has no use for without an interrupt.
    pub(super) fn note_on_interrupt(&self) -> Option<String> {
        let has_steps = self.has_steps([Mode::PostInterrupt, Mode::PostInterruptCheck]);
        has_steps.then(|| {
            "post-interrupt runs here without an interrupt, and on a node only after one: \
             --interrupt plays it"
                .to_owned()
        })
    }

    /// Says if there are steps that need a version to upgrade from.
    pub(super) fn note_on_upgrade(&self) -> Option<String> {
        let has_steps = self.has_steps([Mode::Upgrade, Mode::UpgradeCheck]);
        has_steps.then(|| {
            "upgrade was not rehearsed: --from OLD names the version to upgrade from".to_owned()
        })
    }

    fn has_steps(&self, modes: [Mode; 2]) -> bool {
        let mut steps = modes.iter().filter_map(|mode| self.config.modes.get(mode));
        steps.any(|steps| !steps.is_empty())
    }

    /// Copies the package into the view, as the operator copies it to a node, with the
    /// files that the operator puts beside it.
    pub(super) fn copy(
        &self,
        view: &Path,
        options: &Options,
        cancellation: &Cancellation,
    ) -> Result<(), Error> {
        let copying = Copying {
            cancelled: &|| cancellation.is_cancelled(),
            durable: false,
        };
        let from = Root::open(Path::new("/"))?;
        let to = Root::open(view)?;
        let copy_dir = Path::new(&self.copy_dir);
        let tree = |source: &Path, name: &OsStr| match copy_tree(
            &from,
            source,
            &to,
            &copy_dir.join(name),
            &copying,
        )? {
            Copied::Whole { .. } => Ok(()),
            Copied::Cancelled => Err(Error::Cancelled),
        };
        let into = to.create_dir_all(copy_dir)?;
        // What the operator mounts over the image's.
        let mounts = [
            ("configmaps", &options.configmaps),
            ("node-metadata", &options.metadata),
        ];
        let is_mounted = |name: &OsStr| {
            let mut mounts = mounts.iter();
            mounts.any(|(mounted, dir)| name == *mounted && dir.is_some())
        };
        let refused = |path: &Path, error: io::Error| Error::io("copy", path, error);
        let entries = fs::read_dir(&self.dir).map_err(|error| refused(&self.dir, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| refused(&self.dir, error))?;
            let (name, path) = (entry.file_name(), entry.path());
            // As `cp -r /skyhook-package/*` does.
            if name.as_encoded_bytes().starts_with(b".") || is_mounted(&name) {
                continue;
            }
            let kind = entry.file_type().map_err(|error| refused(&path, error))?;
            if kind.is_dir() {
                tree(&path, &name)?;
                continue;
            }
            let copied = if kind.is_symlink() {
                fs::read_link(&path).and_then(|target| into.create_link(&target, &name))
            } else {
                copy_file(&path, || into.create_new(&name))
            };
            copied.map_err(|error| refused(&path, error))?;
        }
        for (name, dir) in mounts {
            if let Some(dir) = dir {
                tree(&absolute(dir)?, OsStr::new(name))?;
            }
        }
        Ok(())
    }
}

/// The name in the custom resource that a package has if the person gives none.
fn usual_name(config: &Config) -> String {
    config.package_name.replace('_', "-")
}

/// Tells if the operator's custom resource can have a package of this name.
pub fn is_resource_name(name: &str) -> bool {
    let is_inner = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    match name.as_bytes() {
        [b'a'..=b'z', inner @ .., b'a'..=b'z'] => inner.len() <= 41 && inner.iter().all(is_inner),
        _ => false,
    }
}

fn copy_file(from: &Path, to: impl FnOnce() -> io::Result<File>) -> io::Result<()> {
    let metadata = fs::metadata(from)?;
    // A fifo would be waited for.
    if !metadata.is_file() {
        return Err(io::Error::other("expected a file, a directory or a link"));
    }
    let mut to = to()?;
    io::copy(&mut File::open(from)?, &mut to)?;
    to.set_permissions(fs::Permissions::from_mode(
        metadata.permissions().mode() & 0o7777,
    ))
}

/// Finds the directory of a package, absolute.
fn directory(path: &Path) -> Result<PathBuf, Error> {
    let metadata = path.metadata().map_err(|error| {
        Error::Usage(format!(
            "{}: expected the directory of a package, or its config.json: {error}",
            path.display()
        ))
    })?;
    let path = absolute(path)?;
    match (metadata.is_dir(), path.parent()) {
        (false, Some(parent)) if path.ends_with("config.json") => Ok(parent.to_owned()),
        (true, _) if path.join("config.json").symlink_metadata().is_ok() => Ok(path),
        _ => Err(Error::Usage(format!(
            "{}: expected the directory of a package, or its config.json",
            path.display()
        ))),
    }
}

/// Makes a path absolute, without the slash that a shell's completion leaves at the end.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    let absolute = std::path::absolute(path);
    let absolute = absolute.map_err(|error| Error::io("make absolute", path, error))?;
    Ok(absolute.components().collect())
}

/// Refuses what is no directory.
pub(super) fn expect_directory(option: &str, path: &Path) -> Result<(), Error> {
    match path.is_dir() {
        true => Ok(()),
        false => Err(Error::Usage(format!(
            "{option} {}: expected a directory",
            path.display()
        ))),
    }
}

/// Tells if a path is the agent's own in the view: its state and its logs, the package, and
/// the directories above them.
pub(super) fn is_agents(path: &Path) -> bool {
    [STATE_DIR, LOG_DIR]
        .map(Path::new)
        .iter()
        .any(|own| path.starts_with(own) || own.starts_with(path))
}

#[cfg(test)]
mod tests {
    use super::is_resource_name;

    #[test]
    fn a_name_of_the_resource_has_letters_at_its_ends() {
        let longest = format!("a{}z", "-".repeat(41));
        for name in ["ab", "nvidia-tuned", "a2b", "a--b", &longest] {
            assert!(is_resource_name(name), "{name}");
        }
        let longer = format!("{longest}z");
        for name in [
            "", "a", "a_b", "tuned2", "2tuned", "Tuned", "a.b", "a-", &longer,
        ] {
            assert!(!is_resource_name(name), "{name}");
        }
    }
}
