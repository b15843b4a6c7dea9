//! The forms that are text, of a report with names that try to break out of it.

use super::*;
use crate::commands::rehearse::Allow;
use crate::output::Palette;

mod whole;

const NASTY: &str = "/a\u{1b}[2J`b``|<c>&\"'\n]]>\u{ffff}";

fn step(path: &str, outcome: StepOutcome, code: Option<i32>) -> Step {
    Step {
        path: path.to_owned(),
        outcome,
        code,
        seconds: 0.5,
    }
}

fn stage(pass: Pass, mode: Mode, outcome: StageOutcome, steps: Vec<Step>) -> Stage {
    Stage {
        mode,
        pass,
        outcome,
        seconds: 1.25,
        steps,
        output: String::new(),
        log: None,
    }
}

fn nasty() -> Report {
    let mut failed = stage(
        Pass::First,
        Mode::Apply,
        StageOutcome::Failed,
        vec![
            step("good.sh", StepOutcome::Succeeded, None),
            step(NASTY, StepOutcome::Failed, Some(3)),
        ],
    );
    failed.output = "[out]one\n[out]</failure>```\u{1b}[2J\n".to_owned();
    Report {
        schema: 1,
        package: "pkg".to_owned(),
        version: "1.0.0".to_owned(),
        stages: vec![
            failed,
            stage(
                Pass::Cut,
                Mode::Apply,
                StageOutcome::Cut,
                vec![step("good.sh", StepOutcome::Cut, Some(-15))],
            ),
            stage(Pass::Again, Mode::Apply, StageOutcome::Succeeded, vec![]),
        ],
        not_idempotent: vec![Finding {
            path: NASTY.to_owned(),
            mode: Mode::Apply,
            step: Some("good.sh".to_owned()),
            pass: Pass::Again,
            kind: Kind::Changed,
            detail: String::new(),
            diff: None,
        }],
        ..Report::default()
    }
}

#[test]
fn a_page_of_markdown_cannot_be_broken_out_of() {
    let page = markdown::page(&nasty());
    assert!(!page.contains('\u{1b}'), "{page}");
    // The fences are longer than what they hold.
    assert!(page.contains("- ```apply good.sh: ~ /a"), "{page}");
    assert!(
        page.contains("\n````\n[out]one\n[out]</failure>```"),
        "{page}"
    );
    // A bar does not end a cell.
    let row = page
        .lines()
        .find(|line| line.contains("❌ failed"))
        .unwrap();
    assert_eq!(row.replace("\\|", "").matches('|').count(), 6, "{row}");
    assert!(row.contains("`good.sh`"), "{row}");
}

#[test]
fn a_document_of_junit_has_a_test_for_each_step_and_check_and_is_well_formed() {
    let document = junit::document(&nasty());
    assert!(!document.contains(['\u{1b}', '\u{ffff}']), "{document}");
    let head = "<testsuite name=\"rehearse pkg 1.0.0\" tests=\"5\" failures=\"2\"";
    assert!(document.contains(head), "{document}");
    for part in [
        "<testcase classname=\"first.apply\" name=\"good.sh\" time=\"0.500\"/>",
        "&lt;c&gt;&amp;&quot;&apos;\\n]]&gt;",
        "<failure type=\"failure\" message=\"exit code 3\">exit code 3\n[out]one\n[out]&lt;/failure&gt;```\\u{1b}[2J\nnote: on a node",
        "name=\"a second pass changes nothing\" time=\"0.000\"><failure type=\"failure\" message=\"Not idempotent",
        "name=\"each step that was cut off can be started anew\" time=\"0.000\"/>",
        "classname=\"again.apply\" name=\"apply\"",
    ] {
        assert!(document.contains(part), "{part} in {document}");
    }
    let opened = document.matches("<testcase").count();
    let closed = document.matches("</testcase>").count() + document.matches("\"/>").count();
    assert_eq!(opened, closed);
}

/// GitHub refuses a longer comment.
#[test]
fn a_page_of_markdown_has_an_end_whatever_was_found() {
    let long = "`".repeat(2000);
    let mut report = nasty();
    report.stages[0].output = "a line that a step has said\n".repeat(10_000);
    report.gaps = vec![long.clone(); 100];
    report.operator.services = vec!["\u{10ffff}".repeat(1000); 1000];
    let text = "+a line that a step has written\n".repeat(1000);
    report.left_behind = Some(Vec::new());
    for number in 0..1000 {
        let stage = stage(
            Pass::Again,
            Mode::Config,
            StageOutcome::Succeeded,
            vec![step("a.sh", StepOutcome::Succeeded, None)],
        );
        report.stages.push(stage);
        let mut finding = report.not_idempotent[0].clone();
        finding.path = format!("/{number}/{long}");
        finding.diff = Some(text.clone());
        report.changes.push(Change {
            path: finding.path.clone(),
            kind: Kind::Added,
            mode: Mode::Apply,
            step: None,
            pass: Pass::First,
            content: None,
            permissions: None,
            owner: None,
            diff: finding.diff.clone(),
            ignored: false,
        });
        report.not_idempotent.push(finding);
        report.stand_ins.push(Call {
            program: format!("program-{number}"),
            arguments: vec![long.clone()],
            mode: Mode::Apply,
            step: None,
            pass: Pass::First,
        });
    }
    for has_failed in [true, false] {
        let page = markdown::page(&report);
        assert!(page.len() < 60_000, "{}", page.len());
        for part in [
            "more | | | |\n",
            "\n### Not idempotent",
            " lines left out: see `--output json`\n",
            "\n*help:* write whole files",
            "</details>\n",
            "\n*note:* ",
        ] {
            assert!(page.contains(part), "{part}");
        }
        let last_lines = "… its last lines:\n\n```\na line";
        assert_eq!(page.contains(last_lines), has_failed);
        assert_eq!(page.contains("For the operator: "), !has_failed);
        report.stages.remove(0);
    }
}

#[test]
fn what_is_allowed_is_told_and_is_no_failure() {
    let mut report = nasty();
    report.stages.remove(0);
    assert!(!report.is_ok());
    report.allowed = Allow {
        changes: true,
        leftovers: false,
    };
    assert!(report.is_ok());
    assert!(markdown::page(&report).contains("(allowed)"));
    assert!(junit::document(&report).contains("failures=\"0\""));
    report.not_restartable.push(NotRestartable {
        mode: Mode::Apply,
        step: "good.sh".to_owned(),
    });
    assert!(!report.is_ok());
}

#[test]
fn what_is_allowed_is_in_junit_as_a_test_that_has_passed() {
    let mut report = nasty();
    report.stages.remove(0);
    report.allowed.changes = true;
    let document = junit::document(&report);
    for part in [
        "name=\"a second pass changes nothing\" time=\"0.000\"><system-out>Not idempotent: a second \
         pass changes (allowed)\napply good.sh: ~ /a\\u{1b}[2J",
        "&lt;c&gt;",
        "</system-out></testcase>\n",
    ] {
        assert!(document.contains(part), "{part} in {document}");
    }
    report.not_idempotent.clear();
    assert!(!junit::document(&report).contains("system-out"));
}

/// A check of nothing has not passed.
#[test]
fn where_no_step_was_cut_off_each_form_says_so() {
    let mut report = nasty();
    report.stages.remove(0);
    let skipped = "name=\"each step that was cut off can be started anew\" \
                   time=\"0.000\"><skipped message=\"no step was cut off\"/></testcase>\n";
    assert!(!junit::document(&report).contains(skipped));
    assert!(!markdown::page(&report).contains("no step was cut off"));
    // It had ended before. Or there was no place for a cut.
    report.stages[0].steps[0].outcome = StepOutcome::Succeeded;
    for pass in [Pass::Cut, Pass::Anew] {
        report.stages[0].pass = pass;
        let document = junit::document(&report);
        assert!(document.contains(skipped), "{document}");
        assert!(document.contains("skipped=\"1\""), "{document}");
        let page = markdown::page(&report);
        assert!(page.contains("\n*note:* `no step was cut off`\n"), "{page}");
        let text = human::text(&report, Palette::PLAIN);
        assert!(text.contains("; no step was cut off; "), "{text}");
        assert!(!text.contains("that was cut off can be"), "{text}");
    }
}

#[test]
fn the_document_has_the_fields_of_its_schema() {
    let mut report = nasty();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["left_behind"], serde_json::Value::Null);
    report.left_behind = Some(vec![LeftBehind {
        path: "/etc/left".to_owned(),
        kind: Kind::Added,
        detail: String::new(),
        diff: None,
    }]);
    report.not_restartable.push(NotRestartable {
        mode: Mode::Config,
        step: "a.sh".to_owned(),
    });
    report.stand_ins.push(Call {
        program: "systemctl".to_owned(),
        arguments: vec!["restart".to_owned(), "a b".to_owned()],
        mode: Mode::Apply,
        step: None,
        pass: Pass::First,
    });
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["ok"], false);
    assert_eq!(json["left_behind"], serde_json::json!(["/etc/left"]));
    assert_eq!(
        json["stages"][0]["steps"][1],
        serde_json::json!({ "path": NASTY, "outcome": "failed", "code": 3, "seconds": 0.5 })
    );
    assert_eq!(json["stages"][1]["outcome"], "cut");
    assert_eq!(
        json["not_idempotent"][0],
        serde_json::json!({
            "path": NASTY, "mode": "apply", "step": "good.sh", "pass": "again", "kind": "changed",
        })
    );
    assert_eq!(
        json["not_restartable"],
        serde_json::json!([{ "mode": "config", "step": "a.sh" }])
    );
    assert_eq!(
        json["stand_ins"][0],
        serde_json::json!({
            "program": "systemctl", "arguments": ["restart", "a b"], "mode": "apply",
            "step": null, "pass": "first",
        })
    );
    assert_eq!(report.stand_ins[0].command(), "systemctl restart 'a b'");
}

#[test]
fn a_change_says_what_changed_of_modes_and_owners() {
    let found = view::Change {
        path: "/etc/a".into(),
        kind: view::Kind::Changed,
        detail: view::Detail {
            content: true,
            mode: Some((0o100_644, 0o100_600)),
            owner: Some(((0, 0), (1000, 100))),
        },
    };
    let change = Change::new(&found, Mode::Apply, Pass::First, Some("a.sh"));
    assert_eq!(
        change.detail(),
        "content, mode 0644 to 0600, owner 0:0 to 1000:100"
    );
    let json = serde_json::to_value(&change).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "path": "/etc/a", "kind": "changed", "mode": "apply", "step": "a.sh",
            "pass": "first", "content": true, "permissions": ["0644", "0600"],
            "owner": ["0:0", "1000:100"],
        })
    );
}
