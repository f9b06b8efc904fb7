//! Rate limit of the background check, so that it leaves the disk and the processor to the app.

use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

/// Steps of SQLite between two looks at the clock: instructions of a statement, or pages of a check.
const STEPS: i32 = 64;
/// Time after which a check rests.
const WORK: Duration = Duration::from_millis(2);
/// Rests for each unit of work. So a check takes at most a quarter of one processor's time.
const RESTS: u32 = 3;

/// Lets statements of this connection rest in between.
pub(super) fn limit(connection: &mut Connection) {
    let mut since = Instant::now();
    let rest_when_due = move || {
        if let Some(rest) = rest_after(since.elapsed()) {
            thread::sleep(rest);
            since = Instant::now();
        }
        // Do not interrupt the statement.
        false
    };
    ignored(connection.progress_handler(STEPS, Some(rest_when_due)));
}

/// Returns the time to rest after this time of work, if it is long enough.
fn rest_after(work: Duration) -> Option<Duration> {
    (work >= WORK).then(|| work.saturating_mul(RESTS).min(WORK * 10 * RESTS))
}

/// Ignores a result. Older versions of `rusqlite` return `()`, newer ones an error for a connection that the
/// app configured in another way; this crate opens the connection itself.
fn ignored<T>(_: T) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_is_three_times_the_work_and_bounded() {
        let millis = Duration::from_millis;
        assert_eq!(rest_after(millis(1)), None);
        assert_eq!(rest_after(millis(2)), Some(millis(6)));
        assert_eq!(rest_after(millis(5)), Some(millis(15)));
        assert_eq!(rest_after(Duration::from_secs(9)), Some(millis(60)));
    }
}
