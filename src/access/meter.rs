//! Meters that turn repeated failures or denials into one security event.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::access::security_event::SecurityEvent;
use crate::id::Actor;

/// The most moments that a meter remembers; beyond, its count says "at least".
const REMEMBERED: usize = 1_000;
/// The most actors that denials are counted for at a time.
const ACTORS: usize = 1_000;

/// Counts what happens within a sliding window, and speaks up when it is too often: once, and again
/// only after another window has passed. Moments are given as the vault's uptime.
#[derive(Debug, Clone)]
pub struct Meter {
    limit: usize,
    window: Duration,
    moments: VecDeque<Duration>,
    spoke_at: Option<Duration>,
}

impl Meter {
    /// Speaks up when something happens `limit` times within `window`.
    pub fn new(limit: usize, window: Duration) -> Self {
        Self {
            limit,
            window,
            moments: VecDeque::new(),
            spoke_at: None,
        }
    }

    /// Notes that it happened. How often it did within the window, when that is to be told.
    pub fn note(&mut self, uptime: Duration) -> Option<u64> {
        self.forget_before(uptime);
        self.moments.push_back(uptime);
        let was_told = self
            .spoke_at
            .is_some_and(|at| uptime.saturating_sub(at) < self.window);
        if was_told || self.moments.len() < self.limit {
            return None;
        }
        self.spoke_at = Some(uptime);
        Some(self.moments.len() as u64)
    }

    fn forget_before(&mut self, uptime: Duration) {
        let window = self.window;
        let is_old = |moment: &Duration| uptime.saturating_sub(*moment) >= window;
        while self.moments.front().is_some_and(is_old) || self.moments.len() >= REMEMBERED {
            self.moments.pop_front();
        }
    }

    fn last(&self) -> Duration {
        self.moments.back().copied().unwrap_or_default()
    }
}

/// Failures to authenticate, counted for a whole vault.
#[derive(Debug)]
pub struct FailureMeter(Meter);

impl FailureMeter {
    /// Five within ten minutes are too many.
    pub fn new() -> Self {
        Self(Meter::new(5, Duration::from_secs(600)))
    }

    /// Notes a failure; the event, when one is to be raised.
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

/// Denials, counted for each actor: many people of one clinic who are denied once are no pattern.
#[derive(Debug, Default)]
pub struct DenialMeter(HashMap<Actor, Meter>);

impl DenialMeter {
    /// Notes a denial; the event, when one is to be raised. Ten within ten minutes are too many.
    pub fn note(&mut self, actor: &Actor, uptime: Duration) -> Option<SecurityEvent> {
        if !self.0.contains_key(actor) {
            self.make_room();
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

    /// Memory stays bounded, whatever names an app makes up: who was denied longest ago goes.
    fn make_room(&mut self) {
        if self.0.len() < ACTORS {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, meter)| meter.last());
        if let Some(oldest) = oldest.map(|(actor, _)| actor.clone()) {
            self.0.remove(&oldest);
        }
    }
}
