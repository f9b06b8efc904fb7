//! Failures of KMS, by the type that its answer names.

use crate::error::CredentialFailure;

/// A reason why KMS gave no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KmsFailure {
    /// The ciphertext is of another key or another context, or was altered.
    ForeignCiphertext,
    /// KMS throttles, or failed internally. If it lasts, it affects every slot.
    Transient,
    /// Another request would fail as well.
    Permanent(CredentialFailure),
}

/// The field of an answer that names the type of an error.
#[derive(serde::Deserialize)]
struct ErrorBody<'a> {
    #[serde(rename = "__type")]
    kind: &'a str,
}

impl KmsFailure {
    /// Returns the failure that an answer with an error reports. Ignores all text of the answer but the type.
    pub(super) fn of(status: u16, body: &[u8]) -> Self {
        let kind = serde_json::from_slice::<ErrorBody<'_>>(body).map(|body| body.kind);
        // A type may have a namespace before it, as in `com.amazonaws.kms#NotFoundException`.
        let kind = kind.ok().and_then(|kind| kind.rsplit('#').next());
        match kind.and_then(Self::of_type) {
            Some(failure) => failure,
            None if status == 429 || status >= 500 => Self::Transient,
            None if status == 401 || status == 403 => Self::Permanent(CredentialFailure::Denied),
            None => Self::Permanent(CredentialFailure::Other),
        }
    }

    /// Returns the meaning of a type: those that the API reference of KMS lists for its actions `Decrypt` and
    /// `GenerateDataKey`, and those of all AWS services. Some servers write the latter without `Exception`.
    fn of_type(kind: &str) -> Option<Self> {
        let failure = match kind.strip_suffix("Exception").unwrap_or(kind) {
            "InvalidCiphertext" | "IncorrectKey" => return Some(Self::ForeignCiphertext),
            "KeyUnavailable" | "Throttling" | "LimitExceeded" | "KMSInternal"
            | "DependencyTimeout" | "InternalFailure" | "ServiceUnavailable" => {
                return Some(Self::Transient);
            }
            "AccessDenied"
            | "ExpiredToken"
            | "IncompleteSignature"
            | "InvalidClientTokenId"
            | "InvalidGrantToken"
            | "InvalidSignature"
            | "MissingAuthenticationToken"
            | "NotAuthorized"
            | "OptInRequired"
            | "RequestExpired"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClient" => CredentialFailure::Denied,
            // Of an invalid state, the most frequent reason is that the key is to be deleted.
            "NotFound" | "InvalidArn" | "KMSInvalidState" => CredentialFailure::KeyGone,
            "Disabled" => CredentialFailure::Locked,
            _ => return None,
        };
        Some(Self::Permanent(failure))
    }

    /// Returns the failure that the app gets.
    pub(super) fn as_failure(self) -> CredentialFailure {
        match self {
            Self::Permanent(failure) => failure,
            Self::Transient => CredentialFailure::Unreachable,
            Self::ForeignCiphertext => CredentialFailure::Other,
        }
    }
}

impl From<CredentialFailure> for KmsFailure {
    fn from(failure: CredentialFailure) -> Self {
        Self::Permanent(failure)
    }
}
