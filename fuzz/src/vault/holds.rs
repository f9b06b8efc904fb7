//! Legal holds, retention and expunging.

use std::time::{Duration, SystemTime};

use chartlock::Error;
use chartlock::internals::clock::Clock;

use super::{History, State, VERSIONS, World, id, subject};

/// The retention period in milliseconds: longer than key removal delays, but shorter than the time
/// that passes before a garbage collection.
const RETENTION: i64 = 24 * 60 * 60 * 1000;
/// The maximum time that passes during one operation, in milliseconds.
const MARGIN: i64 = 60 * 60 * 1000;

/// The hold and the retention date of a subject.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Protection {
    hold: Option<u64>,
    until: Option<i64>,
}

impl World {
    /// Places a hold, or lifts the existing hold.
    pub(super) fn hold(&mut self, who: usize) {
        let before = self.protection[who];
        let session = self.session();
        let outcome = match before.hold {
            None => session.place_hold(&subject(who), "asked for").map(Some),
            Some(hold) => session.lift_hold(&subject(who), hold).map(|()| None),
        };
        match outcome {
            Ok(hold) => self.protection[who].hold = hold,
            Err(_) => self.adopt_stored_protection(who, |now| Protection {
                hold: now.hold.and(before.hold.or(now.hold)),
                ..before
            }),
        }
    }

    /// Sets a retention date, or removes the existing date.
    pub(super) fn retain(&mut self, who: usize) {
        let before = self.protection[who];
        let until = match before.until {
            None => Some(self.clock.now() + RETENTION),
            Some(_) => None,
        };
        match self.session().retain_until(&subject(who), until.map(time)) {
            Ok(()) => self.protection[who].until = until,
            Err(_) => self.adopt_stored_protection(who, |now| Protection {
                until: now.until.and(until.or(before.until)),
                ..before
            }),
        }
    }

    /// Adopts the stored state after a failed operation, which may or may not have taken effect.
    fn adopt_stored_protection(&mut self, who: usize, expected: impl Fn(Protection) -> Protection) {
        // Reopen the vault, because a cached entry does not show a commit that was applied late.
        self.reopen();
        if let Some(now) = self.stored_protection(who) {
            assert_eq!(now, expected(now));
            self.protection[who] = now;
        }
    }

    /// Returns a subject's hold and retention date from the vault.
    fn stored_protection(&self, who: usize) -> Option<Protection> {
        let session = self.session();
        let holds = match session.holds(&subject(who)) {
            Err(Error::UnknownSubject | Error::Erased) => return None,
            holds => holds.unwrap(),
        };
        assert!(holds.len() <= 1, "one hold was placed twice");
        let until = session.retained_until(&subject(who)).unwrap();
        Some(Protection {
            hold: holds.first().map(|hold| hold.id),
            until: until.map(|until| {
                let since = until.duration_since(SystemTime::UNIX_EPOCH);
                since.unwrap().as_millis() as i64
            }),
        })
    }

    pub(super) fn compare_protection(&self, who: usize) {
        let found = self.stored_protection(who);
        let live = matches!(self.states[who], State::Live(_));
        assert_eq!(found.unwrap_or_default(), self.protection[who]);
        assert!(found.is_some() || !live);
    }

    /// Returns `Some(true)` if the subject is protected and `Some(false)` if not. Returns `None` if
    /// the retention date may pass during the operation.
    pub(super) fn is_protected(&self, who: usize) -> Option<bool> {
        let Protection { hold, until } = self.protection[who];
        let now = self.clock.now();
        match until {
            _ if hold.is_some() => Some(true),
            None => Some(false),
            Some(until) if now + MARGIN < until => Some(true),
            Some(until) => (now >= until).then_some(false),
        }
    }

    /// Expunges a record. All versions lose their content, and an expunged marker becomes the new
    /// version.
    pub(super) fn expunge(&mut self, who: usize, what: usize) {
        let before = self.versions(who, what);
        if before.len() + 2 > VERSIONS {
            return;
        }
        let id = id(who, what);
        let protected = self.is_protected(who);
        let outcome = self.session().expunge(&id, "asked for").map(|_| ());
        self.end_faults();
        self.reopen_if_stopped();
        if let Err(error) = &outcome {
            match error {
                Error::Erased => return assert_eq!(self.states[who], State::Erased),
                Error::UnknownSubject | Error::UnknownRecord => return assert_eq!(before, []),
                Error::OnHold | Error::Retained => return assert_ne!(protected, Some(false)),
                _ if self.states[who] == State::Erased => return,
                _ => {}
            }
        }
        let now = self.stored(who, what);
        if outcome.is_err() && now == before {
            return;
        }
        // An expunge that started before the hold was placed may finish afterwards.
        assert!(
            protected != Some(true) || now == before,
            "expunged despite a hold or retention"
        );
        is_expunged(&now, &before);
        // A second call finishes an expunge that failed halfway.
        self.session().expunge(&id, "asked for").unwrap();
        assert_eq!(self.stored(who, what), now);
        self.set(who, what, now);
    }
}

fn is_expunged(now: &History, before: &History) {
    assert!(
        now.iter().all(Option::is_none),
        "an expunged version still has content"
    );
    // After two faults, one expunge may leave two markers.
    let added = now.len() - before.len();
    assert!(added <= 2 && (added > 0 || before.last() == Some(&None)));
}

fn time(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis as u64)
}
