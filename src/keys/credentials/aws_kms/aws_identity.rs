//! Sources of the AWS access keys that sign requests.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The source of the AWS access keys that sign the requests of [`AwsKms`](crate::keys::AwsKms).
///
/// Access keys without a known expiry are read again for each request, so a changed file or a changed
/// variable has effect at once. Temporary access keys of a service are kept until 2 minutes before their
/// expiry, or until KMS refuses them.
///
/// Profiles with `role_arn`, `credential_process` or settings of IAM Identity Center are not supported. For
/// these, let the AWS CLI export the access keys.
///
/// ```
/// # use chartlock::keys::AwsIdentity;
/// let identity = AwsIdentity::profile("clinic");
/// assert_eq!(format!("{identity:?}"), "AwsIdentity(..)");
/// ```
#[derive(Clone, Default)]
pub struct AwsIdentity(pub(super) AccessKeySource);

#[derive(Clone, Default)]
pub(super) enum AccessKeySource {
    #[default]
    Automatic,
    Environment,
    Profile(String, Option<PathBuf>),
    WebIdentity(String, PathBuf),
    Container,
    Instance,
    AccessKey(AccessKey),
}

/// A given access key.
#[derive(Clone)]
pub(super) struct AccessKey {
    pub(super) id: Zeroizing<String>,
    pub(super) secret: Zeroizing<String>,
    pub(super) session_token: Option<Zeroizing<String>>,
}

impl AwsIdentity {
    /// Uses the first source that is configured, in this order: the variables of
    /// [`environment`](Self::environment); the shared files of the AWS tools with the profile that `AWS_PROFILE`
    /// names, or `default`; the web identity of `AWS_ROLE_ARN` and `AWS_WEB_IDENTITY_TOKEN_FILE`; the
    /// [`container`](Self::container); the [`instance`](Self::instance).
    ///
    /// A source that is configured and fails ends the search, so that no other identity is used by accident. The
    /// first four sources are configured if one of their variables is set, even if another one is missing; for the
    /// shared files, these are `AWS_PROFILE` and `AWS_SHARED_CREDENTIALS_FILE`. Without both variables, the search
    /// skips shared files that do not exist or have no access keys in `default`, even if that profile has settings
    /// that are not supported. A credentials file that cannot be read ends the search.
    ///
    /// Nothing says that a machine is an EC2 instance. If its metadata service does not answer, it is not asked
    /// again for 30 seconds, and no access keys are found.
    pub fn automatic() -> Self {
        Self(AccessKeySource::Automatic)
    }

    /// Uses the environment variables `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, for temporary access
    /// keys, `AWS_SESSION_TOKEN`.
    pub fn environment() -> Self {
        Self(AccessKeySource::Environment)
    }

    /// Uses a profile of the shared files of the AWS tools, `~/.aws/credentials` and `~/.aws/config`, or the files
    /// that `AWS_SHARED_CREDENTIALS_FILE` and `AWS_CONFIG_FILE` name.
    pub fn profile(name: &str) -> Self {
        Self(AccessKeySource::Profile(name.to_owned(), None))
    }

    /// Uses a profile of this credentials file.
    pub fn profile_of(name: &str, credentials_file: impl AsRef<Path>) -> Self {
        let file = credentials_file.as_ref().to_owned();
        Self(AccessKeySource::Profile(name.to_owned(), Some(file)))
    }

    /// Exchanges the token in a file for temporary access keys of a role, at the Security Token Service (STS) of
    /// the key's Region. Kubernetes provides such a token for a service account. `AWS_ENDPOINT_URL_STS` can
    /// name another address of STS, and `AWS_ROLE_SESSION_NAME` another session name than `chartlock`.
    pub fn web_identity(role_arn: &str, token_file: impl AsRef<Path>) -> Self {
        let file = token_file.as_ref().to_owned();
        Self(AccessKeySource::WebIdentity(role_arn.to_owned(), file))
    }

    /// Uses the role of an ECS task or of an EKS pod, whose endpoint the variable
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `AWS_CONTAINER_CREDENTIALS_FULL_URI` names.
    pub fn container() -> Self {
        Self(AccessKeySource::Container)
    }

    /// Uses the role of the EC2 instance, from version 2 of the instance metadata service (IMDSv2).
    pub fn instance() -> Self {
        Self(AccessKeySource::Instance)
    }

    /// Uses this access key and its secret.
    pub fn access_key(id: &str, secret: &str) -> Self {
        Self::given(id, secret, None)
    }

    /// Uses this temporary access key, its secret and its session token.
    pub fn temporary_key(id: &str, secret: &str, session_token: &str) -> Self {
        Self::given(id, secret, Some(session_token))
    }

    fn given(id: &str, secret: &str, session_token: Option<&str>) -> Self {
        let owned = |text: &str| Zeroizing::new(text.to_owned());
        Self(AccessKeySource::AccessKey(AccessKey {
            id: owned(id),
            secret: owned(secret),
            session_token: session_token.map(owned),
        }))
    }
}

impl fmt::Debug for AwsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsIdentity(..)")
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKey(..)")
    }
}
