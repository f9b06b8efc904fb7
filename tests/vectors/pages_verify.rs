//! Checks of the journal vectors against the library.

use std::collections::BTreeSet;

use chartlock::audit::{AuditItem, FaultKind};
use chartlock::internals::crypto::{AuthorityKey, JournalKey, name_tag, subject_tag};
use chartlock::internals::journal::{
    Entry, Page, PageError, PageId, PageKeys, Stage, SubjectRef, Summaries, Target, page_of,
};
use chartlock::internals::keys::Header;
use chartlock::keys::Credential;
use chartlock::{
    Error, Operation, SubjectKind, Vault, access::AccessOutcome, verify::JournalFault,
};
use serde_json::{Value, json};

use crate::common::session;
use crate::container::Vector;
use crate::formula;
use crate::page::{hex, joined};
use crate::writer::NAME;

/// Opens the page that a vector requests, and returns the result in the form that the vectors
/// contain.
pub fn page(vector: &Vector, credential: &dyn Credential) -> String {
    let at = [b"j", &vector.about["page"][..]].concat();
    let Some(value) = vector.storage.get(&at) else {
        return "none".into();
    };
    let header = Header::parse(&vector.storage[b"v".as_slice()]).unwrap();
    let opened = match header.unlock(credential) {
        Ok(unlocked) => {
            let key = |number| (unlocked.keyring.journal_key(number)).map(|key| &key.key);
            let authority = |number| unlocked.keyring.authority_key(number).map(|key| &key.key);
            open(&header, &key, Some(&authority), value, &at)
        }
        Err(_) => {
            let (keys, _) = header.unlock_journal(credential).unwrap();
            open(&header, &|number| keys.find(number), None, value, &at)
        }
    };
    match opened {
        Ok(page) => {
            let content: Value = serde_json::from_slice(&vector.about["content"]).unwrap();
            assert_eq!(page_json(&page), content);
            "ok".into()
        }
        Err(PageError::Forged) => "Forged".into(),
        Err(PageError::UnknownKey) => "UnknownJournalKey".into(),
        Err(error @ (PageError::Late | PageError::Unproven)) => format!("{error:?}"),
        Err(PageError::Refused(error)) => format!("{error:?}"),
    }
}

fn open<'a>(
    header: &Header,
    key: &'a dyn Fn(u32) -> Option<&'a JournalKey>,
    authority: Option<&'a dyn Fn(u32) -> Option<&'a AuthorityKey>>,
    value: &[u8],
    at: &[u8],
) -> Result<Page, PageError> {
    let keys = PageKeys {
        vault: *header.vault(),
        key,
        authority,
        closed_pages: None,
    };
    keys.open(value, &page_of(at).unwrap())
}

/// Returns a page's content as JSON, in the form that the vectors contain.
fn page_json(page: &Page) -> Value {
    let seen = page.seen.iter().map(|seen| {
        let digest = json!({ "digest": hex(&seen.digest) });
        joined([place(&seen.page), digest])
    });
    let entries = page.entries.iter().map(|entry| entry_json(page, entry));
    let summaries = page.summaries.as_ref().map_or(json!({}), summaries_json);
    let own = json!({
        "previous": hex(&page.previous),
        "began": page.began,
        "latest": page.latest,
        "seen": seen.collect::<Value>(),
        "entries": entries.collect::<Value>(),
    });
    joined([own, summaries])
}

fn summaries_json(summaries: &Summaries) -> Value {
    let pages = summaries.pages.iter().map(|summary| {
        let indexes = summary.entries().map(|(index, _)| index);
        let own = json!({
            "digest": hex(&summary.head.digest),
            "kind": summary.kind.code(),
            "indexes": indexes.collect::<Vec<_>>(),
            "page": page_json(summary.page()),
        });
        joined([own, place(&summary.head.page)])
    });
    json!({ "summaries": { "until": summaries.until, "pages": pages.collect::<Value>() } })
}

fn place(page: &PageId) -> Value {
    json!({ "writer": hex(&page.writer), "sequence": page.sequence })
}

fn entry_json(page: &Page, entry: &Entry) -> Value {
    let context = &page.contexts[usize::from(entry.context)];
    let operation = (Operation::ALL.iter()).position(|operation| *operation == entry.operation);
    let outcome = (AccessOutcome::ALL.iter()).position(|outcome| *outcome == entry.outcome);
    let own = json!({
        "at": page.at(entry),
        "actor": context.actor,
        "purpose": context.purpose,
        "request": context.request,
        "organisation": context.organization,
        "broke_glass": context.under_break_glass,
        "operation": operation.unwrap() + 1,
        "outcome": outcome.unwrap(),
        "stage": u8::from(entry.stage == Stage::Announced),
    });
    let texts = [
        ("reason", entry.reason()),
        ("consent", entry.consent()),
        ("note", entry.note()),
    ];
    let texts = texts
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), json!(text?))));
    let texts = Value::Object(texts.collect());
    joined([own, texts, target_json(&entry.target)])
}

fn target_json(target: &Target) -> Value {
    let subject =
        |subject: &SubjectRef| json!({ "chart": hex(&subject.chart), "jsub": hex(&subject.tag) });
    let record = target.record().map_or(
        json!({}),
        |record| json!({ "rtag": hex(&record.tag), "jnam": hex(&record.name) }),
    );
    let of = target.subject().map_or(json!({}), subject);
    let written = target.sealed_entry().map_or(
        json!({}),
        |written| json!({ "sequence": written.sequence, "digest": hex(&written.digest) }),
    );
    let own = match target {
        Target::Vault => json!({ "target": 0 }),
        Target::Header { generation, digest } => {
            json!({ "target": 1, "generation": generation, "digest": hex(digest) })
        }
        Target::Subject(_) => json!({ "target": 2 }),
        Target::Entry { .. } => json!({ "target": 3 }),
        Target::Record { version, .. } => json!({ "target": 4, "version": version }),
        Target::Version {
            version, digest, ..
        } => json!({ "target": 5, "version": version, "digest": hex(digest) }),
        Target::Settled(page, index) => {
            joined([json!({ "target": 6, "place": index }), place(page)])
        }
        Target::Slot(slot) => json!({ "target": 8, "slot": slot.id, "kind": slot.kind }),
        Target::MasterKey(number) => json!({ "target": 9, "master_key": number }),
        Target::Reencrypted {
            version,
            before,
            after,
            ..
        } => json!({
            "target": 10,
            "version": version,
            "digest": hex(after),
            "digest_before": hex(before),
        }),
        Target::Records { read, .. } => {
            let read = read.iter().map(|read| {
                json!({
                    "rtag": hex(&read.record.tag),
                    "jnam": hex(&read.record.name),
                    "version": read.version,
                })
            });
            json!({ "target": 11, "read": read.collect::<Value>() })
        }
        Target::Retention { until, .. } => match until {
            Some(until) => json!({ "target": 12, "until": until }),
            None => json!({ "target": 12 }),
        },
        Target::Hold { hold, .. } => json!({ "target": 13, "hold": hold }),
        Target::Finding(finding) => json!({
            "target": 7,
            "fault": finding.fault,
            "writer": hex(&finding.writer),
            "page": finding.page,
            "pages": finding.pages,
        }),
    };
    joined([own, written, of, record])
}

/// Returns the faults that `verify` and the audit trail find in the journal of a vector. Faults
/// about headers, patient entries or records are ignored, because the vector does not store all of
/// these objects.
pub fn journal(vector: &Vector, vault: &Vault) -> Result<String, Error> {
    let faults: BTreeSet<String> = (vault.verify(None)?.journal.iter())
        .map(|found| found.fault)
        .filter(|fault| !matches!(fault, JournalFault::Incomplete | JournalFault::Unexpected))
        .map(|fault| format!("{fault:?}"))
        .collect();
    if !faults.is_empty() {
        return Ok(Vec::from_iter(faults).join(" "));
    }
    let auditor = session(vault);
    let trail = auditor.audit()?;
    let mut unsettled = 0;
    for item in trail.entries(..)? {
        match item? {
            AuditItem::Entry(entry) => unsettled += u32::from(!entry.settled),
            AuditItem::Fault(fault) => assert_eq!(fault.what, FaultKind::Archived),
        }
    }
    assert_eq!(vector.text("unsettled"), Some(&*unsettled.to_string()));
    Ok("ok".into())
}

/// The tags in the page of the vector `page` must equal the tags that format.md derives for the
/// subject and the record.
#[test]
fn journal_page_tags_match_format() {
    let vector = Vector::parse(&crate::committed()["page"]);
    let key = &vector.about["step 08 journal key"];
    let key: [u8; 32] = key[..].try_into().unwrap();
    let library = JournalKey::from_bytes(&key);
    let content: Value = serde_json::from_slice(&vector.about["content"]).unwrap();
    let jsub = subject_tag(&library, SubjectKind::Patient, "MRN-1042").unwrap();
    let jnam = name_tag(&library, NAME).unwrap();
    assert_eq!(jsub, formula::jsub(&key, 1, "MRN-1042"));
    assert_eq!(jnam, formula::jnam(&key, NAME));
    assert_eq!(content["entries"][0]["jsub"], hex(&jsub));
    assert_eq!(content["entries"][0]["jnam"], hex(&jnam));
}
