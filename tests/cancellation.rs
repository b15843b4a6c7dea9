//! Runs that are cancelled: what runs finishes, with all its output.

mod support;

use std::fs;
use std::time::Duration;

use skyhook_agent::reactor::Watch;
use support::{Canceller, Fixture, unstamp};

/// Cancels when the script has come to `tell`, then lets it pass `await`.
fn cancel_at(canceller: Canceller, tell: &str, go: &str) -> std::thread::JoinHandle<()> {
    let (tell, go) = (tell.to_owned(), go.to_owned());
    std::thread::spawn(move || {
        fs::read(tell).unwrap();
        canceller.cancel();
        fs::write(go, "").unwrap();
    })
}

#[test]
fn the_child_finishes_with_all_its_output() {
    for watch in [Watch::Pidfd, Watch::Poll] {
        let mut fixture = Fixture::new();
        fixture.options.watch = watch;
        let (tell, go) = (fixture.fifo("tell"), fixture.fifo("go"));
        let thread = cancel_at(fixture.canceller(), &tell, &go);
        let script = [
            "/program",
            &*format!("tell {tell}"),
            &format!("await {go}"),
            "out done\n",
            "mib 1",
            "exit 3",
        ];
        let ran = fixture.tee(&script);
        thread.join().unwrap();
        assert_eq!(ran.code, 3);
        assert_eq!(unstamp("[out]", &ran.log).len(), 5 + (1 << 20));
        let notice = "skyhook-agent: cancelled: /program finishes, nothing further starts\n";
        let said = ran.stderr.matches(notice).count();
        assert_eq!(said, 1, "{}", &ran.stderr[..300]);
    }
}

/// The child has ended well, and another process keeps its output open: that one is
/// waited for as without a cancellation.
#[test]
fn what_holds_the_pipes_is_still_waited_for() {
    let mut fixture = Fixture::new();
    let fifo = fixture.fifo("fifo");
    fixture.options.held_notice = Duration::ZERO;
    let canceller = fixture.canceller();
    let release = {
        let (fifo, stderr) = (fifo.clone(), fixture.path("stderr"));
        let said = move |what: &str| {
            while !fs::read_to_string(&stderr).unwrap().contains(what) {
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        std::thread::spawn(move || {
            let writer = fs::OpenOptions::new().write(true).open(fifo).unwrap();
            said("waiting for that to end");
            canceller.cancel();
            said("nothing further starts");
            drop(writer);
        })
    };
    let ran = fixture.tee(&["/program", "out mine", &format!("hold {fifo}"), "exit 5"]);
    release.join().unwrap();
    assert_eq!(ran.code, 5);
    assert_eq!(unstamp("[out]", &ran.log), "mine");
    assert!(!ran.stderr.contains("not waiting"), "{}", ran.stderr);
}

#[test]
fn a_cancellation_before_the_start_is_seen_by_every_later_command() {
    let mut fixture = Fixture::new();
    fixture.canceller().cancel();
    for run in 1..=2 {
        let ran = fixture.tee(&["out x", "exit 4"]);
        assert_eq!(ran.code, 4);
        assert_eq!(unstamp("[out]", &ran.log), "x");
        let said = ran.stderr.matches("nothing further starts\n").count();
        assert_eq!(said, run, "once for each command");
        assert!(fixture.runner().is_cancelled());
    }
}
