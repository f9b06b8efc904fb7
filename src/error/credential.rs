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
    /// The service or device cannot be reached, is overloaded or fails internally: no connection, an unknown host
    /// name, no PKCS#11 token in the reader, or an error response of a gateway.
    #[error(
        "the device or service cannot be reached; check that it is running, its address and the network (for a PKCS#11 token: the path of the module, and the token's label or serial number), then try again or use another credential"
    )]
    Unreachable,
    /// The service or device refused the request: a wrong access token or PIN, or a missing permission.
    #[error(
        "the device or service refused the request; check that the PIN, access token or access keys are correct and not expired, and that they may use the key"
    )]
    Denied,
    /// The key does not exist there any more, or is going to be deleted.
    #[error(
        "the key does not exist, or its deletion is scheduled; check the name of the key, create a new key if there was none, restore the key or cancel the deletion, or open with another credential and replace the slot"
    )]
    KeyGone,
    /// A key was not created, because a key with this name exists.
    #[error("a key with this name exists already; use it, or choose another name")]
    KeyExists,
    /// The version of the key that wrapped the slot is no longer accepted.
    #[error(
        "the key version that the slot names is retired; if you retired it and the slot is not forged, allow that version again, open the vault, replace the slot, then retire the version"
    )]
    KeyVersionRetired,
    /// The service is sealed, or the key or device is disabled or locked.
    #[error(
        "the service is sealed or locked, the key is disabled, or the PIN is locked, expired or has one attempt left; unseal, unlock or enable it, then try again"
    )]
    Locked,
    /// The service or device did not answer in time.
    #[error(
        "the device or service did not answer within the time limit; try again, raise the time limit, or use another credential"
    )]
    TimedOut,
    /// The app's log would record the bytes that the HTTP client sends and receives, which contain secrets. Nothing
    /// was sent.
    #[error(
        "the app's log would contain access tokens and secrets, because the log level of the HTTP client is trace; set the log target ureq_proto to debug, then try again"
    )]
    LogExposesSecrets,
    /// Any other failure.
    #[error(
        "the device or service failed; check its log, then try again or use another credential"
    )]
    Other,
}

impl CredentialFailure {
    /// Returns the kind of the failure.
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::Unreachable | Self::TimedOut | Self::Other => ErrorKind::Unavailable,
            Self::Denied => ErrorKind::Denied,
            Self::LogExposesSecrets => ErrorKind::Invalid,
            Self::KeyExists => ErrorKind::Conflict,
            Self::KeyGone | Self::KeyVersionRetired | Self::Locked => ErrorKind::Credential,
        }
    }

    /// Returns `true` for a failure that affects every slot of the device or service.
    pub(crate) fn affects_every_slot(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut)
    }
}
