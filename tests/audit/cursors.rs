//! Cursors: the pages of a query, read by several processes, together equal the whole query.

use std::sync::Arc;

use chartlock::audit::{AuditCursor, AuditEntries, AuditItem, FaultKind, Timestamp};
use chartlock::internals::journal::EntryDraft;
use chartlock::{Error, Operation, Purpose};

use crate::common::Stage;
use crate::common::counting::Counting;
use crate::stage::*;

const HOUR: i64 = 60 * MINUTE;

fn read(stage: &JournalStage, at: i64, version: u64) -> EntryDraft {
    done(
        garcia(Operation::Read),
        at,
        stage.record("MRN-1", "a", version),
    )
}

/// Writes 120 entries by three writers over ten days, some of them queued, some with a clock that was
/// set back.
fn write_ten_days(stage: &JournalStage) {
    // The queries come after all entries.
    stage.clock.set_calendar(NOON + 90 * DAY);
    let writers = [stage.writer(), stage.writer(), stage.writer()];
    for step in 0..40 {
        let writer = &writers[step % 3];
        let at = NOON + step as i64 * 6 * HOUR;
        let clock = if step % 11 == 10 { at - 30 * DAY } else { at };
        let version = 3 * step as u64 + 1;
        let drafts = [0, -20, 1].map(|minutes| clock + minutes * MINUTE);
        let drafts = drafts.into_iter().zip(version..);
        write_page(
            writer,
            clock,
            drafts.map(|(at, version)| read(stage, at, version)),
        );
    }
}

/// Returns the versions of the read records.
fn versions(items: impl IntoIterator<Item = AuditItem>) -> Vec<u64> {
    let version = |item| match item {
        AuditItem::Entry(entry) => entry.version,
        AuditItem::Fault(_) => None,
    };
    items.into_iter().filter_map(version).collect()
}

fn about(stage: &JournalStage) -> AuditEntries {
    let trail = stage.open().trail();
    trail.entries_about(&subject("MRN-1"), ..).unwrap()
}

/// Runs a query in pages. Each page has a new auditor, and a cursor parsed from its text.
fn in_pages(stage: &JournalStage, size: usize) -> Vec<AuditItem> {
    let mut all = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..200 {
        let mut page = about(stage);
        if let Some(text) = cursor {
            page = page.after(&text.parse().unwrap()).unwrap();
        }
        let items: Vec<_> = page.by_ref().take(size).map(Result::unwrap).collect();
        cursor = Some(page.cursor().unwrap().to_string());
        // End before the queries, because each query is journaled and would appear in the next page.
        if items.is_empty() || versions(items.clone()).is_empty() {
            return all;
        }
        all.extend(items);
    }
    panic!("the pages do not end");
}

#[test]
fn pages_together_return_whole_query() {
    let stage = JournalStage::new();
    write_ten_days(&stage);
    let whole = versions(about(&stage).map(Result::unwrap));
    assert_eq!(whole.len(), 120);
    for size in [1, 7, 100] {
        assert_eq!(versions(in_pages(&stage, size)), whole);
    }
}

#[test]
fn query_about_subject_returns_no_other_subject() {
    let stage = JournalStage::new();
    let writer = stage.writer();
    let other = done(garcia(Operation::Read), NOON, stage.record("MRN-2", "a", 9));
    write_page(&writer, NOON, [read(&stage, NOON, 1), other]);
    assert_eq!(versions(about(&stage).map(Result::unwrap)), [1]);
}

#[test]
fn chain_that_saw_a_later_chain_is_read_after_the_cursor() {
    let stage = JournalStage::new();
    let (writer, ahead) = (stage.writer(), stage.writer());
    let before_end = |minutes: i64| NOON + DAY - minutes * MINUTE;
    write_page(&writer, NOON, [read(&stage, NOON, 1)]);
    // The clock of this writer is 25 minutes ahead, so its chain starts after the period of the first chain.
    write_page(&ahead, before_end(-10), [read(&stage, before_end(-10), 5)]);
    let heads = vec![ahead.tip().unwrap()];
    let draft = read(&stage, before_end(15), 2);
    let sent = writer.send_page(&[draft], heads, moment(before_end(15)));
    sent.unwrap();
    for (minutes, version) in [(10, 3), (5, 4)] {
        let at = before_end(minutes);
        write_page(&writer, at, [read(&stage, at, version)]);
    }
    assert_eq!(keys_of(&*stage.storage, b"j").len(), 5);
    let whole = versions(about(&stage).map(Result::unwrap));
    assert_eq!(whole.len(), 5);
    assert_eq!(versions(in_pages(&stage, 1)), whole);
}

#[test]
fn entries_written_between_pages_hide_no_earlier_entry() {
    let stage = JournalStage::new();
    write_ten_days(&stage);
    let whole = versions(about(&stage).map(Result::unwrap));
    let mut first = about(&stage);
    let mut found: Vec<_> = first.by_ref().take(60).map(Result::unwrap).collect();
    // An entry before the cursor, an entry after it, and an entry of a clock that was set back.
    for (at, version) in [(NOON, 1001), (NOON + 60 * DAY, 1002), (NOON - DAY, 1003)] {
        write_page(&stage.writer(), at, [read(&stage, at, version)]);
    }
    let rest = about(&stage).after(&first.cursor().unwrap()).unwrap();
    found.extend(rest.map(Result::unwrap));
    let found = versions(found);
    let old: Vec<_> = found
        .iter()
        .copied()
        .filter(|version| *version < 1000)
        .collect();
    assert_eq!(old, whole);
    assert!(found.contains(&1002));
}

#[test]
fn page_altered_between_pages_hides_no_other_entry() {
    let whole = |stage: &JournalStage| versions(about(stage).map(Result::unwrap));
    for altered in [0, 5, 17] {
        let stage = JournalStage::new();
        write_ten_days(&stage);
        let all = whole(&stage);
        let mut first = about(&stage);
        let mut found: Vec<_> = first.by_ref().take(60).map(Result::unwrap).collect();
        let keys = keys_of(&*stage.storage, b"j");
        let mut value = value_of(&*stage.storage, &keys[altered]).unwrap();
        *value.last_mut().unwrap() ^= 1;
        objects::put(&*stage.storage, &keys[altered], &value);
        let rest = about(&stage).after(&first.cursor().unwrap()).unwrap();
        found.extend(rest.map(Result::unwrap));
        let mut expected = [versions(found.drain(..60)), whole(&stage)].concat();
        expected.sort_unstable();
        expected.dedup();
        let mut found = [versions(found), expected.clone()].concat();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, expected);
        assert!(expected.len() >= all.len() - 3);
    }
}

#[test]
fn cursor_of_another_query_is_refused() {
    let stage = JournalStage::new();
    write_ten_days(&stage);
    let trail = stage.open().trail();
    let cursor = about(&stage).cursor().unwrap();
    assert!(about(&stage).after(&cursor).is_ok());
    let day = Timestamp::from_millis(NOON)..Timestamp::from_millis(NOON + DAY);
    let others = [
        trail.entries(..).unwrap(),
        trail.entries_about(&subject("MRN-2"), ..).unwrap(),
        trail.entries_about(&subject("MRN-1"), day).unwrap(),
    ];
    for other in others {
        assert_eq!(other.after(&cursor).unwrap_err(), Error::InvalidCursor);
    }
    let other_vault = JournalStage::new();
    let refused = about(&other_vault).after(&cursor).unwrap_err();
    assert_eq!(refused, Error::InvalidCursor);
}

#[test]
fn altered_cursor_is_refused() {
    let stage = JournalStage::new();
    write_ten_days(&stage);
    let mut entries = about(&stage);
    entries.next().unwrap().unwrap();
    let text = entries.cursor().unwrap().to_string();
    for at in 0..text.len() {
        let mut altered = text.clone().into_bytes();
        altered[at] = if altered[at] == b'0' { b'1' } else { b'0' };
        let altered = String::from_utf8(altered).unwrap();
        let parsed: AuditCursor = altered.parse().unwrap();
        let refused = about(&stage).after(&parsed).unwrap_err();
        assert_eq!(refused, Error::InvalidCursor);
    }
    for wrong in [
        "",
        "0",
        "zz",
        "é",
        &text[2..],
        &text[..30],
        &"0".repeat(5000),
    ] {
        let refused = match wrong.parse::<AuditCursor>() {
            Ok(cursor) => about(&stage).after(&cursor).unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(refused, Error::InvalidCursor);
    }
}

#[test]
fn cursor_survives_json_and_differs_each_time() {
    let stage = JournalStage::new();
    write_ten_days(&stage);
    let entries = about(&stage);
    let [one, other] = [(); 2].map(|()| entries.cursor().unwrap());
    assert_ne!(one.to_string()[16..80], other.to_string()[16..80]);
    assert_eq!(one.to_string().len(), other.to_string().len());
    let json = serde_json::to_string(&one).unwrap();
    let parsed: AuditCursor = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed, one);
    assert!(serde_json::from_str::<AuditCursor>("\"no cursor\"").is_err());
}

#[test]
fn cursor_before_rotation_of_journal_keys_is_refused() {
    let stage = Stage::memory();
    let vault = stage.create();
    let id = record("MRN-1", "Observation/1");
    session(&vault).put(&id, b"120/80").unwrap();
    let office = session_as(&vault, "privacy.office", Purpose::Operations);
    let about = || office.audit().unwrap().entries_about(&subject("MRN-1"), ..);
    let cursor = about().unwrap().cursor().unwrap();
    assert!(about().unwrap().after(&cursor).is_ok());
    vault.rotate_journal_keys(&[], &[]).unwrap();
    let refused = about().unwrap().after(&cursor).unwrap_err();
    assert_eq!(refused, Error::InvalidCursor);
}

#[test]
fn page_after_cursor_reads_chains_of_one_day() {
    let stage = JournalStage::new();
    let writer = stage.writer();
    for step in 0..480 {
        let at = NOON + step * 2 * HOUR;
        write_page(&writer, at, [read(&stage, at, step as u64 + 1)]);
    }
    stage.clock.set_calendar(NOON + 60 * DAY);
    let mut entries = about(&stage);
    assert_eq!(entries.by_ref().take(240).count(), 240);
    let cursor = entries.cursor().unwrap();
    let storage = Arc::new(Counting::new(Arc::clone(&stage.storage)));
    let auditor = stage.try_open(storage.clone()).unwrap();
    let cost = storage.cost_of(|| {
        let page = auditor
            .trail()
            .entries_about(&subject("MRN-1"), ..)
            .unwrap();
        let page = page.after(&cursor).unwrap().take(10).map(Result::unwrap);
        assert!(versions(page).into_iter().eq(241..=250));
    });
    assert!(cost.calls <= 14, "{cost:?}");
}

#[test]
fn removed_chain_is_named_in_the_page_that_saw_it() {
    let stage = JournalStage::new();
    let writer = stage.writer();
    for day in 0..10 {
        let at = NOON + day * DAY;
        write_page(&writer, at, [read(&stage, at, day as u64)]);
    }
    let keys = keys_of(&*stage.storage, b"j");
    objects::delete(&*stage.storage, &keys[4]);
    let items = in_pages(&stage, 2);
    let faults: Vec<_> = (items.iter().enumerate())
        .filter_map(|(at, item)| match item {
            AuditItem::Fault(fault) => Some((at, fault.what)),
            AuditItem::Entry(_) => None,
        })
        .collect();
    // After the entry of the next chain.
    assert_eq!(faults, [(5, FaultKind::Cut)]);
}
