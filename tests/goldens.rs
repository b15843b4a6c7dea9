//! What the reference really did, byte for byte (testdata/goldens).

mod support;

use std::ffi::OsStr;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use skyhook_agent::exec::ExecContext;
use skyhook_agent::exec::step::{Verdict, run_step};
use skyhook_agent::output::log_name;
use skyhook_agent::stamp::Stamper;
use support::{Fixture, TestClock, golden, parse_time, step};
use time::PrimitiveDateTime;

fn text<'v>(case: &'v Value, key: &str) -> &'v str {
    case[key].as_str().unwrap_or_default()
}

fn strings(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap();
    list.iter().map(|value| value.as_str().unwrap()).collect()
}

fn decode(base64: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(base64).unwrap()
}

fn reads(case: &Value) -> Vec<(PrimitiveDateTime, &str)> {
    let reads = case["reads"].as_array().unwrap();
    reads
        .iter()
        .map(|read| (parse_time(text(read, "at")), text(read, "base64")))
        .collect()
}

#[test]
fn the_stamper_writes_what_the_reference_wrote() {
    let cases = golden("stream.json");
    assert_eq!(cases.len(), 78);
    for case in cases {
        let mut stamper = Stamper::new(text(&case, "label"));
        let mut out = Vec::new();
        let mut writes = 0;
        for (at, read) in reads(&case) {
            let before = out.len();
            stamper.stamp(&decode(read), at, &mut out);
            writes += u64::from(out.len() > before);
        }
        let name = text(&case, "name");
        let expected = decode(text(&case, "expected_base64"));
        assert_eq!(
            out.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "{name}"
        );
        assert_eq!(writes, case["writes"].as_u64().unwrap(), "{name}");
    }
}

/// The same cases over a real pipe: the child writes each read when the one
/// before has been taken, and the log file is the golden's.
#[test]
fn a_whole_tee_run_writes_the_reference_s_log_file() {
    let mut ran = 0;
    for case in golden("stream.json") {
        let name = text(&case, "name");
        let reads = reads(&case);
        let instruction = match text(&case, "label") {
            "[out]" => "out64",
            "[err]" => "err64",
            _ => continue,
        };
        // A page is what the child can be sure one read will take whole.
        if reads.iter().any(|(_, read)| decode(read).len() > 4096) {
            continue;
        }
        let mut fixture = Fixture::new();
        let limit = usize::try_from(case["limit"].as_u64().unwrap()).unwrap();
        fixture.options.buffer_limit = limit.try_into().unwrap();
        fixture.clock = Box::new(TestClock::local_times(
            reads.iter().map(|(at, _)| *at).collect(),
        ));
        let mut script = vec!["pages".to_owned()];
        for (_, read) in &reads {
            script.push(format!("{instruction} {read}"));
            script.push("taken".to_owned());
        }
        let script: Vec<&str> = script.iter().map(String::as_str).collect();
        let result = fixture.tee(&script);

        let expected = String::from_utf8(decode(text(&case, "expected_base64"))).unwrap();
        let (log, console, other) = if instruction == "out64" {
            (result.log, result.stdout, [result.err_log, result.stderr])
        } else {
            (result.err_log, result.stderr, [result.log, result.stdout])
        };
        assert_eq!(log, expected, "{name}");
        assert_eq!(console, expected, "{name}");
        assert_eq!(other, ["", ""], "{name}");
        assert_eq!(result.code, 0, "{name}");
        ran += 1;
    }
    assert!(ran > 50, "only {ran} cases ran");
}

#[test]
fn env_arguments_become_what_the_reference_made_of_them() {
    for case in golden("env_arguments.json") {
        let mut fixture = Fixture::new();
        let mut step = step("steps/foo.sh", &strings(&case["arguments"]));
        step.env.insert("FAKE".to_owned(), "cmd".to_owned());
        let environ = case["environ"].as_object().unwrap();
        let lookup = |name: &str| environ.get(name).and_then(Value::as_str).map(OsStr::new);
        let context = ExecContext {
            chroot_dir: OsStr::new("local"),
            copy_dir: "/copy",
            log_dir: None,
        };
        let verdict = run_step(&step, context, lookup, &mut fixture.runner()).unwrap();

        let stdout = fixture.text("stdout");
        if case["command"].is_null() {
            assert_eq!(stdout, text(&case, "stdout"));
        } else {
            // The fake prints its command; the reference's stub printed nothing.
            let (command, line) = stdout.split_at(stdout.rfind("SUCEEDED: ").unwrap());
            let command: Value = serde_json::from_str(&support::unstamp("[out]", command)).unwrap();
            assert_eq!(command, case["command"]);
            assert_eq!(line, text(&case, "stdout"));
        }
        assert_eq!(
            verdict != Verdict::Succeeded,
            case["failed"].as_bool().unwrap()
        );
        assert_eq!(fixture.text("stderr"), "");
    }
}

#[test]
fn log_paths_are_the_reference_s() {
    for case in golden("log_paths.json") {
        let log_root = case["SKYHOOK_LOG_DIR"]
            .as_str()
            .unwrap_or("/var/log/skyhook");
        let (root_mount, package) = (text(&case, "root_mount"), text(&case, "package"));
        let log_root = format!("{root_mount}{log_root}");
        let dir = log_name::dir(OsStr::new(&log_root), package, text(&case, "version"));
        let (date, hms) = text(&case, "timestamp").split_at(10);
        let (hour, minute, second) = (&hms[1..3], &hms[3..5], &hms[5..7]);
        let utc = parse_time(&format!("{date}T{hour}:{minute}:{second}")).assume_utc();
        let path = log_name::path(&dir, text(&case, "step_path"), utc);
        // As bytes: comparing paths would not see a doubled slash.
        assert_eq!(path.as_os_str(), text(&case, "log_file"));
        let err = format!("{}.err", text(&case, "log_file"));
        assert_eq!(
            log_name::err_path(Path::new(&path)).as_os_str(),
            err.as_str()
        );
    }
}
