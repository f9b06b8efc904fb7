//! Forged journal pages: each claim that a holder of journal keys can make, at each place of the journal.

use std::fmt;
use std::sync::Arc;

use chartlock::Operation;
use chartlock::access::AccessOutcome;
use chartlock::internals::crypto::sha256;
use chartlock::internals::journal::{
    Act, ChainHead, Context, Page, PageId, Sealer, Stage as EntryStage, Target, page_of,
};

use crate::common::Stage;
use crate::common::journal::pages;
use crate::common::objects::Objects;
use crate::fixture::{Fixture, reset};
use crate::moves::Kind;

/// A year in milliseconds.
const YEAR: i64 = 365 * 24 * 60 * 60 * 1000;

/// Place of a forged page in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForgedPlace {
    /// The first page of a new chain that began at this time. The number distinguishes such chains.
    NewChain(i64, u8),
    /// After the last page of a chain.
    After(PageId),
    /// At the storage key of an existing page.
    Over(PageId),
}

/// A forged page.
pub(crate) struct Forgery {
    /// Name of the page's claim.
    pub(crate) claim: &'static str,
    pub(crate) place: ForgedPlace,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl fmt::Display for Forgery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            ForgedPlace::NewChain(began, _) => format!("in a new chain of {began}"),
            ForgedPlace::After(page) => format!("after page {}", page.sequence),
            ForgedPlace::Over(page) => format!("over page {}", page.sequence),
        };
        write!(f, "forged {} {place}", self.claim)
    }
}

/// A claim: its name, the operation, its target and the heads that the page claims to have seen.
type Claim = (&'static str, Operation, Target, Vec<ChainHead>);

/// Returns the claims of a forger who knows the journal, and so the tags of a live record.
fn claims(fixture: &Fixture, stage: &Stage) -> Vec<Claim> {
    reset(&stage.storage, &fixture.now);
    let pages = pages(&*stage.storage);
    let entries = pages.iter().flat_map(|(_, page)| &page.entries);
    let versions = entries.filter(|entry| entry.operation == Operation::Put);
    let targets: Vec<_> = versions.map(|entry| entry.target.clone()).collect();
    let known = |expected: u64| {
        let mut matching = targets.iter().filter_map(|target| match *target {
            Target::Version {
                subject,
                record,
                version,
                digest,
            } if version == expected => Some((subject, record, digest)),
            _ => None,
        });
        matching.next_back().unwrap()
    };
    // The third version of a record of MRN-2, which was put last.
    let (subject, record, _) = known(3);
    let written = |version, digest| Target::Version {
        subject,
        record,
        version,
        digest,
    };
    let entry = |sequence| Target::Entry {
        subject,
        sequence,
        digest: [1; 32],
    };
    let header = Target::Header {
        generation: 1_000,
        digest: [1; 32],
    };
    let (last, _) = pages.last().unwrap();
    let head = ChainHead {
        page: PageId {
            sequence: last.sequence + 100,
            ..*last
        },
        digest: [1; 32],
    };
    let read = Target::Record {
        subject,
        record,
        version: 3,
    };
    let none = Vec::new;
    vec![
        ("erasure", Operation::Erase, entry(99), none()),
        ("expunge", Operation::Expunge, written(4, [1; 32]), none()),
        (
            "acceptance",
            Operation::AcceptRestore,
            Target::Vault,
            none(),
        ),
        ("read", Operation::Read, read, none()),
        ("version", Operation::Put, written(4, [1; 32]), none()),
        (
            "retraction",
            Operation::Retract,
            written(4, [1; 32]),
            none(),
        ),
        ("lifted hold", Operation::LiftHold, entry(99), none()),
        ("patient key", Operation::RotateSubject, entry(99), none()),
        ("header", Operation::RotateRoot, header.clone(), none()),
        ("closing", Operation::CloseJournalKeys, header, none()),
        (
            "settlement",
            Operation::Put,
            Target::Settled(*last, 0),
            none(),
        ),
        (
            "unknown heads",
            Operation::Verify,
            Target::Vault,
            vec![head],
        ),
    ]
}

/// Returns the places to try: new chains, and in each chain the end, the second page and the last page.
fn places(now: &Objects, clock: i64) -> Vec<ForgedPlace> {
    let mut places = vec![
        ForgedPlace::NewChain(clock + 1, 0),
        ForgedPlace::NewChain(clock + YEAR, 0),
        ForgedPlace::NewChain(0, 0),
    ];
    let ids: Vec<_> = now.keys().filter_map(|key| page_of(key)).collect();
    for (at, id) in ids.iter().enumerate() {
        let is_last = ids.get(at + 1).is_none_or(|next| next.writer != id.writer);
        if is_last {
            places.push(ForgedPlace::After(*id));
            places.push(ForgedPlace::Over(*id));
        } else if id.sequence == 1 {
            places.push(ForgedPlace::Over(*id));
        }
    }
    places
}

fn key_of(id: &PageId) -> Vec<u8> {
    [b"j", &id.writer[..], &id.sequence.to_be_bytes()].concat()
}

/// Seals one claim at one place.
fn forge(now: &Objects, sealer: &Sealer, claim: &Claim, place: ForgedPlace) -> Forgery {
    let (claim, operation, target, seen) = claim;
    let (id, before) = match place {
        ForgedPlace::NewChain(began, number) => {
            let mut writer = [number; 16];
            writer[..6].copy_from_slice(&began.to_be_bytes()[2..]);
            (
                PageId {
                    writer,
                    sequence: 0,
                },
                None,
            )
        }
        ForgedPlace::After(last) => (
            PageId {
                sequence: last.sequence + 1,
                ..last
            },
            Some(last),
        ),
        ForgedPlace::Over(id) => {
            let before = id.sequence.checked_sub(1);
            (id, before.map(|sequence| PageId { sequence, ..id }))
        }
    };
    let previous = before.map(|before| sha256(&[&now[&key_of(&before)]]));
    let context = Context {
        actor: "dr.garcia".into(),
        purpose: "TREAT".into(),
        ..Context::default()
    };
    let act = Act::new(Arc::new(context), *operation, "forged");
    let draft = act.draft(
        crate::common::clock::NOON + 1,
        target.clone(),
        AccessOutcome::Done,
    );
    let staged = [(&draft, EntryStage::Done)].into_iter();
    let page = Page::new(previous.unwrap_or_default(), seen.clone(), staged).unwrap();
    Forgery {
        claim,
        place,
        key: key_of(&id),
        value: page.seal(sealer, &id).unwrap(),
    }
}

/// Returns forged pages, each of which begins a new chain.
pub(crate) fn chains(fixture: &Fixture, stage: &Stage, sealer: &Sealer, count: u8) -> Vec<Forgery> {
    let claims = claims(fixture, stage);
    let chains = (0..count).zip(claims.iter().cycle());
    let place = |number| {
        ForgedPlace::NewChain(
            crate::common::clock::NOON + i64::from(number % 3) * YEAR,
            number,
        )
    };
    chains
        .map(|(number, claim)| forge(&fixture.now, sealer, claim, place(number)))
        .collect()
}

/// Returns all forgeries with these keys.
pub(crate) fn all(fixture: &Fixture, stage: &Stage, sealer: &Sealer) -> Vec<Forgery> {
    let claims = claims(fixture, stage);
    let clock = chartlock::internals::clock::Clock::now(&*stage.clock);
    let places = places(&fixture.now, clock);
    let claims = claims.iter();
    let pairs = claims.flat_map(|claim| places.iter().map(move |place| (claim, *place)));
    pairs
        .map(|(claim, place)| forge(&fixture.now, sealer, claim, place))
        .collect()
}

impl Forgery {
    /// Returns the kind of the move.
    pub(crate) fn kind(&self) -> Kind {
        match self.place {
            ForgedPlace::Over(_) => Kind::ReplaceForged,
            _ => Kind::AddForged,
        }
    }

    /// Returns the objects with the forged page.
    pub(crate) fn added_to(&self, objects: &Objects) -> Objects {
        let mut after = objects.clone();
        after.insert(self.key.clone(), self.value.clone());
        after
    }
}
