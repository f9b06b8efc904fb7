//! Grafts: record versions that a former insider seals with copied patient keys and puts into the storage.

use std::fmt;

use chartlock::internals::crypto::{DataKey, Place, patient_tag, record_tag};
use chartlock::internals::envelope::{Address, Body, Head, Meta, seal};
use chartlock::internals::keys::{Header, PatientEntry, open_entry, unwrap, wrap};
use chartlock::{CipherSuite, SubjectKind};

use crate::common::objects::Objects;
use crate::fixture::{Copied, Fixture, Id};

/// Kind of a graft: the version that the insider's content takes the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GraftKind {
    /// Replaces the current version by other content under a new data key.
    Replace,
    /// Replaces the current version under the data key of a copied version.
    SameDataKey,
    /// Becomes the next version.
    NextVersion,
    /// Becomes the next version, and the current version becomes an earlier one.
    NextVersionWithHistory,
    /// Seals the content of the first version as the current version.
    FirstVersion,
    /// Becomes an earlier version.
    Earlier,
}

pub(crate) const GRAFT_KINDS: [GraftKind; 6] = [
    GraftKind::Replace,
    GraftKind::SameDataKey,
    GraftKind::NextVersion,
    GraftKind::NextVersionWithHistory,
    GraftKind::FirstVersion,
    GraftKind::Earlier,
];

/// A graft on a record.
pub(crate) struct Graft {
    pub(crate) id: Id,
    pub(crate) kind: GraftKind,
    pub(crate) after: Objects,
}

impl fmt::Display for Graft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "graft {:?} on {} {}", self.kind, self.id.0, self.id.1)
    }
}

/// The copied keys of one record.
struct Target {
    suite: CipherSuite,
    entry: PatientEntry,
    address: Address,
    /// Storage key of the current version.
    key: Vec<u8>,
    name: &'static str,
}

impl Target {
    fn new(copied: &Copied, id: Id) -> Self {
        let header = Header::parse(&copied.header).unwrap();
        let name_key = copied.keyring.active_name_key();
        let tag = patient_tag(&name_key.key, SubjectKind::Patient, id.0).unwrap();
        let value = &copied.objects[&[b"p", &tag[..]].concat()];
        let entry = open_entry(value, &copied.keyring, header.vault(), &tag).unwrap();
        let chart = entry.chart().unwrap();
        let record = record_tag(chart.name_key(), id.1).unwrap();
        let address = Address {
            chart: *chart.id(),
            record,
        };
        let key = [b"r", &address.chart[..], &address.record[..]].concat();
        Self {
            suite: header.suite(),
            address,
            key,
            name: id.1,
            entry,
        }
    }

    fn seal(&self, place: Place, version: u64, content: &[u8], data_key: DataKey) -> Vec<u8> {
        let patient = self.entry.chart().unwrap().active_key();
        let meta = Meta {
            name: self.name.into(),
            ..Meta::default()
        };
        let body = Body::Inline(content);
        let sealed = seal(
            self.suite,
            &self.address,
            version,
            &meta,
            body,
            data_key,
            |commitment, key| {
                let wrapped = wrap(
                    self.suite,
                    &patient.key,
                    place,
                    patient.number,
                    commitment,
                    key,
                )?;
                Ok((patient.number, wrapped))
            },
        );
        sealed.unwrap()
    }

    /// Returns the data key of a copied version.
    fn data_key(&self, copied: &Copied) -> DataKey {
        let head = Head::parse(&copied.objects[&self.key]).unwrap();
        let patient = self.entry.chart().unwrap().active_key();
        let (number, place) = (head.key_number, Place::Current);
        unwrap(
            self.suite,
            &patient.key,
            place,
            number,
            &head.commitment,
            &head.wrapped,
        )
        .unwrap()
    }

    fn earlier(&self, version: u64) -> Vec<u8> {
        [b"h", &self.key[1..], &version.to_be_bytes()].concat()
    }
}

/// Grafts content on a record.
pub(crate) fn graft(fixture: &Fixture, id: Id, kind: GraftKind) -> Graft {
    let copied = &fixture.copied;
    let target = Target::new(copied, id);
    let mut after = fixture.now.clone();
    let current = Head::parse(&after[&target.key]).unwrap().version;
    let fresh = || DataKey::random().unwrap();
    let seal = |place, version, content| target.seal(place, version, content, fresh());
    let (key, value) = (target.key.clone(), b"grafted".as_slice());
    let grafted = match kind {
        GraftKind::Replace => (key, seal(Place::Current, current, value)),
        GraftKind::SameDataKey => {
            let version = Head::parse(&copied.objects[&target.key]).unwrap().version;
            let data_key = target.data_key(copied);
            (key, target.seal(Place::Current, version, value, data_key))
        }
        GraftKind::NextVersion => (key, seal(Place::Current, current + 1, value)),
        GraftKind::NextVersionWithHistory => {
            let content = fixture.contents[&id].last().unwrap().clone().unwrap();
            let earlier = seal(Place::Earlier, current, &content);
            after.insert(target.earlier(current), earlier);
            (key, seal(Place::Current, current + 1, value))
        }
        GraftKind::FirstVersion => {
            let content = fixture.contents[&id][0].clone().unwrap();
            (key, seal(Place::Current, current, &content))
        }
        GraftKind::Earlier => (target.earlier(1), seal(Place::Earlier, 1, value)),
    };
    after.insert(grafted.0, grafted.1);
    Graft { id, kind, after }
}
