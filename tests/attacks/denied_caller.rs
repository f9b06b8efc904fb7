//! A caller whom the policy denies everything, and who chooses the texts of the requests.

use std::collections::BTreeSet;

use chartlock::access::{Reason, Rule, RulePolicy};
use chartlock::input::InputField;
use chartlock::verify::{RestorePlan, VerifyReport};
use chartlock::{Actor, Document, Error, Purpose, RecordId, Session, Subject, Vault};

use crate::common::invalid::{invalid_id_text, invalid_text};
use crate::common::objects::Objects;
use crate::common::{Fixed, Stage, record, session, subject};
use crate::fixture::{Fixture, objects, reset};
use crate::judge::{Gain, judge};

everywhere!(
    denied_texts_change_no_finding_and_no_object,
    texts_with_control_characters_are_refused,
);

/// Texts that look like findings, notes, checkpoints and other content of the journal.
const TEXTS: [&str; 14] = [
    "Missing 00000000000000000000000000000000 2 1",
    "Cut 01a1fdfa942020cf781341f0c40a0618 0 100",
    "Forged",
    "rolled-back MRN-1 amended",
    "accept a restore",
    "pages brought home",
    "pages of a later storage brought back",
    "without the pages that are missing",
    "authority not checked",
    "chartlock checkpoint 1 0000 0000 0000 0000",
    "{\"fault\":\"missing\",\"page\":2,\"pages\":1}",
    "MRN-1, erase a subject",
    "denied",
    "dr.garcia",
];

const CONTROLS: [&str; 8] = [
    "\n",
    "a\rb",
    "\0",
    "\u{1b}[2J",
    "\u{7}",
    "a\tb",
    "\u{7f}",
    "\u{85}",
];

/// A request with a text, on the plan of a restore.
type Request = fn(&Session, &RestorePlan, &str) -> Result<(), Error>;

const REQUESTS: [(&str, Request); 14] = [
    ("accept a restore", |session, plan, text| {
        session.accept_restore(plan, Reason::new(text)?).map(drop)
    }),
    ("plan a restore", |session, _, _| {
        session.plan_restore(None, None).map(drop)
    }),
    ("bring pages back", |session, _, text| {
        let later = chartlock::MemoryStorage::new();
        session
            .bring_journal_back(&later, None, Reason::new(text)?)
            .map(drop)
    }),
    ("bring pages home", |session, _, text| {
        let spool = chartlock::MemoryStorage::new();
        session.bring_journal_home(text, &spool).map(drop)
    }),
    ("erase", |session, _, text| {
        session.erase_subject(&subject("MRN-1"), text).map(drop)
    }),
    ("erase by name", |session, _, text| {
        session
            .erase_subject(&Subject::patient(text)?, text)
            .map(drop)
    }),
    ("expunge", |session, _, text| {
        session.expunge(&record("MRN-1", "amended"), text).map(drop)
    }),
    ("hold", |session, _, text| {
        session.place_hold(&subject("MRN-1"), text).map(drop)
    }),
    ("lift", |session, _, _| {
        session.lift_hold(&subject("MRN-4"), 1).map(drop)
    }),
    ("reopen", |session, _, _| {
        session.reopen_chart(&subject("MRN-3")).map(drop)
    }),
    ("read", |session, _, text| {
        session.get(&RecordId::patient("MRN-1", text)?).map(drop)
    }),
    ("put", |session, _, text| {
        session
            .put(&record("MRN-1", "amended"), text.as_bytes())
            .map(drop)
    }),
    ("put labels", |session, _, text| {
        let document = Document::new(text.as_bytes()).label(text);
        session
            .put(&RecordId::patient(text, text)?, document)
            .map(drop)
    }),
    ("retract", |session, _, _| {
        session.retract(&record("MRN-1", "amended")).map(drop)
    }),
];

/// Opens the vault with a policy that permits Dr. Garcia alone.
fn open_with_policy(stage: &Stage) -> Vault {
    stage.clock.advance(5_000);
    let policy = RulePolicy::new([Rule::permit().actor("dr.garcia")]).unwrap();
    let options = stage.options_on_clock().without_background().policy(policy);
    options.open(stage.shared(), &Fixed(1)).unwrap()
}

/// Returns the states on which the caller tries: the whole vault, and what a storage writer made of it.
fn states(fixture: &Fixture) -> Vec<(&'static str, Objects)> {
    let now = &fixture.now;
    let (key, older) = fixture.older_record();
    let mut rolled_back = now.clone();
    rolled_back.insert(key, older);
    let mut page_lost = now.clone();
    let page = now.keys().find(|key| key[0] == b'j').unwrap();
    page_lost.remove(page);
    let mut returned = now.clone();
    let (_, earlier) = fixture.earlier.last().unwrap();
    returned.retain(|key, _| b"vja".contains(&key[0]));
    let of = earlier.iter().filter(|(key, _)| !b"vja".contains(&key[0]));
    returned.extend(of.map(|(key, value)| (key.clone(), value.clone())));
    vec![
        ("whole", now.clone()),
        ("rolled back", rolled_back),
        ("page lost", page_lost),
        ("erased patient returned", returned),
    ]
}

/// Returns what must not change in a report.
fn findings(report: &VerifyReport) -> BTreeSet<String> {
    let journal = report.journal.iter().map(|it| format!("{it:?}"));
    let entries = report
        .entries
        .iter()
        .map(|it| format!("{it:?} {:?}", it.entry));
    let records = report
        .records
        .iter()
        .map(|it| format!("{it:?} {:?}", it.record));
    let header = report.header.iter().map(|it| format!("{it:?}"));
    let accepted = report.restores.iter().map(|it| format!("{it:?}"));
    journal
        .chain(entries)
        .chain(records)
        .chain(header)
        .chain(accepted)
        .collect()
}

fn stored(stage: &Stage) -> Objects {
    let mut stored = objects(&stage.storage);
    stored.retain(|key, _| !b"ja".contains(&key[0]));
    stored
}

fn denied_texts_change_no_finding_and_no_object(stage: &Stage) {
    let fixture = Fixture::new(stage);
    for (state, objects) in states(&fixture) {
        reset(&stage.storage, &objects);
        let vault = open_with_policy(stage);
        let before = fixture.verify(&vault).map(|report| findings(&report));
        let plan = session(&vault).plan_restore(None, None).unwrap();
        let kept = stored(stage);
        for text in TEXTS {
            let name = if text == "dr.garcia" {
                "dr.garciia"
            } else {
                text
            };
            let caller = vault.session(Actor::new(name).unwrap(), Purpose::Treatment);
            for (request, send) in REQUESTS {
                let answer = send(&caller, &plan, text);
                assert_eq!(answer, Err(Error::Denied), "{state}: {request} {text}");
            }
        }
        drop(vault);
        assert_eq!(stored(stage), kept, "{state}");
        let vault = open_with_policy(stage);
        let after = fixture.verify(&vault).map(|report| findings(&report));
        assert_eq!(after, before, "{state}");
        drop(vault);
        let after = crate::fixture::objects(&stage.storage);
        let gain = judge(stage, &fixture, &after, &state).gain;
        assert_eq!(gain.unseen, state == "whole", "{state}");
        assert!(!gain.wrong, "{state}: {gain:?}");
        assert!(state != "whole" || !(gain.older || gain.absent), "{gain:?}");
        let _: Gain = gain;
    }
}

/// Texts that would look like another text in a report.
const DECEPTIVE: [&str; 3] = [
    "MRN-1\u{2028}erase a subject",
    "\u{202e}denied",
    "dr.garcia\u{200b}",
];

fn texts_with_control_characters_are_refused(stage: &Stage) {
    let fixture = Fixture::new(stage);
    let vault = open_with_policy(stage);
    // Dr. Garcia may do everything, so only the texts can be the cause of a refusal.
    let session = session(&vault);
    let kept = stored(stage);
    let id = record("MRN-1", "amended");
    for text in CONTROLS {
        let invalid = |field| Some(invalid_text(field, text));
        let invalid_id = |field| Some(invalid_id_text(field, text));
        let reason = invalid(InputField::Reason);
        assert_eq!(Reason::new(text).err(), reason, "{text:?}");
        let actor = Actor::new(text).err();
        assert_eq!(actor, invalid_id(InputField::Actor), "{text:?}");
        let patient = Subject::patient(text).err();
        assert_eq!(patient, invalid_id(InputField::Identifier), "{text:?}");
        let id_of_text = RecordId::patient("MRN-1", text).err();
        assert_eq!(id_of_text, invalid_id(InputField::RecordName), "{text:?}");
        let refused = [
            session.expunge(&id, text).err(),
            session.erase_subject(&subject("MRN-1"), text).err(),
            session.place_hold(&subject("MRN-1"), text).err(),
            session.put(&id, Document::new(b"x").label(text)).err(),
        ];
        let label = invalid(InputField::Label);
        let expected = [reason.clone(), reason.clone(), reason, label];
        assert_eq!(refused, expected, "{text:?}");
    }
    for text in DECEPTIVE {
        let refused = [
            Reason::new(text).err(),
            session.expunge(&id, text).err(),
            session.place_hold(&subject("MRN-1"), text).err(),
            session.clone().with_request_id(text).err(),
        ];
        let reason = Some(invalid_text(InputField::Reason, text));
        let request = Some(invalid_text(InputField::RequestId, text));
        let expected = [reason.clone(), reason.clone(), reason, request];
        assert_eq!(refused, expected, "{text:?}");
        let invalid = Some(invalid_id_text(InputField::Actor, text));
        assert_eq!(Actor::new(text).err(), invalid, "{text:?}");
    }
    drop((session, vault));
    assert_eq!(stored(stage), kept);
    assert!(
        fixture
            .verify(&open_with_policy(stage))
            .iter()
            .all(VerifyReport::is_clean)
    );
}
