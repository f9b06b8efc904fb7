//! Dispatcher of security events, with counters for authentication failures and denials. Failures
//! and denials raise an event only if they repeat.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::access::meter::{DenialMeter, FailureMeter};
use crate::access::security_event::{SecurityEvent, SecurityEventHandler};
use crate::id::Actor;

/// Dispatcher of one vault's security events to the app's handler.
#[derive(Default)]
pub struct Alarms {
    handler: Option<Arc<dyn SecurityEventHandler>>,
    failures: Mutex<FailureMeter>,
    denials: Mutex<DenialMeter>,
}

impl Alarms {
    /// Creates a dispatcher that passes events to `handler`. If `handler` is `None`, the dispatcher
    /// discards all events.
    pub fn new(handler: Option<Arc<dyn SecurityEventHandler>>) -> Self {
        Self {
            handler,
            ..Self::default()
        }
    }

    /// Passes an event to the handler and waits until the handler returns.
    pub fn raise(&self, event: &SecurityEvent) {
        if let Some(handler) = &self.handler {
            handler.event(event);
        }
    }

    /// Counts an authentication failure: a credential that opened no slot, or stored bytes that
    /// were not authentic. Raises an event if such failures repeat.
    pub fn failed(&self, uptime: Duration) {
        let mut failures = (self.failures.lock()).unwrap_or_else(PoisonError::into_inner);
        let event = failures.note(uptime);
        // Unlock before the call; otherwise a slow handler would block other threads that count
        // failures.
        drop(failures);
        event.iter().for_each(|event| self.raise(event));
    }

    /// Counts a denial of `actor`. Raises an event if denials of this actor repeat.
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
