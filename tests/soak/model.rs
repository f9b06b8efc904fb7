//! Acknowledged state of one patient, whom only one thread changes.

use std::collections::BTreeMap;
use std::io::Read;

use chartlock::{Error, RecordId, Session, Subject};

use crate::common::content::content;
use crate::common::subject;

/// Expected records of one patient.
pub(crate) struct ChartModel {
    pub(crate) subject: Subject,
    /// For each record name, the seed of each version's content; `None` for a retracted or expunged
    /// version.
    versions: BTreeMap<String, Vec<Option<u64>>>,
}

impl ChartModel {
    pub(crate) fn new(patient: &str) -> Self {
        Self {
            subject: subject(patient),
            versions: BTreeMap::new(),
        }
    }

    pub(crate) fn id(&self, name: &str) -> RecordId {
        RecordId::new(self.subject.clone(), name).unwrap()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.versions.keys().cloned().collect()
    }

    /// Records an acknowledged version.
    pub(crate) fn acknowledge(&mut self, name: &str, version: u64, seed: Option<u64>) {
        let versions = self.versions.entry(name.to_owned()).or_default();
        versions.push(seed);
        assert_eq!(version, versions.len() as u64);
    }

    /// Records an acknowledged expunge, after which `last` is the number of the last version.
    pub(crate) fn acknowledge_expunge(&mut self, name: &str, last: u64) {
        let none = vec![None; usize::try_from(last).unwrap()];
        self.versions.insert(name.to_owned(), none);
    }

    pub(crate) fn acknowledge_erasure(&mut self) {
        self.versions.clear();
    }

    fn current(&self, name: &str) -> Option<u64> {
        self.versions.get(name)?.last().copied().flatten()
    }

    /// Reads a record and compares its content with the model. Reads the huge record through a
    /// reader.
    pub(crate) fn check(&self, session: &Session, name: &str) {
        let id = self.id(name);
        let found = if name == "huge" {
            session.reader(&id).unwrap().map(|mut reader| {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).unwrap();
                bytes
            })
        } else {
            session.get(&id).unwrap().map(|record| record.to_vec())
        };
        let expected = self.current(name).map(|seed| content(seed, name));
        assert!(found == expected, "{name}: another content than was put");
    }

    pub(crate) fn check_version(&self, session: &Session, name: &str, random: u64) {
        let Some(versions) = self.versions.get(name) else {
            return;
        };
        let index = usize::try_from(random).unwrap() % versions.len();
        let found = session.get_version(&self.id(name), index as u64 + 1);
        let expected = versions[index].map(|seed| content(seed, name));
        assert!(found.unwrap().map(|record| record.to_vec()) == expected);
    }

    pub(crate) fn check_history(&self, session: &Session, name: &str) {
        let history = session.history(&self.id(name)).unwrap();
        let last = history.last().map_or(0, |info| info.version());
        let expected = self.versions.get(name).map_or(0, Vec::len);
        assert_eq!(last, expected as u64);
    }

    fn expected_names(&self) -> Vec<&str> {
        let names = self.versions.keys().map(String::as_str);
        names.filter(|name| self.current(name).is_some()).collect()
    }

    pub(crate) fn check_list(&self, session: &Session) {
        let listed = session.list(&self.subject).unwrap();
        let mut names: Vec<_> = listed.map(|info| info.unwrap().name().to_owned()).collect();
        names.sort();
        assert_eq!(names, self.expected_names());
    }

    pub(crate) fn check_all(&self, session: &Session) {
        let mut names = Vec::new();
        for record in session.get_all(&self.subject).unwrap() {
            let record = record.unwrap();
            let name = record.info().name().to_owned();
            let expected = self.current(&name).map(|seed| content(seed, &name));
            assert!(Some(record.to_vec()) == expected, "{name}: another content");
            names.push(name);
        }
        names.sort();
        assert_eq!(names, self.expected_names());
    }

    /// Reopens the chart if it was erased.
    pub(crate) fn reopen(&self, session: &Session) {
        match session.get(&self.id("a")) {
            Err(Error::Erased) => session.reopen_chart(&self.subject).unwrap(),
            other => assert!(other.unwrap().is_none()),
        }
    }
}
