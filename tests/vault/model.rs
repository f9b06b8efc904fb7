//! Model of the acknowledged records, for comparison with a vault.

use std::collections::{BTreeMap, BTreeSet};

use chartlock::internals::envelope::INLINE_MAX;
use chartlock::{RecordId, Session, Subject, Vault};

use crate::stage::{content, record, session_on};

/// Acknowledged versions of every record; `None` for a retraction.
#[derive(Clone, Default)]
pub(crate) struct Model(pub(crate) BTreeMap<RecordId, Vec<Option<Vec<u8>>>>);

impl Model {
    pub(crate) fn put(&mut self, session: &Session, id: &RecordId, body: &[u8]) {
        let versions = self.0.entry(id.clone()).or_default();
        versions.push(Some(body.to_vec()));
        assert_eq!(session.put(id, body), Ok(versions.len() as u64));
    }

    pub(crate) fn retract(&mut self, session: &Session, id: &RecordId) {
        let versions = self.0.get_mut(id).unwrap();
        versions.push(None);
        assert_eq!(session.retract(id), Ok(Some(versions.len() as u64)));
    }

    /// Puts eight versions of four records: amended, retracted, large and empty.
    fn fill(&mut self, session: &Session, patient: &str, seed: u64) {
        let id = record(patient, "Observation/amended");
        for version in 1..=3 {
            self.put(session, &id, &content(seed + version, 90));
        }
        let id = record(patient, "Observation/retracted");
        self.put(session, &id, &content(seed, 200));
        self.retract(session, &id);
        let id = record(patient, "CT/large");
        self.put(session, &id, &content(seed, INLINE_MAX + 1));
        self.put(session, &id, &content(seed + 1, 2 * INLINE_MAX));
        self.put(session, &record(patient, "Observation/empty"), b"");
    }

    pub(crate) fn subjects(&self) -> BTreeSet<&Subject> {
        self.0.keys().map(RecordId::subject).collect()
    }

    /// Compares the model with the results of every read operation.
    pub(crate) fn verify(&self, vault: &Vault) {
        let session = session_on(vault);
        for (id, versions) in &self.0 {
            let current = session.get(id).unwrap();
            assert!(current.as_deref() == versions.last().unwrap().as_deref());
            let history = session.history(id).unwrap();
            assert_eq!(history.len(), versions.len());
            for ((version, body), info) in (1..).zip(versions).zip(&history) {
                let earlier = session.get_version(id, version).unwrap();
                assert!(earlier.as_deref() == body.as_deref());
                assert_eq!((info.version(), info.name()), (version, id.name()));
                assert_eq!(info.length(), body.as_ref().map(|body| body.len() as u64));
            }
        }
        let subjects = session.subjects().unwrap().collect::<Result<Vec<_>, _>>();
        let subjects = subjects.unwrap();
        assert_eq!(subjects.iter().collect::<BTreeSet<_>>(), self.subjects());
        for subject in &subjects {
            let listed = session.list(subject).unwrap().map(Result::unwrap);
            let listed: BTreeMap<_, _> = listed
                .map(|info| (info.name().to_owned(), info.version()))
                .collect();
            assert_eq!(listed, self.listed(subject));
            let read = session.get_all(subject).unwrap().map(|record| {
                let record = record.unwrap();
                (record.info().name().to_owned(), record.to_vec())
            });
            assert_eq!(read.collect::<BTreeMap<_, _>>(), self.contents(subject));
        }
    }

    fn contents(&self, subject: &Subject) -> BTreeMap<String, Vec<u8>> {
        let of = self.0.iter().filter(|(id, _)| id.subject() == subject);
        of.filter_map(|(id, versions)| {
            let current = versions.last()?.clone()?;
            Some((id.name().to_owned(), current))
        })
        .collect()
    }

    fn listed(&self, subject: &Subject) -> BTreeMap<String, u64> {
        let records = self.0.iter().filter(|(id, versions)| {
            id.subject() == subject && versions.last().is_some_and(Option::is_some)
        });
        records
            .map(|(id, versions)| (id.name().to_owned(), versions.len() as u64))
            .collect()
    }
}

/// Fills a vault with three patients that have all kinds of records, and with one organization.
pub(crate) fn small_clinic(vault: &Vault) -> Model {
    let session = session_on(vault);
    let mut model = Model::default();
    for (seed, patient) in (1..).zip(["MRN-1", "MRN-2", "MRN-3"]) {
        model.fill(&session, patient, seed);
    }
    let id = RecordId::organization("formulary", "amoxicillin").unwrap();
    model.put(&session, &id, b"500 mg");
    model
}

/// Fills a vault with one patient that has all kinds of records, and one that has a single record.
pub(crate) fn smaller_clinic(vault: &Vault) -> Model {
    let session = session_on(vault);
    let mut model = Model::default();
    model.fill(&session, "MRN-1", 1);
    model.put(&session, &record("MRN-2", "Observation/1"), b"x");
    model
}
