//! What changed from one look at a view to another.

use std::borrow::Cow;
use std::path::Path;

use super::layers::Layer;
use super::snapshot::{Entries, Entry, What};
use super::{Change, Detail, Kind};

/// Gives what differs, sorted by path.
pub(super) fn between(before: &Entries, now: &Entries, layers: &[Layer]) -> Vec<Change> {
    let mut paths: Vec<&Path> = before.keys().chain(now.keys()).map(AsRef::as_ref).collect();
    paths.sort_unstable();
    paths.dedup();
    let changes = paths.into_iter().filter_map(|path| {
        let old = at(path, before, layers);
        let new = at(path, now, layers);
        let (kind, detail) = compare(old.as_deref(), new.as_deref())?;
        Some(Change {
            path: path.to_owned(),
            kind,
            detail,
        })
    });
    changes.collect()
}

/// Tells what is at a path in a view.
fn at<'a>(path: &Path, entries: &'a Entries, layers: &[Layer]) -> Option<Cow<'a, Entry>> {
    if let Some(entry) = entries.get(path) {
        return (entry.what != What::Removed).then_some(Cow::Borrowed(entry));
    }
    let above = path.ancestors().skip(1);
    let above = above.filter_map(|above| entries.get(above)).next()?;
    if above.what != (What::Directory { is_merged: true }) {
        return None;
    }
    let relative = path.strip_prefix("/").unwrap_or(path);
    let holder = layers
        .iter()
        .filter(|layer| relative.starts_with(&layer.path))
        .max_by_key(|layer| layer.path.as_os_str().len())?;
    holder.below(path).map(Cow::Owned)
}

fn compare(old: Option<&Entry>, new: Option<&Entry>) -> Option<(Kind, Detail)> {
    let (old, new) = match (old, new) {
        (None, None) => return None,
        (None, Some(_)) => return Some((Kind::Added, Detail::default())),
        (Some(_), None) => return Some((Kind::Removed, Detail::default())),
        (Some(old), Some(new)) => (old, new),
    };
    let is_link = |entry: &Entry| matches!(entry.what, What::Link(_));
    let detail = Detail {
        content: !is_same(&old.what, &new.what),
        // The kernel does not use the mode of a link.
        mode: (old.mode != new.mode && !is_link(old) && !is_link(new))
            .then_some((old.mode, new.mode)),
        owner: (old.owner != new.owner).then_some((old.owner, new.owner)),
    };
    (detail != Detail::default()).then_some((Kind::Changed, detail))
}

fn is_same(old: &What, new: &What) -> bool {
    matches!((old, new), (What::Directory { .. }, What::Directory { .. })) || old == new
}
