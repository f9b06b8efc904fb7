//! Requests to the transit engine, and what its answers mean.

use base64ct::{Base64, Encoding};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::token_source::TokenSource;
use super::wrapped_secret::WrappedSecret;
use crate::crypto::SlotSecret;
use crate::error::{CredentialFailure, Error, Result};
use crate::keys::credentials::encoded_secret;
use crate::keys::credentials::http::{Answer, HttpClient};

/// The length of a slot secret in base64.
const ENCODED_SECRET_LENGTH: usize = 44;
/// More than the length of any request body, in bytes.
const REQUEST_CAPACITY: usize = 1024;

/// The mount, name and namespace of the key.
pub(super) struct TransitKeyPath {
    pub(super) mount: String,
    pub(super) key: String,
    pub(super) namespace: Option<String>,
}

/// The service, with the token of the app.
pub(super) struct Service {
    client: HttpClient,
    address: String,
    path: TransitKeyPath,
    token: TokenSource,
}

#[derive(Serialize)]
struct Encryption<'a> {
    plaintext: &'a str,
    associated_data: &'a str,
    // Only derived keys use it.
    context: &'a str,
}

#[derive(Serialize)]
struct Decryption<'a> {
    ciphertext: &'a str,
    associated_data: &'a str,
    context: &'a str,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
struct Encrypted<'a> {
    ciphertext: &'a str,
}

#[derive(Deserialize)]
struct Decrypted<'a> {
    plaintext: &'a str,
}

/// The type, settings and versions of the key, as the service reports them.
#[derive(Deserialize)]
pub(super) struct KeyState<'a> {
    #[serde(rename = "type")]
    key_type: &'a str,
    #[serde(default)]
    convergent_encryption: bool,
    pub(super) min_decryption_version: u32,
}

#[derive(Deserialize)]
struct TransitErrorBody {
    #[serde(rename = "errors")]
    _errors: Vec<IgnoredAny>,
}

impl KeyState<'_> {
    /// Returns `true` for a key of one of these types that encrypts the same bytes differently each time.
    pub(super) fn is_one_of(&self, types: &[&str]) -> bool {
        types.contains(&self.key_type) && !self.convergent_encryption
    }
}

impl Service {
    pub(super) fn new(
        client: HttpClient,
        address: String,
        path: TransitKeyPath,
        token: TokenSource,
    ) -> Self {
        Self {
            client,
            address,
            path,
            token,
        }
    }

    /// Encrypts a secret with the newest version of the key.
    pub(super) fn encrypt(&self, secret: &SlotSecret, binding: &[u8]) -> Result<WrappedSecret> {
        let mut buffer = Zeroizing::new([0; ENCODED_SECRET_LENGTH]);
        let plaintext = Base64::encode(secret.expose(), buffer.as_mut_slice()).map_err(other)?;
        let binding = Base64::encode_string(binding);
        let answer = self.post(
            "encrypt",
            &Encryption {
                plaintext,
                associated_data: &binding,
                context: &binding,
            },
        )?;
        if answer.status != 200 {
            return Err(Error::Credential(failure_of(&answer)));
        }
        let Encrypted { ciphertext } = data(&answer)?;
        WrappedSecret::parse(ciphertext).ok_or(Error::Credential(CredentialFailure::Other))
    }

    /// Decrypts a secret; `None` if the service refuses the ciphertext.
    pub(super) fn decrypt(
        &self,
        wrapped: &WrappedSecret,
        binding: &[u8],
    ) -> Result<Option<SlotSecret>> {
        let binding = Base64::encode_string(binding);
        let answer = self.post(
            "decrypt",
            &Decryption {
                ciphertext: wrapped.text(),
                associated_data: &binding,
                context: &binding,
            },
        )?;
        match answer.status {
            200 => {
                let Decrypted { plaintext } = data(&answer)?;
                let secret = encoded_secret::decode(plaintext).map_err(Error::Credential)?;
                Ok(Some(secret))
            }
            400 => Ok(None),
            _ => Err(Error::Credential(failure_of(&answer))),
        }
    }

    /// Passes the state of the key to `use_state`.
    pub(super) fn key_state<T>(&self, use_state: impl FnOnce(&KeyState<'_>) -> T) -> Result<T> {
        let (url, token) = (self.url("keys"), self.read_token()?);
        let answer = self.client.get(&url, &self.headers(&token));
        let answer = answer.map_err(Error::Credential)?;
        match answer.status {
            200 => data(&answer).map(|state| use_state(&state)),
            _ => Err(Error::Credential(failure_of(&answer))),
        }
    }

    fn post(&self, operation: &str, request: &impl Serialize) -> Result<Answer> {
        // The buffer never moves, because a buffer that grows leaves copies of the secret.
        let mut body = Zeroizing::new(Vec::with_capacity(REQUEST_CAPACITY));
        serde_json::to_writer(&mut *body, request).map_err(other)?;
        let (url, token) = (self.url(operation), self.read_token()?);
        let answer = self.client.post(&url, &self.headers(&token), &body);
        answer.map_err(Error::Credential)
    }

    fn url(&self, operation: &str) -> String {
        let (address, TransitKeyPath { mount, key, .. }) = (&self.address, &self.path);
        format!("{address}/v1/{mount}/{operation}/{key}")
    }

    fn read_token(&self) -> Result<Zeroizing<String>> {
        self.token.read().map_err(Error::Credential)
    }

    fn headers<'a>(&'a self, token: &'a str) -> Vec<(&'static str, &'a str)> {
        let namespace = self.path.namespace.as_deref();
        let namespace = namespace.map(|namespace| ("X-Vault-Namespace", namespace));
        let always = [
            ("X-Vault-Token", token),
            // Agents can require this header, which shows that no browser was tricked into the request.
            ("X-Vault-Request", "true"),
            ("Content-Type", "application/json"),
        ];
        always.into_iter().chain(namespace).collect()
    }
}

/// Returns the failure that an answer means. The texts of the service are not read.
fn failure_of(answer: &Answer) -> CredentialFailure {
    match answer.status {
        401 | 403 => CredentialFailure::Denied,
        404 => CredentialFailure::KeyGone,
        503 if is_of_service(answer) => CredentialFailure::Locked,
        504 => CredentialFailure::TimedOut,
        // A gateway that does not reach the service, a service without an active node, or an overloaded one. Each
        // fails for every slot.
        429 | 500..=599 => CredentialFailure::Unreachable,
        _ => CredentialFailure::Other,
    }
}

/// Returns `true` if the answer has the form of the service's errors.
fn is_of_service(answer: &Answer) -> bool {
    serde_json::from_slice::<TransitErrorBody>(&answer.body).is_ok()
}

/// Parses the part of an answer that has the result.
fn data<'a, T: Deserialize<'a>>(answer: &'a Answer) -> Result<T> {
    let envelope: Envelope<T> = serde_json::from_slice(&answer.body).map_err(other)?;
    Ok(envelope.data)
}

/// Hides an error whose text may contain parts of an answer.
fn other<E>(_: E) -> Error {
    Error::Credential(CredentialFailure::Other)
}
