#!/usr/bin/env bash
# Checks what the end-to-end tests of Skyhook and NodeWright assert about an agent.
# docs/parity.md has the table.
# shellcheck disable=SC2034,SC2154 # the parts share their variables

# shellcheck disable=SC2016 # for the step
hello='#!/bin/sh
echo "Hello, world!"
cat "$SKYHOOK_DIR/configmaps/extra.txt"'

# A package as the tests of upstream have it, and another beside it.
test_simple() {
    local package
    for package in hello second; do
        make_package $package 1.1.1 <<<"$hello"
        stage apply $package 1.1.1
        check "simple: apply of $package: exit code 0" exits 0
        stage apply-check $package 1.1.1
        check "simple: apply-check of $package: exit code 0" exits 0
    done
    for package in hello second; do
        check "simple: the logs of $package have its output" \
            any_line "$demo_logs/$package/1.1.1/*.log" ".*Hello, world!"
        check "simple: the logs of $package have its configmap" \
            any_line "$demo_logs/$package/1.1.1/*.log" ".*This is a test"
        check "simple: the step of $package has a flag" \
            counts "$demo/flags/$package/1.1.1" "run.sh_*" 1
        check "simple: $package has a history" test -s "$host$demo/history/$package.json"
    done
    check "simple: flags/START" test -f "$host$demo/flags/START"
}

test_checks() {
    local mode
    rm -f "$host$demo"/flags/{check_results,*_ALL_CHECKED}
    for mode in apply config post-interrupt; do
        stage $mode hello 1.1.1
        check "checks: $mode: exit code 0" exits 0
        stage $mode-check hello 1.1.1
        check "checks: $mode-check: no check has failed" \
            any_line "$demo/flags/check_results" "^run_check.sh False$"
        check "checks: $mode-check: none is True" \
            not any_line "$demo/flags/check_results" "True"
        check "checks: $mode-check_ALL_CHECKED" \
            test -f "$host$demo/flags/$mode-check_ALL_CHECKED"
    done

    printf '#!/bin/sh\nexit 1\n' >"$host$demo/second-1.1.1/skyhook_dir/run_check.sh"
    rm -f "$host$demo/flags/apply-check_ALL_CHECKED"
    stage apply-check second 1.1.1
    check "checks: one that fails: exit code 1" exits 1
    check "checks: one that fails is True" \
        any_line "$demo/flags/check_results" "^run_check.sh True$"
    check "checks: one that fails: no apply-check_ALL_CHECKED" \
        is_missing "$host$demo/flags/apply-check_ALL_CHECKED"
}

test_failure() {
    printf '#!/bin/sh\nexit 2\n' | make_package failure 1.2.3
    stage apply failure 1.2.3
    check "failure: exit code 1" exits 1
    check "failure: no flag" is_missing "$host$demo/flags/failure"
    stage apply failure 1.2.3
    check "failure: it fails each time" exits 1
}

test_uninstall() {
    # An older version that the node has had.
    make_package hello 1.0.0 <<<"$hello"
    stage apply hello 1.0.0
    stage uninstall hello 1.1.1
    check "uninstall: exit code 0" exits 0
    stage uninstall-check hello 1.1.1
    check "uninstall: its check: exit code 0" exits 0
    check "uninstall: the flags of its steps are gone" is_missing "$host$demo/flags/hello/1.1.1"
    check "uninstall: those of the other package stay" \
        counts "$demo/flags/second/1.1.1" "run.sh_*" 1
    check "uninstall: the history says so" \
        any_line "$demo/history/hello.json" '"current-version": "uninstalled"'
    stage apply hello 1.1.1
    check "uninstall: a later apply runs the step again" stamps out "Hello, world!"
    stage apply hello 1.0.0
    check "uninstall: so does an older version" stamps out "Hello, world!"
}

test_old_logs() {
    local logs=$demo_logs/reaped/1.1.1 day
    make_package reaped 1.1.1 <<<"$hello"
    for day in {1..7}; do
        install -D /dev/null "$host$logs/run.sh-2024-01-0$day-000000.log"
        touch --date "2024-01-0$day" "$host$logs/run.sh-2024-01-0$day-000000.log"
    done
    stage apply reaped 1.1.1
    check "old logs: exactly five stay" counts "$logs" "*.log" 5
    check "old logs: the new one is among them" any_line "$logs/*.log" ".*Hello, world!"
    check "old logs: and the newest of the old" \
        test -f "$host$logs/run.sh-2024-01-07-000000.log"
    check "old logs: the oldest are gone" counts "$logs" "run.sh-2024-01-0[123]-*" 0
}

test_interrupts() {
    local flags=$demo/interrupts/flags/demo-1_hello_1.1.1 restart
    interrupt hello 1.1.1 '{"type": "no_op"}'
    check "no-op: exit code 0" exits 0
    check "no-op: no_op.complete" has "$flags/no_op.complete" "$epoch"

    restart='{"type": "service_restart", "services": ["cron"]}'
    : >"$host/var/log/calls"
    interrupt hello 1.1.1 "$restart"
    check "service restart: exit code 0" exits 0
    check "service restart: service_restart_0.complete" test -s "$host$flags/service_restart_0.complete"
    check "service restart: service_restart_1.complete" test -s "$host$flags/service_restart_1.complete"
    interrupt hello 1.1.1 "$restart"
    check "service restart: units are loaded once" called "systemctl daemon-reload" 1
    check "service restart: the unit is restarted once" called "systemctl restart cron" 1

    restart='{"type": "service_restart", "services": ["broken"]}'
    for _ in 1 2; do
        interrupt second 1.1.1 "$restart"
        check "a unit that fails: exit code 1" exits 1
        check "a unit that fails: it is said" \
            says "INTERRUPT FAILED: ['systemctl', 'restart', 'broken'] return_code: 1"
        check "a unit that fails has no flag" \
            is_missing "$host$demo/interrupts/flags/demo-1_second_1.1.1/service_restart_1.complete"
    done
    check "a unit that fails is tried each time" called "systemctl restart broken" 2
}

test_no_logs() {
    make_package silent 1.1.1 <<<"$hello"
    stage apply silent 1.1.1 SKYHOOK_AGENT_WRITE_LOGS=false "SKYHOOK_LOG_DIR=/var/log/skyhook/off"
    check "logs off: exit code 0" exits 0
    check "logs off: the container's log has the output" stamps out "Hello, world!"
    check "logs off: no directory for logs" is_missing "$host/var/log/skyhook/off"
}

# A pod is deleted during a step: its processes get SIGTERM.
test_deleted_pod() {
    local slow='#!/bin/sh
touch /var/log/begun
sleep 1
echo "finished"'
    make_package deleted 1.1.1 <<<"$slow"
    stage_begins apply deleted 1.1.1
    check "deleted pod: the step runs" await test -e "$host/var/log/begun"
    signal TERM
    agent_ends
    check "deleted pod: the step finishes" stamps out finished
    check "deleted pod: nothing is left undone, so exit code 0" exits 0
    check "deleted pod: the step has a flag" counts "$demo/flags/deleted/1.1.1" "run.sh_*" 1

    rm -f "$host/var/log/begun"
    make_package deleted 2.0.0 first.sh other.sh <<<"$slow"
    stage_begins apply deleted 2.0.0
    check "deleted pod, two steps: the first runs" await test -e "$host/var/log/begun"
    signal TERM
    agent_ends
    check "deleted pod, two steps: exit code 1" exits 1
    check "deleted pod, two steps: the first has a flag" \
        counts "$demo/flags/deleted/2.0.0" "first.sh_*" 1
    check "deleted pod, two steps: the other has not begun" \
        counts "$demo_logs/deleted/2.0.0" "other.sh-*" 0
    stage apply deleted 2.0.0
    check "deleted pod, two steps: the next pod runs the other" says "SUCEEDED: other.sh apply"
    check "deleted pod, two steps: and skips the first" says "Skipping first.sh because "
}

test_upstream() {
    test_simple
    test_checks
    test_failure
    test_uninstall
    test_old_logs
    test_interrupts
    test_no_logs
    test_deleted_pod
}
