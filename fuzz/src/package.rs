//! A package on disk, whose config.json is the input.

use std::fs;
use std::path::Path;

use skyhook_agent::host::Root;
use tempfile::TempDir;

/// The step files of the package.
pub const STEP_FILES: [&str; 3] = ["a.sh", "a_check.sh", "steps/b"];

/// A package in `/copy` of a root. One is enough for all inputs: creating it takes longer
/// than a check.
pub struct Package {
    dir: TempDir,
    /// The root.
    pub root: Root,
}

impl Package {
    /// Creates one with a few step files.
    pub fn on_disk() -> Package {
        let dir = tempfile::tempdir().unwrap();
        let step_dir = dir.path().join("copy/skyhook_dir");
        fs::create_dir_all(step_dir.join("steps")).unwrap();
        for file in STEP_FILES {
            fs::write(step_dir.join(file), "#!/bin/sh\n").unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        Package { dir, root }
    }

    /// Gives it this config.json. Returns its path inside the root.
    pub fn set_config(&self, json: &[u8]) -> &'static Path {
        fs::write(self.dir.path().join("copy/config.json"), json).unwrap();
        Path::new("/copy/config.json")
    }
}
