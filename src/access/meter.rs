//! Sliding-window meters that turn repeated failures or denials into one security event.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::access::security_event::SecurityEvent;
use crate::id::Actor;

/// The maximum number of occurrences that a meter stores. At this maximum, the reported count is a
/// lower bound.
const MAX_OCCURRENCES: usize = 1_000;
/// The maximum number of actors whose denials are counted. At this maximum, a new actor replaces the
/// actor whose last denial is the oldest.
const MAX_ACTORS: usize = 1_000;

/// A sliding-window meter that counts occurrences and reports when they reach a limit.
///
/// After a report, the meter reports nothing for the length of the window. Times are measured in
/// the vault's uptime, so a change of the machine's clock has no effect.
#[derive(Debug, Clone)]
pub struct Meter {
    limit: usize,
    window: Duration,
    occurrences: VecDeque<Duration>,
    reported_at: Option<Duration>,
}

impl Meter {
    /// Creates a meter that reports `limit` occurrences within `window`.
    pub fn new(limit: usize, window: Duration) -> Self {
        Self {
            limit,
            window,
            occurrences: VecDeque::new(),
            reported_at: None,
        }
    }

    /// Counts an occurrence. If the meter must report, returns the number of occurrences within the
    /// window.
    pub fn note(&mut self, uptime: Duration) -> Option<u64> {
        self.drop_expired(uptime);
        self.occurrences.push_back(uptime);
        let was_reported = self
            .reported_at
            .is_some_and(|at| uptime.saturating_sub(at) < self.window);
        if was_reported || self.occurrences.len() < self.limit {
            return None;
        }
        self.reported_at = Some(uptime);
        Some(self.occurrences.len() as u64)
    }

    fn drop_expired(&mut self, uptime: Duration) {
        let window = self.window;
        let is_expired = |occurred_at: &Duration| uptime.saturating_sub(*occurred_at) >= window;
        while self.occurrences.front().is_some_and(is_expired)
            || self.occurrences.len() >= MAX_OCCURRENCES
        {
            self.occurrences.pop_front();
        }
    }

    fn last(&self) -> Duration {
        self.occurrences.back().copied().unwrap_or_default()
    }
}

/// A meter of authentication failures in the whole vault.
#[derive(Debug)]
pub struct FailureMeter(Meter);

impl FailureMeter {
    /// Creates a meter that reports five failures within ten minutes.
    pub fn new() -> Self {
        Self(Meter::new(5, Duration::from_secs(600)))
    }

    /// Counts a failure. Returns an event if the limit is reached.
    pub fn note(&mut self, uptime: Duration) -> Option<SecurityEvent> {
        let within = self.0.window;
        let count = self.0.note(uptime)?;
        Some(SecurityEvent::RepeatedFailures { count, within })
    }
}

impl Default for FailureMeter {
    fn default() -> Self {
        Self::new()
    }
}

/// Counter of denials for each actor. The actors are counted separately, because single denials of
/// many actors are normal.
#[derive(Debug, Default)]
pub struct DenialMeter(HashMap<Actor, Meter>);

impl DenialMeter {
    /// Counts a denial of `actor`. Returns an event after ten denials of this actor within ten
    /// minutes.
    pub fn note(&mut self, actor: &Actor, uptime: Duration) -> Option<SecurityEvent> {
        if !self.0.contains_key(actor) {
            self.evict_oldest();
        }
        let meter = self.0.entry(actor.clone());
        let meter = meter.or_insert_with(|| Meter::new(10, Duration::from_secs(600)));
        let within = meter.window;
        let count = meter.note(uptime)?;
        Some(SecurityEvent::RepeatedDenials {
            actor: actor.clone(),
            count,
            within,
        })
    }

    fn evict_oldest(&mut self) {
        if self.0.len() < MAX_ACTORS {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, meter)| meter.last());
        if let Some(oldest) = oldest.map(|(actor, _)| actor.clone()) {
            self.0.remove(&oldest);
        }
    }
}
