//! Changes of text files, as unified diffs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use similar::TextDiff;

use crate::host::Root;
use crate::view::{Change, Kind};

/// The most bytes of a file whose change is shown.
const MOST: u64 = 256 * 1024;

/// The time that one diff may take.
const LONGEST: std::time::Duration = std::time::Duration::from_millis(500);

/// Knows what texts were before.
#[derive(Debug)]
pub(super) struct Differ {
    root: Root,
    /// What was found in the view at the last change of a path; `None` for no text.
    known: BTreeMap<PathBuf, Option<String>>,
}

impl Differ {
    /// Compares with the files of `root` at first.
    pub(super) fn new(root: Root) -> Differ {
        Differ {
            root,
            known: BTreeMap::new(),
        }
    }

    /// The diff of a change of contents; `None` if it is none, or not of a text.
    pub(super) fn diff(&mut self, change: &Change, view: &Root) -> Option<String> {
        let path = &change.path;
        let before = match self.known.remove(path) {
            Some(known) => known,
            None if change.kind == Kind::Added => Some(String::new()),
            None => text(&self.root, path),
        };
        let after = match change.kind {
            Kind::Removed => Some(String::new()),
            Kind::Added | Kind::Changed => text(view, path),
        };
        self.known.insert(path.clone(), after.clone());
        let (before, after) = (before?, after?);
        if before == after {
            return None;
        }
        Some(unified(&before, &after))
    }
}

fn unified(before: &str, after: &str) -> String {
    let diff = TextDiff::configure()
        .timeout(LONGEST)
        .diff_lines(before, after);
    diff.unified_diff().context_radius(3).to_string()
}

/// Reads a text file; `None` if it is none.
fn text(root: &Root, path: &Path) -> Option<String> {
    // A link is no text, nor what it leads to.
    let entry = root.look(path).ok()??;
    if entry.kind != crate::host::Kind::File {
        return None;
    }
    let bytes = root.read_up_to(path, MOST).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::view::Detail;

    fn change(path: &str, kind: Kind) -> Change {
        Change {
            path: path.into(),
            kind,
            detail: Detail::default(),
        }
    }

    #[test]
    fn a_text_is_compared_with_what_it_was_at_its_last_change() {
        let (before, after) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        fs::write(before.path().join("a"), "one\n").unwrap();
        fs::write(after.path().join("a"), "two\n").unwrap();
        let view = Root::open(after.path()).unwrap();
        let mut differ = Differ::new(Root::open(before.path()).unwrap());
        let changed = change("/a", Kind::Changed);
        assert_eq!(
            differ.diff(&changed, &view).unwrap(),
            "@@ -1 +1 @@\n-one\n+two\n"
        );
        fs::write(after.path().join("a"), "two\nthree\n").unwrap();
        assert_eq!(
            differ.diff(&changed, &view).unwrap(),
            "@@ -1 +1,2 @@\n two\n+three\n"
        );
        fs::write(after.path().join("a"), b"\0binary").unwrap();
        assert_eq!(differ.diff(&changed, &view), None);
        let removed = change("/a", Kind::Removed);
        assert_eq!(differ.diff(&removed, &view), None);
        fs::write(after.path().join("b"), "new\n").unwrap();
        assert_eq!(
            differ.diff(&change("/b", Kind::Added), &view).unwrap(),
            "@@ -0,0 +1 @@\n+new\n"
        );
    }
}
