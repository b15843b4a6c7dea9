//! What a report says besides the findings themselves: what validate says before.

use serde_json::{Value, json};

use super::support::{Node, assert_says, or_skip, stderr, stdout};
use super::{can_have_a_view, document, rehearse};

/// A package whose apply is this script, with an uninstall that does nothing.
fn applying(script: &str) -> Node {
    lives(script, &[("uninstall", "#!/bin/sh\n:\n")], &json!({}))
}

/// A package with this apply, with scripts for other modes, each with its check, and with
/// other fields in its config.json.
fn lives(apply: &str, modes: &[(&str, &str)], fields: &Value) -> Node {
    let node = Node::new().step("a.sh", apply);
    let mut config: Value = serde_json::from_str(&node.config()).unwrap();
    let mut step = config["modes"]["apply"][0].clone();
    for (mode, script) in modes {
        let check = format!("{mode}-check");
        for (mode, script) in [(*mode, *script), (&*check, "#!/bin/sh\n")] {
            let path = format!("{mode}.sh");
            node.script(&path, script);
            step["name"] = json!(mode);
            step["path"] = json!(path);
            config["modes"][mode] = json!([step]);
        }
    }
    for (field, value) in fields.as_object().unwrap() {
        config[field] = value.clone();
    }
    node.write_config(config.to_string());
    node
}

#[track_caller]
fn human(arguments: &[&str], node: &Node) -> String {
    let output = rehearse(arguments, &node.path("copy")).output().unwrap();
    assert_eq!(stderr(&output), "");
    stdout(&output)
}

#[track_caller]
fn markdown(arguments: &[&str], node: &Node) -> String {
    human(&[&["--output", "markdown"], arguments].concat(), node)
}

#[test]
fn warnings_of_validate_come_first_and_do_not_end_it() {
    or_skip!(can_have_a_view());
    let node = lives("#!/bin/sh\n:\n", &[], &json!({ "made_up": 1 }));
    let shown = human(&["--no-cut"], &node);
    let (warnings, rest) = shown.split_once("▶ rehearse ").unwrap();
    assert_says(
        warnings,
        &["warning[ignored-key]: ", "/copy/config.json:1:", "= help: "],
    );
    assert!(!rest.contains("ignored-key"), "{rest}");
    let (document, output) = document(&["--no-cut"], &node.path("copy"));
    assert_eq!(output.status.code(), Some(0), "{document}");
    let warnings = document["warnings"].as_array().unwrap();
    let warning = warnings
        .iter()
        .find(|warning| warning["code"] == "ignored-key")
        .unwrap();
    assert_eq!(warning["severity"], "warning");
    assert_eq!(warning["line"], 1);
    assert_says(
        &markdown(&["--no-cut"], &node),
        &[
            "\n### Warnings of validate\n\n- `",
            "/copy/config.json:1` `ignored-key: ",
        ],
    );
}

#[test]
fn warnings_of_the_old_version_are_not_shown() {
    or_skip!(can_have_a_view());
    let fields = json!({ "made_up": 1, "package_version": "1.0.0" });
    let old = lives("#!/bin/sh\n:\n", &[], &fields);
    let modes = [("upgrade", "#!/bin/sh\n:\n")];
    let new = lives("#!/bin/sh\n:\n", &modes, &json!({}));
    let old = old.path("copy");
    let arguments = ["--no-cut", "--from", old.to_str().unwrap()];
    let shown = human(&arguments, &new);
    assert_says(&shown, &["Upgrade to version", "✓ every stage succeeded"]);
    assert!(!shown.contains("ignored-key"), "{shown}");
}

/// The kernel would say that there is no such file.
#[test]
fn line_ends_of_windows_are_named_before_there_is_a_view() {
    let node = applying("#!/bin/sh\r\necho a\r\n");
    for form in ["human", "json"] {
        let output = rehearse(&["--output", form], &node.path("copy"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(stdout(&output), "");
        assert_says(
            &stderr(&output),
            &[
                "copy/config.json: modes.apply[0].path: expected lines that end in \\n: the kernel \
                 would look for an interpreter called \"/bin/sh\\r\" (",
                "/copy/skyhook_dir/a.sh:1)\n",
            ],
        );
    }
}
