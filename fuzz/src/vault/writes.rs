//! Puts and their outcomes.

use std::collections::BTreeMap;

use chartlock::{Error, Precondition};

use super::{History, State, VERSIONS, World, id};

impl World {
    pub(super) fn put(&mut self, who: usize, what: usize, content: Option<Vec<u8>>) {
        let before = self.versions(who, what);
        if before.len() >= VERSIONS {
            return;
        }
        let id = id(who, what);
        let outcome = match &content {
            // Upload the content, which must give the same result as a put.
            Some(content) if content.len() % 2 == 1 => {
                let put = self.session().put_reader(&id, &content[..]);
                put.map(Some)
            }
            Some(content) => self.session().put(&id, content).map(Some),
            None => self.session().retract(&id),
        };
        self.apply_outcome(who, what, content, outcome);
    }

    pub(super) fn put_if(&mut self, who: usize, what: usize, version: u64) {
        let before = self.versions(who, what);
        if before.len() >= VERSIONS {
            return;
        }
        let content = self.content(77);
        let id = id(who, what);
        let expected = match version {
            0 => Precondition::Absent,
            version => Precondition::Version(version),
        };
        let outcome = self.session().put_if(&id, expected, &content);
        let absent = before.last().is_none_or(Option::is_none);
        let fits = match version {
            0 => absent,
            version => version == before.len() as u64,
        };
        if outcome == Err(Error::Conflict) && !fits {
            return;
        }
        assert!(
            fits || outcome.is_err(),
            "a put succeeded although its precondition did not hold"
        );
        self.apply_outcome(who, what, Some(content), outcome.map(Some));
    }

    pub(super) fn put_many(&mut self, argument: u8) {
        let mut pairs = Vec::new();
        for (who, what) in [(0, 0), (1, 0), (0, 1), (0, 0)] {
            if self.versions(who, what).len() + 2 > VERSIONS {
                return;
            }
            pairs.push((who, what, id(who, what), self.content(argument)));
        }
        let outcomes = self.session().put_many(
            pairs
                .iter()
                .map(|(_, _, id, content)| (id, content.as_slice().into())),
        );
        self.end_faults();
        self.reopen_if_stopped();
        let outcomes = outcomes.unwrap();
        for (who, what) in [(0, 0), (1, 0), (0, 1)] {
            let tried: Vec<_> = (pairs.iter().zip(&outcomes))
                .filter(|((a, b, ..), _)| (*a, *b) == (who, what))
                .map(|((.., content), outcome)| (content, outcome))
                .collect();
            self.apply_batch_outcomes(who, what, &tried);
        }
        self.compare_all();
    }

    /// Updates the model with the outcomes of a batch for one record.
    pub(super) fn apply_batch_outcomes(
        &mut self,
        who: usize,
        what: usize,
        tried: &[(&Vec<u8>, &Result<u64, Error>)],
    ) {
        let acknowledged = tried.iter().any(|(_, outcome)| outcome.is_ok());
        if self.states[who] == State::Erased {
            assert!(!acknowledged, "written after erasure");
            return;
        }
        let now = self.stored(who, what);
        let before = self.versions(who, what);
        let added = now.strip_prefix(&before[..]).unwrap();
        // Added versions must follow the order of the batch. After one fault, a put may be missing;
        // after two faults, a put may be stored twice.
        let mut from = 0;
        for version in added {
            let same = |(content, _): &(&Vec<u8>, _)| version.as_ref() == Some(*content);
            from += tried[from..].iter().position(same).unwrap();
        }
        assert!(added.len() <= 2 * tried.len());
        for (content, outcome) in tried {
            if let Ok(version) = outcome {
                assert_eq!(now[*version as usize - 1].as_ref(), Some(*content));
            }
        }
        if acknowledged || !now.is_empty() {
            self.set(who, what, now);
        }
    }

    /// Updates the model with an acknowledged put, or finds out whether a failed put took effect.
    pub(super) fn apply_outcome(
        &mut self,
        who: usize,
        what: usize,
        content: Option<Vec<u8>>,
        outcome: Result<Option<u64>, Error>,
    ) {
        let before = self.versions(who, what);
        match outcome {
            Ok(Some(version)) => {
                assert_ne!(self.states[who], State::Erased, "written after erasure");
                // After two faults, one put may leave two versions.
                let mut now = before;
                let twice = version as usize == now.len() + 2;
                now.extend(twice.then(|| content.clone()));
                assert_eq!(
                    version as usize,
                    now.len() + 1,
                    "a version number was skipped"
                );
                now.push(content);
                self.set(who, what, now);
            }
            Ok(None) => {
                let absent = before.last().is_none_or(Option::is_none);
                assert!(content.is_none() && absent, "nothing to retract");
            }
            Err(Error::Erased) if self.states[who] == State::Erased => {}
            Err(_) => {
                self.end_faults();
                self.reopen_if_stopped();
                if self.states[who] == State::Erased {
                    return;
                }
                let now = self.stored(who, what);
                let added = now.strip_prefix(&before[..]).unwrap();
                // After two faults, one put may leave two versions.
                assert!(added.len() <= 2 && added.iter().all(|version| *version == content));
                if !now.is_empty() || self.is_known(who) {
                    self.set(who, what, now);
                }
            }
        }
    }

    pub(super) fn set(&mut self, who: usize, what: usize, history: History) {
        if !matches!(self.states[who], State::Live(_)) {
            self.states[who] = State::Live(BTreeMap::new());
        }
        if let State::Live(records) = &mut self.states[who] {
            records.insert(what, history);
        }
    }
}
