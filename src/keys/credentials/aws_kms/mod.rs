//! Credential of kind 6: a key of AWS Key Management Service (KMS).

mod aws_identity;
mod identity_loader;
mod identity_requests;
mod identity_source;
mod kms_client;
mod kms_failure;
mod kms_messages;
mod kms_options;

use std::fmt;

pub use aws_identity::AwsIdentity;
pub use kms_options::AwsKmsOptions;

use crate::crypto::{self, SlotSecret};
use crate::error::{CredentialFailure, Error, Result};
use crate::keys::credentials::credential::{Credential, SlotContext};
use kms_client::{Action, KmsClient};
use kms_failure::KmsFailure;
use kms_messages::{CIPHERTEXT_MAX, DataKey, DecryptRequest, GenerateRequest, Plaintext, encode};

type KmsResult<T> = std::result::Result<T, KmsFailure>;

const KIND: u16 = 6;
/// The first byte of the parameters.
const VERSION: u8 = 1;

/// A symmetric key of AWS Key Management Service (KMS) that opens a vault without user input.
///
/// The key never leaves KMS. To enrol a slot, the credential requests a data key of 32 bytes
/// (`GenerateDataKey`), uses its plaintext as the slot secret, and stores its ciphertext in the slot. To
/// open the slot, it sends the ciphertext back (`Decrypt`). A new slot is opened once before it is stored. Each
/// call is one request, and a second one a quarter of a second later if KMS throttles the first or fails
/// internally. One operation of a vault makes at most one call to open each slot.
///
/// ```
/// use std::time::Duration;
/// use chartlock::keys::{AwsIdentity, AwsKms, AwsKmsOptions};
///
/// let key = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
/// let kms = AwsKms::new(key, "eu-central-1")?;
/// assert_eq!(format!("{kms:?}"), "AwsKms(..)");
///
/// let kms = AwsKmsOptions::new(key, "eu-central-1")
///     .identity(AwsIdentity::profile("clinic"))
///     .time_limit(Duration::from_secs(5))
///     .build()?;
/// # Ok::<(), chartlock::Error>(())
/// ```
///
/// # Permissions
///
/// The identity needs `kms:Decrypt` on the key to open, and also `kms:GenerateDataKey` to add or replace a slot
/// and to rotate the root key. An encryption context binds each ciphertext to its slot: `chartlock-vault`
/// is the vault's id in hexadecimal, `chartlock-kind` is `6`, or `4` for a factor of
/// [`Both`](crate::keys::Both), and `chartlock-slot` is the slot's id in decimal. A policy can allow the key
/// for one vault only. CloudTrail shows the vault's id after the first call:
///
/// ```json
/// {
///   "Effect": "Allow",
///   "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
///   "Resource": "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
///   "Condition": {"StringEquals": {
///     "kms:EncryptionContext:chartlock-vault": "00112233445566778899aabbccddeeff",
///     "kms:EncryptionContext:chartlock-kind": ["4", "6"]
///   }}
/// }
/// ```
///
/// # What KMS learns
///
/// KMS knows the slot secret at the moment of each call. CloudTrail logs each call with the time, the
/// identity, its network address and the encryption context, so the vault's id is in that log. KMS gets
/// nothing else of the vault.
///
/// # Key lifecycle
///
/// - *Rotation.* The automatic and the on-demand rotation of KMS keep all earlier key material, so the slot
///   opens as before and nothing needs to be done. If you move to another key instead, also by pointing an
///   alias to it, replace the slot with [`Vault::replace_slot`](crate::Vault::replace_slot) first. With the new
///   key alone, the old slot does not open.
/// - *Disabling.* While the key is disabled, the slot does not open:
///   [`CredentialFailure::Locked`](crate::keys::CredentialFailure::Locked).
/// - *Deletion.* KMS deletes a key after a waiting period of 7 to 30 days, in which the slot does not open and
///   the deletion can be cancelled. Afterwards, the slot never opens again. Both give
///   [`CredentialFailure::KeyGone`](crate::keys::CredentialFailure::KeyGone). Keep a second slot of another
///   kind, such as a key file in a safe.
/// - *Multi-Region keys.* A ciphertext of a primary key opens with a replica key in another Region. Give its
///   key and Region to the credential; the slot needs no change. A key that is not multi-Region exists in one
///   Region only, and while that Region is down, the slot does not open.
///
/// # Errors
///
/// [`CredentialFailure::Denied`](crate::keys::CredentialFailure::Denied) also reports that no AWS access keys
/// were found, that they have expired, and that the clock differs from that of KMS by more than 5 minutes.
/// [`CredentialFailure::Unreachable`](crate::keys::CredentialFailure::Unreachable) also reports that KMS still
/// throttles or fails internally at the repeated request. The vault asks for no other slot then.
/// [`Error::WrongKey`] reports that the slot's ciphertext is not of this key or was altered.
///
/// # Memory and logs
///
/// The slot secret is wiped on drop. The library that signs the requests keeps copies of AWS access keys that
/// are not wiped. Prefer identities whose access keys are temporary.
///
/// If level TRACE is enabled for the log target `ureq_proto`, the HTTP client would log its requests with their
/// secrets. Each call then fails with
/// [`CredentialFailure::LogExposesSecrets`](crate::keys::CredentialFailure::LogExposesSecrets) and sends nothing.
pub struct AwsKms {
    key: String,
    client: KmsClient,
}

impl AwsKms {
    /// Creates a credential for a key in a Region, with the default options. Sends no request.
    ///
    /// The key is the ARN or the id of the key, or the name (`alias/clinic`) or the ARN of an alias. A key of
    /// another account needs an ARN.
    ///
    /// # Errors
    /// Errors of [`AwsKmsOptions::build`].
    pub fn new(key: &str, region: &str) -> Result<Self> {
        AwsKmsOptions::new(key, region).build()
    }

    /// Requests a data key, and returns its ciphertext and the secret.
    fn generate(&self, context: &SlotContext) -> KmsResult<(Vec<u8>, SlotSecret)> {
        let request = encode(&GenerateRequest::new(&self.key, context))?;
        let answer = self.client.call(Action::GenerateDataKey, &request)?;
        let (ciphertext, secret) = DataKey::decode(&answer)?;
        self.check_opens(&ciphertext, &secret, context)?;
        Ok((ciphertext, secret))
    }

    /// Decrypts the fresh ciphertext once, because a slot that can be written but not opened would be found too
    /// late: the identity may lack `kms:Decrypt`.
    fn check_opens(
        &self,
        ciphertext: &[u8],
        secret: &SlotSecret,
        context: &SlotContext,
    ) -> KmsResult<()> {
        let opened = self.decrypt(ciphertext, context)?;
        crypto::equal(opened.expose(), secret.expose())
            .then_some(())
            .ok_or(KmsFailure::Permanent(CredentialFailure::Other))
    }

    /// Requests the plaintext of a ciphertext.
    fn decrypt(&self, ciphertext: &[u8], context: &SlotContext) -> KmsResult<SlotSecret> {
        let request = encode(&DecryptRequest::new(&self.key, ciphertext, context))?;
        let answer = self.client.call(Action::Decrypt, &request)?;
        Plaintext::decode(&answer)
    }
}

impl Credential for AwsKms {
    fn kind(&self) -> u16 {
        KIND
    }

    /// Requests a data key that is bound to the context, and checks that its ciphertext opens.
    ///
    /// # Errors
    /// [`Error::Credential`] if KMS gives no data key, or does not decrypt its ciphertext to the same secret.
    fn enrol(&self, context: &SlotContext) -> Result<(Vec<u8>, SlotSecret)> {
        match self.generate(context) {
            Ok((ciphertext, secret)) => Ok(([&[VERSION], ciphertext.as_slice()].concat(), secret)),
            Err(failure) => Err(Error::Credential(failure.as_failure())),
        }
    }

    /// Requests the plaintext of the slot's ciphertext. Returns `None` if the ciphertext is not of this key or
    /// not of this context.
    ///
    /// # Errors
    /// [`Error::Credential`] if KMS gives no answer about the ciphertext.
    fn secret(&self, parameters: &[u8], context: &SlotContext) -> Result<Option<SlotSecret>> {
        let Some((&VERSION, ciphertext)) = parameters.split_first() else {
            return Ok(None);
        };
        if !(1..=CIPHERTEXT_MAX).contains(&ciphertext.len()) {
            return Ok(None);
        }
        match self.decrypt(ciphertext, context) {
            Ok(secret) => Ok(Some(secret)),
            Err(KmsFailure::ForeignCiphertext) => Ok(None),
            Err(failure) => Err(Error::Credential(failure.as_failure())),
        }
    }
}

impl fmt::Debug for AwsKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsKms(..)")
    }
}
