//! Chain heads pinned by coverage: no wrong clock, planted object or lost object of covered heads hides
//! the removal of a chain.

use chartlock::internals::journal::page_of;
use chartlock::storage::{Expect, Transaction};
use chartlock::verify::{JournalFault, VerifyReport};
use chartlock::{Journaling, VaultOptions};

use super::{assert_clean, chains, clinic, faults, remove};
use crate::common::clock::NOON;
use crate::raw;
use crate::stage::{Shared, Stage, record, session_on};

const YEAR: i64 = 365 * 24 * 60 * 60 * 1000;

everywhere!(
    chain_before_openings_a_year_ahead_is_pinned,
    chain_among_planted_pages_is_pinned,
    chain_before_lost_covered_heads_is_pinned,
    covered_heads_of_an_earlier_time_lose_no_pin,
    covered_heads_of_another_vault_lose_no_pin,
    covered_heads_without_their_page_lose_no_pin,
    page_planted_behind_a_head_keeps_no_head_from_being_pinned,
    open_vault_pins_heads_of_others_when_it_verifies,
);

fn options(stage: &Stage) -> VaultOptions {
    stage.options_on_clock().without_background()
}

/// Opens the vault, puts a version, and returns the keys of the pages of the new chain.
fn one_chain(stage: &Stage) -> Vec<Vec<u8>> {
    let before = raw::objects_of(&stage.storage, b"j");
    let vault = stage.open_by(options(stage));
    session_on(&vault)
        .put(&record("MRN-1", "Observation/1"), b"once more")
        .unwrap();
    drop(vault);
    let after = raw::objects_of(&stage.storage, b"j").into_keys();
    after.filter(|key| !before.contains_key(key)).collect()
}

fn created(stage: &Stage) {
    clinic(&stage.create_by(options(stage)));
}

/// Stores a page that opens under no key, as a chain of its own that began at `began`.
fn plant(storage: &Shared, began: i64, number: u32) {
    let began = &began.to_be_bytes()[2..];
    let key = [b"j", began, &[7; 6], &number.to_be_bytes(), &[0; 8]].concat();
    let value = [&[1, 1, 18, 0][..], &[0x55; 120]].concat();
    let put = Transaction::new().put(key, value, Expect::Absent);
    assert!(storage.commit(&[put])[0].is_ok());
}

fn verify_on_clock(stage: &Stage) -> VerifyReport {
    stage.open_by(options(stage)).verify(None).unwrap()
}

/// Removes each of the chains in turn, and asserts that verification names the chain.
#[track_caller]
fn assert_each_is_pinned(stage: &Stage, chains: &[Vec<Vec<u8>>]) {
    let before = raw::all_objects(&stage.storage);
    for chain in chains {
        remove(&stage.storage, chain);
        let report = verify_on_clock(stage);
        let writer = page_of(&chain[0]).unwrap().writer;
        let is_named = report
            .journal
            .iter()
            .any(|found| found.writer == Some(writer) && found.fault == JournalFault::Cut);
        assert!(is_named, "{report:#?}");
        raw::reset(&stage.storage, &before);
    }
}

fn chain_before_openings_a_year_ahead_is_pinned(stage: &Stage) {
    created(stage);
    let mut all = vec![one_chain(stage)];
    stage.clock.set_calendar(NOON + YEAR);
    all.extend((0..33).map(|_| one_chain(stage)));
    stage.clock.set_calendar(NOON + 1000);
    all.extend((0..3).map(|_| one_chain(stage)));
    assert_clean(stage);
    let last = one_chain(stage);
    assert_each_is_pinned(stage, &all);
    // Only the newest chain is not pinned yet.
    one_chain(stage);
    assert_each_is_pinned(stage, &[last]);
}

fn chain_among_planted_pages_is_pinned(stage: &Stage) {
    // Servers need a request for each chain.
    let many = if stage.stride > 1 { 32 } else { 5_000 };
    for (count, began) in [(32, NOON + YEAR), (many, NOON + 1), (many, NOON - YEAR)] {
        raw::reset(&stage.storage, &raw::Objects::new());
        stage.clock.set_calendar(NOON);
        created(stage);
        let mut all = vec![one_chain(stage)];
        for number in 0..count {
            plant(&stage.storage, began, number);
        }
        stage.clock.advance(10_000);
        all.extend([one_chain(stage), one_chain(stage)]);
        verify_on_clock(stage);
        assert_each_is_pinned(stage, &all);
        // The planted pages are findings while they are stored, and not later.
        let report = verify_on_clock(stage);
        let planted = [JournalFault::Altered, JournalFault::UnknownJournalKey];
        let found = faults(&report);
        assert!(
            found.iter().all(|fault| planted.contains(fault)),
            "{report:#?}"
        );
        let planted = chains(&stage.storage).into_iter().flatten();
        let planted: Vec<_> = planted.filter(|key| key[7..13] == [7; 6]).collect();
        assert_eq!(planted.len(), count as usize);
        remove(&stage.storage, &planted);
        assert_clean(stage);
    }
}

fn chain_before_lost_covered_heads_is_pinned(stage: &Stage) {
    created(stage);
    let mut all = vec![one_chain(stage), one_chain(stage)];
    for value in [None, Some(&b""[..]), Some(&[1; 200][..])] {
        let mut objects = raw::all_objects(&stage.storage);
        objects.remove(&b"a"[..]);
        objects.extend(value.map(|value| (b"a".to_vec(), value.to_vec())));
        raw::reset(&stage.storage, &objects);
        all.push(one_chain(stage));
        assert_clean(stage);
    }
    assert_each_is_pinned(stage, &all);
}

fn covered_heads_of_an_earlier_time_lose_no_pin(stage: &Stage) {
    created(stage);
    let mut all = vec![one_chain(stage)];
    verify_on_clock(stage);
    let early = raw::all_objects(&stage.storage).remove(&b"a"[..]).unwrap();
    all.extend([one_chain(stage), one_chain(stage)]);
    raw::put(&stage.storage, b"a", &early);
    all.push(one_chain(stage));
    verify_on_clock(stage);
    assert_clean(stage);
    assert_each_is_pinned(stage, &all);
}

fn covered_heads_of_another_vault_lose_no_pin(stage: &Stage) {
    let other = Stage::memory();
    created(&other);
    one_chain(&other);
    verify_on_clock(&other);
    let foreign = raw::all_objects(&other.storage).remove(&b"a"[..]).unwrap();
    created(stage);
    let mut all = vec![one_chain(stage)];
    raw::put(&stage.storage, b"a", &foreign);
    all.push(one_chain(stage));
    verify_on_clock(stage);
    assert_clean(stage);
    assert_each_is_pinned(stage, &all);
}

/// A storage that was put back, but for the object of covered heads, lacks the page that it names.
fn covered_heads_without_their_page_lose_no_pin(stage: &Stage) {
    created(stage);
    let first = one_chain(stage);
    let before = raw::all_objects(&stage.storage);
    one_chain(stage);
    verify_on_clock(stage);
    let late = raw::all_objects(&stage.storage).remove(&b"a"[..]).unwrap();
    raw::reset(&stage.storage, &before);
    raw::put(&stage.storage, b"a", &late);
    let second = one_chain(stage);
    verify_on_clock(stage);
    assert_clean(stage);
    assert_each_is_pinned(stage, &[first, second]);
}

fn page_planted_behind_a_head_keeps_no_head_from_being_pinned(stage: &Stage) {
    created(stage);
    let chain = one_chain(stage);
    for sequence in [chain.len() as u64, u64::MAX] {
        let key = [&chain[0][..17], &sequence.to_be_bytes()].concat();
        raw::put(&stage.storage, &key, &[0x55; 120]);
    }
    let report = verify_on_clock(stage);
    assert!(!report.is_clean());
    let all: Vec<_> = chains(&stage.storage)
        .into_iter()
        .filter(|keys| keys[0][..17] == chain[0][..17])
        .collect();
    one_chain(stage);
    assert_each_is_pinned(stage, &all);
}

/// A process that is open for long pins the chains that begin meanwhile.
fn open_vault_pins_heads_of_others_when_it_verifies(stage: &Stage) {
    created(stage);
    let vault = stage.open_by(options(stage).journaling(Journaling::Strict));
    session_on(&vault)
        .put(&record("MRN-1", "Observation/1"), b"begins the chain")
        .unwrap();
    let other = one_chain(stage);
    vault.verify(None).unwrap();
    remove(&stage.storage, &other);
    let report = vault.verify(None).unwrap();
    assert!(faults(&report).contains(&JournalFault::Cut), "{report:#?}");
}
