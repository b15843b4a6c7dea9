//! Clocks that a test sets.

use std::cell::RefCell;

use skyhook_agent::stamp::Clock;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// `2026-05-02T21:51:23.456789`, or the same without a fraction.
pub fn parse_time(text: &str) -> PrimitiveDateTime {
    let number = |range: std::ops::Range<usize>| text[range].parse::<u32>().unwrap();
    let month = Month::try_from(number(5..7) as u8).unwrap();
    let date = Date::from_calendar_date(number(0..4) as i32, month, number(8..10) as u8);
    let micro = text
        .get(20..)
        .map_or(0, |fraction| fraction.parse().unwrap());
    let (hour, minute, second) = (number(11..13), number(14..16), number(17..19));
    let time = Time::from_hms_micro(hour as u8, minute as u8, second as u8, micro);
    PrimitiveDateTime::new(date.unwrap(), time.unwrap())
}

/// A clock that stands still, except when it is read from a list.
#[derive(Debug)]
pub struct TestClock {
    utc: OffsetDateTime,
    /// The times that `local` returns, one by one; UTC after them.
    local: RefCell<std::vec::IntoIter<PrimitiveDateTime>>,
}

impl TestClock {
    pub fn at(utc: &str) -> TestClock {
        TestClock {
            utc: parse_time(utc).assume_utc(),
            local: RefCell::default(),
        }
    }

    pub fn local_times(times: Vec<PrimitiveDateTime>) -> TestClock {
        let clock = TestClock::at("2026-05-02T21:51:23");
        clock.local.replace(times.into_iter());
        clock
    }
}

impl Clock for TestClock {
    fn utc(&self) -> OffsetDateTime {
        self.utc
    }

    fn local(&self) -> PrimitiveDateTime {
        let utc = self.utc;
        let next = self.local.borrow_mut().next();
        next.unwrap_or(PrimitiveDateTime::new(utc.date(), utc.time()))
    }
}
