//! Bringing a package onto the host: its own directory, for a legacy start, and the
//! files that it lays over the host (contract §7.3, §7.5).

use std::ops::ControlFlow;
use std::path::Path;

use super::{Outcome, Process};
use crate::error::Error;
use crate::host::{Copied, Copying, Root, copy_tree};
use crate::package::Config;

/// The directory of files that the operator's older versions put into the container.
const NODE_FILES: &str = "/etc/nvidia-bootstrap/node-files";

/// Copies the package of a legacy start to `copy_dir`, if that is missing. The copy gets
/// its name only when all of it is there and on disk, since what has the name counts as
/// complete. Several agents may do so at once: each makes a copy of its own, and the
/// first that is whole stays. Breaks if the run was cancelled before that.
pub(super) fn stage_package(
    root: &Root,
    copy_dir: &Path,
    process: &mut Process<'_>,
) -> Result<ControlFlow<Outcome>, Error> {
    root.remove_stale_staging(copy_dir);
    if root.exists(copy_dir)? {
        return Ok(ControlFlow::Continue(()));
    }
    let own_root = process.own_root;
    let data_dir = Path::new(&process.settings.data_dir);
    // Before anything is created on the host.
    let package = own_root.open_dir(data_dir).map_err(|error| {
        let problem = format!(
            "COPY_DIR is not on the host, and it cannot be copied from SKYHOOK_DATA_DIR, which \
             is {}: {error}",
            data_dir.display()
        );
        Error::Package {
            file: root.host_path(copy_dir),
            problems: vec![problem],
        }
    })?;
    let cancellation = process.signals.cancellation.clone();
    let copying = Copying {
        cancelled: &|| cancellation.is_cancelled(),
        // All at once, by `publish`.
        durable: false,
    };
    let staging = root.stage(copy_dir, &package)?;
    let node_files = Path::new(NODE_FILES);
    let mut sources = vec![data_dir];
    if own_root.exists(node_files)? {
        sources.push(node_files);
    }
    for source in sources {
        let copied = copy_tree(own_root, source, root, staging.path(), &copying)?;
        let flow = report(copied, "the package is not copied to the host", process);
        if flow.is_break() {
            return Ok(flow);
        }
    }
    staging.publish(copy_dir)?;
    Ok(ControlFlow::Continue(()))
}

/// Lays the package's `root_dir` over the host, if the package has one. Breaks if the
/// run was cancelled before all of it was there.
pub(super) fn apply_overlay(
    root: &Root,
    copy_dir: &Path,
    process: &mut Process<'_>,
) -> Result<ControlFlow<Outcome>, Error> {
    let overlay = copy_dir.join("root_dir");
    if !root.exists(&overlay)? {
        return Ok(ControlFlow::Continue(()));
    }
    let cancellation = process.signals.cancellation.clone();
    let copying = Copying {
        cancelled: &|| cancellation.is_cancelled(),
        durable: true,
    };
    let copied = copy_tree(root, &overlay, root, Path::new("/"), &copying)?;
    let undone = "not all of root_dir is laid over the host";
    Ok(report(copied, undone, process))
}

/// Checks that the package's `configmaps` has each file that its config expects.
pub(super) fn expect_config_files(
    root: &Root,
    copy_dir: &Path,
    config: &Config,
) -> Result<(), Error> {
    let configmaps = copy_dir.join("configmaps");
    let mut problems = Vec::new();
    for file in &config.expected_config_files {
        if !root.exists(&configmaps.join(file))? {
            problems.push(format!("{file}: expected this file, which is not there"));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let file = root.host_path(&configmaps);
    Err(Error::Package { file, problems })
}

/// Says what a copy has to say. Breaks if it was cancelled, and says what is `undone`.
fn report(copied: Copied, undone: &str, process: &mut Process<'_>) -> ControlFlow<Outcome> {
    match copied {
        Copied::Whole { notice } => {
            if let Some(notice) = notice {
                process.console.notice(&notice);
            }
            ControlFlow::Continue(())
        }
        Copied::Cancelled => {
            process.console.notice(&format!("cancelled: {undone}"));
            ControlFlow::Break(Outcome::Cancelled)
        }
    }
}
