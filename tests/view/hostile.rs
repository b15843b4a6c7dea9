//! Scripts that try to get out of a view, or to change what is below it.

use std::fs;
use std::process::{Command, Stdio};

use super::stage::{Maker, Stage, assert_unchanged, makers};
use crate::support::or_skip;

/// Defines `held`: does something that has to fail, and says so if it does not. And
/// `closed`: the file cannot be opened for writing. Nothing is ever written to it.
const PRELUDE: &str = r#"
held() { if "$@" >/dev/null 2>&1; then echo "did: $*"; fi; }
closed() { if ( : >>"$1" ) 2>/dev/null; then echo "opened: $1"; fi; }
cd /tmp
"#;

/// Runs `script` in a view by each maker, and expects that it holds, prints nothing, and
/// changes nothing below.
fn expect_held(makers: Vec<Maker>, script: &str) {
    for maker in makers {
        let stage = Stage::new(maker);
        let before = stage.checksum();
        let script = format!("{PRELUDE}{script}");
        let ran = stage.run(&[&script, "echo still here"]);
        assert_eq!(ran[0].text("stdout"), "", "{maker:?}: {}", ran[0].0);
        assert_eq!(ran[1].stdout_of_success(), "still here\n", "{maker:?}");
        assert_unchanged(&stage, &before);
    }
}

/// Has perl leave the root that a step is in, and do the rest in the container's.
fn outside_of_the_chroot(perl: &str) -> String {
    let escape = r#"
        sub call { my @words = map { /^-?\d+$/ ? $_ + 0 : "$_" } @_; syscall($_[0], @words[1 .. $#words]) }
        sub closed { print "opened: $_[0]\n" if open(my $file, ">>", $_[0]) }
        sub held { my ($what, @call) = @_; print "did: $what\n" if call(@call) == 0 }
        sub held_mount {
            my ($kind, $flags) = @_;
            mkdir "/tmp/at";
            my ($source, $at, $options) = ("none", "/tmp/at", "");
            print "did: mount $kind $flags\n" if syscall(165, $source, $at, $kind, $flags, $options) == 0;
        }
        opendir(my $slash, "/");
        mkdir "/tmp/x";
        my ($inner, $dot) = ("/tmp/x", ".");
        syscall(161, $inner) == 0 or print "cannot chroot: $!\n";
        chdir($slash);
        for (1 .. 20) { chdir("..") }
        syscall(161, $dot) == 0 or print "cannot chroot: $!\n";
        -e "/skyhook-agent" or print "not outside\n";
    "#;
    format!("cat >/tmp/escape.pl <<'END'\n{escape}{perl}\nEND\nperl /tmp/escape.pl 2>&1\n")
}

#[test]
fn whatever_is_removed_or_overwritten_the_root_below_stays_as_it_was() {
    let script = r#"
        echo b >/etc/config
        echo c >>/etc/config.same
        chmod 600 /etc/dir/one; touch /etc/dir/one /home/user/notes /
        ln -sf nowhere /etc/link; mv /etc/dir/two /etc/dir/three
        cat /home/user/notes >/dev/null
        rm -rf --no-preserve-root /etc /home /opt /var
        mkdir -p /etc/dir; echo x >/etc/dir/one; chown 0:0 /etc
        rm -rf /run/* /tmp/* /dev/shm/*
    "#;
    expect_held(
        or_skip!(makers()),
        &format!("{{ {script} }} >/dev/null 2>&1"),
    );
}

#[test]
fn the_kernel_of_the_machine_cannot_be_set() {
    let script = r#"
        closed /proc/sysrq-trigger
        for file in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname \
            /proc/sys/vm/swappiness /proc/sys/user/max_cgroup_namespaces \
            /proc/sys/kernel/random/boot_id /proc/irq/default_smp_affinity /proc/mtrr \
            /proc/dynamic_debug/control /sys/kernel/uevent_helper /sys/power/state; do
            closed $file
        done
        for at in /proc/sys /sys; do
            held mount -o remount,rw $at
            held mount -o remount,bind,rw $at
        done
        for at in /proc/sys /proc /sys; do
            held umount $at
            held umount -l $at
        done
    "#;
    expect_held(or_skip!(makers()), script);
}

#[test]
fn file_systems_of_the_machine_cannot_be_mounted() {
    let script = r#"
        mkdir at
        for kind in proc sysfs cgroup2 devtmpfs debugfs tracefs securityfs; do
            held mount -t $kind none at
        done
        held mount -t cgroup -o memory none at
        held unshare -C true
        for kind in b c; do held mknod device $kind 1 1; done
        held mknod /dev/disk b 254 0
        held mknod null c 1 3
    "#;
    expect_held(or_skip!(makers()), script);
}

#[test]
fn new_namespaces_give_nothing_of_the_machine() {
    // Numbers of x86-64 alone. Others have what is done by programs.
    if cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let perl = r#"
        my $all = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000;
        held("cgroup namespace", 272, 0x02000000);
        call(272, $all) == 0 or print "cannot unshare: $!\n";
        my $pid = fork();
        if ($pid == 0) {
            held_mount("proc", 0);
            held_mount("proc", 1);
            held_mount("sysfs", 0);
            held_mount("cgroup2", 0);
            held("umount", 166, $_, 2) for "/proc/sys", "/proc", "/root/proc", "/root", "/";
            held("cgroup namespace", 272, 0x02000000);
            closed($_) for "/proc/sys/kernel/hostname", "/root/proc/sys/kernel/hostname";
            exit;
        }
        waitpid($pid, 0);
    "#;
    expect_held(or_skip!(makers()), &outside_of_the_chroot(perl));
}

#[test]
fn the_init_of_a_view_leads_nowhere() {
    let perl = r#"
        held("attach to 1", 101, 16, 1, 0, 0);
        held("seize 1", 101, 0x4206, 1, 0, 0);
        my $pidfd = call(434, 1, 0);
        print "fd $_ of 1\n" for grep { call(438, $pidfd, $_, 0) >= 0 } 0 .. 20;
        held("setns", 308, $pidfd, 0x00020000);
        closed("/proc/1/mem");
        closed("/skyhook-agent");
    "#;
    let mut script = r#"
        for name in root cwd exe ns/mnt; do held readlink -e /proc/1/$name; done
        for fd in 0 1 2 3 4 5 6 7 8 9; do held readlink /proc/1/fd/$fd; done
        for name in environ maps; do held cat /proc/1/$name; done
        held ls /proc/1/root/ /proc/1/cwd/
        for kind in m U p i n; do held nsenter -t 1 -$kind true; done
        held chroot /proc/1/root true
        closed /proc/1/mem
        held pivot_root /tmp /tmp
        for at in /proc/[0-9]*/root/ /proc/[0-9]*/cwd/; do
            held ls -d $at/farm $at/etc/passwd $at/skyhook-agent
        done
    "#
    .to_owned();
    if cfg!(target_arch = "x86_64") {
        script += &outside_of_the_chroot(perl);
    }
    expect_held(or_skip!(makers()), &script);
}

#[test]
fn a_command_on_its_way_into_the_view_cannot_be_looked_into() {
    // Until it executes, it has files of the process that made the view.
    let watch = r#"cat >/tmp/watch.pl <<'END'
        my %seen;
        my $end = time + 60;
        until (-e "/tmp/stop" or time > $end) {
            opendir(my $proc, "/proc");
            for my $process (grep { /^\d+$/ && $_ > 1 && $_ != $$ } readdir $proc) {
                for my $link ("exe", "cwd", map { "fd/$_" } 3 .. 9) {
                    my $to = readlink("/proc/$process/$link") // next;
                    $seen{"$link -> $to"} = 1 if $to =~ m{/view$|^/sys/};
                }
            }
        }
        open(my $out, ">", "/tmp/seen");
        print $out map { "$_\n" } sort(keys %seen), "done";
END
        (setsid perl /tmp/watch.pl >/dev/null 2>&1 &)"#;
    let result = "touch /tmp/stop; for try in 1 2 3 4 5 6 7 8 9; do
        test -s /tmp/seen && break; sleep 1; done; cat /tmp/seen";
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let mut scripts = vec![watch];
        scripts.extend(["true"; 60]);
        scripts.push(result);
        let ran = stage.run(&scripts);
        assert_eq!(ran[61].stdout_of_success(), "done\n", "{maker:?}");
    }
}

#[test]
fn a_view_has_its_own_processes_and_its_init_lives_through_every_signal() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let script = "(setsid sleep 600 >/dev/null 2>&1 &); sleep 0.1; echo /proc/[0-9]*";
        let kill = "kill -9 1; kill -SEGV 1; kill -TERM 1; kill -9 -1; sleep 0.1
            echo /proc/[0-9]*";
        let ran = stage.run(&[script, kill, "echo alive"]);
        assert_eq!(ran[0].stdout_of_success().split_whitespace().count(), 3);
        assert_eq!(ran[1].stdout_of_success().split_whitespace().count(), 2);
        assert_eq!(ran[2].stdout_of_success(), "alive\n");
    }
}

#[test]
fn a_step_cannot_type_into_the_terminal() {
    for maker in or_skip!(makers()) {
        let stage = Stage::new(maker);
        let script = "( : >/dev/tty ) 2>/dev/null && echo opened; :";
        let view = stage.view_of(&stage.root(), &[script]);
        let words: Vec<String> = std::iter::once(view.get_program())
            .chain(view.get_args())
            .map(|word| format!("'{}'", word.to_str().unwrap()))
            .collect();
        // On a terminal of its own, which a shell can open.
        let on_terminal = |command: &str| {
            let mut words = stage.as_maker();
            words.extend(["script", "--quiet", "--command", command, "/dev/null"]);
            let mut script = Command::new(words[0]);
            let output = script.args(&words[1..]).stdin(Stdio::null()).output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        assert_eq!(on_terminal("echo terminal >/dev/tty").trim(), "terminal");
        let said = on_terminal(&words.join(" "));
        assert!(said.contains(r#""stdout":"""#), "{maker:?}: {said}");
    }
}

#[test]
fn the_devices_of_the_machine_keep_their_modes_and_times() {
    // With the mode and times that they have: if this test fails, nothing is changed.
    let script = "
        for device in null zero full random urandom tty; do
            held touch -c -r /dev/$device /dev/$device
            held chmod 666 /dev/$device
            held rm -f /dev/$device
        done
        held ls /dev/console /dev/kmsg /dev/mem
    ";
    expect_held(or_skip!(makers()), script);
}

#[test]
fn a_device_or_a_socket_in_the_root_does_not_lead_out() {
    let makers = or_skip!(makers());
    for maker in makers {
        let stage = Stage::new(maker);
        let socket = stage.path("opt/socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let device = nix::sys::stat::makedev(1, 3);
        let kind = nix::sys::stat::SFlag::S_IFCHR;
        let all = nix::sys::stat::Mode::from_bits_truncate(0o666);
        // Root alone can.
        let _ = nix::sys::stat::mknod(&stage.path("opt/null"), kind, all, device);
        // AF_UNIX and SOCK_STREAM.
        let connect = r#"perl -e 'socket(my $s, 1, 1, 0); print "connected" if
            connect($s, pack("Sa*", 1, "/opt/socket\0"))'; ( : </opt/null ) && echo opened; :"#;
        let ran = stage.run(&[connect]);
        assert_eq!(ran[0].stdout_of_success(), "", "{maker:?}");
    }
}
