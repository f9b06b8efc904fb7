//! A credential that asks its device or service at most once for each slot, for the length of one
//! operation.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::crypto::SlotSecret;
use crate::error::{Error, Result};
use crate::keys::credentials::credential::{Credential, SlotContext};
use crate::keys::credentials::label::SlotLabel;

/// Cache of a credential's results for one operation.
///
/// An operation repeats its commit after a conflict, and a rotation tries each credential on each slot.
/// Without this type, each of these steps would ask the service again, or stretch the passphrase again.
/// After a failure that affects every slot, the credential is not called any more.
pub(crate) struct CachedCredential<'c> {
    credential: &'c dyn Credential,
    answers: Mutex<Answers>,
}

#[derive(Default)]
struct Answers {
    enrolled: Vec<(SlotContext, Enrolled)>,
    recovered: Vec<(SlotContext, Vec<u8>, Result<Option<SlotSecret>>)>,
    failure: Option<Error>,
}

/// The parameters and the secret of a new slot.
type Enrolled = (Vec<u8>, SlotSecret);

impl<'c> CachedCredential<'c> {
    pub(crate) fn new(credential: &'c dyn Credential) -> Self {
        let answers = Mutex::default();
        Self {
            credential,
            answers,
        }
    }

    /// Creates a cache for each credential.
    pub(crate) fn all(credentials: &[&'c dyn Credential]) -> Vec<Self> {
        credentials.iter().map(|one| Self::new(*one)).collect()
    }

    pub(crate) fn as_credentials<'r>(remembered: &'r [Self]) -> Vec<&'r dyn Credential> {
        remembered
            .iter()
            .map(|one| -> &'r dyn Credential { one })
            .collect()
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        // No code panics while it has the lock, and each answer is complete when it is added.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the credential, unless an earlier failure affects every slot.
    fn ask<T>(&self, ask: impl FnOnce(&dyn Credential) -> Result<T>) -> Result<T> {
        if let Some(error) = &self.answers().failure {
            return Err(error.clone());
        }
        ask(self.credential).inspect_err(|error| {
            if matches!(error, Error::Credential(failure) if failure.affects_every_slot()) {
                self.answers().failure = Some(error.clone());
            }
        })
    }
}

impl Credential for CachedCredential<'_> {
    fn kind(&self) -> u16 {
        self.credential.kind()
    }

    fn name(&self) -> &str {
        self.credential.name()
    }

    fn enrol(&self, context: &SlotContext) -> Result<Enrolled> {
        let known = (self.answers().enrolled.iter())
            .find(|(of, _)| of == context)
            .map(|(_, enrolled)| copy(enrolled));
        if let Some(enrolled) = known {
            return Ok(enrolled);
        }
        let enrolled = self.ask(|credential| credential.enrol(context))?;
        let remembered = copy(&enrolled);
        self.answers().enrolled.push((*context, remembered));
        Ok(enrolled)
    }

    fn secret(&self, parameters: &[u8], context: &SlotContext) -> Result<Option<SlotSecret>> {
        let known = (self.answers().recovered.iter())
            .find(|(of, with, _)| of == context && with == parameters)
            .map(|(.., secret)| copy_result(secret));
        if let Some(secret) = known {
            return secret;
        }
        let secret = self.ask(|credential| credential.secret(parameters, context));
        let remembered = copy_result(&secret);
        (self.answers().recovered).push((*context, parameters.to_vec(), remembered));
        secret
    }

    fn label(&self) -> Option<SlotLabel> {
        self.credential.label()
    }
}

fn copy((parameters, secret): &Enrolled) -> Enrolled {
    (parameters.clone(), copy_secret(secret))
}

fn copy_result(result: &Result<Option<SlotSecret>>) -> Result<Option<SlotSecret>> {
    match result {
        Ok(secret) => Ok(secret.as_ref().map(copy_secret)),
        Err(error) => Err(error.clone()),
    }
}

fn copy_secret(secret: &SlotSecret) -> SlotSecret {
    SlotSecret::from_bytes(secret.expose())
}

impl fmt::Debug for CachedCredential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.credential.fmt(f)
    }
}
