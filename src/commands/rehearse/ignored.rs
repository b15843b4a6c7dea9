//! Changes that are no fault of a package: caches, logs and the like change by themselves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// What findings leave out on each root: a file, or a directory with all below it. What a
/// package puts on a node is in none of these, so a package that stays is found by its
/// other files.
const BUILT_IN: [&str; 20] = [
    // Each run adds to logs, and they are wanted after an uninstall.
    "/var/log",
    // What is in a cache is made anew, and may be removed at any time.
    "/var/cache",
    // `apt-get update` brings newer ones each time.
    "/var/lib/apt/lists",
    // apt writes it when it removes a package, too, and leaves it there empty.
    "/var/lib/apt/extended_states",
    // What dpkg had in the files of these names before its last change.
    "/var/lib/dpkg/available-old",
    "/var/lib/dpkg/diversions-old",
    "/var/lib/dpkg/statoverride-old",
    "/var/lib/dpkg/status-old",
    // The bytes of these databases differ after a package has come and gone.
    "/var/lib/rpm",
    "/usr/lib/sysimage/rpm",
    "/var/lib/dnf",
    // A timer of Debian copies databases of the system to it.
    "/var/backups",
    // What useradd and userdel had in the files of these names before.
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    // ldconfig and journalctl make these indexes of files anew.
    "/etc/ld.so.cache",
    "/var/lib/systemd/catalog/database",
];

/// The paths that findings leave out.
#[derive(Clone, Debug, Default)]
pub(super) struct Ignored {
    own: Vec<PathBuf>,
    /// Those that have left something out.
    used: BTreeSet<String>,
}

impl Ignored {
    /// Adds a person's own to those that are built in.
    pub(super) fn new(own: &[PathBuf]) -> Ignored {
        Ignored {
            own: own.to_vec(),
            used: BTreeSet::new(),
        }
    }

    /// Tells if findings leave a path out.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.covering(path).is_some()
    }

    /// The same, and keeps that something was left out.
    pub(super) fn leaves_out(&mut self, path: &Path) -> bool {
        let covering = self.covering(path).map(|path| path.display().to_string());
        let is_left_out = covering.is_some();
        self.used.extend(covering);
        is_left_out
    }

    /// Those that have left something out, sorted.
    pub(super) fn used(&self) -> impl Iterator<Item = &str> {
        self.used.iter().map(String::as_str)
    }

    /// Never what is above an ignored path: that it is left is a finding.
    fn covering<'a>(&'a self, path: &Path) -> Option<&'a Path> {
        let built_in = BUILT_IN.iter().map(Path::new);
        let mut all = built_in.chain(self.own.iter().map(PathBuf::as_path));
        all.find(|ignored| path.starts_with(ignored))
    }
}

impl Serialize for Ignored {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.used())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_and_the_like_are_left_out_and_what_is_above_or_beside_them_is_not() {
        let ignored = Ignored::new(&[PathBuf::from("/opt/my/state")]);
        for path in [
            "/var/cache",
            "/var/cache/apt/pkgcache.bin",
            "/var/log/dpkg.log",
            "/etc/passwd-",
            "/opt/my/state",
            "/opt/my/state/a/b",
        ] {
            assert!(ignored.has(Path::new(path)), "{path}");
        }
        for path in [
            "/",
            "/var",
            "/var/cached",
            "/var/lib/apt",
            "/var/lib/dpkg/status",
            "/etc/passwd",
            "/opt/my",
            "/opt/my/state2",
        ] {
            assert!(!ignored.has(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn what_has_left_something_out_is_known() {
        let mut ignored = Ignored::new(&[PathBuf::from("/opt/a"), PathBuf::from("/opt/b")]);
        assert!(ignored.has(Path::new("/opt/b")));
        assert_eq!(ignored.used().count(), 0);
        assert!(ignored.leaves_out(Path::new("/opt/a/1")));
        assert!(ignored.leaves_out(Path::new("/opt/a/2")));
        assert!(!ignored.leaves_out(Path::new("/opt")));
        assert!(ignored.leaves_out(Path::new("/var/cache/1")));
        assert_eq!(
            serde_json::to_string(&ignored).unwrap(),
            r#"["/opt/a","/var/cache"]"#
        );
    }
}
