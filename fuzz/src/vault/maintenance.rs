//! Operations on keys, slots and whole charts, and garbage collection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chartlock::keys::KeyFile;
use chartlock::storage::{Projection, Scan};
use chartlock::{Error, Vault};

use super::{Protection, State, World, id, subject};

impl World {
    pub(super) fn rotate(&mut self, rotate: impl Fn(&Vault) -> Result<(), Error>) {
        let failed = rotate(self.vault()).is_err();
        self.end_faults();
        self.reopen_if_stopped();
        if failed {
            self.compare_all();
            // A second call finishes a rotation that failed halfway.
            match rotate(self.vault()) {
                Ok(()) | Err(Error::Erased | Error::UnknownSubject) => {}
                Err(error) => unreachable!("{error:?}"),
            }
        }
        self.compare_all();
    }

    pub(super) fn erase(&mut self, who: usize) {
        let protected = self.is_protected(who);
        match self.session().erase_subject(&subject(who), "asked for") {
            Ok(_) => {}
            Err(error) => {
                if matches!(error, Error::OnHold | Error::Retained) {
                    assert_ne!(protected, Some(false));
                }
                // Reopen the vault, because a cached entry does not show a commit that was applied
                // late.
                self.reopen();
                if error == Error::UnknownSubject {
                    assert!(!self.is_known(who));
                }
                let current = self.session().get(&id(who, 0)).map(|_| ());
                if current != Err(Error::Erased) {
                    return;
                }
                // A second call finishes an erasure that failed halfway.
                self.session()
                    .erase_subject(&subject(who), "asked for")
                    .unwrap();
            }
        }
        assert_ne!(protected, Some(true), "erased despite a hold or retention");
        self.states[who] = State::Erased;
        self.protection[who] = Protection::default();
    }

    pub(super) fn reopen_chart(&mut self, who: usize) {
        let outcome = self.session().reopen_chart(&subject(who));
        match (&self.states[who], outcome) {
            (State::Erased, Ok(())) => self.states[who] = State::Live(BTreeMap::new()),
            (State::Erased, Err(_)) => {
                // Reopen the vault, because a cached entry does not show a commit that was applied
                // late.
                self.reopen();
                if self.session().get(&id(who, 0)).is_ok() {
                    self.states[who] = State::Live(BTreeMap::new());
                }
            }
            (_, outcome) => assert!(outcome.is_err()),
        }
    }

    /// Adds or replaces a credential, removes one, or rotates the root key.
    pub(super) fn change_slots(&mut self, argument: u8) {
        let fresh = KeyFile::random().unwrap();
        let slots = self.vault().slots();
        let outcome = match (argument >> 2 & 3, slots) {
            (_, Err(error)) => Err(error),
            (0, Ok(slots)) if slots.len() < 4 => self.vault().add_slot(&fresh).map(|_| ()),
            (1, Ok(slots)) => self.vault().replace_slot(slots[0].id, &fresh),
            (2, Ok(slots)) if slots.len() > 1 => self.vault().remove_slot(slots[0].id),
            _ => self.rotate_root(),
        };
        drop(outcome);
        self.end_faults();
        // At least one credential must open the vault, even if the outcome of the change is
        // unknown.
        self.credentials.push(fresh);
        let options = self.options();
        let opens = |key: &KeyFile| options.clone().open(Arc::clone(&self.disk), key).is_ok();
        let working = self.credentials.iter().rposition(opens).unwrap();
        let working = self.credentials.remove(working);
        self.credentials.push(working);
        self.reopen();
    }

    pub(super) fn rotate_root(&self) -> Result<(), Error> {
        let keep = self.credentials.last().unwrap();
        let slots = self.vault().slots()?;
        // Find the slot of the credential by trial: in each attempt, drop all slots except one.
        for own in &slots {
            let others: Vec<u16> = (slots.iter().map(|slot| slot.id))
                .filter(|id| *id != own.id)
                .collect();
            match self.vault().rotate_root_key(&[keep], &others) {
                Err(Error::SlotsWouldBeLost | Error::WrongKey) => {}
                outcome => return outcome.map(|_| ()),
            }
        }
        Ok(())
    }

    /// Collects garbage, which must delete abandoned uploads and nothing else.
    pub(super) fn collect(&mut self) {
        self.clock.pass_days(8);
        let failed = self.vault().collect_garbage().is_err();
        self.end_faults();
        self.reopen_if_stopped();
        self.compare_all();
        if failed {
            self.vault().collect_garbage().unwrap();
        }
        let report = self.vault().collect_garbage().unwrap();
        assert_eq!(
            (report.segments, report.uploads),
            (0, 0),
            "the previous collection missed garbage"
        );
        // An unacknowledged write that was applied late may make the collector skip a chart.
        if report.charts_passed_over + report.unknown_charts + report.misnamed_streams == 0 {
            assert_eq!(self.streams(b"s"), self.named());
            assert!(self.streams(b"w").is_empty());
        }
    }

    /// Returns the ids of the streams that have objects in a class.
    fn streams(&self, class: &[u8]) -> BTreeSet<Vec<u8>> {
        let found = self.scan(class, Projection::Keys).into_iter();
        found.map(|(key, _)| key[1..33].to_vec()).collect()
    }

    /// Returns the ids of the streams that stored versions reference.
    fn named(&self) -> BTreeSet<Vec<u8>> {
        let versions = [b"r", b"h"].map(|class| self.scan(class, Projection::Values));
        let versions = versions.iter().flatten();
        let segmented = versions.filter(|(_, value)| value[2] == 2);
        let named = segmented.map(|(key, value)| [&key[1..17], &value[96..112]].concat());
        named.collect()
    }

    fn scan(&self, prefix: &[u8], projection: Projection) -> Vec<(Vec<u8>, Vec<u8>)> {
        let page = self.disk.scan(Scan {
            prefix,
            after: None,
            limit: 10_000,
            projection,
        });
        let items = page.unwrap().items.into_iter();
        items.map(|item| (item.key, item.value.into())).collect()
    }
}
