use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

fn root() -> (tempfile::TempDir, Root, Dir) {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("like")).unwrap();
    let mode = fs::Permissions::from_mode(0o711);
    fs::set_permissions(temp.path().join("like"), mode).unwrap();
    let root = Root::open(temp.path()).unwrap();
    let like = root.open_dir(Path::new("/like")).unwrap();
    (temp, root, like)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_directory_has_its_name_and_its_mode_only_when_it_is_published() {
    let (temp, root, like) = root();
    let path = Path::new("/packages/pkg");
    let staging = root.stage(path, &like).unwrap();
    let unpublished = root.host_path(staging.path());
    assert_eq!(mode(&unpublished), 0o700);
    assert!(!temp.path().join("packages/pkg").exists());
    staging.publish(path).unwrap();
    assert_eq!(mode(&temp.path().join("packages/pkg")), 0o711);
    assert!(!unpublished.exists());
}

#[test]
fn of_rivals_the_first_that_is_whole_stays_and_the_other_s_directory_goes() {
    let (temp, root, like) = root();
    let path = Path::new("/packages/pkg");
    let [first, second] = [0, 1].map(|n| {
        let staging = root.stage(path, &like).unwrap();
        let file = root.host_path(staging.path()).join("file");
        fs::write(file, n.to_string()).unwrap();
        staging
    });
    second.publish(path).unwrap();
    first.publish(path).unwrap();
    let packages = temp.path().join("packages");
    assert_eq!(fs::read(packages.join("pkg/file")).unwrap(), b"1");
    assert_eq!(fs::read_dir(packages).unwrap().count(), 1);
}

#[test]
fn what_killed_runs_have_left_beside_a_package_is_removed_and_what_live_ones_make_stays() {
    let (temp, root, like) = root();
    let path = Path::new("/packages/pkg");
    let live = root.stage(path, &like).unwrap();
    let packages = temp.path().join("packages");
    for stale in [".skyhook-agent-1-1.tmp", "pkg.partial"] {
        fs::create_dir_all(packages.join(stale).join("deep")).unwrap();
    }
    fs::create_dir(packages.join("other.partial")).unwrap();
    root.remove_stale_staging(path);
    assert!(root.host_path(live.path()).exists());
    assert!(packages.join("other.partial").exists());
    assert_eq!(fs::read_dir(&packages).unwrap().count(), 2);
    drop(live);
    assert_eq!(fs::read_dir(packages).unwrap().count(), 1);
}
