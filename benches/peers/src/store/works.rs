//! Workloads on stores, as contenders that run in rounds.

use std::cell::Cell;
use std::hint::black_box;
use std::ops::Range;
use std::sync::Barrier;

use anyhow::{Result, anyhow, ensure};
use chartlock::RecordId;

use super::load::{BATCH, CHART, Load, Picks};
use super::peers::{Handle, Item, Peer, Rotate};
use crate::measure::{Contender, Row, Series, Stopwatch, Time};

/// The number of gets in a round.
const GETS: usize = 500;
/// The number of gets, or of charts, after which the cache is assumed to be warm.
const WARM_GETS: usize = 20_000;
const WARM_CHARTS: usize = 160;
/// The number of charts in a round.
const CHARTS: usize = 4;
/// The number of puts in a round, by all threads together.
const PUTS: usize = 240;

/// Creates a contender that puts the next batch of a load. The contender's time is the time of one
/// batch.
pub(super) fn ingest<'a>(peer: &'a dyn Peer, load: &'a Load<'_>) -> Result<Contender<'a>> {
    let mut handle = peer.handle()?;
    let mut next = 0;
    Ok(Contender::new(peer.name(), move || {
        let numbers = next..next + BATCH;
        next = numbers.end;
        put_batch(&mut *handle, load, numbers, Load::id)
    }))
}

/// Creates a contender that puts batches of additional records for the load's patients. The
/// contender's time is the time of one batch. `next` is the number of the next record.
pub(super) fn later_batches<'a>(
    peer: &'a dyn Peer,
    load: &'a Load<'_>,
    next: &'a Cell<usize>,
) -> Result<Contender<'a>> {
    let mut handle = peer.handle()?;
    Ok(Contender::new(peer.name(), move || {
        let numbers = next.get()..next.get() + BATCH;
        next.set(numbers.end);
        put_batch(&mut *handle, load, numbers, Load::later_id)
    }))
}

/// Puts batches without measuring them.
pub(super) fn fill(peer: &dyn Peer, load: &Load<'_>, records: usize) -> Result<()> {
    let mut handle = peer.handle()?;
    for from in (0..records).step_by(4 * BATCH) {
        let numbers = from..records.min(from + 4 * BATCH);
        put_batch(&mut *handle, load, numbers, Load::id)?;
    }
    Ok(())
}

pub(super) fn put_batch<'a>(
    handle: &mut dyn Handle,
    load: &Load<'a>,
    numbers: Range<usize>,
    id: impl Fn(&Load<'a>, usize) -> Result<RecordId>,
) -> Result<Time> {
    let ids = numbers.clone().map(|number| id(load, number));
    let ids = ids.collect::<Result<Vec<_>>>()?;
    let contents = numbers.map(|number| load.content(number));
    let items: Vec<Item<'_>> = ids.iter().zip(contents).collect();
    let start = Stopwatch::start();
    handle.put_many(&items)?;
    Ok(start.elapsed())
}

/// Creates a contender that gets random records among the first `records`. The contender's time is
/// the time of one get.
pub(super) fn gets<'a>(
    peer: &'a dyn Peer,
    load: &'a Load<'_>,
    records: usize,
) -> Result<Contender<'a>> {
    let mut handle = peer.handle()?;
    let mut picks = Picks::new();
    for _ in 0..WARM_GETS {
        handle.get(&load.id(picks.below(records))?, &mut |_| {})?;
    }
    Ok(Contender::new(peer.name(), move || {
        let ids = (0..GETS).map(|_| load.id(picks.below(records)));
        let ids = ids.collect::<Result<Vec<_>>>()?;
        let start = Stopwatch::start();
        for id in &ids {
            handle.get(id, &mut |content| {
                black_box(content);
            })?;
        }
        Ok(start.elapsed() / GETS as u32)
    }))
}

/// Creates a contender that reads whole charts of random patients. The contender's time is the time
/// of one chart.
pub(super) fn charts<'a>(peer: &'a dyn Peer, load: &'a Load<'_>) -> Result<Contender<'a>> {
    let mut handle = peer.handle()?;
    let mut picks = Picks::new();
    for _ in 0..WARM_CHARTS {
        handle.chart(
            &Load::subject(picks.below(load.patients()))?,
            &mut |_, _| {},
        )?;
    }
    Ok(Contender::new(peer.name(), move || {
        let subjects = (0..CHARTS).map(|_| Load::subject(picks.below(load.patients())));
        let subjects = subjects.collect::<Result<Vec<_>>>()?;
        let mut found = 0;
        let start = Stopwatch::start();
        for subject in &subjects {
            handle.chart(subject, &mut |name, content| {
                black_box((name, content));
                found += 1;
            })?;
        }
        let time = start.elapsed();
        ensure!(
            found >= CHARTS * CHART,
            "{found} records of {CHARTS} charts"
        );
        Ok(time / CHARTS as u32)
    }))
}

/// Checks that five random charts equal the load.
pub(super) fn check_charts(peer: &dyn Peer, load: &Load<'_>) -> Result<()> {
    let mut handle = peer.handle()?;
    let mut picks = Picks::new();
    for _ in 0..5 {
        let patient = picks.below(load.patients());
        let (mut count, mut same) = (0, true);
        handle.chart(&Load::subject(patient)?, &mut |name, content| {
            let number = name.strip_prefix("Observation/");
            let number: Option<usize> = number.and_then(|number| number.parse().ok());
            count += 1;
            same &= number.is_some_and(|number| load.content(number) == content);
        })?;
        ensure!(
            same && count == CHART,
            "{} returned another chart than was put",
            peer.name()
        );
    }
    Ok(())
}

/// The patients to whom single puts add a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Patients {
    Known,
    New,
}

impl Patients {
    fn id(self, load: &Load<'_>, number: usize) -> Result<RecordId> {
        match self {
            Self::Known => load.later_id(number),
            Self::New => load.new_patient_id(number),
        }
    }
}

/// Creates a contender that puts one record per durable write, from `threads` threads at once. The
/// contender's time is the total time divided by the number of puts. `next` is the number of the
/// next record.
pub(super) fn puts<'a>(
    peer: &'a dyn Peer,
    load: &'a Load<'_>,
    (threads, patients): (usize, Patients),
    next: &'a Cell<usize>,
) -> Result<Contender<'a>> {
    let handles = (0..threads).map(|_| peer.handle());
    let mut handles = handles.collect::<Result<Vec<_>>>()?;
    Ok(Contender::new(peer.name(), move || {
        let numbers = next.get()..next.get() + PUTS;
        next.set(numbers.end);
        let ids: Vec<_> = numbers
            .clone()
            .map(|number| patients.id(load, number))
            .collect::<Result<_>>()?;
        let contents = numbers.map(|number| load.content(number));
        let items: Vec<Item<'_>> = ids.iter().zip(contents).collect();
        Ok(side_by_side(&mut handles, &items, patients)? / PUTS as u32)
    }))
}

/// Puts the items with one thread for each handle. Returns the time from the moment when all threads
/// exist to the end of the last one.
pub(super) fn side_by_side(
    handles: &mut [Box<dyn Handle + Send + '_>],
    items: &[Item<'_>],
    patients: Patients,
) -> Result<Time> {
    let share = items.len().div_ceil(handles.len().max(1));
    let ready = Barrier::new(handles.len() + 1);
    std::thread::scope(|scope| {
        let ready = &ready;
        let threads: Vec<_> = handles
            .iter_mut()
            .zip(items.chunks(share))
            .map(|(handle, items)| {
                scope.spawn(move || -> Result<_> {
                    ready.wait();
                    items.iter().try_for_each(|item| match patients {
                        Patients::Known => handle.put(*item),
                        Patients::New => handle.put_first(*item),
                    })
                })
            })
            .collect();
        let start = Stopwatch::start();
        ready.wait();
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        Ok(start.elapsed())
    })
}

/// Checks the records that [`puts`] stored, up to number `end`.
pub(super) fn check_puts(
    peer: &dyn Peer,
    load: &Load<'_>,
    patients: Patients,
    end: usize,
) -> Result<()> {
    let ids = (0..end).map(|number| patients.id(load, number));
    let ids: Vec<RecordId> = ids.collect::<Result<_>>()?;
    let contents = (0..end).map(|number| load.content(number));
    super::peers::check(peer, ids.iter().zip(contents))
}

/// Creates a contender that replaces the store's top-level key.
pub(super) fn rotation<'a>(peer: &'a mut dyn Rotate) -> Contender<'a> {
    Contender::new(peer.name(), move || {
        let start = Stopwatch::start_when_idle();
        peer.rotate()?;
        Ok(start.elapsed())
    })
}

/// Checks random records among the first `records` of a load.
pub(super) fn check_some(peer: &dyn Peer, load: &Load<'_>, records: usize) -> Result<()> {
    let mut picks = Picks::new();
    let numbers: Vec<_> = (0..500).map(|_| picks.below(records)).collect();
    let ids = numbers.iter().map(|number| load.id(*number));
    let ids = ids.collect::<Result<Vec<_>>>()?;
    let contents = numbers.iter().map(|number| load.content(*number));
    super::peers::check(peer, ids.iter().zip(contents))
}

/// Compares chartlock, the first series, with each other series. The target applies only to the
/// fastest configuration of SQLCipher.
pub(super) fn rows(work: &str, series: &[Series], target: Option<f64>) -> Vec<Row> {
    let Some((ours, rivals)) = series.split_first() else {
        return Vec::new();
    };
    let main = rivals
        .iter()
        .filter(|rival| rival.name.starts_with("SQLCipher"))
        .min_by(|a, b| a.median().total_cmp(&b.median()))
        .map(|rival| &rival.name);
    rivals
        .iter()
        .map(|rival| {
            let target = target.filter(|_| main == Some(&rival.name));
            Row::timed(work, ours, rival, target)
        })
        .collect()
}
