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
        let same_content = |old: &Entry, new: &Entry| is_same(path, layers, old, new);
        let (kind, detail) = compare(old.as_deref(), new.as_deref(), same_content)?;
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
    holder(path, layers)?.below(path).map(Cow::Owned)
}

/// Gives the layer that a path is in; `None` for one of no overlay.
pub(super) fn holder<'l>(path: &Path, layers: &'l [Layer]) -> Option<&'l Layer> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let holders = layers
        .iter()
        .filter(|layer| relative.starts_with(&layer.path));
    holders.max_by_key(|layer| layer.path.as_os_str().len())
}

fn compare(
    old: Option<&Entry>,
    new: Option<&Entry>,
    same_content: impl Fn(&Entry, &Entry) -> bool,
) -> Option<(Kind, Detail)> {
    let (old, new) = match (old, new) {
        (None, None) => return None,
        (None, Some(_)) => return Some((Kind::Added, Detail::default())),
        (Some(_), None) => return Some((Kind::Removed, Detail::default())),
        (Some(old), Some(new)) => (old, new),
    };
    let is_link = |entry: &Entry| matches!(entry.what, What::Link(_));
    let detail = Detail {
        content: !same_content(old, new),
        // The kernel does not use the mode of a link.
        mode: (old.mode != new.mode && !is_link(old) && !is_link(new))
            .then_some((old.mode, new.mode)),
        owner: (old.owner != new.owner).then_some((old.owner, new.owner)),
    };
    (detail != Detail::default()).then_some((Kind::Changed, detail))
}

/// Tells if two entries of a path have the same content. A file of the real root, which may
/// be of any size, is read only if nothing else tells them apart.
fn is_same(path: &Path, layers: &[Layer], old: &Entry, new: &Entry) -> bool {
    match (&old.what, &new.what) {
        (What::Directory { .. }, What::Directory { .. }) => true,
        (What::File(_), What::File(_)) if old.size != new.size => false,
        (What::File(None), What::File(Some(known)))
        | (What::File(Some(known)), What::File(None)) => {
            let below = holder(path, layers).and_then(|layer| layer.digest_below(path));
            below.as_ref() == Some(known)
        }
        (old, new) => old == new,
    }
}
