//! The report for CI systems: a file in the form of JUnit.

use std::collections::HashMap;
use std::fmt::Write;

use super::findings::{Check, how};
use super::help::{self, Help};
use super::{Report, Stage, StageOutcome, StepOutcome};
use crate::commands::rehearse::plan::Pass;
use crate::text::{escape, is_unshowable};

/// One test.
struct Case {
    class: String,
    name: String,
    seconds: f64,
    skipped: Option<Skipped>,
    failure: Option<Failure>,
    /// What there is to read of one that has not failed.
    said: String,
}

/// Why a test was skipped, if that needs words.
type Skipped = Option<&'static str>;

struct Failure {
    message: String,
    text: String,
}

/// Makes the document.
pub(in crate::commands::rehearse) fn document(report: &Report) -> String {
    let stages = report.stages.iter();
    let mut cases: Vec<Case> = stages
        .flat_map(|stage| of_stage(stage, report.has_network))
        .collect();
    cases.extend(report.checks().iter().map(of_check));
    tell_apart(&mut cases);
    let failures = cases.iter().filter(|case| case.failure.is_some()).count();
    let skipped = cases.iter().filter(|case| case.skipped.is_some()).count();
    let name = attribute(&format!("rehearse {} {}", report.package, report.version));
    let (tests, seconds) = (cases.len(), report.seconds);
    let mut xml = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(xml, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    let _ = writeln!(
        xml,
        "<testsuites name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" \
         skipped=\"{skipped}\" time=\"{seconds:.3}\">\n\
         <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" \
         skipped=\"{skipped}\" time=\"{seconds:.3}\">"
    );
    for case in &cases {
        let (class, name) = (attribute(&case.class), attribute(&case.name));
        let _ = write!(
            xml,
            "<testcase classname=\"{class}\" name=\"{name}\" time=\"{:.3}\"",
            case.seconds
        );
        let _ = match &case.failure {
            None => match case.skipped {
                Some(None) => writeln!(xml, "><skipped/></testcase>"),
                Some(Some(why)) => writeln!(xml, "><skipped message=\"{why}\"/></testcase>"),
                None if case.said.is_empty() => writeln!(xml, "/>"),
                None => writeln!(
                    xml,
                    "><system-out>{}</system-out></testcase>",
                    lines(&case.said)
                ),
            },
            Some(Failure { message, text }) => writeln!(
                xml,
                // Some systems show the text alone, and some want a type.
                "><failure type=\"failure\" message=\"{0}\">{0}\n{1}</failure></testcase>",
                attribute(message),
                lines(text)
            ),
        };
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    xml
}

fn of_check(check: &Check<'_>) -> Case {
    let lines = check.found.iter().map(|found| found.line.as_str());
    let lines: Vec<&str> = lines.collect();
    let found = lines.join("\n");
    let is_accepted = check.number > 0 && check.is_allowed;
    Case {
        class: "rehearse".to_owned(),
        name: check.name.to_owned(),
        seconds: 0.0,
        skipped: check.not_tried.map(Some),
        said: match is_accepted {
            true => format!("{} (allowed)\n{found}", check.title),
            false => String::new(),
        },
        failure: check.has_failed().then(|| Failure {
            message: check.title.to_owned(),
            text: with_help(found, check.help),
        }),
    }
}

fn with_help(mut text: String, help: Help) -> String {
    for (label, help) in help {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{label}: {help}");
    }
    text
}

/// Numbers the tests of one name: some systems show only the first of them.
fn tell_apart(cases: &mut [Case]) {
    let mut known: HashMap<(String, String), usize> = HashMap::new();
    for case in cases {
        let number = known
            .entry((case.class.clone(), case.name.clone()))
            .and_modify(|number| *number += 1)
            .or_insert(1);
        if *number > 1 {
            case.name = format!("{} ({number})", case.name);
        }
    }
}

/// The steps of a stage. One that was cut off is no test; its second start is.
fn of_stage(stage: &Stage, has_network: bool) -> Vec<Case> {
    if stage.pass == Pass::Cut && !stage.has_failed() {
        return Vec::new();
    }
    let class = format!("{}.{}", stage.pass.name(), stage.mode);
    let failure = |message: String| Failure {
        message,
        text: with_help(stage.output.clone(), help::of_stage(stage, has_network)),
    };
    let mut cases: Vec<Case> = stage
        .steps
        .iter()
        .map(|step| Case {
            class: class.clone(),
            name: step.path.clone(),
            seconds: step.seconds,
            skipped: (step.outcome == StepOutcome::Skipped).then_some(None),
            said: String::new(),
            failure: how(step).filter(|_| step.outcome.is_failure()).map(failure),
        })
        .collect();
    let is_told = cases.iter().any(|case| case.failure.is_some());
    if cases.is_empty() || stage.has_failed() && !is_told {
        cases.push(Case {
            class,
            name: stage.mode.name().to_owned(),
            seconds: stage.seconds,
            skipped: None,
            said: String::new(),
            failure: stage.has_failed().then(|| {
                failure(match stage.outcome {
                    StageOutcome::OutOfTime => "out of time".to_owned(),
                    _ => "failed".to_owned(),
                })
            }),
        });
    }
    cases
}

/// Text in an attribute.
fn attribute(text: &str) -> String {
    marked_up(&escape(text))
}

/// Lines of text. XML has no way to say what may not be shown.
fn lines(text: &str) -> String {
    let lines = text.split('\n').map(attribute);
    lines.collect::<Vec<_>>().join("\n")
}

fn marked_up(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // No characters of XML.
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if is_unshowable(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
