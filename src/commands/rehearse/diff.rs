//! Changes of text files, as unified diffs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use similar::DiffTag;
use similar::algorithms::{Capture, Replace, myers};

use crate::host::Root;
use crate::view::{Change, Kind};

/// The most bytes of a file whose change is shown.
const MOST: u64 = 256 * 1024;

/// The most bytes of texts and diffs of a rehearsal. After that no change is shown.
const MOST_OF_ALL: usize = 64 * 1024 * 1024;

/// The time that one diff may take.
const LONGEST: Duration = Duration::from_millis(500);

/// The lines around those that differ.
const CONTEXT: usize = 3;

/// Knows what texts were before.
#[derive(Debug)]
pub(super) struct Differ {
    root: Root,
    /// What was found in the view at the last change of a path; `None` for no text.
    known: BTreeMap<PathBuf, Option<String>>,
    /// The bytes that are left of [`MOST_OF_ALL`].
    left: usize,
}

impl Differ {
    /// Compares with the files of `root` at first.
    pub(super) fn new(root: Root) -> Differ {
        Differ {
            root,
            known: BTreeMap::new(),
            left: MOST_OF_ALL,
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
        let after = now(change, view).and_then(|text| self.affordable(text));
        self.known.insert(path.clone(), after.clone());
        self.compare(&before?, &after?)
    }

    /// How a path differs from that of the root; `None` as [`diff`](Differ::diff).
    pub(super) fn since_root(&mut self, change: &Change, view: &Root) -> Option<String> {
        let before = match change.kind {
            Kind::Added => String::new(),
            Kind::Removed | Kind::Changed => text(&self.root, &change.path)?,
        };
        self.compare(&before, &now(change, view)?)
    }

    fn compare(&mut self, before: &str, after: &str) -> Option<String> {
        match before == after {
            true => None,
            false => self.affordable(unified(before, after)),
        }
    }

    /// Takes a text's bytes from those that are left; `None` if they are too few.
    fn affordable(&mut self, text: String) -> Option<String> {
        self.left = self.left.checked_sub(text.len())?;
        Some(text)
    }
}

/// The text that is there after a change.
fn now(change: &Change, view: &Root) -> Option<String> {
    match change.kind {
        Kind::Removed => Some(String::new()),
        Kind::Added | Kind::Changed => text(view, &change.path),
    }
}

/// The lines that differ, with some around them. From the parts of the crate that work on
/// lists alone: those for texts weigh several times as much.
fn unified(before: &str, after: &str) -> String {
    let old: Vec<&str> = before.split_inclusive('\n').collect();
    let new: Vec<&str> = after.split_inclusive('\n').collect();
    let mut found = Replace::new(Capture::new());
    let deadline = Some(Instant::now() + LONGEST);
    let (all_old, all_new) = (0..old.len(), 0..new.len());
    let Ok(()) =
        myers::diff_deadline_raw(&mut found, &old[..], all_old, &new[..], all_new, deadline);
    let mut text = String::new();
    for hunk in found.into_inner().into_grouped_ops(CONTEXT) {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else {
            continue;
        };
        let of_old = lines(first.old_range().start..last.old_range().end);
        let of_new = lines(first.new_range().start..last.new_range().end);
        text += &format!("@@ -{of_old} +{of_new} @@\n");
        for part in &hunk {
            if let DiffTag::Equal = part.tag() {
                add(' ', &old, part.old_range(), &mut text);
                continue;
            }
            add('-', &old, part.old_range(), &mut text);
            add('+', &new, part.new_range(), &mut text);
        }
    }
    text
}

fn add(mark: char, lines: &[&str], range: Range<usize>, text: &mut String) {
    for line in lines.get(range).unwrap_or_default() {
        text.push(mark);
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
}

/// The lines of a hunk, as its head has them.
fn lines(range: Range<usize>) -> String {
    match range.len() {
        0 => format!("{},0", range.start),
        1 => format!("{}", range.start + 1),
        len => format!("{},{len}", range.start + 1),
    }
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

    #[test]
    fn what_is_left_is_compared_with_the_root() {
        let (before, after) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        fs::write(before.path().join("a"), "one\n").unwrap();
        fs::write(after.path().join("a"), "two\n").unwrap();
        let view = Root::open(after.path()).unwrap();
        let mut differ = Differ::new(Root::open(before.path()).unwrap());
        let changed = change("/a", Kind::Changed);
        differ.diff(&changed, &view).unwrap();
        fs::write(after.path().join("a"), "three\n").unwrap();
        assert_eq!(
            differ.since_root(&changed, &view).unwrap(),
            "@@ -1 +1 @@\n-one\n+three\n"
        );
        assert_eq!(
            differ
                .since_root(&change("/a", Kind::Removed), &view)
                .unwrap(),
            "@@ -1 +0,0 @@\n-one\n"
        );
        // It is no text any more, or was none.
        fs::write(after.path().join("a"), b"\0").unwrap();
        assert_eq!(differ.since_root(&changed, &view), None);
    }

    #[test]
    fn the_texts_of_a_rehearsal_are_bounded_and_none_is_compared_with_a_wrong_one() {
        let (before, after) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let view = Root::open(after.path()).unwrap();
        let mut differ = Differ::new(Root::open(before.path()).unwrap());
        differ.left = 100;
        fs::write(after.path().join("a"), "a\n".repeat(20)).unwrap();
        let (added, changed) = (change("/a", Kind::Added), change("/a", Kind::Changed));
        // The text is affordable, its diff is not.
        assert_eq!(differ.diff(&added, &view), None);
        assert_eq!(differ.left, 60);
        fs::write(after.path().join("a"), "a\n".repeat(40)).unwrap();
        assert_eq!(differ.diff(&changed, &view), None);
        fs::write(after.path().join("a"), "b\n").unwrap();
        assert_eq!(differ.diff(&changed, &view), None);
        fs::write(after.path().join("a"), "c\n").unwrap();
        assert_eq!(
            differ.diff(&changed, &view).unwrap(),
            "@@ -1 +1 @@\n-b\n+c\n"
        );
    }

    #[test]
    fn a_diff_has_hunks_with_what_is_around_them() {
        let before: String = (1..=30).map(|n| format!("{n}\n")).collect();
        let after = before
            .replace("\n5\n", "\nfive\n")
            .replace("\n30\n", "\n30");
        assert_eq!(
            unified(&before, &after),
            "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n\
             @@ -27,4 +27,4 @@\n 27\n 28\n 29\n-30\n+30\n\\ No newline at end of file\n"
        );
    }
}
