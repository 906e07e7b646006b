//! How scheduled verifications are spread over time.

use std::time::Duration;

/// How often a disk is looked at, at most.
const LOOK: Duration = Duration::from_secs(60);
/// How often it is looked at, at least: meanwhile there may be many more archives.
const SELDOM: Duration = Duration::from_secs(3600);
/// How many verifications of a disk begin with one look, at most.
const TOGETHER: u32 = 10;

/// How many verifications begin now, and when the next ones may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How many, at most.
    pub count: u32,
    /// How long after that.
    pub wait: Duration,
}

/// Spreads the verifications of a disk with `archives`, each of which comes `every` so often, evenly: backups are
/// made at night, many at once, and would all be due again at the same time. It goes twice as fast as it must, so
/// that what is late catches up.
pub fn pace(archives: u64, every: Duration) -> Pace {
    let halves = u128::from(archives.max(1)) * 2;
    let apart_ms = every.as_millis() / halves;
    let look_ms = LOOK.as_millis();
    if apart_ms >= look_ms {
        let wait = u64::try_from(apart_ms).map_or(SELDOM, Duration::from_millis);
        return Pace {
            count: 1,
            wait: wait.min(SELDOM),
        };
    }
    let count = look_ms.div_ceil(apart_ms.max(1));
    Pace {
        count: u32::try_from(count).map_or(TOGETHER, |count| count.min(TOGETHER)),
        wait: LOOK,
    }
}

/// From how many archives on [`pace`] stays the same, each coming `every` so often: more need not be counted.
pub fn most_archives(every: Duration) -> u64 {
    let most = every.as_millis() * u128::from(TOGETHER) / (2 * LOOK.as_millis());
    u64::try_from(most).map_or(u64::MAX, |most| most.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifications_are_spread_over_half_of_the_time_that_there_is() {
        let month = Duration::from_secs(30 * 86_400);
        for (archives, count, wait_seconds) in [
            (0, 1, 3600),
            (1, 1, 3600),
            (720, 1, 1800),
            (21_600, 1, 60),
            (43_200, 2, 60),
            (1_000_000, 10, 60),
            (u64::MAX, 10, 60),
        ] {
            let expected = Pace {
                count,
                wait: Duration::from_secs(wait_seconds),
            };
            assert_eq!(pace(archives, month), expected, "{archives}");
        }
    }

    #[test]
    fn more_archives_than_need_be_counted_make_no_difference() {
        for seconds in [1, 59, 60, 61, 86_400, 30 * 86_400, 3650 * 86_400] {
            let every = Duration::from_secs(seconds);
            let most = most_archives(every);
            assert_eq!(pace(most, every), pace(u64::MAX, every), "{seconds} s");
        }
        assert_eq!(most_archives(Duration::from_secs(30 * 86_400)), 216_001);
    }
}
