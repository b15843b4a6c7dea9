//! Programs of a view that are replaced.

use std::fs;
use std::os::unix::fs::symlink;

use super::stage::{Ran, Stage, makers, ran};
use crate::support::or_skip;

/// Runs scripts in a view with these stand-ins: `NAME=EXIT`, or `NAME=?EXIT` for one that is
/// there only if it is installed.
#[track_caller]
fn run(stage: &Stage, stand_ins: &str, scripts: &[&str]) -> Vec<Ran> {
    let mut view = stage.view_of(&stage.root(), scripts);
    view.env("VIEW_STAND_INS", stand_ins);
    ran(&view.output().unwrap())
}

fn calls(ran: &Ran) -> usize {
    ran.0["calls"].as_array().unwrap().len()
}

#[test]
fn a_stand_in_records_its_call_and_answers_with_its_exit_code() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        for name in ["reboot", "kubectl"] {
            fs::create_dir_all(stage.path("usr/sbin")).unwrap();
            fs::write(stage.path("usr/sbin").join(name), "not to be run").unwrap();
        }
        let script = "reboot --force now; echo $?; /usr/sbin/kubectl get 'a b'; echo $?
             rm -rf /run/*; nvidia-smi; echo $?";
        let stand_ins = "reboot=0,kubectl=3,nvidia-smi=0";
        let ran = run(&stage, stand_ins, &[script, "reboot"]);
        assert_eq!(ran[0].stdout_of_success(), "0\n3\n0\n", "{}", ran[0].0);
        let calls = serde_json::json!([
            {"program": "reboot", "arguments": ["--force", "now"]},
            {"program": "kubectl", "arguments": ["get", "a b"]},
            {"program": "nvidia-smi", "arguments": []},
        ]);
        assert_eq!(ran[0].0["calls"], calls);
        assert_eq!(ran[0].scan(), [""; 0]);
        assert_eq!(ran[1].0["calls"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn programs_see_that_systemd_runs_if_its_programs_are_stand_ins() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let script = "[ -d /run/systemd/system ] || echo no";
        let with = run(&stage, "systemctl=0", &[script]);
        assert_eq!(with[0].stdout_of_success(), "", "{}", with[0].0);
        let without = run(&stage, "sysctl=0", &[script]);
        assert_eq!(without[0].stdout_of_success(), "no\n", "{}", without[0].0);
    }
}

#[test]
fn sysctl_reads_the_machine_and_what_was_set_in_the_view() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let script = "sysctl -n kernel.ostype; sysctl -w kernel.ostype=Other; sysctl kernel/ostype
             sysctl -p /no/such; echo $?; mkdir -p /etc/sysctl.d
             echo 'kernel.osrelease = booted' >/etc/sysctl.d/1.conf";
        let read = "sysctl -n kernel.ostype kernel.osrelease";
        let ran = run(&stage, "sysctl=0", &[script, read, "reboot!", read]);
        let set = "kernel.ostype = Other\n";
        let told = ran[0].stdout_of_success();
        assert_eq!(told, format!("Linux\n{set}{set}1\n"), "{}", ran[0].0);
        assert_eq!(
            ran[0].text("stderr"),
            "sysctl: cannot open \"/no/such\": No such file or directory\n"
        );
        let calls = serde_json::json!([
            {"program": "sysctl", "arguments": ["-w", "kernel.ostype=Other"],
             "set": [["kernel/ostype", "Other"]]},
            {"program": "sysctl", "arguments": ["-p", "/no/such"]},
        ]);
        assert_eq!(ran[0].0["calls"], calls);
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(ran[1].stdout_of_success(), format!("Other\n{release}"));
        // The start of a node sets what files say.
        assert_eq!(ran[2].stdout_of_success(), "Linux\nbooted\n");
    }
}

#[test]
fn systemctl_tells_what_earlier_calls_have_made_of_a_unit() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let ask = "for unit in a b; do
                systemctl is-active $unit; echo $?; systemctl is-enabled $unit; echo $?
            done";
        let scripts = [
            "systemctl disable --now a.service; systemctl stop b",
            ask,
            "reboot!",
            ask,
        ];
        let ran = run(&stage, "systemctl=0", &scripts);
        assert_eq!(calls(&ran[0]), 2);
        let told = ran[1].stdout_of_success();
        assert_eq!(told, "inactive\n3\ndisabled\n1\ninactive\n3\nenabled\n0\n");
        assert_eq!(calls(&ran[1]), 0);
        let told = ran[2].stdout_of_success();
        assert_eq!(told, "inactive\n3\ndisabled\n1\nactive\n0\nenabled\n0\n");

        let ran = run(&stage, "systemctl=4", &["systemctl is-active a"]);
        assert_eq!(ran[0].0["code"], 4);
        assert_eq!(calls(&ran[0]), 1);
    }
}

#[test]
fn a_program_of_some_nodes_is_there_only_if_the_root_has_it() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        fs::write(stage.path("usr/sbin/update-grub"), "not to be run").unwrap();
        let script =
            "for name in reboot update-grub dracut; do command -v $name; done; update-grub";
        let stand_ins = "reboot=0,update-grub=?0,dracut=?0";
        let ran = run(&stage, stand_ins, &[script]);
        let told = ran[0].stdout_of_success();
        assert!(told.contains("/reboot\n"), "{told}");
        assert!(told.contains("/update-grub\n"), "{told}");
        assert!(!told.contains("dracut"), "{told}");
        assert_eq!(calls(&ran[0]), 1);
    }
}

#[test]
fn a_program_that_a_step_installs_is_replaced_after_the_step() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let install = "mkdir -p /usr/local/bin
             for dir in /usr/local/bin /bin; do
                 echo 'echo real' >$dir/kubectl.new; chmod 755 $dir/kubectl.new
                 mv $dir/kubectl.new $dir/kubectl
             done; kubectl";
        // As dpkg replaces a file, and as cp and tar do.
        let upgrade = "cd /usr/bin; kubectl; ln kubectl kubectl.old; echo 'echo new' >k
             chmod 755 k; mv k kubectl; rm kubectl.old; ./kubectl
             cp kubectl /usr/local/bin/kubectl && kubectl
             rm /usr/local/bin/kubectl; cp kubectl /usr/local/bin/kubectl";
        let scripts = [
            install,
            "kubectl get",
            upgrade,
            "chmod 700 /usr/bin/kubectl; /usr/bin/kubectl; kubectl",
            "rm /usr/bin/kubectl /usr/local/bin/kubectl; command -v kubectl",
        ];
        let ran = run(&stage, "kubectl=?0", &scripts);
        let both = |kind: &str, what: &str| {
            ["bin", "local/bin"].map(|dir| format!("{kind} /usr/{dir}/kubectl{what}"))
        };
        let programs = |lines: Vec<&str>| -> Vec<String> {
            let lines = lines.into_iter().filter(|line| line.contains("kubectl"));
            lines.map(str::to_owned).collect()
        };
        let added = both("+", "");

        assert_eq!(ran[0].stdout_of_success(), "real\n", "{}", ran[0].0);
        assert_eq!(calls(&ran[0]), 0);
        assert_eq!(programs(ran[0].scan()), added);
        assert_eq!(programs(ran[0].differences()), added);

        assert_eq!(ran[1].stdout_of_success(), "");
        assert_eq!(calls(&ran[1]), 1);
        assert_eq!(ran[1].scan(), [""; 0]);
        assert_eq!(programs(ran[1].differences()), added);

        assert_eq!(ran[2].stdout_of_success(), "new\nnew\n", "{}", ran[2].0);
        assert_eq!(programs(ran[2].scan()), both("~", " content"));
        assert_eq!(programs(ran[2].differences()), added);

        assert_eq!(calls(&ran[3]), 2);
        let changed = ["~ /usr/bin/kubectl mode 755 700"];
        assert_eq!(ran[3].scan(), changed);

        assert_eq!(ran[4].text("stdout"), "");
        assert_eq!(programs(ran[4].scan()), both("-", ""));
        assert_eq!(programs(ran[4].differences()), [""; 0]);
    }
}

#[test]
fn a_program_of_the_root_that_a_step_replaces_has_changed_and_is_put_back() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let real = stage.path("usr/sbin/service");
        fs::write(&real, "echo old\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&real, mode).unwrap();
        if maker == super::stage::Maker::Nobody {
            std::os::unix::fs::chown(&real, Some(65534), Some(65534)).unwrap();
        }
        let scripts = [
            "touch /usr/sbin/service; chmod +x /usr/sbin/service",
            "cd /sbin; echo 'echo new' >x; chmod 755 x; mv x service; service",
            "service a start",
            "cd /sbin; echo 'echo old' >x; chmod 755 x; mv x service",
            "rm /sbin/service",
        ];
        let ran = run(&stage, "service=?0", &scripts);
        assert_eq!(ran[0].scan(), [""; 0], "{}", ran[0].0);
        assert_eq!(ran[1].stdout_of_success(), "new\n");
        assert_eq!(ran[1].scan(), ["~ /usr/sbin/service content"]);
        assert_eq!(calls(&ran[2]), 1);
        assert_eq!(ran[2].differences(), ["~ /usr/sbin/service content"]);
        assert_eq!(ran[3].differences(), [""; 0]);
        assert_eq!(ran[4].differences(), ["- /usr/sbin/service"]);
    }
}

#[test]
fn what_is_no_program_is_not_covered_and_no_link_leads_a_cover_astray() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        symlink("/etc/config", stage.path("usr/bin/linked")).unwrap();
        let scripts = [
            "cd /usr/bin; ln -s /no/such kubectl; mkdir dracut; ln -s /bin/sh /usr/sbin/reboot
             ln -s /etc/config initctl
             mkdir /usr/local; ln -s /etc /usr/local/bin; echo x >/etc/kexec",
            "reboot -f; ls -l /usr/bin/kubectl /etc/kexec; cat /etc/config",
            "rm /usr/sbin/reboot /usr/bin/initctl",
        ];
        let names = "kubectl=?0,dracut=?0,reboot=?0,initctl=?0,kexec=?0,linked=?0";
        let ran = run(&stage, names, &scripts);
        let told = ran[1].stdout_of_success();
        assert!(told.contains("/usr/bin/kubectl -> /no/such\n"), "{told}");
        assert!(told.ends_with("a = 1\n"), "{told}");
        assert!(told.contains(" 2 "), "{told}");
        assert_eq!(calls(&ran[1]), 1);
        assert_eq!(ran[1].scan(), [""; 0]);
        assert_eq!(ran[2].scan(), ["- /usr/bin/initctl", "- /usr/sbin/reboot"]);
    }
}
