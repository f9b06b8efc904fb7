//! Open readers, writers and iterators, which end when their permission ends.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use chartlock::access::{
    AccessOutcome, AccessPolicy, AccessRequest, AllowAll, BreakGlassScope, ConsentReference,
    Decision, Rule, RulePolicy,
};
use chartlock::internals::clock::Clock;
use chartlock::{Document, Error, RecordId, Session, Vault, VaultOptions};

use super::deciding::{by, id, memory, options, outcomes_of};
use crate::common::clock::{ManualClock, NOON};
use crate::common::{Fixed, Shared, actor, record, subject};

/// Policy that permits or denies everything, and can be changed.
#[derive(Debug, Default)]
struct Switch(Mutex<(u64, bool, u64)>);

impl Switch {
    fn deny(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 += 1;
        state.1 = true;
    }

    fn asked(&self) -> u64 {
        self.0.lock().unwrap().2
    }
}

impl AccessPolicy for Switch {
    fn decide(&self, _: &AccessRequest<'_>) -> Decision {
        let mut state = self.0.lock().unwrap();
        state.2 += 1;
        match state.1 {
            true => Decision::Deny,
            false => Decision::Permit,
        }
    }

    fn revision(&self) -> u64 {
        self.0.lock().unwrap().0
    }
}

/// Returns a vault with a large record and 300 small ones.
fn filled(options: VaultOptions, storage: &Shared) -> Vault {
    let vault = options.create(Arc::clone(storage), &Fixed(1)).unwrap();
    let dr = by(&vault, "dr.garcia");
    dr.put_reader(&id("ct"), &vec![7; 3 << 20][..]).unwrap();
    for number in 0..3 {
        dr.put(&record(&format!("MRN-{number}"), "note"), b"{}")
            .unwrap();
    }
    let ids: Vec<_> = (0..300).map(|number| id(&format!("n{number}"))).collect();
    let documents = ids.iter().map(|id| (id, Document::new(b"{}")));
    assert!(dr.put_many(documents).unwrap().iter().all(Result::is_ok));
    vault
}

/// The handles of a session, each opened and used once, and their hand-out functions.
struct Handles(Vec<(&'static str, HandOut)>);

/// Hands out more, and returns the error.
type HandOut = Box<dyn FnMut() -> Option<Error>>;

impl Handles {
    fn open(session: &Session) -> Self {
        let patient = subject("MRN-1042");
        let reader = session.reader(&id("ct")).unwrap().unwrap();
        let mut list = session.list(&patient).unwrap();
        let mut all = session.get_all(&patient).unwrap();
        let mut writer = session.writer(&id("upload"));
        writer.write_all(&[1; 100_000]).unwrap();
        let mut offset = 0;
        let mut handles = Self(vec![
            (
                "reader",
                Box::new(move || {
                    offset += 1000;
                    reader.read_at(offset, &mut [0; 10]).err()
                }),
            ),
            ("list", Box::new(move || list.next().unwrap().err())),
            ("all", Box::new(move || all.next().unwrap().err())),
            (
                "writer",
                Box::new(move || {
                    let failed = writer.read_from(&[1; 10][..]);
                    failed.err()
                }),
            ),
        ]);
        handles.expect(None);
        handles
    }

    fn with_audit(mut self, session: &Session) -> Self {
        let mut subjects = session.subjects().unwrap();
        let mut entries = session.audit().unwrap().entries(..).unwrap();
        self.0.push((
            "subjects",
            Box::new(move || subjects.next().and_then(Result::err)),
        ));
        self.0
            .push(("audit", Box::new(move || entries.next().unwrap().err())));
        self
    }

    fn expect(&mut self, error: Option<Error>) {
        for (name, hand_out) in &mut self.0 {
            assert_eq!(hand_out(), error, "{name}");
        }
    }
}

#[test]
fn open_handles_end_when_policy_revision_changed() {
    let storage = memory();
    let policy = Arc::new(Switch::default());
    let vault = filled(options().policy(Arc::clone(&policy)), &storage);
    let dr = by(&vault, "dr.later");
    let mut handles = Handles::open(&dr).with_audit(&dr);
    let asked = policy.asked();
    handles.expect(None);
    assert_eq!(
        policy.asked(),
        asked + 1,
        "only records of get_all are asked about"
    );
    let before = outcomes_of(&storage, "dr.later").len();
    policy.deny();
    handles.expect(Some(Error::Denied));
    drop(handles);
    let denied = outcomes_of(&storage, "dr.later").split_off(before);
    let denied = denied
        .iter()
        .filter(|(_, outcome)| *outcome == AccessOutcome::Denied);
    assert_eq!(denied.count(), 6, "one entry for each handle");
}

#[test]
fn open_handles_end_when_policy_was_replaced() {
    let vault = filled(options(), &memory());
    let mut handles = Handles::open(&by(&vault, "dr.later"));
    vault.set_policy(RulePolicy::new([]).unwrap());
    handles.expect(Some(Error::Denied));
    vault.set_policy(AllowAll);
    let mut handles = Handles::open(&by(&vault, "dr.later"));
    handles.expect(None);
}

/// Policy whose denial takes effect without a new revision.
#[derive(Debug, Default)]
struct Silent(Switch);

impl AccessPolicy for Silent {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        self.0.decide(request)
    }
}

#[test]
fn open_handles_ask_again_after_sixty_seconds() {
    let clock = Arc::new(ManualClock::default());
    let policy = Arc::new(Silent::default());
    let options = options().clock(Arc::<ManualClock>::clone(&clock));
    let vault = filled(options.policy(Arc::clone(&policy)), &memory());
    let mut handles = Handles::open(&by(&vault, "dr.later"));
    policy.0.deny();
    clock.advance(59_000);
    let asked = policy.0.asked();
    for name in ["reader", "list", "writer"] {
        let handle = handles.0.iter_mut().find(|(other, _)| *other == name);
        assert_eq!(handle.unwrap().1(), None, "{name}");
    }
    assert_eq!(policy.0.asked(), asked);
    clock.advance(1_000);
    handles.expect(Some(Error::Denied));
}

/// Policy that permits under a consent until noon and ten seconds, and denies later.
#[derive(Debug)]
struct UntilEnd(Arc<ManualClock>);

impl AccessPolicy for UntilEnd {
    fn decide(&self, _: &AccessRequest<'_>) -> Decision {
        let end = NOON + 10_000;
        let at = UNIX_EPOCH + Duration::from_millis(end as u64);
        let consent = ConsentReference::new("Consent/1").unwrap().ending_at(at);
        match self.0.now() < end {
            true => Decision::PermitUnder(consent),
            false => Decision::Deny,
        }
    }
}

#[test]
fn open_handles_end_when_consent_ended() {
    let clock = Arc::new(ManualClock::default());
    let options = options().clock(Arc::<ManualClock>::clone(&clock));
    let policy = UntilEnd(Arc::clone(&clock));
    let vault = filled(options.policy(policy), &memory());
    let mut handles = Handles::open(&by(&vault, "dr.later"));
    clock.advance(9_000);
    handles.expect(None);
    clock.advance(1_000);
    handles.expect(Some(Error::Denied));
}

#[test]
fn open_handles_end_when_break_glass_ended() {
    let (clock, storage) = (Arc::new(ManualClock::default()), memory());
    let writer = Rule::permit().actor("dr.garcia");
    let policy = RulePolicy::new([writer]).unwrap();
    let options = options().clock(Arc::<ManualClock>::clone(&clock));
    let vault = filled(options.policy(policy), &storage);
    let minute = Duration::from_secs(59);
    let patient = subject("MRN-1042");
    let night = actor("dr.night");
    let glass = vault.break_glass(night, &patient, "unconscious", minute);
    let mut handles = Handles::open(&glass.unwrap());
    let before = outcomes_of(&storage, "dr.night").len();
    clock.advance(59_000);
    handles.expect(Some(Error::Denied));
    let denied = outcomes_of(&storage, "dr.night").split_off(before);
    assert_eq!(denied.len(), 4, "one entry for each handle: {denied:?}");
}

#[test]
fn break_glass_opens_one_subject_unless_asked_for_more() {
    let policy = RulePolicy::new([Rule::permit().actor("dr.garcia")]).unwrap();
    let vault = options()
        .policy(policy)
        .create(memory(), &Fixed(1))
        .unwrap();
    let dr = by(&vault, "dr.garcia");
    let salaries = RecordId::organization("payroll", "salaries").unwrap();
    for id in [&id("note"), &record("MRN-2", "note"), &salaries] {
        dr.put(id, b"{}").unwrap();
    }
    let open = |scope: BreakGlassScope| {
        let night = actor("dr.night");
        let glass = vault.break_glass(night, scope, "unconscious", Duration::from_secs(60));
        let glass = glass.unwrap();
        [&id("note"), &record("MRN-2", "note"), &salaries].map(|id| glass.get(id).is_ok())
    };
    assert_eq!(open((&subject("MRN-1042")).into()), [true, false, false]);
    assert_eq!(open(BreakGlassScope::AllPatients), [true, true, false]);
    assert_eq!(open(salaries.subject().into()), [false, false, true]);
}
