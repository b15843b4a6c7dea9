//! config.json: what is accepted, what is refused and how that is said.

mod support;

use std::cell::OnceCell;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use skyhook_agent::host::Root;
use skyhook_agent::package::{
    Code, Config, Finding, Idempotence, Inspection, Mode, Severity, inspect,
};
use support::golden;

/// Inspects `json` as the config.json of a package with these step files.
fn inspect_text(json: &[u8], files: &[&str]) -> Inspection {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let file = dir.path().join("copy/skyhook_dir").join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }
    fs::create_dir_all(dir.path().join("copy")).unwrap();
    fs::write(dir.path().join("copy/config.json"), json).unwrap();
    let root = Root::open(dir.path()).unwrap();
    let inspection = inspect(&root, Path::new("/copy/config.json")).unwrap();
    assert_schema_agrees(json, &inspection);
    inspection
}

/// docs/config.schema.json, and its only schema.
type Schema = (boon::Schemas, boon::SchemaIndex);

fn schema() -> Schema {
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.schema.json");
    let index = compiler.compile(file, &mut schemas).unwrap();
    (schemas, index)
}

/// Checks that docs/config.schema.json accepts a document if the agent does. It does not
/// know which files there are, and counts characters where the agent counts bytes.
#[track_caller]
fn assert_schema_agrees(json: &[u8], inspection: &Inspection) {
    thread_local!(static SCHEMA: OnceCell<Schema> = const { OnceCell::new() });
    let Ok(document) = serde_json::from_slice::<Value>(json) else {
        return;
    };
    let is_beyond_it = |finding: &Finding| {
        let text = String::from_utf8_lossy(json);
        let has_bytes_alone = finding.code == Code::NameTooLong && !text.is_ascii();
        matches!(finding.code, Code::NoFile | Code::Unreadable) || has_bytes_alone
    };
    let findings = inspection.findings.iter();
    let is_refused = findings
        .filter(|finding| finding.severity == Severity::Error)
        .any(|finding| !is_beyond_it(finding));
    SCHEMA.with(|cell| {
        let (schemas, index) = cell.get_or_init(schema);
        let refusal = schemas.validate(&document, *index).err();
        let refusal = refusal.map(|refusal| refusal.to_string());
        assert_eq!(refusal.is_some(), is_refused, "{refusal:?}\n{inspection:?}");
    });
}

fn strings(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap();
    list.iter().map(|value| value.as_str().unwrap()).collect()
}

const FILES: [&str; 3] = ["a.sh", "a_check.sh", "steps/b"];

/// Reads a config that can be used.
#[track_caller]
fn load(config: &Value) -> Config {
    let inspection = inspect_text(config.to_string().as_bytes(), &FILES);
    inspection
        .config
        .unwrap_or_else(|| panic!("{:?}", inspection.findings))
}

/// The findings that are errors, of a config that cannot be used.
#[track_caller]
fn errors(inspection: &Inspection) -> Vec<String> {
    assert_eq!(inspection.config, None);
    let is_error = |finding: &Finding| finding.severity == Severity::Error;
    assert!(inspection.findings.iter().all(is_error), "{inspection:?}");
    inspection.findings.iter().map(Finding::to_string).collect()
}

/// What is wrong with a config.
#[track_caller]
fn problems(config: &Value) -> Vec<String> {
    errors(&inspect_text(config.to_string().as_bytes(), &FILES))
}

/// The warnings about a config that can be used, as the reference prints them.
fn warnings(inspection: &Inspection) -> Vec<String> {
    let is_warning = |finding: &Finding| {
        finding.severity == Severity::Warning && finding.code == Code::NoCheckFile
    };
    assert!(inspection.findings.iter().all(is_warning), "{inspection:?}");
    let lines = inspection.findings.iter();
    lines.map(|finding| format!(" {finding}")).collect()
}

fn step(path: &str) -> Value {
    json!({
        "name": "a", "path": path, "arguments": [], "returncodes": [0],
        "on_host": true, "idempotence": false, "upgrade_step": false,
    })
}

fn valid() -> Value {
    json!({
        "schema_version": "v1", "package_name": "p", "package_version": "1.0.0",
        "expected_config_files": [],
        "modes": { "apply": [step("a.sh")], "apply-check": [step("a_check.sh")] },
    })
}

/// The valid config with one value replaced, or added; `at` as in RFC 6901.
fn with(at: &str, value: Value) -> Value {
    let mut config = valid();
    let (parent, key) = at.rsplit_once('/').unwrap();
    config.pointer_mut(parent).unwrap()[key] = value;
    config
}

#[test]
fn the_reference_s_verdicts_and_warnings_are_ours() {
    let cases = golden("configs.json");
    assert_eq!(cases.len(), 60);
    for case in cases {
        let name = &case["name"];
        let config = case["config"].to_string();
        let inspection = inspect_text(config.as_bytes(), &strings(&case["files"]));
        assert_eq!(case["ok"], inspection.config.is_some(), "{name}");
        if inspection.config.is_some() {
            let warnings = warnings(&inspection);
            assert_eq!(warnings, strings(&case["warnings"]), "{name}");
        } else {
            assert!(!errors(&inspection).is_empty(), "{name}");
        }
    }
}

#[test]
fn a_config_is_read_into_its_fields() {
    let mut full = step("steps/b");
    full["arguments"] = json!(["x", "env:Y"]);
    full["returncodes"] = json!([0, 1.0, -15, -0.0, i64::MIN]);
    full["env"] = json!({ "A": "1" });
    full["requires_interrupt"] = json!(true);
    let mut config = with("/modes/apply", json!([step("a.sh"), full]));
    config["expected_config_files"] = json!(["f"]);
    config["unknown"] = json!("is fine");
    let config = load(&config);
    assert_eq!(config.expected_config_files, ["f"]);
    let [_, step] = &config.modes[&Mode::Apply][..] else {
        panic!("{config:?}");
    };
    assert_eq!((&*step.name, &*step.path), ("a", "steps/b"));
    assert_eq!(step.arguments, ["x", "env:Y"]);
    assert_eq!(step.returncodes, [0, 1, -15, 0, i64::MIN]);
    assert!(step.on_host && step.idempotence == Idempotence::Auto && !step.upgrade_step);
    assert_eq!(step.env["A"], "1");
    assert!(step.requires_interrupt);
}

#[test]
fn every_value_is_refused_by_its_place_with_what_was_expected() {
    let upgrade = |upgrade_step: bool| {
        let mut step = step("a.sh");
        step["upgrade_step"] = json!(upgrade_step);
        json!([step])
    };
    let string = "expected a string, got";
    let integer = "expected an integer of 64 bits, got";
    let inside = "expected a file inside skyhook_dir,";
    for (at, value, problem) in [
        (
            "/schema_version",
            json!("latest"),
            "expected \"v1\", got \"latest\"",
        ),
        (
            "/package_name",
            json!("a/b"),
            "expected a name without /, got \"a/b\"",
        ),
        (
            "/package_version",
            json!(1),
            "expected a semantic version such as 1.2.3, got 1",
        ),
        (
            "/expected_config_files",
            json!({}),
            "expected a list, got an object",
        ),
        ("/expected_config_files", json!([null]), string),
        ("/modes", json!([]), "expected an object, got a list"),
        (
            "/modes/bogus",
            json!([]),
            "unknown mode, expected one of apply, ",
        ),
        ("/modes/config", json!("x"), "expected a list, got \"x\""),
        ("/modes/interrupt", json!([1]), "expected an object, got 1"),
        (
            "/modes/config-check",
            upgrade(true),
            "expected false, except in upgrade and",
        ),
        (
            "/modes/interrupt",
            upgrade(true),
            "expected false, except in upgrade and",
        ),
        (
            "/modes/apply/0/extra",
            json!(1),
            "unknown key, expected one of name, path, ",
        ),
        (
            "/modes/apply/0/name",
            json!("a b"),
            "expected letters, digits, _, - and ., got",
        ),
        (
            "/modes/apply/0/name",
            json!("é"),
            "expected letters, digits, _, - and ., got",
        ),
        ("/modes/apply/0/path", json!(1), inside),
        ("/modes/apply/0/path", json!("b"), "which has no \"b\""),
        ("/modes/apply/0/arguments", json!([1]), string),
        (
            "/modes/apply/0/returncodes",
            json!([]),
            "expected at least one, got none",
        ),
        ("/modes/apply/0/returncodes", json!([1.5]), integer),
        ("/modes/apply/0/returncodes", json!([true]), integer),
        ("/modes/apply/0/returncodes", json!([u64::MAX]), integer),
        ("/modes/apply/0/returncodes", json!([1e300]), integer),
        (
            "/modes/apply/0/on_host",
            json!("yes"),
            "expected true or false, got \"yes\"",
        ),
        (
            "/modes/apply/0/upgrade_step",
            json!(null),
            "expected true or false, got null",
        ),
        (
            "/modes/apply/0/env",
            json!(null),
            "expected an object, got null",
        ),
        ("/modes/apply/0/env", json!({ "A": 1 }), string),
    ] {
        let problems = problems(&with(at, value));
        assert_eq!(problems.len(), 1, "{at}: {problems:?}");
        // From `/modes/apply/0/path` to `modes.apply[0].path`.
        let place = at[1..].replace("/0", "[0]").replace('/', ".");
        assert!(problems[0].starts_with(&place), "{at}: {problems:?}");
        assert!(problems[0].contains(problem), "{at}: {problems:?}");
    }
}

#[test]
fn every_missing_key_is_named() {
    let config = valid();
    for key in config.as_object().unwrap().keys() {
        let mut config = config.clone();
        config.as_object_mut().unwrap().remove(key);
        assert_eq!(
            problems(&config),
            [format!("{key}: expected a value, got none")]
        );
    }
    for key in step("a").as_object().unwrap().keys() {
        let mut config = config.clone();
        let step = &mut config["modes"]["apply-check"][0];
        step.as_object_mut().unwrap().remove(key);
        let place = format!("modes.apply-check[0].{key}");
        assert_eq!(
            problems(&config),
            [format!("{place}: expected a value, got none")]
        );
    }
}

#[test]
fn names_and_paths_that_lead_elsewhere_are_refused() {
    for name in ["", ".", "..", "a/b", "/a", "a/", "a\0"] {
        let problems = problems(&with("/package_name", json!(name)));
        assert!(
            problems[0].starts_with("package_name: expected"),
            "{problems:?}"
        );
    }
    for path in [
        "",
        ".",
        "..",
        "/a.sh",
        "../x",
        "steps/../a.sh",
        "steps/",
        "steps/.",
        "a.sh\0",
    ] {
        let problems = problems(&with("/modes/apply/0/path", json!(path)));
        let expected = "modes.apply[0].path: expected a file inside skyhook_dir, got";
        assert!(problems[0].starts_with(expected), "{problems:?}");
    }
    for path in ["./a.sh", "steps//b", "steps/./b"] {
        load(&with("/modes/apply/0/path", json!(path)));
    }
}

/// The codes of what is wrong with a config.
#[track_caller]
fn codes(config: &Value) -> Vec<&'static str> {
    let inspection = inspect_text(config.to_string().as_bytes(), &FILES);
    assert_eq!(inspection.config, None);
    let findings = inspection.findings.iter();
    findings.map(|finding| finding.code.name()).collect()
}

/// They stand beside the packages' flags.
#[test]
fn a_package_has_no_name_of_the_agent_s_own_files() {
    for name in [
        "START",
        "check_results",
        "apply-check_ALL_CHECKED",
        "_ALL_CHECKED",
        ".skyhook-agent-p.new",
    ] {
        let config = with("/package_name", json!(name));
        assert_eq!(codes(&config), ["reserved-name"], "{name}");
        assert_eq!(
            problems(&config),
            [format!(
                "package_name: expected a name that the agent does not use for its own files, \
                 got {name:?}"
            )]
        );
    }
    for name in [
        "start",
        "START2",
        "check_results.json",
        "ALL_CHECKED",
        "x_ALL_CHECKED_",
        ".x",
    ] {
        load(&with("/package_name", json!(name)));
    }
}

#[test]
fn control_characters_in_names_versions_and_paths_are_refused_by_place() {
    for control in ["\n", "\r", "\t", "\u{1b}", "\u{7f}", "\u{85}", "\u{9b}"] {
        let text = format!("a{control}b");
        for (at, code) in [
            ("/package_name", &["control-character"][..]),
            ("/package_version", &["package-version"]),
            ("/expected_config_files", &["control-character"]),
            ("/modes/apply/0/path", &["control-character", "no-file"]),
            ("/modes/apply/0/name", &["step-name"]),
        ] {
            let is_list = at == "/expected_config_files";
            let value = if is_list { json!([text]) } else { json!(text) };
            let config = with(at, value);
            assert_eq!(codes(&config), code, "{at} {control:?}");
            let place = at[1..].replace("/0", "[0]").replace('/', ".");
            let place = if is_list { place + "[0]" } else { place };
            let problems = problems(&config);
            assert!(
                problems[0].starts_with(&format!("{place}: expected ")),
                "{problems:?}"
            );
            assert!(problems[0].contains(", got \"a"), "{problems:?}");
        }
        // Arguments and values of the environment are the step's own.
        let mut config = with("/modes/apply/0/arguments", json!([text]));
        config["modes"]["apply"][0]["env"] = json!({ "A": text });
        load(&config);
    }
    for fine in ["é", "日本", "a b", "~"] {
        load(&with("/package_name", json!(fine)));
    }
}

/// The kernel has no such variables: the step would never run.
#[test]
fn variables_that_no_process_can_have_are_refused_by_place() {
    let place = "modes.apply[0]";
    for (key, value, problem) in [
        (
            "env",
            json!({ "A": "\0" }),
            format!("{place}.env.A: expected no NUL in it, got \"\\u0000\""),
        ),
        (
            "env",
            json!({ "A=B": "" }),
            format!("{place}.env.A=B: expected a name without = and NUL, got \"A=B\""),
        ),
        (
            "env",
            json!({ "A\0": "" }),
            format!("{place}.env.A\0: expected a name without = and NUL, got \"A\\0\""),
        ),
    ] {
        let config = with(&format!("/modes/apply/0/{key}"), value);
        assert_eq!(problems(&config), [problem]);
    }
    // A step that has its flag is skipped, whatever its arguments are.
    load(&with("/modes/apply/0/arguments", json!(["a\0b"])));
    // No program can read a variable without a name, but the step runs.
    load(&with(
        "/modes/apply/0/env",
        json!({ "": "x=y", "é ü": "\n" }),
    ));
}

#[test]
fn expected_config_files_lie_inside_configmaps() {
    for path in ["..", "../x", "a/../b", "a/..", "/etc/passwd", "/"] {
        let config = with("/expected_config_files", json!(["fine", path]));
        assert_eq!(codes(&config), ["config-file-path"], "{path}");
        assert_eq!(
            problems(&config),
            [format!(
                "expected_config_files[1]: expected a file inside configmaps, got {path:?}"
            )]
        );
    }
    for path in ["a", "a/b", "./a", "..a", "a..", "...", ".hidden"] {
        load(&with("/expected_config_files", json!([path])));
    }
}

#[test]
fn a_version_is_semantic_and_nothing_else() {
    for version in [
        "0.0.0",
        "1.0.0-0",
        "1.0.0--",
        "1.0.0-0a.b-c+01.-",
        "1.0.0+a-b",
        "99999999999999999999.0.0",
    ] {
        load(&with("/package_version", json!(version)));
    }
    for version in [
        "",
        "..",
        "1.0",
        "1.0.0.0",
        "v1.0.0",
        "01.0.0",
        "1..0",
        "1.0.0-",
        "1.0.0-a..b",
        "1.0.0-01",
        "1.0.0+",
        "1.0.0+a+b",
        "1.0.0-é",
        "1.0.0\n",
        "+1.0.0",
        "1.0.-0",
    ] {
        let problems = problems(&with("/package_version", json!(version)));
        assert!(
            problems[0].starts_with("package_version: expected"),
            "{version}"
        );
    }
}

#[test]
fn all_problems_are_found_at_once_each_with_its_place() {
    let mut config = with("/modes/apply", json!([{ "path": "no.sh" }, 1]));
    config["package_version"] = json!("1");
    config["modes"]
        .as_object_mut()
        .unwrap()
        .remove("apply-check");
    let lines = problems(&config);
    assert_eq!(lines.len(), 10, "{lines:#?}");
    for (line, place) in lines.iter().zip([
        "package_version: ",
        "modes.apply[0].name: ",
        "modes.apply[0].path: ",
        "modes.apply[0].arguments: ",
        "modes.apply[0].returncodes: ",
        "modes.apply[0].on_host: ",
        "modes.apply[0].idempotence: ",
        "modes.apply[0].upgrade_step: ",
        "modes.apply[1]: ",
        "modes: expected a step in apply-check, to check apply",
    ]) {
        assert!(line.starts_with(place), "{line}");
    }
}

#[test]
fn there_must_be_steps_and_checks_of_them() {
    let none = "modes: expected at least one step, got none";
    let not_only =
        "modes: expected at least one of apply, config, post-interrupt, upgrade, uninstall";
    let check = |mode: &str| format!("modes: expected a step in {mode}-check, to check {mode}");
    let some = || json!([step("a.sh")]);
    for (modes, expected) in [
        (json!({}), vec![none.to_owned(), not_only.to_owned()]),
        (json!({ "apply": [] }), vec![none.to_owned()]),
        (json!({ "apply-check": some() }), vec![not_only.to_owned()]),
        (json!({ "interrupt": some() }), vec![not_only.to_owned()]),
        (json!({ "interrupt": some(), "config": [] }), vec![]),
        (json!({ "uninstall": [], "apply-check": some() }), vec![]),
        (
            json!({ "upgrade": some(), "apply-check": some() }),
            vec![check("upgrade")],
        ),
        (
            json!({ "post-interrupt": some(), "apply": some(), "apply-check": [] }),
            vec![check("apply"), check("post-interrupt")],
        ),
    ] {
        let config = with("/modes", modes);
        if expected.is_empty() {
            load(&config);
        } else {
            assert_eq!(problems(&config), expected, "{config}");
        }
    }
}

/// Each mode has a rule of its own in the schema.
#[test]
fn each_mode_with_steps_needs_a_step_in_its_check_alone() {
    let some = || json!([step("a.sh")]);
    for mode in Mode::ALL {
        let mut config = with("/modes", json!({ "apply": [], "config": [] }));
        assert_eq!(codes(&config), ["no-step"]);
        config["modes"][mode.name()] = some();
        let Some(check) = mode.check() else {
            load(&config);
            continue;
        };
        assert_eq!(codes(&config), ["no-check-step"], "{mode}");
        config["modes"][check.name()] = json!([]);
        assert_eq!(codes(&config), ["no-check-step"], "{mode}");
        config["modes"][check.name()] = some();
        load(&config);
        config["modes"] = json!({ mode.name(): [], "apply-check": some() });
        load(&config);
    }
}

#[test]
fn names_that_become_too_long_with_what_the_agent_adds_are_refused() {
    for (at, most) in [("/package_name", 243), ("/modes/apply/0/path", 183)] {
        let name = |length: usize| json!("x".repeat(length));
        let long = codes(&with(at, name(most + 1)));
        assert!(long.contains(&"name-too-long"), "{at}: {long:?}");
        let fits = inspect_text(with(at, name(most)).to_string().as_bytes(), &FILES);
        let codes = fits.findings.iter().map(|finding| finding.code);
        assert!(
            codes.into_iter().all(|code| code != Code::NameTooLong),
            "{at}"
        );
    }
}

#[test]
fn each_missing_check_gives_one_warning_in_the_order_of_modes() {
    let mut config = with(
        "/modes/apply",
        json!([step("steps/b"), step("a.sh"), step("steps/b")]),
    );
    config["modes"]["upgrade"] = json!([step("steps/b")]);
    config["modes"]["upgrade-check"] = json!([step("a.sh")]);
    config["modes"]["uninstall"] = json!([step("a_check.sh")]);
    config["modes"]["uninstall-check"] = json!([step("a.sh")]);
    config["modes"]["interrupt"] = json!([step("a_check.sh")]);
    let expected = ["a_check_check.sh", "steps/b_check"].map(|path| {
        format!(" {path} doesn't exist. Checks ensure that all tasks in the step will complete.")
    });
    let inspection = inspect_text(config.to_string().as_bytes(), &FILES);
    assert_eq!(warnings(&inspection), expected);
}

#[test]
fn text_that_is_no_json_is_refused_with_its_line_and_column() {
    let deep = "[".repeat(1_000_000);
    for (text, place) in [
        ("", "line 1 column 0"),
        ("{\n\"schema_version\": 1,}", "line 2 column"),
        ("{} {}", "line 1 column"),
        ("{\"modes\": NaN}", "line 1 column"),
        (&deep, "recursion limit"),
    ] {
        let inspection = inspect_text(text.as_bytes(), &[]);
        let errors = errors(&inspection);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(inspection.findings[0].code, Code::Syntax);
        assert!(errors[0].starts_with("expected JSON: "), "{errors:?}");
        assert!(errors[0].contains(place), "{errors:?}");
    }
    let problems = problems(&json!(["a"]));
    assert_eq!(problems, ["expected an object, got a list"]);
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    let text = valid().to_string();
    for (first, second, is_valid) in [("\"v1\"", "2", false), ("2", "\"v1\"", true)] {
        let both = format!("\"schema_version\":{first},\"schema_version\":{second}");
        let text = text.replace("\"schema_version\":\"v1\"", &both);
        assert_eq!(
            inspect_text(text.as_bytes(), &FILES).config.is_some(),
            is_valid,
            "{text}"
        );
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(step("a.sh")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..4).prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #[test]
    fn a_config_with_any_json_anywhere_is_accepted_or_refused_with_reasons(
        at in prop::sample::select(vec![
            "/schema_version", "/package_name", "/package_version", "/expected_config_files",
            "/modes", "/modes/apply", "/modes/apply-check", "/modes/interrupt", "/modes/apply/0",
            "/modes/apply/0/name", "/modes/apply/0/path", "/modes/apply/0/arguments",
            "/modes/apply/0/returncodes", "/modes/apply/0/env", "/modes/apply/0/upgrade_step",
        ]),
        value in any_json(),
    ) {
        if let Some((parent, "0")) = at.rsplit_once('/') {
            assert_accepted_or_refused(&with(parent, json!([value])).to_string());
        } else {
            assert_accepted_or_refused(&with(at, value).to_string());
        }
    }

    #[test]
    fn any_json_document_is_accepted_or_refused_with_reasons(value in any_json()) {
        assert_accepted_or_refused(&value.to_string());
    }

    #[test]
    fn any_text_is_accepted_or_refused_with_reasons(text in ".{0,64}") {
        assert_accepted_or_refused(&text);
    }
}

/// Checks that a config is accepted, or refused with reasons.
fn assert_accepted_or_refused(text: &str) {
    let inspection = inspect_text(text.as_bytes(), &FILES);
    let is_error = |finding: &Finding| finding.severity == Severity::Error;
    let is_refused = inspection.findings.iter().any(is_error);
    assert_eq!(inspection.config.is_none(), is_refused, "{inspection:?}");
}
