//! Compares the resolver of this process with the kernel's, and with another
//! implementation.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};

use nix::fcntl::open;
use pathrs::error::ErrorKind;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A file system object by device and inode, or the error of opening it.
type Found = Result<(u64, u64), Option<i32>>;

/// An entry of a tree, at a path of a few names.
#[derive(Clone, Debug)]
enum Entry {
    Directory,
    File,
    Link(PathBuf),
}

/// Paths of few names, so that they meet entries, other links and `..` often.
fn paths() -> impl Strategy<Value = PathBuf> {
    let name = prop::sample::select(vec!["a", "b", "c", "..", "a/b", "b/c"]);
    (any::<bool>(), vec(name, 1..5)).prop_map(|(is_absolute, names)| {
        let root = if is_absolute { "/" } else { "" };
        PathBuf::from(format!("{root}{}", names.join("/")))
    })
}

fn entries() -> impl Strategy<Value = Vec<(PathBuf, Entry)>> {
    let entry = prop_oneof![
        2 => Just(Entry::Directory),
        1 => Just(Entry::File),
        4 => paths().prop_map(Entry::Link),
    ];
    vec((paths(), entry), 1..12)
}

/// Creates the entries that can be created, inside `root` alone.
fn create(root: &Path, entries: &[(PathBuf, Entry)]) {
    for (path, entry) in entries {
        let is_plain = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::RootDir);
        if !path.components().all(is_plain) {
            continue;
        }
        let path = root.join(path.strip_prefix("/").unwrap_or(path));
        // A link on the way could lead out of the root.
        let above = path.parent().unwrap();
        if above.canonicalize().is_ok_and(|found| found != above) {
            continue;
        }
        // An entry that is in the way, or has no directory, is left out.
        let _ = match entry {
            Entry::Directory => fs::create_dir(&path),
            Entry::File => File::create_new(&path).map(drop),
            Entry::Link(target) => symlink(target, &path),
        };
    }
}

fn found(opened: nix::Result<OwnedFd>) -> Found {
    let metadata = File::from(opened.map_err(|error| Some(error as i32))?)
        .metadata()
        .unwrap();
    Ok((metadata.dev(), metadata.ino()))
}

proptest! {
    #[test]
    fn both_resolvers_and_pathrs_find_the_same(
        entries in entries(),
        wanted in vec(paths(), 1..8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("root");
        fs::create_dir(&path).unwrap();
        create(&path, &entries);
        let root = open(&path, OFlag::O_PATH, Mode::empty()).unwrap();
        let other = pathrs::Root::open(&path).unwrap();
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        for wanted in wanted {
            let ours = found(Resolver::Userspace.open(&root, &wanted, flags));
            let theirs = match other.resolve(&wanted) {
                Ok(handle) => found(Ok(handle.into())),
                Err(error) => {
                    let kind = error.kind();
                    let ErrorKind::OsError(errno) = kind else {
                        prop_assert!(false, "{kind:?}");
                        return Ok(());
                    };
                    Err(errno)
                }
            };
            prop_assert_eq!(ours, theirs, "{:?} in {:?}", &wanted, &entries);
            let in_kernel = found(Resolver::Openat2.open(&root, &wanted, flags));
            if in_kernel != Err(Some(Errno::ENOSYS as i32)) {
                prop_assert_eq!(ours, in_kernel, "{:?} in {:?}", &wanted, &entries);
            }
        }
    }
}
