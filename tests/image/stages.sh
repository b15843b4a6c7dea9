#!/usr/bin/env bash
# Checks the stages of the sample package, and its interrupts.
# shellcheck disable=SC2034,SC2154 # the parts share their variables

state=/etc/skyhook
interrupts=$state/interrupts/flags/$resource_id
logs=/var/log/skyhook/tune-node/1.0.0

# Prints the path of a step's flag. $2 has the arguments and return codes as Python prints
# them.
flag() { echo "$state/flags/tune-node/1.0.0/$1_$(encode "$2")"; }

test_apply() {
    agent -- apply /root "$copy_dir"
    check "apply: exit code 0" exits 0
    check "apply: the banner" says "-CLI CONFIGURATION--"
    check "apply: output is stamped" stamps out "GPU 0 "
    check "apply: so are errors" stamps err ".*nothing on this node is changed"
    check "apply: the verdict" says "SUCEEDED: role.sh --role training"
    check "apply: 3 is a success of warm_up.sh" says "SUCEEDED: warm_up.sh 5"
    check "apply: flags/START" has "$state/flags/START" ""
    check "apply: the flag of a step" has "$(flag survey.sh '[]_[0]')" \
        "last_run: $time"$'\n'"step_always_runs: False"
    check "apply: the flag of a step with arguments" \
        has "$(flag role.sh "['--role', 'env:NODE_ROLE']_[0]")" \
        "last_run: $time"$'\n'"step_always_runs: False"
    check "apply: the flag of a step that always runs" \
        has "$(flag warm_up.sh "['5']_[0, 3]")" \
        "last_run: $time"$'\n'"step_always_runs: True"
    check "apply: a log for each step" counts "$logs" "*.log" 3
    check "apply: and one for its errors" counts "$logs" "*.log.err" 3
    check "apply: no history yet" is_missing "$host$state/history"
    check "apply: no control file is left" is_empty "$image/tmp"

    agent TZ=Pacific/Kiritimati -- apply /root "$copy_dir"
    check "apply again: exit code 0" exits 0
    check "apply again: what is done is skipped" \
        says "Skipping survey.sh because /root$(flag survey.sh '[]_[0]') exists."
    check "apply again: what always runs does" says "SUCEEDED: warm_up.sh 5"
    # No other zone is that far ahead of UTC. Compares the hour in which the run ended.
    check "apply again: TZ names a zone" \
        says "[out]$(TZ=Pacific/Kiritimati date --reference "$out" +%FT%H)"

    agent NODE_ROLE=toaster OVERLAY_ALWAYS_RUN_STEP=true -- apply /root "$copy_dir"
    check "a step that fails: exit code 1" exits 1
    check "a step that fails: the verdict" says "FAILED: role.sh --role toaster 2"
}

test_apply_check() {
    agent -- apply-check /root "$copy_dir"
    check "apply-check: exit code 0" exits 0
    check "apply-check: flags/check_results" has "$state/flags/check_results" \
        $'survey_check.sh False\nrole_check.sh False\nwarm_up_check.sh False'
    check "apply-check: flags/apply-check_ALL_CHECKED" \
        has "$state/flags/apply-check_ALL_CHECKED" ""
    check "apply-check: the history" has "$state/history/tune-node.json" \
        '\{"current-version": "1.0.0", "history": \[\{"version": "1.0.0", "time": "'"$time"'\+00:00"\}\]\}'
}

test_interrupt() {
    local restart reboot
    restart=$(encode '{"type": "service_restart", "services": ["containerd"]}')
    agent -- interrupt /root "$copy_dir" "$restart"
    check "interrupt: exit code 0" exits 0
    check "interrupt: both commands, in order" has /var/log/calls \
        $'systemctl daemon-reload\nsystemctl restart containerd'
    check "interrupt: the first flag" has "$interrupts/service_restart_0.complete" "$epoch"
    check "interrupt: the second flag" has "$interrupts/service_restart_1.complete" "$epoch"
    check "interrupt: a log for each command" counts "$logs/interrupts" "*.log" 2

    agent -- interrupt /root "$copy_dir" "$restart"
    check "interrupt again: exit code 0" exits 0
    check "interrupt again: skipped" says \
        "Skipping interrupt service_restart_1 because it was already run for $resource_id"

    reboot=$(encode '{"type": "node_restart"}')
    agent -- interrupt /root "$copy_dir" "$reboot"
    check "a reboot that ends its own command: exit code 0" exits 0
    check "a reboot that ends its own command: the flag stays" \
        has "$interrupts/node_restart_0.complete" "$epoch"
    check "a reboot that ends its own command: the boot is noted" \
        has "$interrupts/node_restart_0.boot" "$(cat /proc/sys/kernel/random/boot_id)"
    # The node has rebooted: this boot has another id.
    install -D /dev/stdin "$host$interrupts/node_restart_0.boot" \
        <<<00000000-0000-4000-8000-000000000000
    agent -- interrupt /root "$copy_dir" "$reboot"
    check "after the reboot: exit code 0" exits 0
    check "after the reboot: there is no other" \
        says "Skipping interrupt node_restart_0 because it was already run"
}

test_stages() {
    agent -- --version
    check "it starts, and says its version" \
        says "skyhook-agent $(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)"
    test_apply
    test_apply_check
    test_interrupt
}
