//! The earliest time of the lines to show.

use std::str::FromStr;
use std::time::Duration;

use time::OffsetDateTime;

use super::stamp;
use crate::stamp::{Iso8601, LocalZone, Stamp};
use crate::text::duration;

/// The value of `--since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// So long ago.
    Ago(Duration),
    /// At this local time.
    At(Stamp),
    /// Today, at this local time: it has another date.
    Today(Stamp),
}

/// What a time that is not written in full goes on with.
const REST_OF_TIME: &str = "0000-00-00T00:00:00.000000";

impl Since {
    /// The local time that is meant, if it is now `now`.
    #[must_use]
    pub fn stamp(self, now: OffsetDateTime, zone: &LocalZone) -> Stamp {
        match self {
            Since::At(stamp) => stamp,
            Since::Ago(ago) => {
                let ago = time::Duration::try_from(ago).unwrap_or(time::Duration::MAX);
                stamp(Iso8601(zone.local(now.saturating_sub(ago))))
            }
            Since::Today(at) => {
                let today = stamp(Iso8601(zone.local(now)));
                let text = format!("{}T{}", today.date(), at.time());
                Stamp::parse(text.as_bytes()).unwrap_or(today)
            }
        }
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Since, String> {
        duration(text)
            .map(Since::Ago)
            .or_else(|| time(text).map(Since::At))
            .or_else(|| time(&format!("2000-01-01T{text}")).map(Since::Today))
            .ok_or_else(|| {
                "expected a time such as 2026-05-02T21:51:23, 2026-05-02 or 21:51, \
                 or a duration such as 90s, 5m, 1h30m or 2d"
                    .to_owned()
            })
    }
}

/// Reads a date, or a date and a time to the minute, the second or a part of it.
fn time(text: &str) -> Option<Stamp> {
    let is_whole = matches!(text.len(), 10 | 16 | 19 | 21..=26) && text.is_ascii();
    let rest = REST_OF_TIME.get(text.len()..).filter(|_| is_whole)?;
    let whole = format!("{text}{rest}").replacen(' ', "T", 1);
    let time = Iso8601::parse(whole.as_bytes())?;
    Some(stamp(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_or_a_duration_is_read_in_its_usual_forms() {
        let at = |text: &str| Since::At(Stamp::parse(text.as_bytes()).unwrap());
        let ago = |seconds| Since::Ago(Duration::from_secs(seconds));
        for (text, since) in [
            ("2026-05-02", at("2026-05-02T00:00:00.000000")),
            ("2026-05-02T21:51", at("2026-05-02T21:51:00.000000")),
            ("2026-05-02 21:51:23", at("2026-05-02T21:51:23.000000")),
            ("2026-05-02T21:51:23.4", at("2026-05-02T21:51:23.400000")),
            (
                "2026-05-02T21:51:23.456789",
                at("2026-05-02T21:51:23.456789"),
            ),
            ("90s", ago(90)),
            ("1h30m", ago(5400)),
            ("2d", ago(172_800)),
            ("1w", ago(604_800)),
        ] {
            assert_eq!(text.parse(), Ok(since), "{text}");
        }
        for text in [
            "",
            "5",
            "m",
            "5x",
            "-5m",
            "5m3",
            "2026",
            "2026-13-02",
            "2026-05-02T",
            "25:00",
            "2026-05-02T21",
            "21:5",
            "2026-05-02T21:51:23.",
            "éééééééé",
            "99999999999999999999s",
            "2026-05-02T21:51:23Z",
        ] {
            let error = text.parse::<Since>().unwrap_err();
            assert!(error.starts_with("expected a time such as "), "{text}");
        }
    }

    #[test]
    fn a_time_of_day_is_that_of_today_and_a_duration_counts_from_now() {
        let now = OffsetDateTime::from_unix_timestamp(1_777_758_683).unwrap();
        let zone = LocalZone::default();
        let today = stamp(Iso8601(zone.local(now)));
        let since = "07:08".parse::<Since>().unwrap().stamp(now, &zone);
        assert_eq!(
            (since.date(), since.time()),
            (today.date(), "07:08:00.000000")
        );
        let since = "1d".parse::<Since>().unwrap().stamp(now, &zone);
        assert!(since < today);
    }
}
