//! Failures of the devices and services that credentials use.

use crate::error::ErrorKind;

/// Reason why a device or service could not give the secret of a slot.
///
/// Returned in [`Error::Credential`](crate::Error::Credential). The text of the device or service is
/// omitted, because such a text may contain names of keys, tokens or paths.
///
/// ```
/// # use chartlock::{Error, ErrorKind, keys::CredentialFailure};
/// let error = Error::Credential(CredentialFailure::Unreachable);
/// assert_eq!(error.kind(), ErrorKind::Unavailable);
/// assert!(error.is_retryable());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialFailure {
    /// The service or device cannot be reached: no connection, no name, no token in the reader.
    #[error(
        "it cannot be reached; check that it runs, its address and the network, then try again, or open with another credential"
    )]
    Unreachable,
    /// The service or device refused the request: a wrong token or PIN, or a missing permission.
    #[error(
        "it refused the request; check the token or PIN, its expiry, and what it may do with the key"
    )]
    Denied,
    /// The key does not exist there any more, or is going to be deleted.
    #[error(
        "it has no such key, or the key is to be deleted; bring the key back there, or open with another credential and replace the slot"
    )]
    KeyGone,
    /// The version of the key that wrapped the slot is no longer accepted.
    #[error(
        "the version of the key that wrapped the slot is retired; allow that version again, open, replace the slot, then retire it"
    )]
    KeyVersionRetired,
    /// The service is sealed, or the key or device is disabled or locked.
    #[error(
        "the service is sealed, or the key or device is disabled or locked; unseal, enable or unlock it, then try again"
    )]
    Locked,
    /// The service or device did not answer in time.
    #[error(
        "it did not answer in time; try again, raise the time limit, or open with another credential"
    )]
    TimedOut,
    /// The app's log takes the bytes that the HTTP client sends and receives, which contain secrets. Nothing
    /// was sent.
    #[error(
        "the log would show tokens and secrets, because it takes the messages of the HTTP client at level trace; limit the target ureq_proto to the level debug, then try again"
    )]
    Logged,
    /// Any other failure.
    #[error("it failed; look at its own log, then try again, or open with another credential")]
    Other,
}

impl CredentialFailure {
    /// Returns the kind of the failure.
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::Unreachable | Self::TimedOut | Self::Other => ErrorKind::Unavailable,
            Self::Denied => ErrorKind::Denied,
            Self::Logged => ErrorKind::Invalid,
            Self::KeyGone | Self::KeyVersionRetired | Self::Locked => ErrorKind::Credential,
        }
    }

    /// Returns `true` if the service or device is out of reach for every slot alike.
    pub(crate) fn is_out_of_reach(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut)
    }
}
