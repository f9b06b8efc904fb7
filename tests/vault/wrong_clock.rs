//! A vault in a `FileStorage` whose clock is wrong: far ahead, far behind, or set back between openings
//! and during an upload.

use std::io::Write;
use std::sync::Arc;

use chartlock::internals::envelope::SEGMENT;
use chartlock::storage::FileStorage;
use chartlock::{Error, VaultOptions};

use crate::common::clock::{ManualClock, NOON};
use crate::common::{Fixed, record, scratch, session};
use crate::stage::content;

const DAY: i64 = 24 * 60 * 60 * 1000;
const FAR_AHEAD: i64 = NOON + 300 * 365 * DAY;
const TIMES: [i64; 8] = [
    NOON,
    FAR_AHEAD,
    0,
    NOON,
    NOON - DAY,
    -DAY,
    i64::MAX,
    NOON + 1,
];

#[test]
fn wrong_clock_at_openings_loses_no_record_and_leaves_no_upload() {
    let scratch = scratch::quick();
    let directory = scratch.path().join("vault");
    let mut bodies = Vec::new();
    for (round, now) in TIMES.into_iter().enumerate() {
        let clock = Arc::new(ManualClock::at(now));
        let options = VaultOptions::new().clock(Arc::clone(&clock) as _);
        let storage = FileStorage::open(&directory).unwrap();
        let vault = match round {
            0 => options.create(storage, &Fixed(1)).unwrap(),
            _ => options.open(storage, &Fixed(1)).unwrap(),
        };
        let session = session(&vault);
        let (small, large) = (
            content(round as u64, 900),
            content(round as u64, 3 * SEGMENT),
        );
        for (name, body) in [("small", small), ("large", large)] {
            let id = record("MRN-1", &format!("{name}-{round}"));
            let mut writer = session.writer(&id);
            writer.write_all(&body).unwrap();
            // Whatever the clock says, the collector must not free the upload of this process.
            vault.collect_garbage().unwrap();
            assert_eq!(writer.finish(), Ok(1), "{name} at {now}");
            bodies.push((id, body));
        }
        let report = vault.collect_garbage().unwrap();
        assert_eq!((report.uploads, report.uploads_under_way), (0, 0), "{now}");
        for (id, body) in &bodies {
            let found = session.get(id).unwrap().unwrap();
            assert!(found[..] == body[..], "at {now}");
        }
        assert!(vault.verify(None).unwrap().is_clean(), "at {now}");
    }
}

#[test]
fn clock_that_jumps_during_an_upload_expires_it_or_keeps_it_whole() {
    for jump in [2 * DAY, -2 * DAY, FAR_AHEAD - NOON, -NOON] {
        let scratch = scratch::quick();
        let clock = Arc::new(ManualClock::at(NOON));
        let options = VaultOptions::new().clock(Arc::clone(&clock) as _);
        let storage = FileStorage::open(scratch.path()).unwrap();
        let vault = options.create(storage, &Fixed(1)).unwrap();
        let (id, body) = (record("MRN-1", "CT"), content(1, 3 * SEGMENT));
        let mut writer = session(&vault).writer(&id);
        writer.write_all(&body).unwrap();
        clock.shift_calendar(jump);
        vault.collect_garbage().unwrap();
        match writer.finish() {
            Ok(version) => {
                assert_eq!(version, 1);
                let found = session(&vault).get(&id).unwrap().unwrap();
                assert!(found[..] == body[..], "{jump}");
            }
            Err(error) => {
                assert_eq!(error, Error::UploadExpired, "{jump}");
                assert!(session(&vault).get(&id).unwrap().is_none());
            }
        }
        vault.collect_garbage().unwrap();
        assert!(vault.verify(None).unwrap().is_clean(), "{jump}");
    }
}
