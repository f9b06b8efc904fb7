//! Raises security events, and counts failures and denials that matter only when they repeat.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::access::meter::{DenialMeter, FailureMeter};
use crate::access::security_event::{SecurityEvent, SecurityEventHandler};
use crate::id::Actor;

/// The watch over one vault.
#[derive(Default)]
pub struct Alarms {
    watch: Option<Arc<dyn SecurityEventHandler>>,
    failures: Mutex<FailureMeter>,
    denials: Mutex<DenialMeter>,
}

impl Alarms {
    /// Tells `watch`, if there is one.
    pub fn new(watch: Option<Arc<dyn SecurityEventHandler>>) -> Self {
        Self {
            watch,
            ..Self::default()
        }
    }

    /// Tells of an event. When it returns, the watch has heard of it.
    pub fn raise(&self, event: &SecurityEvent) {
        if let Some(watch) = &self.watch {
            watch.event(event);
        }
    }

    /// Takes note of a credential that opened nothing, or of stored bytes that were not authentic.
    pub fn failed(&self, uptime: Duration) {
        let mut failures = (self.failures.lock()).unwrap_or_else(PoisonError::into_inner);
        let event = failures.note(uptime);
        // The watch may take its time; others who fail meanwhile do not wait for it.
        drop(failures);
        event.iter().for_each(|event| self.raise(event));
    }

    /// Takes note of a denial.
    pub fn denied(&self, actor: &Actor, uptime: Duration) {
        let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        let event = denials.note(actor, uptime);
        drop(denials);
        event.iter().for_each(|event| self.raise(event));
    }
}

impl fmt::Debug for Alarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alarms(..)")
    }
}
