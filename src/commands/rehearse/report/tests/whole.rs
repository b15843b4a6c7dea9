//! One report with something of each kind, whole, in the forms that are text.

use super::super::*;
use super::{stage, step};
use crate::commands::rehearse::Allow;
use crate::commands::rehearse::ignored::Ignored;
use crate::output::Palette;

fn change(path: &str, kind: Kind, pass: Pass, mode: Mode, step: Option<&str>) -> Change {
    Change {
        path: path.to_owned(),
        kind,
        mode,
        step: step.map(str::to_owned),
        pass,
        content: (kind == Kind::Changed).then_some(true),
        permissions: None,
        owner: None,
        diff: None,
        ignored: false,
    }
}

fn finding(path: &str, mode: Mode, step: Option<&str>, pass: Pass) -> Finding {
    Finding {
        path: path.to_owned(),
        mode,
        step: step.map(str::to_owned),
        pass,
        kind: Kind::Changed,
        detail: String::new(),
        diff: None,
    }
}

fn left(path: &str, kind: Kind) -> LeftBehind {
    LeftBehind {
        path: path.to_owned(),
        kind,
        detail: String::new(),
        diff: None,
    }
}

fn stages() -> Vec<Stage> {
    use StageOutcome::{Cut, Failed, Rebooted, Succeeded};
    let good = |path| vec![step(path, StepOutcome::Succeeded, None)];
    let mut failed = stage(
        Pass::Anew,
        Mode::Upgrade,
        Failed,
        vec![step("upgrade.sh", StepOutcome::Failed, Some(-9))],
    );
    failed.output = "[err]no more\n".to_owned();
    vec![
        stage(Pass::Old, Mode::Apply, Succeeded, good("apply.sh")),
        stage(Pass::First, Mode::Upgrade, Succeeded, good("upgrade.sh")),
        stage(Pass::First, Mode::Interrupt, Rebooted, vec![]),
        stage(Pass::First, Mode::Interrupt, Succeeded, vec![]),
        stage(
            Pass::Again,
            Mode::Apply,
            Succeeded,
            vec![
                step("apply.sh", StepOutcome::Skipped, None),
                step("apply.sh", StepOutcome::Succeeded, None),
            ],
        ),
        stage(
            Pass::Uninstall,
            Mode::Uninstall,
            Succeeded,
            good("remove.sh"),
        ),
        stage(
            Pass::Cut,
            Mode::Upgrade,
            Cut,
            vec![step("upgrade.sh", StepOutcome::Cut, Some(-15))],
        ),
        failed,
    ]
}

fn changes() -> Vec<Change> {
    let apply = Some("apply.sh");
    let upgrade = Some("upgrade.sh");
    let mut changes = vec![change(
        "/etc/laid",
        Kind::Added,
        Pass::Old,
        Mode::Apply,
        None,
    )];
    changes.extend((0..1500).map(|number| {
        let path = format!("/usr/share/doc/pkg/{number}");
        change(&path, Kind::Added, Pass::Old, Mode::Apply, apply)
    }));
    changes.extend([
        Change {
            diff: Some("@@ -1 +1 @@\n-a\n+\tb\n".to_owned()),
            permissions: Some(["0644".to_owned(), "0600".to_owned()]),
            ..change(
                "/etc/a.conf",
                Kind::Changed,
                Pass::First,
                Mode::Upgrade,
                upgrade,
            )
        },
        Change {
            ignored: true,
            ..change(
                "/var/cache/a",
                Kind::Removed,
                Pass::First,
                Mode::Upgrade,
                upgrade,
            )
        },
        // Those of other passes are findings.
        change(
            "/etc/a.conf",
            Kind::Changed,
            Pass::Forced,
            Mode::Config,
            upgrade,
        ),
    ]);
    changes
}

/// Something of each kind.
fn whole() -> Report {
    let call = |program: &str, arguments: &[&str], step: Option<&str>| Call {
        program: program.to_owned(),
        arguments: arguments.iter().copied().map(str::to_owned).collect(),
        mode: Mode::Upgrade,
        step: step.map(str::to_owned),
        pass: Pass::First,
    };
    let upgrade = Some("upgrade.sh");
    let mut ignored = Ignored::default();
    ignored.leaves_out(Path::new("/var/cache/a"));
    Report {
        schema: 1,
        package: "pkg".to_owned(),
        version: "2.0.0".to_owned(),
        from: Some("1.0.0".to_owned()),
        seconds: 12.34,
        stages: stages(),
        changes: changes(),
        not_idempotent: vec![
            Finding {
                detail: "mode 0600 to 0644".to_owned(),
                diff: Some("@@ -1 +1,2 @@\n b\n+b\n".to_owned()),
                ..finding("/etc/a.conf", Mode::Config, upgrade, Pass::Forced)
            },
            finding("/etc/b.conf", Mode::Config, None, Pass::Forced),
        ],
        forgotten_by_upgrade: vec![finding(
            "/etc/c.conf",
            Mode::Apply,
            Some("apply.sh"),
            Pass::Again,
        )],
        not_restartable: vec![NotRestartable {
            mode: Mode::Upgrade,
            step: "upgrade.sh".to_owned(),
        }],
        left_behind: Some(vec![
            LeftBehind {
                detail: "owner 0:0 to 1:1".to_owned(),
                diff: Some("@@ -1 +1 @@\n-a\n+b\n".to_owned()),
                ..left("/etc/a.conf", Kind::Changed)
            },
            left("/etc/laid", Kind::Added),
            left("/srv/unknown", Kind::Removed),
        ]),
        stand_ins: vec![
            call("systemctl", &["restart", "a b"], upgrade),
            call("reboot", &[], None),
        ],
        operator: Operator {
            reboot: true,
            services: vec!["a b".to_owned(), "c".to_owned()],
            longest_step: Some(LongestStep {
                mode: Mode::Upgrade,
                step: "upgrade.sh".to_owned(),
                seconds: 61.25,
            }),
        },
        gaps: vec!["/data is empty here: a disk of its own".to_owned()],
        ignored,
        allowed: Allow {
            changes: true,
            leftovers: false,
        },
        ..Report::default()
    }
}

#[test]
fn a_person_reads_changes_calls_findings_and_what_an_operator_must_know() {
    let shown = human::text(&whole(), Palette::PLAIN);
    assert_eq!(
        shown,
        include_str!("../../../../../testdata/reports/rehearsal.txt")
    );
}

#[test]
fn a_page_of_markdown_has_findings_first_and_folds_the_rest() {
    assert_eq!(
        markdown::page(&whole()),
        include_str!("../../../../../testdata/reports/rehearsal.md")
    );
}

#[test]
fn a_document_of_junit_counts_failures_and_skipped_steps() {
    assert_eq!(
        junit::document(&whole()),
        include_str!("../../../../../testdata/reports/rehearsal.xml")
    );
}
