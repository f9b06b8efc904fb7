//! Client of the JSON protocol of KMS.

use std::thread;
use std::time::Duration;

use reqsign_aws_v4::RequestSigner;
use zeroize::Zeroizing;

use crate::crypto::sha256;
use crate::error::CredentialFailure;
use crate::keys::credentials::aws_kms::identity_loader::IdentityLoader;
use crate::keys::credentials::aws_kms::kms_failure::KmsFailure;
use crate::keys::credentials::http::{HttpClient, Parts, Request};
use crate::keys::hex;

/// The delay before a retry.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// An action of KMS.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    GenerateDataKey,
    Decrypt,
}

impl Action {
    fn target(self) -> &'static str {
        match self {
            Self::GenerateDataKey => "TrentService.GenerateDataKey",
            Self::Decrypt => "TrentService.Decrypt",
        }
    }
}

/// A client of KMS at one address, with one identity.
pub(super) struct KmsClient {
    http: HttpClient,
    url: String,
    signer: RequestSigner,
    identity: IdentityLoader,
}

impl KmsClient {
    /// Creates a client. `address` has no slash at its end.
    pub(super) fn new(
        http: HttpClient,
        address: String,
        region: &str,
        identity: IdentityLoader,
    ) -> Self {
        Self {
            http,
            url: address + "/",
            signer: RequestSigner::new("kms", region),
            identity,
        }
    }

    /// Performs an action, and returns the body of the answer. Retries the request once after a transient failure,
    /// because KMS throttles accounts with many requests.
    pub(super) fn call(
        &self,
        action: Action,
        body: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KmsFailure> {
        match self.request(action, body) {
            Err(KmsFailure::Transient) => {
                thread::sleep(RETRY_DELAY);
                self.request(action, body)
            }
            result => result,
        }
    }

    fn request(&self, action: Action, body: &[u8]) -> Result<Zeroizing<Vec<u8>>, KmsFailure> {
        let signed = self.signed(action, body)?;
        let mut headers = Vec::with_capacity(signed.headers.len());
        for (name, value) in &signed.headers {
            let value = value.to_str().map_err(|_| CredentialFailure::Denied)?;
            headers.push((name.as_str(), value));
        }
        let answer = self.http.post(&self.url, &headers, body)?;
        if answer.status == 200 {
            return Ok(answer.body);
        }
        let failure = KmsFailure::of(answer.status, &answer.body);
        if failure.as_failure() == CredentialFailure::Denied {
            self.identity.forget();
        }
        Err(failure)
    }

    /// Returns the head of a request with its signature (Signature Version 4), which covers the body.
    fn signed(&self, action: Action, body: &[u8]) -> Result<Parts, KmsFailure> {
        let mut digest = [[0; 2]; 32];
        hex::encode(&sha256(&[body]), &mut digest);
        let request = Request::post(&self.url)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", action.target())
            .header("x-amz-content-sha256", digest.as_flattened())
            .body(());
        let (mut parts, ()) = request.map_err(|_| CredentialFailure::Other)?.into_parts();
        self.identity.sign(&self.signer, &mut parts)?;
        Ok(parts)
    }
}
