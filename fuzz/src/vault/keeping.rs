//! What keeps a subject from being erased, and records that are expunged.

use std::time::{Duration, SystemTime};

use chartlock::Error;
use chartlock::internals::clock::Clock;

use super::{History, State, VERSIONS, World, id, subject};

/// A day: collections of garbage pass it, graces do not.
const RETENTION: i64 = 24 * 60 * 60 * 1000;
/// What may pass while something is tried.
const MARGIN: i64 = 60 * 60 * 1000;

/// What keeps a subject.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Kept {
    hold: Option<u64>,
    until: Option<i64>,
}

impl World {
    /// Puts a hold, or releases the one that stands.
    pub(super) fn hold(&mut self, who: usize) {
        let before = self.kept[who];
        let session = self.session();
        let outcome = match before.hold {
            None => session.place_hold(&subject(who), "asked for").map(Some),
            Some(hold) => session.lift_hold(&subject(who), hold).map(|()| None),
        };
        match outcome {
            Ok(hold) => self.kept[who].hold = hold,
            Err(_) => self.keeps_or_kept(who, |now| Kept {
                hold: now.hold.and(before.hold.or(now.hold)),
                ..before
            }),
        }
    }

    /// Sets when a subject may be erased, or lifts that.
    pub(super) fn retain(&mut self, who: usize) {
        let before = self.kept[who];
        let until = match before.until {
            None => Some(self.clock.now() + RETENTION),
            Some(_) => None,
        };
        match self.session().retain_until(&subject(who), until.map(time)) {
            Ok(()) => self.kept[who].until = until,
            Err(_) => self.keeps_or_kept(who, |now| Kept {
                until: now.until.and(until.or(before.until)),
                ..before
            }),
        }
    }

    /// What failed may have happened or not; nothing else did.
    fn keeps_or_kept(&mut self, who: usize, may_be: impl Fn(Kept) -> Kept) {
        // What landed late is not seen through an entry held in memory.
        self.reopen();
        if let Some(now) = self.found(who) {
            assert_eq!(now, may_be(now));
            self.kept[who] = now;
        }
    }

    /// What keeps a subject, as the vault gives it.
    fn found(&self, who: usize) -> Option<Kept> {
        let session = self.session();
        let holds = match session.holds(&subject(who)) {
            Err(Error::UnknownSubject | Error::Erased) => return None,
            holds => holds.unwrap(),
        };
        assert!(holds.len() <= 1, "one hold was put twice");
        let until = session.retained_until(&subject(who)).unwrap();
        Some(Kept {
            hold: holds.first().map(|hold| hold.id),
            until: until.map(|until| {
                let since = until.duration_since(SystemTime::UNIX_EPOCH);
                since.unwrap().as_millis() as i64
            }),
        })
    }

    pub(super) fn compare_kept(&self, who: usize) {
        let found = self.found(who);
        let live = matches!(self.states[who], State::Live(_));
        assert_eq!(found.unwrap_or_default(), self.kept[who]);
        assert!(found.is_some() || !live);
    }

    /// Whether a subject is kept; `None` so close to the end that it may be either.
    pub(super) fn is_kept(&self, who: usize) -> Option<bool> {
        let Kept { hold, until } = self.kept[who];
        let now = self.clock.now();
        match until {
            _ if hold.is_some() => Some(true),
            None => Some(false),
            Some(until) if now + MARGIN < until => Some(true),
            Some(until) => (now >= until).then_some(false),
        }
    }

    /// All versions of a record become none, and one more stands for them.
    pub(super) fn expunge(&mut self, who: usize, what: usize) {
        let before = self.versions(who, what);
        if before.len() + 2 > VERSIONS {
            return;
        }
        let id = id(who, what);
        let kept = self.is_kept(who);
        let outcome = self.session().expunge(&id, "asked for").map(|_| ());
        self.calm();
        self.revive();
        if let Err(error) = &outcome {
            match error {
                Error::Erased => return assert_eq!(self.states[who], State::Erased),
                Error::UnknownSubject | Error::UnknownRecord => return assert_eq!(before, []),
                Error::OnHold | Error::Retained => return assert_ne!(kept, Some(false)),
                _ if self.states[who] == State::Erased => return,
                _ => {}
            }
        }
        let now = self.stored(who, what);
        if outcome.is_err() && now == before {
            return;
        }
        // What was expunged before the hold may be swept once more.
        assert!(kept != Some(true) || now == before, "expunged though kept");
        is_expunged(&now, &before);
        // What broke off is finished by calling it again.
        self.session().expunge(&id, "asked for").unwrap();
        assert_eq!(self.stored(who, what), now);
        self.set(who, what, now);
    }
}

fn is_expunged(now: &History, before: &History) {
    assert!(
        now.iter().all(Option::is_none),
        "an expunged version is told"
    );
    // After two faults one expunge may stand as two versions; of what is expunged there is none.
    let added = now.len() - before.len();
    assert!(added <= 2 && (added > 0 || before.last() == Some(&None)));
}

fn time(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis as u64)
}
