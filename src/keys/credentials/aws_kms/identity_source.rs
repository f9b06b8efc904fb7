//! Sources of access keys, in the order in which an identity tries them.

use std::error::Error as StdError;
use std::fs::File;
use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};

use reqsign_aws_v4::{
    AssumeRoleWithWebIdentityCredentialProvider, Credential as AccessKeys, ECSCredentialProvider,
    EnvCredentialProvider, IMDSv2CredentialProvider, ProfileCredentialProvider,
};
use reqsign_core::{Context, ErrorKind, ProvideCredential, ProvideCredentialDyn};

use crate::error::CredentialFailure;
use crate::keys::credentials::aws_kms::aws_identity::{AccessKey, AccessKeySource};

/// The name of a session with a web identity, which CloudTrail logs.
const SESSION: &str = "chartlock";
const KEY_VARIABLES: &[&str] = &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
const FILE_VARIABLES: &[&str] = &["AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE"];
const WEB_IDENTITY_VARIABLES: &[&str] = &["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"];

type Provider = Box<dyn ProvideCredentialDyn<Credential = AccessKeys>>;

/// A source of access keys.
pub(super) struct IdentitySource {
    provider: Provider,
    presence: Presence,
}

/// How a source without access keys is known to be configured.
enum Presence {
    /// The identity names the source, and no source follows it.
    Named,
    /// One of these variables is set.
    Variables(&'static [&'static str]),
    /// One of the variables of the shared files is set, or the credentials file cannot be read.
    SharedFiles,
    /// Nothing says that the source exists, so it is probed.
    Probed,
}

/// The answer of a source.
pub(super) enum SourceResult {
    Keys(AccessKeys),
    /// The source is not configured, so the next one is asked.
    Nothing,
    /// The source was probed, and does not exist.
    Absent,
}

impl IdentitySource {
    fn new(
        provider: impl ProvideCredentialDyn<Credential = AccessKeys>,
        presence: Presence,
    ) -> Self {
        Self {
            provider: Box::new(provider),
            presence,
        }
    }

    /// Returns the sources of an identity in a Region.
    pub(super) fn all(source: AccessKeySource, region: &str) -> Vec<Self> {
        let named = match source {
            AccessKeySource::Automatic => return automatic(region),
            AccessKeySource::Environment => {
                Self::new(EnvCredentialProvider::new(), Presence::Named)
            }
            AccessKeySource::Profile(name, file) => {
                Self::new(profile(&name, file.as_deref()), Presence::Named)
            }
            AccessKeySource::WebIdentity(role, file) => {
                let provider = web_identity(region).with_role_arn(role);
                Self::new(provider.with_web_identity_token_file(file), Presence::Named)
            }
            AccessKeySource::Container => Self::new(ECSCredentialProvider::new(), Presence::Named),
            AccessKeySource::Instance => {
                Self::new(IMDSv2CredentialProvider::new(), Presence::Named)
            }
            AccessKeySource::AccessKey(key) => Self::new(key, Presence::Named),
        };
        vec![named]
    }

    pub(super) fn is_probed(&self) -> bool {
        matches!(self.presence, Presence::Probed)
    }

    /// Asks the source.
    ///
    /// # Errors
    /// [`CredentialFailure::Denied`] if the source is configured and has no access keys, so that no other
    /// identity is used by accident; other failures of files and services.
    pub(super) fn find(&self, context: &Context) -> Result<SourceResult, CredentialFailure> {
        // No future waits: requests and files block.
        match pollster::block_on(self.provider.provide_credential_dyn(context)) {
            Ok(Some(keys)) => Ok(SourceResult::Keys(keys)),
            Ok(None) if self.is_configured(context) => Err(CredentialFailure::Denied),
            Ok(None) => Ok(SourceResult::Nothing),
            Err(error) => match request_failure(&error) {
                Some(failure) if self.is_probed() && failure.affects_every_slot() => {
                    Ok(SourceResult::Absent)
                }
                Some(failure) => Err(failure),
                None => Err(failure_of(&error)),
            },
        }
    }

    /// Returns `true` if the environment or a file says that the source has access keys.
    fn is_configured(&self, context: &Context) -> bool {
        let is_set = |name: &&str| context.env_var(name).is_some_and(|value| !value.is_empty());
        match self.presence {
            Presence::Named | Presence::Probed => false,
            Presence::Variables(names) => names.iter().any(is_set),
            Presence::SharedFiles => {
                FILE_VARIABLES.iter().any(is_set) || is_unreadable(&home_file(context))
            }
        }
    }
}

fn automatic(region: &str) -> Vec<IdentitySource> {
    let of_variables = Presence::Variables;
    vec![
        IdentitySource::new(EnvCredentialProvider::new(), of_variables(KEY_VARIABLES)),
        IdentitySource::new(ProfileCredentialProvider::new(), Presence::SharedFiles),
        IdentitySource::new(web_identity(region), of_variables(WEB_IDENTITY_VARIABLES)),
        IdentitySource::new(ECSCredentialProvider::new(), of_variables(&[])),
        IdentitySource::new(IMDSv2CredentialProvider::new(), Presence::Probed),
    ]
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

fn home_file(context: &Context) -> Option<PathBuf> {
    context
        .expand_home_dir("~/.aws/credentials")
        .map(PathBuf::from)
}

fn is_unreadable(file: &Option<PathBuf>) -> bool {
    let opened = file.as_deref().map(File::open);
    matches!(opened, Some(Err(error)) if error.kind() != IoErrorKind::NotFound)
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

/// Returns the failure of the request below an error; `None` if a service answered, or without a request.
fn request_failure(error: &reqsign_core::Error) -> Option<CredentialFailure> {
    let mut cause: Option<&dyn StdError> = Some(error);
    while let Some(error) = cause {
        if let Some(failure) = error.downcast_ref::<CredentialFailure>() {
            return Some(*failure);
        }
        cause = error.source();
    }
    None
}

/// Returns the failure that an answer of a service, or the content of a file, means.
fn failure_of(error: &reqsign_core::Error) -> CredentialFailure {
    match error.kind() {
        // The service is overloaded or failed internally, which affects every slot.
        ErrorKind::RateLimited => CredentialFailure::Unreachable,
        ErrorKind::Unexpected if error.is_retryable() => CredentialFailure::Unreachable,
        ErrorKind::Unexpected => CredentialFailure::Other,
        _ => CredentialFailure::Denied,
    }
}
