//! Messages of the JSON protocol of KMS.

use std::borrow::Cow;

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::crypto::SlotSecret;
use crate::error::CredentialFailure;
use crate::keys::credentials::aws_kms::kms_failure::KmsFailure;
use crate::keys::credentials::credential::SlotContext;
use crate::keys::credentials::encoded_secret;
use crate::keys::hex;

/// The maximum length of a ciphertext, in bytes. That of a data key of 32 bytes has about 200 bytes.
pub(super) const CIPHERTEXT_MAX: usize = 2048;

/// The request for a new data key.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GenerateRequest<'a> {
    key_id: &'a str,
    key_spec: &'a str,
    encryption_context: EncryptionContext,
}

/// The request for the plaintext of a ciphertext. It names the key, so that KMS refuses the ciphertext of another
/// key to which the identity has access.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DecryptRequest<'a> {
    key_id: &'a str,
    ciphertext_blob: String,
    encryption_algorithm: &'a str,
    encryption_context: EncryptionContext,
}

/// The encryption context, which KMS binds to the ciphertext and logs.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct EncryptionContext {
    chartlock_vault: String,
    chartlock_kind: String,
    chartlock_slot: String,
}

impl EncryptionContext {
    fn new(context: &SlotContext) -> Self {
        let mut vault = [[0; 2]; 16];
        hex::encode(context.vault(), &mut vault);
        Self {
            chartlock_vault: vault
                .as_flattened()
                .iter()
                .copied()
                .map(char::from)
                .collect(),
            chartlock_kind: context.kind().to_string(),
            chartlock_slot: context.slot().to_string(),
        }
    }
}

impl<'a> GenerateRequest<'a> {
    pub(super) fn new(key: &'a str, context: &SlotContext) -> Self {
        Self {
            key_id: key,
            key_spec: "AES_256",
            encryption_context: EncryptionContext::new(context),
        }
    }
}

impl<'a> DecryptRequest<'a> {
    pub(super) fn new(key: &'a str, ciphertext: &[u8], context: &SlotContext) -> Self {
        Self {
            key_id: key,
            ciphertext_blob: Base64::encode_string(ciphertext),
            encryption_algorithm: "SYMMETRIC_DEFAULT",
            encryption_context: EncryptionContext::new(context),
        }
    }
}

/// Returns the body of a request.
pub(super) fn encode(request: &impl Serialize) -> Result<Vec<u8>, KmsFailure> {
    serde_json::to_vec(request).map_err(|_| other())
}

/// The answer with a new data key.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DataKey<'a> {
    #[serde(borrow)]
    ciphertext_blob: Cow<'a, str>,
    #[serde(borrow)]
    plaintext: Secret<'a>,
}

impl DataKey<'_> {
    /// Returns the ciphertext and the secret of an answer.
    pub(super) fn decode(answer: &[u8]) -> Result<(Vec<u8>, SlotSecret), KmsFailure> {
        let answer: DataKey<'_> = serde_json::from_slice(answer).map_err(|_| other())?;
        let ciphertext = Base64::decode_vec(&answer.ciphertext_blob).map_err(|_| other())?;
        if !(1..=CIPHERTEXT_MAX).contains(&ciphertext.len()) {
            return Err(other());
        }
        Ok((ciphertext, answer.plaintext.decode()?))
    }
}

/// The answer with a plaintext.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Plaintext<'a> {
    #[serde(borrow)]
    plaintext: Secret<'a>,
}

impl Plaintext<'_> {
    /// Returns the secret of an answer.
    pub(super) fn decode(answer: &[u8]) -> Result<SlotSecret, KmsFailure> {
        let answer: Plaintext<'_> = serde_json::from_slice(answer).map_err(|_| other())?;
        answer.plaintext.decode()
    }
}

/// The Base64 text of a secret: a part of the answer, which is wiped with the answer, or a copy without escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Secret<'a>(#[serde(borrow)] Cow<'a, str>);

impl Secret<'_> {
    fn decode(&self) -> Result<SlotSecret, KmsFailure> {
        Ok(encoded_secret::decode(&self.0)?)
    }
}

impl Drop for Secret<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(text) = &mut self.0 {
            text.zeroize();
        }
    }
}

fn other() -> KmsFailure {
    KmsFailure::Permanent(CredentialFailure::Other)
}
