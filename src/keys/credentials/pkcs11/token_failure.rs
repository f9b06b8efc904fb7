//! Failures of calls to a token, and their conversion to the typed failures of credentials.

use cryptoki::error::{Error as CallError, RvError};

use crate::error::{CredentialFailure, Error};

pub(super) type TokenResult<T> = Result<T, TokenFailure>;

/// A failed call to a token.
#[derive(Debug)]
pub(super) enum TokenFailure {
    /// The session or the login is gone. A new session and a new login may repair it.
    Lost(CredentialFailure),
    /// The token refused a login, or a login is not to be attempted.
    LoginRefused(CredentialFailure),
    Final(Error),
}

impl TokenFailure {
    /// Returns the failure of a login. The token may have counted the attempt, whatever reason it names, because
    /// vendors have their own codes. Only a lost session shows that the token did not compare the PIN.
    pub(super) fn of_login(error: CallError) -> Self {
        match Self::from(error) {
            Self::Final(Error::Credential(failure)) => Self::LoginRefused(failure),
            failure => failure,
        }
    }

    /// Returns `true` for a failure of unspecified reason. Some tokens report this for a wrong AAD.
    pub(super) fn is_unspecified(&self) -> bool {
        matches!(
            self,
            Self::Final(Error::Credential(CredentialFailure::Other))
        )
    }
}

impl From<CallError> for TokenFailure {
    fn from(error: CallError) -> Self {
        let failure = failure_of(&error);
        match error {
            CallError::Pkcs11(code, _) if is_lost(code) => Self::Lost(failure),
            _ => Self::Final(Error::Credential(failure)),
        }
    }
}

impl From<Error> for TokenFailure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl From<CredentialFailure> for TokenFailure {
    fn from(failure: CredentialFailure) -> Self {
        Self::Final(Error::Credential(failure))
    }
}

impl From<TokenFailure> for Error {
    fn from(failure: TokenFailure) -> Self {
        match failure {
            TokenFailure::Lost(failure) | TokenFailure::LoginRefused(failure) => {
                Self::Credential(failure)
            }
            TokenFailure::Final(error) => error,
        }
    }
}

fn is_lost(code: RvError) -> bool {
    matches!(
        code,
        RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::UserNotLoggedIn
            | RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::SlotIdInvalid
            | RvError::CryptokiNotInitialized
    )
}

/// Returns the failure for an error of a call. PKCS #11 v2.40, section 5.1, lists the codes.
pub(super) fn failure_of(error: &CallError) -> CredentialFailure {
    match error {
        CallError::LibraryLoading(_) | CallError::MissingSymbol(_) => {
            CredentialFailure::Unreachable
        }
        CallError::Pkcs11(code, _) => failure_of_code(*code),
        _ => CredentialFailure::Other,
    }
}

fn failure_of_code(code: RvError) -> CredentialFailure {
    match code {
        RvError::PinLocked | RvError::PinExpired => CredentialFailure::Locked,
        RvError::PinIncorrect
        | RvError::PinInvalid
        | RvError::PinLenRange
        | RvError::UserPinNotInitialized
        | RvError::UserNotLoggedIn
        | RvError::UserAlreadyLoggedIn
        | RvError::UserAnotherAlreadyLoggedIn
        | RvError::UserTypeInvalid
        | RvError::KeyFunctionNotPermitted
        | RvError::ActionProhibited
        | RvError::TokenWriteProtected => CredentialFailure::Denied,
        RvError::SessionHandleInvalid
        | RvError::SessionClosed
        | RvError::DeviceRemoved
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::SlotIdInvalid
        | RvError::CryptokiNotInitialized => CredentialFailure::Unreachable,
        RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid => CredentialFailure::KeyGone,
        _ => CredentialFailure::Other,
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn pin_failures_are_denied_or_locked_and_no_login_is_repeated() {
        let denied = [RvError::PinIncorrect, RvError::PinLenRange];
        let locked = [RvError::PinLocked, RvError::PinExpired];
        for (codes, expected) in [
            (denied, CredentialFailure::Denied),
            (locked, CredentialFailure::Locked),
        ] {
            for code in codes {
                let failure = TokenFailure::of_login(CallError::Pkcs11(code, Function::Login));
                assert!(matches!(failure, TokenFailure::LoginRefused(found) if found == expected));
            }
        }
    }

    #[test]
    fn removed_token_is_lost_and_unreachable() {
        for code in [RvError::DeviceRemoved, RvError::TokenNotPresent] {
            let failure = TokenFailure::from(CallError::Pkcs11(code, Function::Decrypt));
            assert!(matches!(
                failure,
                TokenFailure::Lost(CredentialFailure::Unreachable)
            ));
        }
    }
}
