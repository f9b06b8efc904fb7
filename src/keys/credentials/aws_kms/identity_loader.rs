//! Loading of AWS access keys, and signatures of requests with them.

use std::error::Error as StdError;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqsign_aws_v4::{
    AssumeRoleWithWebIdentityCredentialProvider, Credential as AccessKeys, ECSCredentialProvider,
    EnvCredentialProvider, IMDSv2CredentialProvider, ProfileCredentialProvider, RequestSigner,
};
use reqsign_core::{Context, ErrorKind, ProvideCredential, ProvideCredentialDyn};
use reqsign_core::{SignRequest, SigningCredential};
use ureq::http::request::Parts;

use crate::error::{CredentialFailure, Result};
use crate::keys::credentials::aws_kms::aws_identity::{AccessKey, AwsIdentity, Source};
use crate::keys::credentials::aws_kms::identity_requests;

/// The name of a session with a web identity, which CloudTrail logs.
const SESSION: &str = "chartlock";

type Provider = Box<dyn ProvideCredentialDyn<Credential = AccessKeys>>;
type Loaded<T> = std::result::Result<T, CredentialFailure>;

/// An identity with its access keys.
pub(super) struct IdentityLoader {
    providers: Vec<Provider>,
    /// `true` if the last provider is tried although nothing says that it exists.
    guesses_last: bool,
    context: Context,
    /// Access keys with a known expiry.
    temporary: Mutex<Option<AccessKeys>>,
}

impl IdentityLoader {
    /// Creates a loader for an identity in a Region. `limit` is the time limit of a request to KMS.
    pub(super) fn new(identity: AwsIdentity, region: &str, limit: Duration) -> Result<Self> {
        Ok(Self {
            guesses_last: matches!(identity.0, Source::Automatic),
            providers: providers(identity.0, region),
            context: identity_requests::context(limit)?,
            temporary: Mutex::default(),
        })
    }

    /// Adds the signature to a request whose headers contain the digest of its body.
    pub(super) fn sign(&self, signer: &RequestSigner, request: &mut Parts) -> Loaded<()> {
        let keys = self.access_keys()?;
        // The only reasons are characters that no header can contain, and access keys that expire now.
        let signed = signer.sign_request(&self.context, request, Some(&keys), None);
        pollster::block_on(signed).map_err(|_| CredentialFailure::Denied)
    }

    /// Forgets temporary access keys that a service has refused.
    pub(super) fn forget(&self) {
        *self.temporary() = None;
    }

    /// Returns access keys. Other threads wait meanwhile, so that one request loads them for all.
    fn access_keys(&self) -> Loaded<AccessKeys> {
        let mut temporary = self.temporary();
        if let Some(keys) = temporary.as_ref().filter(|keys| keys.is_valid()) {
            return Ok(keys.clone());
        }
        let keys = self.load()?;
        *temporary = keys.expires_in.is_some().then(|| keys.clone());
        Ok(keys)
    }

    fn load(&self) -> Loaded<AccessKeys> {
        for (index, provider) in self.providers.iter().enumerate() {
            let is_guess = self.guesses_last && index + 1 == self.providers.len();
            // No future waits: requests and files block.
            match pollster::block_on(provider.provide_credential_dyn(&self.context)) {
                Ok(Some(keys)) => return Ok(keys),
                Ok(None) => {}
                Err(error) => match failure_of(&error) {
                    failure if is_guess && failure.affects_every_slot() => {}
                    failure => return Err(failure),
                },
            }
        }
        Err(CredentialFailure::Denied)
    }

    fn temporary(&self) -> MutexGuard<'_, Option<AccessKeys>> {
        // The access keys are replaced as a whole.
        (self.temporary.lock()).unwrap_or_else(PoisonError::into_inner)
    }
}

fn providers(source: Source, region: &str) -> Vec<Provider> {
    match source {
        Source::Automatic => vec![
            Box::new(EnvCredentialProvider::new()),
            Box::new(ProfileCredentialProvider::new()),
            Box::new(web_identity(region)),
            Box::new(ECSCredentialProvider::new()),
            Box::new(IMDSv2CredentialProvider::new()),
        ],
        Source::Environment => vec![Box::new(EnvCredentialProvider::new())],
        Source::Profile(name, file) => vec![Box::new(profile(&name, file.as_deref()))],
        Source::WebIdentity(role, file) => vec![Box::new(
            web_identity(region)
                .with_role_arn(role)
                .with_web_identity_token_file(file),
        )],
        Source::Container => vec![Box::new(ECSCredentialProvider::new())],
        Source::Instance => vec![Box::new(IMDSv2CredentialProvider::new())],
        Source::AccessKey(key) => vec![Box::new(key)],
    }
}

fn profile(name: &str, file: Option<&Path>) -> ProfileCredentialProvider {
    let provider = ProfileCredentialProvider::new().with_profile(name);
    match file {
        Some(file) => provider.with_credentials_file(file.to_string_lossy()),
        None => provider,
    }
}

fn web_identity(region: &str) -> AssumeRoleWithWebIdentityCredentialProvider {
    let session = std::env::var("AWS_ROLE_SESSION_NAME");
    AssumeRoleWithWebIdentityCredentialProvider::new()
        .with_role_session_name(session.unwrap_or_else(|_| SESSION.to_owned()))
        .with_region(region.to_owned())
        .with_regional_sts_endpoint()
}

impl ProvideCredential for AccessKey {
    type Credential = AccessKeys;

    async fn provide_credential(&self, _: &Context) -> reqsign_core::Result<Option<AccessKeys>> {
        Ok(Some(AccessKeys {
            access_key_id: self.id.to_string(),
            secret_access_key: self.secret.to_string(),
            session_token: self.session_token.as_deref().cloned(),
            expires_in: None,
        }))
    }
}

/// Returns the failure of the request below an error, or what the kind of the error means.
fn failure_of(error: &reqsign_core::Error) -> CredentialFailure {
    let mut cause: Option<&dyn StdError> = Some(error);
    while let Some(error) = cause {
        if let Some(failure) = error.downcast_ref::<CredentialFailure>() {
            return *failure;
        }
        cause = error.source();
    }
    match error.kind() {
        ErrorKind::RateLimited | ErrorKind::Unexpected => CredentialFailure::Other,
        _ => CredentialFailure::Denied,
    }
}
