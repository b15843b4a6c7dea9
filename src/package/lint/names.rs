//! The name of the package, and the keys of config.json that no program reads.

use serde_json::Value;

use super::super::{Code, Place};
use super::near::near;
use super::{Files, Notes};

/// The keys of a config.json, and the one that editors read.
const KEYS: [&str; 6] = [
    "schema_version",
    "package_name",
    "package_version",
    "expected_config_files",
    "modes",
    "$schema",
];

pub(super) fn lint(document: &Value, files: &Files, name: Option<&str>, notes: &mut Notes<'_>) {
    for key in document
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.keys())
    {
        if !KEYS.contains(&key.as_str()) {
            let hint =
                near(key, KEYS).map_or(String::new(), |near| format!("; did you mean {near}?"));
            let message = format!("this key is not known, and ignored{hint}");
            notes.warn_of_key(Code::IgnoredKey, &Place::DOCUMENT.key(key), message);
        }
    }
    let Some(package) = document.get("package_name").and_then(Value::as_str) else {
        return;
    };
    let message = match name {
        Some(name) if name == package => return,
        Some(name) => format!("the operator's name of the package is {name:?}"),
        None => match files.folder() {
            Some(folder) if !is_folder_of(&folder, package) => {
                format!("the package is in a directory called {folder:?}")
            }
            _ => return,
        },
    };
    notes.warn(
        Code::OtherName,
        &Place::DOCUMENT.key("package_name"),
        message,
    );
}

/// Tells if a directory is called like the package, or like a version of it.
fn is_folder_of(folder: &str, package: &str) -> bool {
    let rest = folder.strip_prefix(package);
    rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::is_folder_of;

    #[test]
    fn a_directory_is_called_like_the_package_or_a_version_of_it() {
        for folder in ["tuned", "tuned-1.2.0", "tuned_1", "tuned.git"] {
            assert!(is_folder_of(folder, "tuned"), "{folder}");
        }
        for folder in ["tune", "tuneds", "nvidia-tuned", "tuned2"] {
            assert!(!is_folder_of(folder, "tuned"), "{folder}");
        }
    }
}
