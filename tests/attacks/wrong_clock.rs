//! A wrong clock: far ahead, far behind, and set back, while the vault is used and attacked.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use chartlock::internals::journal::page_of;
use chartlock::verify::VerifyReport;
use chartlock::{Error, Vault};

use crate::common::clock::NOON;
use crate::common::objects::Objects;
use crate::common::{Fixed, Stage, record, session, subject};
use crate::exceptions::assert_allowed;
use crate::fixture::{AUDITOR, Fixture, Id, objects, open, reset};
use crate::judge::{Gain, judge};
use crate::moves::{Class, Kind};

everywhere!(
    work_with_a_wrong_clock_causes_no_finding_and_hides_no_removed_chain,
    clock_ahead_ends_a_retention_but_no_hold,
);

const DAY: i64 = 24 * 60 * 60 * 1000;
const TIMES: [i64; 7] = [
    NOON + 365 * DAY,
    NOON + 300 * 365 * DAY,
    NOON - DAY,
    NOON - 30 * 365 * DAY,
    0,
    -DAY,
    i64::MAX - 365 * DAY,
];

const ID: Id = ("MRN-2", "only");

/// Puts, reads, rotates and collects, as each process does.
fn work(fixture: &mut Fixture, vault: &Vault, text: String) {
    let id = record(ID.0, ID.1);
    let session = session(vault);
    session.put(&id, text.as_bytes()).unwrap();
    assert_eq!(&session.get(&id).unwrap().unwrap()[..], text.as_bytes());
    let versions = fixture.contents.get_mut(&ID).unwrap();
    versions.push(Some(text.into_bytes()));
    vault.rotate_subject_key(&subject("MRN-4")).unwrap();
    vault
        .rotate_journal_keys(&[&AUDITOR, &Fixed(3)], &[])
        .unwrap();
    vault.collect_garbage().unwrap();
}

fn assert_clean(fixture: &Fixture, vault: &Vault, at: i64) {
    let reports = fixture.verify(vault);
    assert!(
        reports.iter().all(VerifyReport::is_clean),
        "at {at}: {reports:#?}"
    );
}

/// Returns the keys of the pages of each chain.
fn chains(objects: &Objects) -> BTreeMap<[u8; 16], Vec<Vec<u8>>> {
    let mut chains = BTreeMap::<_, Vec<_>>::new();
    for key in objects.keys().filter(|key| key[0] == b'j') {
        let writer = page_of(key).unwrap().writer;
        chains.entry(writer).or_default().push(key.clone());
    }
    chains
}

fn work_with_a_wrong_clock_causes_no_finding_and_hides_no_removed_chain(stage: &Stage) {
    let mut fixture = Fixture::new(stage);
    let (now, contents) = (fixture.now.clone(), fixture.contents.clone());
    let step = if crate::stride(stage) > 7 { 3 } else { 1 };
    for at in TIMES.into_iter().step_by(step) {
        reset(&stage.storage, &now);
        fixture.contents.clone_from(&contents);
        stage.clock.set_calendar(at);
        let vault = open(stage);
        work(&mut fixture, &vault, format!("at {at}"));
        assert_clean(&fixture, &vault, at);
        stage.clock.set_calendar(NOON + DAY);
        work(&mut fixture, &vault, format!("after {at}"));
        assert_clean(&fixture, &vault, at);
        drop(vault);
        let vault = open(stage);
        work(&mut fixture, &vault, format!("another process after {at}"));
        drop(vault);
        assert_clean(&fixture, &open(stage), at);
        fixture.now = objects(&stage.storage);
        let before_last = chains(&fixture.now);
        assert_clean(&fixture, &open(stage), at);
        let all = objects(&stage.storage);
        for (writer, pages) in before_last.iter().step_by(crate::stride(stage).min(3)) {
            for from in [0, pages.len() - 1] {
                let mut after = all.clone();
                after.retain(|key, _| !pages[from..].contains(key));
                let name = format!("chain {writer:02x?} cut from {from}, clock at {at}");
                let gain = judge(stage, &fixture, &after, &name).gain;
                assert_eq!(gain, Gain::default(), "{name}");
            }
        }
        fixture.now.clone_from(&now);
    }
}

fn clock_ahead_ends_a_retention_but_no_hold(stage: &Stage) {
    let fixture = Fixture::new(stage);
    let session_now = session(&open(stage));
    let days = (NOON + 100 * DAY) / DAY;
    let until = UNIX_EPOCH + Duration::from_secs(days as u64 * 86_400);
    for patient in ["MRN-2", "MRN-4"] {
        session_now
            .retain_until(&subject(patient), Some(until))
            .unwrap();
    }
    drop(session_now);
    let kept = objects(&stage.storage);
    for at in TIMES {
        reset(&stage.storage, &kept);
        stage.clock.set_calendar(at);
        let session = session(&open(stage));
        let held = session.erase_subject(&subject("MRN-4"), "in a hurry");
        assert_eq!(held.err(), Some(Error::OnHold), "at {at}");
        let early = session.erase_subject(&subject("MRN-2"), "in a hurry");
        if let Err(error) = &early {
            assert_eq!(*error, Error::Retained, "at {at}");
        }
        let gain = Gain {
            early: early.is_ok(),
            ..Gain::default()
        };
        let kind = if at > NOON {
            Kind::ClockAhead
        } else {
            Kind::ClockBehind
        };
        assert_allowed(&at, Class::Clock, kind, gain);
        assert_eq!(early.is_ok(), at > NOON, "at {at}");
        drop(session);
        assert!(
            fixture
                .verify(&open(stage))
                .iter()
                .all(VerifyReport::is_clean),
            "at {at}"
        );
    }
}
