//! Garbage collection after a kill: the collector frees the remains of unfinished uploads, and
//! nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chartlock::internals::clock::{Clock, SystemClock};
use chartlock::storage::{Projection, Storage};
use chartlock::{Vault, VaultOptions};

use crate::common::Fixed;
use crate::common::objects::scan_all;

/// The offset of a stored version's content kind, and the kind for content in segments.
const KIND: (usize, u8) = (2, 2);
/// The byte range of the stream id in a stored version with content in segments.
const STREAM: std::ops::Range<usize> = 96..112;

/// Clock that is eight days ahead, so that the intents of all uploads so far have expired.
#[derive(Debug)]
struct NextWeek(SystemClock);

impl Clock for NextWeek {
    fn now(&self) -> i64 {
        self.0.now() + 8 * 24 * 60 * 60 * 1000
    }

    fn uptime(&self) -> Duration {
        self.0.uptime()
    }

    fn sleep(&self, duration: Duration) {
        self.0.sleep(duration);
    }
}

/// Collects garbage, and asserts that no orphan remains. Returns the numbers of uploads and
/// segments that the collector freed.
pub(crate) fn collect_all(storage: &Arc<dyn Storage>) -> [u64; 2] {
    let clock = Arc::new(NextWeek(SystemClock::new()));
    let options = VaultOptions::new().clock(clock);
    let vault: Vault = options.open(Arc::clone(storage), &Fixed(1)).unwrap();
    let report = vault.collect_garbage().unwrap();
    assert_eq!(
        (report.charts_passed_over, report.unknown_charts),
        (0, 0),
        "no chart was skipped or unknown"
    );
    let versions =
        [b"r", b"h"].map(|class| scan_all(&**storage, class, Projection::Head(STREAM.end)));
    let named = versions.iter().flatten().filter_map(|(key, value)| {
        let chart = &key[1..17];
        (value[KIND.0] == KIND.1).then(|| [chart, &value[STREAM]].concat())
    });
    let named: BTreeSet<_> = named.collect();
    // Check only that each segment is referenced. The reverse is not required, because records may
    // reference deleted segments after an unfinished erasure.
    for (key, _) in scan_all(&**storage, b"s", Projection::Keys) {
        assert!(named.contains(&key[1..33]), "garbage remains");
    }
    assert!(scan_all(&**storage, b"w", Projection::Keys).is_empty());
    [report.uploads, report.segments]
}
