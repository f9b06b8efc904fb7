//! Modules that this process loaded, each with its thread and its open tokens.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::context::Pkcs11 as Context;
use cryptoki::slot::TokenInfo;

use crate::error::{CredentialFailure, Error, Result};
use crate::keys::credentials::pkcs11::open_token::{
    Connection, Login, OpenToken, TokenIdentity, initialize, tokens,
};
use crate::keys::credentials::pkcs11::timed_thread::TimedThread;
use crate::keys::credentials::pkcs11::token_failure::TokenResult;

/// The modules of this process. An entry stays until the process ends, because modules are not made to be
/// unloaded.
static MODULES: Mutex<Vec<(PathBuf, Arc<TimedThread<Module>>)>> = Mutex::new(Vec::new());

/// Attributes that select a token; all that are given must fit.
#[derive(Default, Clone)]
pub(super) struct TokenSelector {
    pub(super) label: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) model: Option<String>,
}

impl TokenSelector {
    fn fits(&self, token: &TokenInfo) -> bool {
        [
            (&self.label, token.label()),
            (&self.serial, token.serial_number()),
            (&self.manufacturer, token.manufacturer_id()),
            (&self.model, token.model()),
        ]
        .into_iter()
        .all(|(wanted, found)| wanted.as_deref().is_none_or(|wanted| wanted == found))
    }
}

/// A module and its open tokens. It is used only on the module's thread.
pub(super) struct Module {
    path: PathBuf,
    context: Option<Context>,
    tokens: Vec<OpenToken>,
    next: u64,
}

impl Module {
    /// Returns the thread of the module in a file. Other paths to the same file give the same thread.
    pub(super) fn at(path: &Path) -> Result<Arc<TimedThread<Self>>> {
        let path = fs::canonicalize(path)
            .map_err(|_| Error::Credential(CredentialFailure::Unreachable))?;
        // No code panics while it has the lock, and an entry is complete when it is added.
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, thread)) = modules.iter().find(|(of, _)| *of == path) {
            return Ok(thread.clone());
        }
        let own_path = path.clone();
        let thread = Arc::new(TimedThread::start(move || Self {
            path: own_path,
            context: None,
            tokens: Vec::new(),
            next: 0,
        })?);
        modules.push((path, thread.clone()));
        Ok(thread)
    }

    /// Opens a token, or joins its users, and returns its number.
    pub(super) fn open(&mut self, selector: &TokenSelector, login: Login) -> Result<u64> {
        let context = self.load()?;
        let found = tokens(&context, |token| selector.fits(token))?;
        let (slot, token) = match found.as_slice() {
            [one] => one,
            [] => return Err(Error::Credential(CredentialFailure::Unreachable)),
            // Guessing would send the PIN to another token.
            _ => return Err(Error::Credential(CredentialFailure::Denied)),
        };
        let identity = TokenIdentity::of(token);
        if let Some(open) = self
            .tokens
            .iter_mut()
            .find(|open| open.identity == identity)
        {
            open.join(*slot, login)?;
            return Ok(open.number);
        }
        let slot = *slot;
        let connection = Connection { context, slot };
        let number = self.next;
        self.tokens
            .push(OpenToken::open(number, identity, connection, login)?);
        self.next += 1;
        Ok(number)
    }

    /// Removes a user of a token. The last one closes its sessions, which ends the login.
    pub(super) fn close(&mut self, number: u64) {
        if let Some(token) = self.tokens.iter_mut().find(|open| open.number == number) {
            token.users -= 1;
        }
        self.tokens.retain(|open| open.users > 0);
    }

    pub(super) fn token(&mut self, number: u64) -> Result<&mut OpenToken> {
        let token = self.tokens.iter_mut().find(|open| open.number == number);
        token.ok_or(Error::Credential(CredentialFailure::Other))
    }

    /// Loads and initializes the module, once.
    fn load(&mut self) -> TokenResult<Context> {
        let context = match &self.context {
            Some(context) => context.clone(),
            None => Context::new(&self.path)?,
        };
        // Another part of the process may have finalized the module since.
        initialize(&context)?;
        Ok(self.context.insert(context).clone())
    }
}
