use super::*;

fn reads(arguments: &[&str]) -> bool {
    let owned: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    only_reads(&owned)
}

#[test]
fn a_call_that_sets_or_loads_does_not_only_read() {
    assert!(reads(&["-n", "kernel.hostname"]));
    assert!(reads(&["-a"]));
    assert!(reads(&["--values", "kernel.hostname"]));
    for writes in [
        &["-w", "vm.swappiness=1"][..],
        &["vm.swappiness=1"],
        &["-qp", "/etc/sysctl.conf"],
        &["-p"],
        &["--system"],
        &["--load=/etc/sysctl.conf"],
        &["-f"],
        &[],
    ] {
        assert!(!reads(writes), "{writes:?}");
    }
}

#[test]
fn a_name_becomes_a_path_below_the_parameters() {
    let path = |name| relative(name).to_string_lossy().into_owned();
    assert_eq!(path("kernel.hostname"), "kernel/hostname");
    assert_eq!(path("net.ipv4.conf.eth0/1.mtu"), "net/ipv4/conf/eth0.1/mtu");
    assert_eq!(path("net/ipv4/conf/eth0.1/mtu"), "net/ipv4/conf/eth0.1/mtu");
    assert_eq!(path("kernel/../../../etc/shadow"), "kernel/etc/shadow");
}

/// What is said on stdout and stderr, and the exit code.
fn asked(calls: &mut Vec<Call>, text: &str) -> (String, String, u8) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut output = Output {
        out: &mut out,
        err: &mut err,
    };
    let arguments: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let answer = answer(&arguments, calls, &mut output);
    if answer.is_recorded {
        calls.push(Call {
            program: "sysctl".to_owned(),
            arguments,
            set: answer.set,
        });
    }
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(out), text(err), answer.code)
}

#[track_caller]
fn check(calls: &mut Vec<Call>, text: &str, out: &str, err: &str, code: u8) {
    let expected = (out.to_owned(), err.to_owned(), code);
    assert_eq!(asked(calls, text), expected, "{text}");
}

#[test]
fn what_was_set_last_is_read_back() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "# a note\n-vm.swappiness = 10\n").unwrap();
    let calls = &mut Vec::new();
    let line = "kernel.ostype = Linux\n";
    check(calls, "kernel.ostype", line, "", 0);
    check(calls, "-n kernel.ostype", "Linux\n", "", 0);
    check(
        calls,
        "kernel.ostype=First",
        "kernel.ostype = First\n",
        "",
        0,
    );
    let load = format!("-q -p {}", file.path().display());
    check(calls, &load, "", "", 0);
    // What was loaded stays.
    fs::write(file.path(), "vm.swappiness = 20\n").unwrap();
    check(calls, "-q -w kernel/ostype=Other", "", "", 0);
    check(calls, "--dry-run -q vm.swappiness=30", "", "", 0);
    check(
        calls,
        "-n kernel.ostype vm.swappiness",
        "Other\n10\n",
        "",
        0,
    );
    assert_eq!(calls.len(), 4);
    // Unless this machine sets it when it starts.
    calls.push(crate::view::Call::boot());
    check(calls, "kernel.ostype", line, "", 0);
}

#[test]
fn a_file_or_a_parameter_that_is_missing_fails() {
    let calls = &mut Vec::new();
    let open = "sysctl: cannot open \"/no/such\": No such file or directory\n";
    let stat = "sysctl: cannot stat /proc/sys/no/such: No such file or directory\n";
    for load in ["-p /no/such", "--load=/no/such", "-e -f /no/such"] {
        check(calls, load, "", open, 1);
    }
    for set in ["-w no.such=1", "no/such=1", "-q no.such=1", "no.such"] {
        check(calls, set, "", stat, 1);
    }
    check(calls, "-e -w no.such=1", "", "", 0);
    check(calls, "-e no.such", "", "", 0);
    let both = "no.such=1 -q kernel.ostype=x";
    check(calls, both, "", stat, 1);
    check(calls, "-n kernel.ostype", "x\n", "", 0);
}

#[test]
fn a_file_is_loaded_as_far_as_it_goes() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "-no.such = 1\n\n; note\nnot one\nno.other = 2\nkernel.ostype = a b\n";
    fs::write(file.path(), text).unwrap();
    let name = file.path().display().to_string();
    let calls = &mut Vec::new();
    let err = format!(
        "sysctl: {name}(4): invalid syntax, continuing...\n\
         sysctl: cannot stat /proc/sys/no/other: No such file or directory\n"
    );
    let out = "kernel.ostype = a b\n";
    check(calls, &format!("-p {name}"), out, &err, 1);
    check(calls, "kernel.ostype", out, "", 0);
}

#[test]
fn a_view_s_network_may_have_less_than_a_node_s() {
    let calls = &mut Vec::new();
    check(calls, "-q net.no.such=1 net.ipv4.conf.*.such=2", "", "", 0);
    check(
        calls,
        "-n net.no.such net.ipv4.conf.eth0.such",
        "1\n2\n",
        "",
        0,
    );
    let stat = "sysctl: cannot stat /proc/sys/net/no/other: No such file or directory\n";
    check(calls, "net.no.other", "", stat, 1);
}
