//! Many paths below one directory as one line.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// The most lines of one kind below one directory.
const MOST: usize = 20;

/// The same below one at the top, such as `/usr`: it says little of what is in it.
const MOST_AT_THE_TOP: usize = 100;

/// A line of a list of paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its entry, or the first of its entries, counted from 0.
    pub(super) entry: usize,
    /// What is shown of it: the path, or `/usr/share/doc/ … 1,234 files`.
    pub(super) path: String,
    /// Tells if it stands for more than one entry.
    pub(super) is_folded: bool,
}

/// Makes lines of entries: each a path, and what it must have in common with others to be
/// one line with them. The lines are sorted by path.
///
/// If there would be more than [`MOST`] lines below a directory, those of its directories
/// that have the most lines are one line each, and it is one itself if that is not enough.
/// So is a directory that is an entry itself and has more than [`MOST`] files in it. `/` is
/// never one.
pub(super) fn fold<K: Ord>(entries: impl IntoIterator<Item = (String, K)>) -> Vec<Line> {
    let mut kinds: BTreeMap<K, Vec<(usize, String)>> = BTreeMap::new();
    for (number, (path, kind)) in entries.into_iter().enumerate() {
        kinds.entry(kind).or_default().push((number, path));
    }
    let mut lines: Vec<Line> = kinds.into_values().flat_map(of_one_kind).collect();
    lines.sort_unstable_by(|a, b| Path::new(&a.path).cmp(Path::new(&b.path)));
    lines
}

fn of_one_kind(mut entries: Vec<(usize, String)>) -> Vec<Line> {
    // All below a directory stands together then.
    entries.sort_unstable_by(|(_, a), (_, b)| Path::new(a).cmp(Path::new(b)));
    let mut files_before = vec![0];
    for (at, (_, path)) in entries.iter().enumerate() {
        // A directory counts by what is in it.
        let next = entries.get(at + 1);
        let is_file = next.is_none_or(|(_, next)| !is_below(next, path));
        let before = files_before.last().copied().unwrap_or_default();
        files_before.push(before + usize::from(is_file));
    }
    let folding = Folding {
        entries: &entries,
        files_before: &files_before,
    };
    folding.below(0, 0..entries.len(), usize::MAX).lines
}

/// Entries of one kind, sorted.
struct Folding<'a> {
    entries: &'a [(usize, String)],
    /// For each entry, the number of files among those before it.
    files_before: &'a [usize],
}

/// The lines of a directory, or of a part of it.
#[derive(Default)]
struct Part {
    lines: Vec<Line>,
    /// The number of files among them, and of lines for more than one.
    weight: usize,
}

impl Folding<'_> {
    /// Makes lines of entries that are all below a directory, whose path has `depth` bytes.
    fn below(&self, depth: usize, range: Range<usize>, most: usize) -> Part {
        let mut children = Vec::new();
        let mut start = range.start;
        while start < range.end {
            let path = self.path(start);
            let rest = path.get(depth + 1..).unwrap_or_default();
            let end_of_name = rest.find('/').map_or(path.len(), |at| depth + 1 + at);
            let child = path.get(..end_of_name).unwrap_or(path);
            let same = self.entries.get(start..range.end).unwrap_or_default();
            let len = same.partition_point(|(_, path)| path == child || is_below(path, child));
            let end = start + len.max(1);
            let most = if depth == 0 { MOST_AT_THE_TOP } else { MOST };
            children.push((child, start..end, self.child(child, start..end, most)));
            start = end;
        }
        let mut weight: usize = children.iter().map(|(_, _, part)| part.weight).sum();
        let mut by_weight: Vec<_> = children.iter_mut().collect();
        by_weight.sort_unstable_by_key(|(_, _, part)| Reverse(part.weight));
        for (child, range, part) in by_weight {
            if weight <= most || part.weight <= 1 {
                break;
            }
            weight -= part.weight - 1;
            *part = self.folded(child, range.clone());
        }
        let lines = children.into_iter().flat_map(|(_, _, part)| part.lines);
        Part {
            lines: lines.collect(),
            weight,
        }
    }

    /// Makes lines of a path and all that is below it.
    fn child(&self, child: &str, range: Range<usize>, most: usize) -> Part {
        let is_entry = self.path(range.start) == child;
        if is_entry && range.len() == 1 {
            return Part {
                lines: vec![self.line(range.start)],
                weight: 1,
            };
        }
        if is_entry && self.files(&range) > MOST {
            return self.folded(child, range);
        }
        let below = range.start + usize::from(is_entry)..range.end;
        let mut part = self.below(child.len(), below, most);
        if part.weight > most {
            return self.folded(child, range);
        }
        if is_entry {
            part.lines.insert(0, self.line(range.start));
        }
        part
    }

    /// Makes one line of a directory.
    fn folded(&self, directory: &str, range: Range<usize>) -> Part {
        let files = thousands(self.files(&range));
        let line = Line {
            entry: self.entries.get(range.start).map_or(0, |(entry, _)| *entry),
            path: format!("{directory}/ … {files} files"),
            is_folded: true,
        };
        Part {
            lines: vec![line],
            weight: 1,
        }
    }

    fn line(&self, at: usize) -> Line {
        Line {
            entry: self.entries.get(at).map_or(0, |(entry, _)| *entry),
            path: self.path(at).to_owned(),
            is_folded: false,
        }
    }

    fn path(&self, at: usize) -> &str {
        self.entries.get(at).map_or("", |(_, path)| path)
    }

    fn files(&self, range: &Range<usize>) -> usize {
        let before = |at: usize| self.files_before.get(at).copied().unwrap_or_default();
        before(range.end).saturating_sub(before(range.start))
    }
}

fn is_below(path: &str, dir: &str) -> bool {
    let rest = path.strip_prefix(dir);
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// A number with a comma in front of each three digits.
pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(paths: &[(&str, char)]) -> Vec<String> {
        let entries = paths.iter().map(|(path, kind)| ((*path).to_owned(), *kind));
        let lines = fold(entries);
        let kinds = lines.iter().map(|line| {
            let (_, kind) = paths[line.entry];
            format!("{kind} {}", line.path)
        });
        kinds.collect()
    }

    /// `count` files in a directory.
    fn files(dir: &str, count: usize) -> Vec<String> {
        (0..count).map(|n| format!("{dir}/{n:04}")).collect()
    }

    fn added(paths: &[String]) -> Vec<String> {
        let paths: Vec<_> = paths.iter().map(|path| (path.as_str(), '+')).collect();
        shown(&paths)
    }

    #[test]
    fn up_to_twenty_files_are_a_line_each_and_more_are_one() {
        let twenty = files("/usr/bin", 20);
        assert_eq!(added(&twenty).len(), 20);
        assert_eq!(added(&files("/usr/bin", 21)), ["+ /usr/bin/ … 21 files"]);
        assert_eq!(
            added(&files("/usr/bin", 12_345)),
            ["+ /usr/bin/ … 12,345 files"]
        );
    }

    #[test]
    fn the_deepest_directory_with_too_many_lines_is_the_one() {
        let mut paths = Vec::new();
        for package in files("/usr/share/doc", 30) {
            paths.push(package.clone());
            paths.extend(files(&package, 2));
        }
        paths.extend(files("/usr/share/man/man1", 25));
        paths.extend(files("/usr/bin", 3));
        assert_eq!(
            added(&paths),
            [
                "+ /usr/bin/0000",
                "+ /usr/bin/0001",
                "+ /usr/bin/0002",
                "+ /usr/share/doc/ … 60 files",
                "+ /usr/share/man/man1/ … 25 files",
            ]
        );
    }

    /// A person wants to see the few files besides the many.
    #[test]
    fn the_fullest_directories_are_a_line_each_and_the_others_stay() {
        let mut paths = files("/usr/share/man", 15);
        paths.extend(files("/usr/share/locale", 12));
        paths.extend(files("/usr/share/bug", 2));
        assert_eq!(
            added(&paths),
            [
                "+ /usr/share/bug/0000",
                "+ /usr/share/bug/0001",
                "+ /usr/share/locale/0000",
                "+ /usr/share/locale/0001",
                "+ /usr/share/locale/0002",
                "+ /usr/share/locale/0003",
                "+ /usr/share/locale/0004",
                "+ /usr/share/locale/0005",
                "+ /usr/share/locale/0006",
                "+ /usr/share/locale/0007",
                "+ /usr/share/locale/0008",
                "+ /usr/share/locale/0009",
                "+ /usr/share/locale/0010",
                "+ /usr/share/locale/0011",
                "+ /usr/share/man/ … 15 files",
            ]
        );
    }

    #[test]
    fn a_directory_at_the_top_has_up_to_a_hundred_lines() {
        let mut paths = files("/etc", 20);
        for dir in files("/etc/d", 5) {
            paths.extend(files(&dir, 4));
        }
        paths.extend(files("/etc/e", 20));
        assert_eq!(added(&paths).len(), 60);
        assert_eq!(added(&files("/etc", 100)).len(), 100);
        assert_eq!(added(&files("/etc", 101)), ["+ /etc/ … 101 files"]);
    }

    #[test]
    fn a_new_directory_is_one_line_with_all_below_it() {
        let mut paths = vec!["/opt/big".to_owned(), "/opt/small".to_owned()];
        for dir in files("/opt/big", 5) {
            paths.push(dir.clone());
            paths.extend(files(&dir, 5));
        }
        paths.extend(files("/opt/small", 2));
        assert_eq!(
            added(&paths),
            [
                "+ /opt/big/ … 25 files",
                "+ /opt/small",
                "+ /opt/small/0000",
                "+ /opt/small/0001",
            ]
        );
    }

    #[test]
    fn other_kinds_have_lines_of_their_own() {
        let new = files("/a/a", 21);
        let mut paths: Vec<(&str, char)> = new.iter().map(|path| (path.as_str(), '+')).collect();
        paths.insert(3, ("/a/a/changed", '~'));
        paths.insert(9, ("/a/a/gone", '-'));
        assert_eq!(
            shown(&paths),
            ["+ /a/a/ … 21 files", "~ /a/a/changed", "- /a/a/gone"]
        );
    }

    #[test]
    fn names_that_begin_alike_are_not_below_one_another() {
        let mut paths = files("/a/a", 21);
        paths.push("/a/a-b".to_owned());
        paths.push("/a/a.d/x".to_owned());
        paths.push("/a/ab".to_owned());
        let mut lines = added(&paths);
        lines.sort();
        assert_eq!(
            lines,
            ["+ /a/a-b", "+ /a/a.d/x", "+ /a/a/ … 21 files", "+ /a/ab"]
        );
    }

    #[test]
    fn the_root_is_never_a_line_and_a_deep_path_is_one() {
        let paths: Vec<String> = (0..30).map(|n| format!("/{n}")).collect();
        assert_eq!(added(&paths).len(), 30);
        assert_eq!(added(&["/a/b".repeat(300)]).len(), 1);
        let mut chain: Vec<String> = (1..300).map(|n| "/a".repeat(n)).collect();
        assert_eq!(added(&chain).len(), 299);
        chain.push("/".to_owned());
        assert_eq!(added(&chain).len(), 300);
        assert!(added(&[]).is_empty());
    }

    #[test]
    fn numbers_have_commas() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }
}
