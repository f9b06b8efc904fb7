//! Verbs on keys, slots and whole patients, and the sweep.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chartlock::keys::KeyFile;
use chartlock::storage::{Projection, Scan};
use chartlock::{Error, Vault};

use super::{Kept, State, World, id, subject};

impl World {
    pub(super) fn rotate(&mut self, rotate: impl Fn(&Vault) -> Result<(), Error>) {
        let broke_off = rotate(self.vault()).is_err();
        self.calm();
        self.revive();
        if broke_off {
            self.compare_all();
            // What broke off is finished by calling it again.
            match rotate(self.vault()) {
                Ok(()) | Err(Error::Erased | Error::UnknownSubject) => {}
                Err(error) => unreachable!("{error:?}"),
            }
        }
        self.compare_all();
    }

    pub(super) fn erase(&mut self, who: usize) {
        let kept = self.is_kept(who);
        match self.session().erase_subject(&subject(who), "asked for") {
            Ok(_) => {}
            Err(error) => {
                if matches!(error, Error::OnHold | Error::Retained) {
                    assert_ne!(kept, Some(false));
                }
                // What landed late is not seen through an entry held in memory.
                self.reopen();
                if error == Error::UnknownSubject {
                    assert!(!self.is_known(who));
                }
                let looked = self.session().get(&id(who, 0)).map(|_| ());
                if looked != Err(Error::Erased) {
                    return;
                }
                // What broke off is finished by calling it again.
                self.session()
                    .erase_subject(&subject(who), "asked for")
                    .unwrap();
            }
        }
        assert_ne!(kept, Some(true), "erased though it was kept");
        self.states[who] = State::Erased;
        self.kept[who] = Kept::default();
    }

    pub(super) fn readmit(&mut self, who: usize) {
        let outcome = self.session().reopen_chart(&subject(who));
        match (&self.states[who], outcome) {
            (State::Erased, Ok(())) => self.states[who] = State::Live(BTreeMap::new()),
            (State::Erased, Err(_)) => {
                // What landed late is not seen through an entry held in memory.
                self.reopen();
                if self.session().get(&id(who, 0)).is_ok() {
                    self.states[who] = State::Live(BTreeMap::new());
                }
            }
            (_, outcome) => assert!(outcome.is_err()),
        }
    }

    /// A credential more, another in its place, or a new root key.
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
        self.calm();
        // Whatever happened: the vault opens with one of those that were ever made.
        self.credentials.push(fresh);
        let options = self.options();
        let opens = |key: &KeyFile| options.clone().open(Arc::clone(&self.disk), key).is_ok();
        let good = self.credentials.iter().rposition(opens).unwrap();
        let good = self.credentials.remove(good);
        self.credentials.push(good);
        self.reopen();
    }

    pub(super) fn rotate_root(&self) -> Result<(), Error> {
        let keep = self.credentials.last().unwrap();
        let slots = self.vault().slots()?;
        // Which slot is its own is told by trying: all others go.
        for kept in &slots {
            let others: Vec<u16> = (slots.iter().map(|slot| slot.id))
                .filter(|id| *id != kept.id)
                .collect();
            match self.vault().rotate_root_key(&[keep], &others) {
                Err(Error::SlotsWouldBeLost | Error::WrongKey) => {}
                outcome => return outcome.map(|_| ()),
            }
        }
        Ok(())
    }

    /// What broke off long ago is freed, and nothing else.
    pub(super) fn collect(&mut self) {
        self.clock.pass_days(8);
        let broke_off = self.vault().collect_garbage().is_err();
        self.calm();
        self.revive();
        self.compare_all();
        if broke_off {
            self.vault().collect_garbage().unwrap();
        }
        let report = self.vault().collect_garbage().unwrap();
        assert_eq!(
            (report.segments, report.uploads),
            (0, 0),
            "all was freed before"
        );
        // A write that was never acknowledged and landed too late may keep a chart in doubt.
        if report.charts_passed_over + report.unknown_charts + report.misnamed_streams == 0 {
            assert_eq!(self.streams(b"s"), self.named());
            assert!(self.streams(b"w").is_empty());
        }
    }

    /// Streams of which something stands in a class of objects.
    fn streams(&self, class: &[u8]) -> BTreeSet<Vec<u8>> {
        let found = self.scan(class, Projection::Keys).into_iter();
        found.map(|(key, _)| key[1..33].to_vec()).collect()
    }

    /// Streams that versions name.
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
        let entries = page.unwrap().items.into_iter();
        entries.map(|entry| (entry.key, entry.value)).collect()
    }
}
