//! A token with the one login of this process, and the sessions on it.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Context};
use cryptoki::error::{Error as CallError, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};

use crate::error::{CredentialFailure, Error, Result};
use crate::keys::credentials::pkcs11::pin::Pin;
use crate::keys::credentials::pkcs11::token_failure::{TokenFailure, TokenResult};

/// The PIN for a login, and what the login may risk.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) pin: Option<Pin>,
    pub(super) allows_last_attempt: bool,
}

/// The label, serial number, manufacturer and model of a token. This identity finds the same token again after a
/// reset, so that no other token gets the PIN.
#[derive(PartialEq, Eq)]
pub(super) struct TokenIdentity([String; 4]);

impl TokenIdentity {
    pub(super) fn of(token: &TokenInfo) -> Self {
        let parts = [
            token.label(),
            token.serial_number(),
            token.manufacturer_id(),
            token.model(),
        ];
        Self(parts.map(str::to_owned))
    }
}

/// The slot of the reader or device in which the token is, and the module.
pub(super) struct Connection {
    pub(super) context: Context,
    pub(super) slot: Slot,
}

impl Connection {
    /// Opens a session. Each operation has its own, because a failed operation can stay active in a session.
    pub(super) fn session(&self) -> TokenResult<Session> {
        Ok(self.context.open_ro_session(self.slot)?)
    }

    /// Opens a session that can create keys.
    pub(super) fn writable_session(&self) -> TokenResult<Session> {
        Ok(self.context.open_rw_session(self.slot)?)
    }

    /// Refuses a session on a token that needs a login and has none. Such a session finds no private key, and
    /// reports no error.
    pub(super) fn check_login(&self) -> TokenResult<()> {
        use cryptoki::session::SessionState::{RoUser, RwUser};
        let session = self.session()?;
        let state = session.get_session_info()?.session_state();
        let is_open = matches!(state, RoUser | RwUser)
            || !self.context.get_token_info(self.slot)?.login_required();
        is_open
            .then_some(())
            .ok_or(TokenFailure::Lost(CredentialFailure::Denied))
    }

    /// Logs in, and returns the session that keeps the login. A token ends the login with its last session.
    fn log_in(&self, login: &Login, is_again: bool) -> TokenResult<Session> {
        let token = self.context.get_token_info(self.slot)?;
        let session = self.session()?;
        if !token.login_required() {
            return Ok(session);
        }
        let is_last_attempt = token.user_pin_final_try() && !login.allows_last_attempt;
        if token.user_pin_locked() || is_last_attempt {
            return Err(TokenFailure::LoginRefused(CredentialFailure::Locked));
        }
        let pin =
            (login.pin.as_ref()).ok_or(TokenFailure::LoginRefused(CredentialFailure::Denied))?;
        match session.login_with_raw(UserType::User, &pin.for_login()) {
            // The token did not compare the PIN. It did when this process opened the token.
            Err(CallError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) if is_again => {}
            result => result.map_err(TokenFailure::of_login)?,
        }
        Ok(session)
    }
}

/// A token to which this process is logged in.
pub(super) struct OpenToken {
    pub(super) number: u64,
    pub(super) identity: TokenIdentity,
    pub(super) users: usize,
    connection: Connection,
    login: Login,
    keeper: Option<Session>,
    /// The failure of a repeated login. The PIN is not sent again then, because the token may count each attempt.
    refusal: Option<CredentialFailure>,
}

impl OpenToken {
    pub(super) fn open(
        number: u64,
        identity: TokenIdentity,
        connection: Connection,
        login: Login,
    ) -> TokenResult<Self> {
        let keeper = Some(connection.log_in(&login, false)?);
        Ok(Self {
            number,
            identity,
            users: 1,
            connection,
            login,
            keeper,
            refusal: None,
        })
    }

    /// Adds a user with the same PIN. With another PIN, refuses without asking the token, which would
    /// answer that the process is logged in, whatever the PIN is.
    pub(super) fn join(&mut self, slot: Slot, login: Login) -> TokenResult<()> {
        if self.refusal.is_some() {
            self.connection.slot = slot;
            self.keeper = Some(self.connection.log_in(&login, false)?);
            (self.login, self.refusal) = (login, None);
        } else {
            let is_same = match (&self.login.pin, &login.pin) {
                (Some(known), Some(given)) => known.equals(given),
                (known, given) => known.is_none() && given.is_none(),
            };
            is_same.then_some(()).ok_or(CredentialFailure::Denied)?;
        }
        self.users += 1;
        Ok(())
    }

    /// Carries out work on the token. If the session or the login is lost, logs in again and repeats the
    /// work, once.
    pub(super) fn run<T>(&mut self, work: impl Fn(&Connection) -> TokenResult<T>) -> Result<T> {
        if let Some(refusal) = self.refusal {
            return Err(Error::Credential(refusal));
        }
        match work(&self.connection) {
            Err(TokenFailure::Lost(_)) => {
                self.reconnect()?;
                Ok(work(&self.connection)?)
            }
            result => Ok(result?),
        }
    }

    fn reconnect(&mut self) -> TokenResult<()> {
        self.keeper = None;
        initialize(&self.connection.context)?;
        let found = tokens(&self.connection.context, |token| {
            TokenIdentity::of(token) == self.identity
        })?;
        let [(slot, _)] = found.as_slice() else {
            return Err(CredentialFailure::Unreachable.into());
        };
        self.connection.slot = *slot;
        let keeper = self.connection.log_in(&self.login, true);
        if let Err(TokenFailure::LoginRefused(failure)) = &keeper {
            self.login.pin = None;
            self.refusal = Some(*failure);
        }
        self.keeper = Some(keeper?);
        Ok(())
    }
}

/// Initializes a module, unless another part of the process did.
pub(super) fn initialize(context: &Context) -> TokenResult<()> {
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(CallError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        result => Ok(result?),
    }
}

/// Returns the initialized tokens that match, each with its slot. Skips tokens that are removed meanwhile.
pub(super) fn tokens(
    context: &Context,
    matches: impl Fn(&TokenInfo) -> bool,
) -> TokenResult<Vec<(Slot, TokenInfo)>> {
    let slots = context.get_slots_with_token()?;
    let tokens = slots.into_iter().filter_map(|slot| {
        let token = context.get_token_info(slot).ok()?;
        Some((slot, token))
    });
    Ok(tokens
        .filter(|(_, token)| token.token_initialized() && matches(token))
        .collect())
}
