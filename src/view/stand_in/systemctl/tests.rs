use super::*;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn call(text: &str) -> Call {
    let mut words = words(text);
    Call {
        program: words.remove(0),
        arguments: words,
        set: Vec::new(),
    }
}

/// What is said and the exit code, after these calls; `boot` is a reboot.
fn asked(earlier: &[&str], text: &str) -> (String, u8) {
    let calls: Vec<Call> = earlier
        .iter()
        .map(|text| match *text {
            "boot" => Call::boot(),
            text => call(text),
        })
        .collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut output = Output {
        out: &mut out,
        err: &mut err,
    };
    let Call {
        program, arguments, ..
    } = call(text);
    let answer = answer(&program, &arguments, &calls, &mut output);
    out.append(&mut err);
    (String::from_utf8(out).unwrap(), answer.code)
}

#[track_caller]
fn check(earlier: &[&str], text: &str, said: &str, code: u8) {
    assert_eq!(asked(earlier, text), (said.to_owned(), code), "{text}");
}

#[test]
fn a_unit_that_no_call_has_named_is_that_of_a_healthy_node() {
    check(&[], "systemctl is-active a", "active\n", 0);
    check(&[], "systemctl is-enabled a.timer", "enabled\n", 0);
    check(&[], "systemctl is-failed a", "active\n", 1);
    check(&[], "systemctl is-system-running", "running\n", 0);
    let of_another = ["systemctl stop b", "systemctl stop a.socket"];
    check(&of_another, "systemctl is-active a", "active\n", 0);
}

#[test]
fn a_unit_is_what_the_last_calls_have_made_it() {
    let stopped = ["systemctl --no-block stop a.service b"];
    check(&stopped, "systemctl is-active a", "inactive\n", 3);
    check(&stopped, "systemctl is-active -q a", "", 3);
    check(&stopped, "systemctl is-enabled a", "enabled\n", 0);
    check(
        &stopped,
        "systemctl is-active a c b",
        "inactive\nactive\ninactive\n",
        0,
    );
    let off = ["systemctl disable --now a"];
    check(&off, "systemctl is-active a", "inactive\n", 3);
    check(&off, "systemctl is-enabled a", "disabled\n", 1);
    check(&off, "systemctl is-enabled a b", "disabled\nenabled\n", 0);
    let on = ["systemctl disable --now a", "systemctl enable a --now"];
    check(&on, "systemctl is-active a", "active\n", 0);
    check(&on, "systemctl is-enabled a", "enabled\n", 0);
    let restarted = ["systemctl stop a", "service a restart"];
    check(&restarted, "systemctl is-active a", "active\n", 0);
}

#[test]
fn a_masked_unit_cannot_be_started_or_enabled() {
    let masked = ["systemctl disable a", "systemctl mask --now a"];
    check(&masked, "systemctl is-enabled a", "masked\n", 1);
    let problem = "Failed to start a.service: Unit a.service is masked.\n";
    check(&masked, "systemctl start a", problem, 1);
    let tried = [&masked[..], &["systemctl enable --now a"]].concat();
    check(&tried, "systemctl is-active a", "inactive\n", 3);
    let again = [&tried[..], &["systemctl unmask a"]].concat();
    check(&again, "systemctl is-enabled a", "disabled\n", 1);
    check(&again, "systemctl start a", "", 0);
}

#[test]
fn show_prints_what_is_asked_for() {
    let off = ["systemctl disable --now a"];
    for asked in [
        "show -p ActiveState --value a",
        "show a --property=ActiveState --value",
        "show -P ActiveState a",
        "show -PActiveState a",
    ] {
        check(&off, &format!("systemctl {asked}"), "inactive\n", 0);
    }
    check(
        &off,
        "systemctl show --property SubState,LoadState -p UnitFileState a b.timer",
        "LoadState=loaded\nSubState=dead\nUnitFileState=disabled\n\n\
         LoadState=loaded\nSubState=waiting\nUnitFileState=enabled\n",
        0,
    );
    let masked = ["systemctl mask a"];
    check(
        &masked,
        "systemctl show a",
        "Id=a.service\nLoadState=masked\nActiveState=active\nSubState=running\n\
         UnitFileState=masked\n",
        0,
    );
}

#[test]
fn status_tells_with_words_and_code() {
    let (said, code) = asked(&["service a stop"], "systemctl status a b --no-pager");
    assert!(said.contains("     Active: inactive (dead)\n"), "{said}");
    assert!(said.contains("     Active: active (running)\n"), "{said}");
    assert_eq!(code, 3);
    assert_eq!(asked(&["systemctl stop a"], "service a status").1, 3);
    assert_eq!(asked(&["systemctl stop a"], "service b status").1, 0);
}

#[test]
fn after_a_reboot_what_is_enabled_is_active() {
    let calls = ["systemctl stop a", "systemctl disable b", "boot"];
    check(&calls, "systemctl is-active a b", "active\ninactive\n", 0);
}

#[test]
fn what_asks_is_not_recorded_and_what_changes_is() {
    let is_recorded = |text: &str| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output {
            out: &mut out,
            err: &mut err,
        };
        let Call {
            program, arguments, ..
        } = call(text);
        answer(&program, &arguments, &[], &mut output).is_recorded
    };
    for reads in [
        "systemctl show a",
        "systemctl -q is-active a",
        "service a status",
    ] {
        assert!(!is_recorded(reads), "{reads}");
    }
    for changes in ["systemctl daemon-reload", "systemctl", "service a start"] {
        assert!(is_recorded(changes), "{changes}");
    }
}

#[test]
fn a_masked_unit_is_not_enabled_does_not_start_at_boot_and_cannot_be_enabled() {
    let masked = "systemctl mask a";
    assert_eq!(
        asked(&[masked], "systemctl is-enabled a"),
        ("masked\n".to_owned(), 1)
    );
    assert_eq!(asked(&[masked], "systemctl is-active a").1, 0);
    assert_eq!(asked(&[masked, "boot"], "systemctl is-active a").1, 3);
    assert_eq!(asked(&[masked], "systemctl enable a").1, 1);
    assert_eq!(
        asked(&[masked, "systemctl unmask a"], "systemctl enable a").1,
        0
    );
}
