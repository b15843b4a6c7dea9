//! Runs that are ended from outside, in each of the ways there are.

mod support;

use std::fs;
use std::time::{Duration, Instant};

use skyhook_agent::reactor::{OnCancel, Reason, Watch};
use skyhook_agent::system::cancel::Canceller;
use support::{Fixture, unstamp};

/// Long enough that a test which waits for it would be noticed.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

/// Cancels when the script has come to `tell`, then lets it pass `await`.
fn cancel_at(
    canceller: Canceller,
    tell: String,
    go: Option<String>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        fs::read(tell).unwrap();
        canceller.cancel();
        if let Some(go) = go {
            fs::write(go, "").unwrap();
        }
    })
}

#[test]
fn by_default_the_child_finishes_with_all_its_output() {
    for watch in [Watch::Pidfd, Watch::Poll] {
        let mut fixture = Fixture::new();
        fixture.options.watch = watch;
        let (tell, go) = (fixture.fifo("tell"), fixture.fifo("go"));
        let thread = cancel_at(fixture.canceller(), tell.clone(), Some(go.clone()));
        let script = [
            &*format!("tell {tell}"),
            &format!("await {go}"),
            "out done\n",
            "mib 1",
            "exit 3",
        ];
        let ran = fixture.tee(&script);
        thread.join().unwrap();
        assert_eq!(ran.outcome.code, 3);
        assert_eq!(ran.outcome.reason, Reason::Drained);
        assert_eq!(unstamp("[out]", &ran.log).len(), 5 + (1 << 20));
        let notice = "finishes, nothing further starts\n";
        assert_eq!(
            ran.stderr.matches(notice).count(),
            1,
            "{}",
            &ran.stderr[..300]
        );
    }
}

#[test]
fn terminate_sends_sigterm_at_once() {
    for watch in [Watch::Pidfd, Watch::Poll] {
        let mut fixture = Fixture::new();
        fixture.options.watch = watch;
        fixture.options.on_cancel = OnCancel::Terminate { grace: LONG };
        let (tell, never) = (fixture.fifo("tell"), fixture.fifo("never"));
        let thread = cancel_at(fixture.canceller(), tell.clone(), None);
        let started = Instant::now();
        let ran = fixture.tee(&[
            "out before",
            &format!("tell {tell}"),
            &format!("await {never}"),
        ]);
        thread.join().unwrap();
        assert_eq!(ran.outcome.code, -15);
        assert_eq!(unstamp("[out]", &ran.log), "before");
        assert!(started.elapsed() < LONG);
        assert!(
            ran.stderr.contains("skyhook-agent: cancelled: ending "),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_child_may_use_the_grace_to_end_well() {
    let mut fixture = Fixture::new();
    fixture.options.on_cancel = OnCancel::Terminate { grace: LONG };
    let tell = fixture.fifo("tell");
    let thread = cancel_at(fixture.canceller(), tell.clone(), None);
    let tell = format!("tell {tell}");
    let ran = fixture.tee(&["ignore-term", &tell, "term", "out tidied up", "exit 4"]);
    thread.join().unwrap();
    assert_eq!(ran.outcome.code, 4);
    assert_eq!(unstamp("[out]", &ran.log), "tidied up");
}

#[test]
fn sigkill_follows_when_the_grace_is_over() {
    let mut fixture = Fixture::new();
    fixture.options.on_cancel = OnCancel::Terminate { grace: SHORT };
    let (tell, never) = (fixture.fifo("tell"), fixture.fifo("never"));
    let thread = cancel_at(fixture.canceller(), tell.clone(), None);
    let started = Instant::now();
    let ran = fixture.tee(&[
        "ignore-term",
        &format!("tell {tell}"),
        &format!("await {never}"),
    ]);
    thread.join().unwrap();
    assert_eq!(ran.outcome.code, -9);
    assert!(started.elapsed() >= SHORT);
}

/// Cancels when the child has ended and the notice of who holds its pipes has
/// come.
fn cancel_at_notice(fixture: &mut Fixture) -> std::thread::JoinHandle<()> {
    fixture.options.held_notice = Duration::ZERO;
    let canceller = fixture.canceller();
    let stderr = fixture.path("stderr");
    std::thread::spawn(move || {
        while fs::read_to_string(&stderr).unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        canceller.cancel();
    })
}

#[test]
fn the_signals_reach_what_the_child_has_left_behind() {
    let mut fixture = Fixture::new();
    fixture.options.on_cancel = OnCancel::Terminate { grace: LONG };
    let never = fixture.fifo("never");
    let thread = cancel_at_notice(&mut fixture);
    let ran = fixture.tee(&[&format!("hold {never}"), "exit 5"]);
    thread.join().unwrap();
    assert_eq!(ran.outcome.code, 5, "the child itself ended well");
    assert_eq!(ran.outcome.reason, Reason::Drained);
}

#[test]
fn one_who_got_out_of_reach_is_not_waited_for() {
    let mut fixture = Fixture::new();
    fixture.options.on_cancel = OnCancel::Terminate { grace: SHORT };
    let held = fixture.fifo("held");
    let writer = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&held)
        .unwrap();
    let thread = cancel_at_notice(&mut fixture);
    let ran = fixture.tee(&[&format!("hold-apart {held}"), "exit 5"]);
    thread.join().unwrap();
    drop(writer);
    assert_eq!(ran.outcome.code, 5);
    assert_eq!(ran.outcome.reason, Reason::GivenUp);
}

#[test]
fn a_child_without_a_group_of_its_own_is_signalled_alone() {
    let mut fixture = Fixture::new();
    fixture.options.own_group = false;
    fixture.options.on_cancel = OnCancel::Terminate { grace: LONG };
    let (tell, never) = (fixture.fifo("tell"), fixture.fifo("never"));
    let thread = cancel_at(fixture.canceller(), tell.clone(), None);
    let ran = fixture.tee(&[&format!("tell {tell}"), &format!("await {never}")]);
    thread.join().unwrap();
    // And this process, whose group the child is in, is still here to say so.
    assert_eq!(ran.outcome.code, -15);
}

#[test]
fn a_cancellation_before_the_start_counts_for_every_later_command() {
    let mut fixture = Fixture::new();
    fixture.options.on_cancel = OnCancel::Terminate { grace: LONG };
    fixture.canceller().cancel();
    let never = fixture.fifo("never");
    for _ in 0..2 {
        let ran = fixture.tee(&[&format!("await {never}")]);
        assert_eq!(ran.outcome.code, -15);
    }
}
