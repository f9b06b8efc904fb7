//! Writing versions of records: one or many, in rounds until each is decided.
//!
//! ```text
//! put, new      [ put r Absent ; ?p ]
//! put, next     [ put h|n Absent ; put r Unchanged ; ?p ]
//! put, large    [ put w Absent ] ; [ put s|i Absent ]* ; [ ?w ; (put h|n) ; put r ; ?p ; delete w ]
//! ```
//! `?p` comes last: a rotation or an erasure that went first is seen by it, and nothing is
//! acknowledged before. `h|n` comes before `r`, so no prefix loses the version that `r` held.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::document::{Document, Expected};
use super::entries::{Freshness, Held, chart_id};
use super::upload::Upload;
use super::{ROUNDS, Vault, layout, reading};
use crate::crypto::{ChartId, DataKey, PatientKey, Place, Suite};
use crate::envelope::{self, Address, Body, Content, Head, INLINE_MAX, Kind, Meta};
use crate::error::{Error, Result};
use crate::id::{RecordId, Subject};
use crate::keys::ring::Numbered;
use crate::keys::wrap;
use crate::storage::{CommitError, Committed, Expect, Revision, Stored, Transaction};

/// One change of one record.
pub(super) struct Job<'a> {
    id: &'a RecordId,
    meta: Meta,
    change: Change<'a>,
    expected: Expected,
}

#[derive(Clone, Copy)]
enum Change<'a> {
    Content(&'a [u8]),
    Retraction,
}

impl<'a> Job<'a> {
    pub(super) fn put(
        id: &'a RecordId,
        document: &Document<'a>,
        expected: Expected,
        now: i64,
    ) -> Result<Self> {
        Ok(Self {
            id,
            meta: document.meta(id.name(), now).checked()?,
            change: Change::Content(document.content),
            expected,
        })
    }

    pub(super) fn remove(id: &'a RecordId, expected: Expected, now: i64) -> Result<Self> {
        Ok(Self {
            id,
            meta: Document::new(&[]).meta(id.name(), now).checked()?,
            change: Change::Retraction,
            expected,
        })
    }

    fn is_large(&self) -> bool {
        matches!(self.change, Change::Content(content) if content.len() > INLINE_MAX)
    }
}

/// The version that was written; `None` when there was nothing to retract.
pub(super) type Outcome = Result<Option<u64>>;

/// A job that is not decided yet.
struct Pending<'a> {
    job: Job<'a>,
    /// Where its outcome goes.
    index: usize,
    freshness: Freshness,
    /// The chart of the first try. An erasure in between must not carry the job to another one.
    chart: Option<ChartId>,
    /// The version at which an earlier try may stand.
    may_stand: Option<u64>,
    /// The version of an `h` in the way: to be replaced, if `r` is still what it was.
    in_the_way: Option<u64>,
    upload: Option<Upload>,
}

/// A transaction, and what its failing operations mean.
struct Try {
    transaction: Transaction,
    version: u64,
    kind: TryKind,
}

enum TryKind {
    /// Writes a version; where its operations stand.
    Write {
        intent: Option<usize>,
        earlier: Option<(usize, u64)>,
        current: usize,
    },
    /// Confirms, or seals again, a version of this job that stands already.
    Settle,
}

enum Step {
    Done(Outcome),
    Try(Try),
    LookAgain,
}

impl Vault {
    /// Carries out jobs; those of one commit become durable together. Outcomes come in their order.
    pub(super) fn write(&self, jobs: Vec<Job<'_>>) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        outcomes.resize_with(jobs.len(), || Err(Error::Contended));
        let mut waiting: Vec<_> = jobs.into_iter().zip(0..).map(Pending::new).collect();
        let mut round = 0;
        while !waiting.is_empty() && round < ROUNDS {
            self.back_off(round);
            let (turn, later) = first_of_each_record(waiting);
            let before = turn.len() + later.len();
            waiting = self.turn(turn, &mut outcomes);
            waiting.extend(later);
            waiting.sort_by_key(|pending| pending.index);
            // Rounds count against contention, not against many versions of one record in a batch.
            round = if waiting.len() < before { 0 } else { round + 1 };
        }
        for pending in waiting {
            let undecided = pending.may_stand.is_some();
            if undecided && let Some(outcome) = outcomes.get_mut(pending.index) {
                *outcome = Err(Error::Undecided);
            } else if let Some(upload) = &pending.upload {
                self.discard(upload);
            }
        }
        outcomes
    }

    /// One try for each job, in one commit. Returns the jobs that must look again.
    fn turn<'a>(&self, turn: Vec<Pending<'a>>, outcomes: &mut [Outcome]) -> Vec<Pending<'a>> {
        let mut done = |pending: Pending<'_>, outcome: Outcome| {
            if let Some(place) = outcomes.get_mut(pending.index) {
                *place = outcome;
            }
        };
        let looked = match self.look_for_writing(turn) {
            Ok(looked) => looked,
            Err((turn, error)) => {
                for pending in turn {
                    done(pending, Err(error.clone()));
                }
                return Vec::new();
            }
        };
        let mut again = Vec::new();
        let mut tries = Vec::new();
        let mut transactions = Vec::new();
        let mut keys = DataKey::batch(looked.len());
        let mut history = Histories::default();
        for (mut pending, found) in looked {
            let step = match (found, &mut keys) {
                (Err(error), _) => {
                    if error == Error::Erased {
                        self.withdraw(&pending);
                    }
                    Step::Done(Err(error))
                }
                (_, Err(error)) => Step::Done(Err(error.clone())),
                (Ok(found), Ok(keys)) => match keys.pop() {
                    Some(key) => self
                        .step(&mut pending, &found, &mut history, key)
                        .unwrap_or_else(|error| Step::Done(Err(error))),
                    None => Step::LookAgain,
                },
            };
            match step {
                Step::Done(outcome) => {
                    self.give_up_upload(&pending, &outcome);
                    done(pending, outcome);
                }
                Step::LookAgain => again.push(pending),
                Step::Try(Try {
                    transaction,
                    version,
                    kind,
                }) => {
                    transactions.push(transaction);
                    tries.push((pending, version, kind));
                }
            }
        }
        if transactions.is_empty() {
            return again;
        }
        let results = self.storage.commit(&transactions);
        let unknown = std::iter::repeat_with(|| Err(CommitError::Unknown));
        for ((mut pending, version, kind), result) in
            tries.into_iter().zip(results.into_iter().chain(unknown))
        {
            match self.judge(&mut pending, version, &kind, result) {
                Some(outcome) => {
                    self.give_up_upload(&pending, &outcome);
                    done(pending, outcome);
                }
                None => again.push(pending),
            }
        }
        again
    }

    /// Entry and current version for each job, read together.
    #[allow(clippy::type_complexity)]
    fn look_for_writing<'a>(
        &self,
        turn: Vec<Pending<'a>>,
    ) -> std::result::Result<Vec<(Pending<'a>, Result<Found>)>, (Vec<Pending<'a>>, Error)> {
        let mut subjects: HashMap<&Subject, Freshness> = HashMap::new();
        for pending in &turn {
            let freshness = subjects
                .entry(pending.job.id.subject())
                .or_insert(Freshness::Held);
            if pending.freshness == Freshness::Fresh {
                *freshness = Freshness::Fresh;
            }
        }
        let entries = match self.entries_for_writing(&subjects) {
            Ok(entries) => entries,
            Err(error) => return Err((turn, error)),
        };
        let mut found: Vec<Result<Found>> = turn
            .iter()
            .map(|pending| {
                let held = entries.get(pending.job.id.subject());
                let held = Arc::clone(
                    held.ok_or(Error::Contended)?
                        .as_ref()
                        .map_err(Clone::clone)?,
                );
                let address = reading::address(&held, pending.job.id.name())?;
                let in_the_way = self.read_in_the_way(pending, &address)?;
                Ok(Found {
                    held,
                    address,
                    in_the_way,
                    current: None,
                })
            })
            .collect();
        let keys: Vec<_> = found
            .iter()
            .flatten()
            .map(|found| layout::current(&found.address))
            .collect();
        let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
        match self.storage.read(&keys) {
            Ok(stored) => {
                for (found, stored) in found.iter_mut().flatten().zip(stored) {
                    found.current = stored;
                }
            }
            Err(error) => return Err((turn, error.into())),
        }
        Ok(turn.into_iter().zip(found).collect())
    }

    /// Read before `r` is: were it read after, it could be the work of a writer who moved another `r`
    /// aside in between, and replacing it would bring back what that writer replaced.
    fn read_in_the_way(
        &self,
        pending: &Pending<'_>,
        address: &Address,
    ) -> Result<Option<(u64, Revision)>> {
        let Some(version) = pending.in_the_way else {
            return Ok(None);
        };
        let stored = self.read_one(&layout::earlier(address, version))?;
        Ok(stored.map(|stored| (version, stored.revision)))
    }

    /// What to do next for a job, from what was found.
    fn step(
        &self,
        pending: &mut Pending<'_>,
        found: &Found,
        history: &mut Histories,
        key: DataKey,
    ) -> Result<Step> {
        let chart = chart_id(&found.held)?;
        if pending.chart.is_some_and(|before| before != chart) {
            self.withdraw(pending);
            return Err(Error::Erased);
        }
        pending.chart = Some(chart);
        if let Some(version) = pending.may_stand {
            match self.own(pending, found, version) {
                Ok(Some(own)) => return self.settle(pending, found, version, own, key),
                Ok(None) => {}
                // Sealed again by another while it was read here.
                Err(Error::SegmentMissing) => return Ok(Step::LookAgain),
                // Under a key younger than the entry at hand; else under one that is gone, so that
                // what follows replaces it or says why not.
                Err(Error::UnknownPatientKey) if !self.stood_still(pending, found)? => {
                    return Ok(Step::LookAgain);
                }
                Err(Error::UnknownPatientKey) => {}
                Err(error) => return Err(error),
            }
            // Somebody else's stands there: what was under way can never land. Else it still may, and
            // the next try, at the same version, is as good as that one.
            if found.version()? >= version {
                pending.may_stand = None;
            }
        }
        match self.next(pending, found, history)? {
            Next::Nothing => Ok(Step::Done(Ok(None))),
            Next::LookAgain => Ok(Step::LookAgain),
            Next::Version { version, earlier } => {
                self.write_version(pending, found, version, earlier, key)
            }
        }
    }

    /// The version that comes next, if the current one is as expected.
    fn next(
        &self,
        pending: &mut Pending<'_>,
        found: &Found,
        history: &mut Histories,
    ) -> Result<Next> {
        let Some(current) = &found.current else {
            return self.next_of_none(pending, found, history);
        };
        let (head, data_key) = match reading::authentic(&found.held, &found.address, &current.value)
        {
            Err(Error::UnknownPatientKey) if pending.freshness == Freshness::Held => {
                pending.freshness = Freshness::Fresh;
                return Ok(Next::LookAgain);
            }
            // Rotated, and the record re-wrapped, between the looks at the entry and at the record.
            Err(Error::UnknownPatientKey) if !self.stood_still(pending, found)? => {
                return Ok(Next::LookAgain);
            }
            Err(Error::UnknownPatientKey) => return self.next_after_orphan(found, current),
            read => read?,
        };
        let absent = head.kind == Kind::Retraction;
        let expected = match pending.job.expected {
            Expected::Any => true,
            Expected::Absent => absent,
            Expected::Version(version) => version == head.version,
        };
        if !expected {
            return Err(Error::Conflict);
        }
        if absent && matches!(pending.job.change, Change::Retraction) {
            return Ok(Next::Nothing);
        }
        let wrapped = wrap::wrap(
            head.suite,
            &found.patient_key(head.key_number)?.key,
            Place::Earlier,
            head.key_number,
            &head.commitment,
            &data_key,
        )?;
        // A move changes the place, not the key number: the walk of a rotation must find it.
        let value = envelope::rewrapped(current.value.clone(), head.key_number, &wrapped)?;
        Ok(Next::Version {
            version: head.version + 1,
            earlier: Some((head.version, value)),
        })
    }

    fn next_of_none(
        &self,
        pending: &mut Pending<'_>,
        found: &Found,
        history: &mut Histories,
    ) -> Result<Next> {
        if self.chart_has_history(&found.address, history)? && self.has_earlier(&found.address)? {
            // Fresh already: neither an erasure under way nor a put in between explains it.
            if pending.freshness == Freshness::Fresh
                && self.read_one(&layout::current(&found.address))?.is_none()
                && self.stood_still(pending, found)?
            {
                return Err(Error::CurrentMissing);
            }
            pending.freshness = Freshness::Fresh;
            return Ok(Next::LookAgain);
        }
        match (pending.job.expected, pending.job.change) {
            (Expected::Version(_), _) => Err(Error::Conflict),
            (_, Change::Retraction) => Ok(Next::Nothing),
            _ => Ok(Next::Version {
                version: 1,
                earlier: None,
            }),
        }
    }

    /// Asked once for a chart: most that are written to in bulk have no earlier versions at all.
    fn chart_has_history(&self, address: &Address, known: &mut Histories) -> Result<bool> {
        if let Some(known) = known.get(&address.chart) {
            return Ok(*known);
        }
        let has = self.has_any(&layout::chart(b'h', &address.chart))?;
        known.insert(address.chart, has);
        Ok(has)
    }

    /// Whether the entry is still the one under which the record was looked at.
    fn stood_still(&self, pending: &Pending<'_>, found: &Found) -> Result<bool> {
        let now = self.live_entry(pending.job.id.subject())?;
        Ok(now.is_some_and(|now| now.revision == found.held.revision))
    }

    /// A current version under a retired key was never acknowledged: it landed after a stall longer
    /// than the grace. It is replaced in its place; what came before it stands in `h`.
    fn next_after_orphan(&self, found: &Found, current: &Stored) -> Result<Next> {
        let head = Head::parse(&current.value)?;
        let retired = found.held.entry.was_retired(head.key_number);
        if self.storage.is_transactional() || !retired {
            return Err(Error::UnknownPatientKey);
        }
        if head.version > 1 {
            let before = self.read_one(&layout::earlier(&found.address, head.version - 1))?;
            let before = before.ok_or(Error::HistoryGap)?;
            let before = reading::earlier_head(&before.value, head.version - 1)?;
            let key = reading::unwrap(&found.held, &before, Place::Earlier)?;
            envelope::admit(&before, &found.address, &key)?;
        }
        Ok(Next::Version {
            version: head.version,
            earlier: None,
        })
    }

    fn write_version(
        &self,
        pending: &mut Pending<'_>,
        found: &Found,
        version: u64,
        earlier: Option<(u64, Vec<u8>)>,
        key: DataKey,
    ) -> Result<Step> {
        let suite = self.header()?.header.suite();
        if pending.job.is_large()
            && pending.upload.is_none()
            && let Change::Content(content) = pending.job.change
        {
            pending.upload = Some(self.upload(suite, &found.address.chart, content)?);
        }
        let value = seal(pending, found, suite, version, Place::Current, key)?;
        let mut transaction = Transaction::new();
        let mut operations = 0;
        let mut at = || {
            operations += 1;
            operations - 1
        };
        let intent = pending.upload.as_ref().map(|upload| {
            let intent = Expect::Unchanged(upload.intent.clone());
            transaction = std::mem::take(&mut transaction).check(upload.intent_key(), intent);
            at()
        });
        let earlier = match earlier {
            Some((former, value)) => {
                let place = layout::earlier(&found.address, former);
                let expect = found.expect_earlier(former);
                transaction = transaction.put(place, value, expect);
                Some((at(), former))
            }
            None => None,
        };
        transaction = transaction
            .put(
                layout::current(&found.address),
                value,
                found.expect_current(),
            )
            .check(found.held.key(), found.held.expect());
        let current = at();
        if let Some(upload) = &pending.upload {
            transaction = transaction.delete(upload.intent_key());
        }
        Ok(Step::Try(Try {
            transaction,
            version,
            kind: TryKind::Write {
                intent,
                earlier,
                current,
            },
        }))
    }

    /// What a commit's answer means: an outcome, or `None` to look again.
    fn judge(
        &self,
        pending: &mut Pending<'_>,
        version: u64,
        kind: &TryKind,
        result: std::result::Result<Committed, CommitError>,
    ) -> Option<Outcome> {
        pending.freshness = Freshness::Fresh;
        match result {
            Ok(_) => return Some(Ok(Some(version))),
            Err(CommitError::Io(error)) => {
                // On transactional storage it surely did not happen; elsewhere a part of it may
                // have, and an upload that a record may name must stay.
                if !self.storage.is_transactional() {
                    pending.may_stand = Some(version);
                }
                return Some(Err(error.into()));
            }
            Err(CommitError::Conflict { operation }) => match kind {
                TryKind::Settle => {}
                TryKind::Write { intent, .. } if *intent == Some(operation) => {
                    // Somebody swept it: what was uploaded is gone, or going. Or an earlier try of
                    // unknown outcome landed, and its record names what was uploaded.
                    if pending.may_stand.is_none()
                        && let Some(upload) = pending.upload.take()
                    {
                        self.discard(&upload);
                    }
                }
                TryKind::Write {
                    earlier, current, ..
                } => {
                    let blocked = earlier.filter(|(index, _)| *index == operation);
                    pending.in_the_way = blocked.map(|(_, former)| former);
                    // A request that was repeated below us may have met itself.
                    let landed = operation >= *current && !self.storage.is_transactional();
                    pending.may_stand = landed.then_some(version).or(pending.may_stand);
                }
            },
            Err(_) => pending.may_stand = Some(version),
        }
        None
    }

    /// Whether the version that an earlier try wrote stands in storage, be it re-wrapped,
    /// re-encrypted or moved by others meanwhile: same version, same time, same content.
    fn own(&self, pending: &Pending<'_>, found: &Found, version: u64) -> Result<Option<Own>> {
        let Some(current) = &found.current else {
            return Ok(None);
        };
        let head = Head::parse(&current.value)?;
        let (place, stored) = if head.version == version {
            (Place::Current, current.clone())
        } else if head.version > version {
            match self.read_one(&layout::earlier(&found.address, version))? {
                Some(stored) => (Place::Earlier, stored),
                None => return Ok(None),
            }
        } else {
            return Ok(None);
        };
        let head = reading::earlier_head(&stored.value, version)?;
        let key = reading::unwrap(&found.held, &head, place)?;
        let name = Some(pending.job.id.name());
        let opened = envelope::open(stored.value.clone(), &head, &found.address, name, &key)?;
        let same = opened.meta == pending.job.meta
            && match (&opened.content, pending.job.change) {
                (Content::Inline(buffer, range), Change::Content(content)) => {
                    buffer.get(range.clone()) == Some(content)
                }
                (
                    Content::Segmented {
                        stream,
                        key,
                        length,
                    },
                    Change::Content(content),
                ) => {
                    let uploaded = pending.upload.as_ref();
                    *length == content.len() as u64
                        && (uploaded.is_some_and(|upload| upload.stream == *stream)
                            || **self.download(
                                head.suite,
                                &found.address.chart,
                                stream,
                                key,
                                *length,
                            )? == *content)
                }
                (Content::Retraction, Change::Retraction) => true,
                _ => false,
            };
        Ok(same.then_some(Own {
            place,
            stored,
            head,
            content: opened.content,
        }))
    }

    /// Acknowledges a version that stands: only under the key that is active in the entry that `?p`
    /// confirms. Under another it is sealed again, with a new data key.
    fn settle(
        &self,
        pending: &Pending<'_>,
        found: &Found,
        version: u64,
        own: Own,
        key: DataKey,
    ) -> Result<Step> {
        if self.storage.is_transactional() {
            return Ok(Step::Done(Ok(Some(version))));
        }
        let mut transaction = Transaction::new();
        if own.head.key_number != found.held.chart()?.active_key().number {
            let body = match &own.content {
                Content::Inline(buffer, range) => {
                    Body::Inline(buffer.get(range.clone()).unwrap_or_default())
                }
                Content::Segmented {
                    stream,
                    key,
                    length,
                } => Body::Segmented {
                    stream: *stream,
                    key,
                    length: *length,
                },
                Content::Retraction => Body::Retraction,
            };
            let meta = &pending.job.meta;
            let value = seal_body(found, own.head.suite, version, meta, body, own.place, key)?;
            let at = match own.place {
                Place::Current => layout::current(&found.address),
                Place::Earlier => layout::earlier(&found.address, version),
            };
            transaction = transaction.put(at, value, Expect::Unchanged(own.stored.revision));
        }
        transaction = transaction.check(found.held.key(), found.held.expect());
        if let Some(upload) = &pending.upload {
            transaction = transaction.delete(upload.intent_key());
        }
        Ok(Step::Try(Try {
            transaction,
            version,
            kind: TryKind::Settle,
        }))
    }

    /// Deletes what a job may have written to a chart that was erased meanwhile. The chart is dead
    /// for good, so the deletes are safe whenever they land.
    fn withdraw(&self, pending: &Pending<'_>) {
        let (Some(chart), Some(_)) = (pending.chart, pending.may_stand) else {
            return;
        };
        let _ = self.sweep_chart(&chart, &mut |_| ());
    }

    /// An upload that no record can name is removed, whatever came of its job.
    fn give_up_upload(&self, pending: &Pending<'_>, outcome: &Outcome) {
        if let (Some(upload), Err(_), None) = (&pending.upload, outcome, pending.may_stand) {
            self.discard(upload);
        }
    }
}

/// Whether a chart holds any earlier version, as far as this commit has asked; asked after the
/// records' own absence was seen.
type Histories = HashMap<ChartId, bool>;

/// What was found for a job.
struct Found {
    held: Arc<Held>,
    address: Address,
    /// An `h` that was in the way of an earlier try, by version.
    in_the_way: Option<(u64, Revision)>,
    current: Option<Stored>,
}

impl Found {
    /// The current version by its header, 0 if there is none.
    fn version(&self) -> Result<u64> {
        let current = self.current.as_ref();
        current.map_or(Ok(0), |stored| Ok(Head::parse(&stored.value)?.version))
    }

    /// `Absent` first. One that is in the way is left of a put that broke off, or of one that has
    /// just happened: it is replaced only together with the `r` that was read after it.
    fn expect_earlier(&self, version: u64) -> Expect {
        match &self.in_the_way {
            Some((known, revision)) if *known == version => Expect::Unchanged(revision.clone()),
            _ => Expect::Absent,
        }
    }

    fn expect_current(&self) -> Expect {
        match &self.current {
            Some(stored) => Expect::Unchanged(stored.revision.clone()),
            None => Expect::Absent,
        }
    }

    fn patient_key(&self, number: u32) -> Result<&Numbered<PatientKey>> {
        self.held.entry.key(number).ok_or(Error::UnknownPatientKey)
    }
}

enum Next {
    /// There is nothing to retract.
    Nothing,
    LookAgain,
    Version {
        version: u64,
        /// The version that moves aside, and its value for the place it moves to.
        earlier: Option<(u64, Vec<u8>)>,
    },
}

/// A version of one's own, found standing.
struct Own {
    place: Place,
    stored: Stored,
    head: Head,
    content: Content,
}

impl<'a> Pending<'a> {
    fn new((job, index): (Job<'a>, usize)) -> Self {
        Self {
            job,
            index,
            freshness: Freshness::Held,
            chart: None,
            may_stand: None,
            in_the_way: None,
            upload: None,
        }
    }
}

/// Two jobs for one record take turns, in their order.
fn first_of_each_record(waiting: Vec<Pending<'_>>) -> (Vec<Pending<'_>>, Vec<Pending<'_>>) {
    let mut seen = HashSet::new();
    waiting
        .into_iter()
        .partition(|pending| seen.insert(pending.job.id))
}

fn seal(
    pending: &Pending<'_>,
    found: &Found,
    suite: Suite,
    version: u64,
    place: Place,
    key: DataKey,
) -> Result<Vec<u8>> {
    let body = match (&pending.upload, pending.job.change) {
        (Some(upload), _) => Body::Segmented {
            stream: upload.stream,
            key: &upload.key,
            length: upload.length,
        },
        (None, Change::Content(content)) => Body::Inline(content),
        (None, Change::Retraction) => Body::Retraction,
    };
    seal_body(found, suite, version, &pending.job.meta, body, place, key)
}

fn seal_body(
    found: &Found,
    suite: Suite,
    version: u64,
    meta: &Meta,
    body: Body<'_>,
    place: Place,
    key: DataKey,
) -> Result<Vec<u8>> {
    seal_under_active(
        &found.held,
        &found.address,
        suite,
        version,
        meta,
        body,
        place,
        key,
    )
}

/// Seals a version and wraps its data key under the entry's active patient key.
#[allow(clippy::too_many_arguments)]
pub(super) fn seal_under_active(
    held: &Held,
    address: &Address,
    suite: Suite,
    version: u64,
    meta: &Meta,
    body: Body<'_>,
    place: Place,
    key: DataKey,
) -> Result<Vec<u8>> {
    let patient = held.chart()?.active_key();
    envelope::seal(
        suite,
        address,
        version,
        meta,
        body,
        key,
        |commitment, key| {
            let number = patient.number;
            let wrapped = wrap::wrap(suite, &patient.key, place, number, commitment, key)?;
            Ok((number, wrapped))
        },
    )
}
