//! Chooses moments of a run at which a test does something to it.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use crate::support::Node;

/// Set this to the seed that a failed test printed, to have the same moments again.
const SEED: &str = "SKYHOOK_TEST_SEED";

/// Moments from a run's start to a little after its end: one half evenly spread, the
/// other half random. If the test fails, this prints the seed.
pub(crate) struct Moments {
    seed: u64,
    state: u64,
}

impl Moments {
    pub(crate) fn new() -> Moments {
        let seed = match std::env::var(SEED) {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => {
                let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
                now.as_secs() ^ u64::from(now.subsec_nanos()) << 20
            }
        };
        Moments { seed, state: seed }
    }

    /// The `i`th of `count` moments of runs that take this long.
    pub(crate) fn next(&mut self, takes: Duration, i: u32, count: u32) -> Duration {
        let random = f64::from(self.random()) / f64::from(u32::MAX);
        let even = f64::from(i) / f64::from(count);
        takes.mul_f64(1.2 * if i.is_multiple_of(2) { even } else { random })
    }

    /// A random number below `end`.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        self.random() % end
    }

    /// Steele, Lea and Flood's SplitMix64, its upper half.
    fn random(&mut self) -> u32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((z ^ (z >> 31)) >> 32).unwrap()
    }
}

impl Drop for Moments {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("to have the same moments again: {SEED}={}", self.seed);
        }
    }
}

/// Measures how long an undisturbed run of this kind takes now, as a median.
pub(crate) fn usual_duration(prepare: impl Fn() -> (Node, Command)) -> Duration {
    let mut times = [(); 5].map(|()| {
        let (_node, mut command) = prepare();
        let since = Instant::now();
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        since.elapsed()
    });
    times.sort();
    times[2]
}
