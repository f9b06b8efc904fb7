//! Options of the credential of AWS KMS.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::keys::credentials::aws_kms::AwsKms;
use crate::keys::credentials::aws_kms::aws_identity::AwsIdentity;
use crate::keys::credentials::aws_kms::identity_loader::IdentityLoader;
use crate::keys::credentials::aws_kms::kms_client::KmsClient;
use crate::keys::credentials::http::{HttpClient, HttpOptions, check_address, is_https};

/// The maximum length of a key's id, in characters, as the API of KMS has it.
const KEY_MAX: usize = 2048;
/// The maximum length of a Region's name, in characters.
const REGION_MAX: usize = 64;

/// Options of the credential [`AwsKms`].
///
/// ```
/// # use chartlock::keys::{AwsIdentity, AwsKmsOptions};
/// let kms = AwsKmsOptions::new("alias/clinic", "eu-central-1")
///     .identity(AwsIdentity::environment())
///     .endpoint("https://vpce-1a2b-3c4d.kms.eu-central-1.vpce.amazonaws.com")
///     .build()?;
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone)]
pub struct AwsKmsOptions {
    key: String,
    region: String,
    endpoint: Option<String>,
    identity: AwsIdentity,
    ca_certificates: Option<Vec<u8>>,
    limit: Option<Duration>,
    uses_environment_proxy: bool,
}

impl AwsKmsOptions {
    /// Creates the default options for a key in a Region such as `eu-central-1`; see [`AwsKms::new`].
    pub fn new(key: &str, region: &str) -> Self {
        Self {
            key: key.to_owned(),
            region: region.to_owned(),
            endpoint: None,
            identity: AwsIdentity::default(),
            ca_certificates: None,
            limit: None,
            uses_environment_proxy: false,
        }
    }

    /// Sets the source of the AWS access keys, [`AwsIdentity::automatic`] by default.
    #[must_use]
    pub fn identity(self, identity: AwsIdentity) -> Self {
        Self { identity, ..self }
    }

    /// Sets the address of KMS, such as that of a VPC endpoint or of a FIPS endpoint. The default is the
    /// public endpoint of the Region, in the partitions `aws`, `aws-us-gov`, `aws-cn` and `aws-eusc`; other
    /// partitions need an address. It begins with `https://`, or with `http://` for a server on this machine.
    #[must_use]
    pub fn endpoint(mut self, url: &str) -> Self {
        self.endpoint = Some(url.to_owned());
        self
    }

    /// Sets the CA certificates to trust, in PEM format, in place of the public CAs.
    #[must_use]
    pub fn ca_certificates(mut self, pem: &[u8]) -> Self {
        self.ca_certificates = Some(pem.to_vec());
        self
    }

    /// Sets the time limit of a request to KMS: 1 ms to 1 h, 10 seconds by default. A call that also loads
    /// access keys, or is repeated because KMS throttled it, takes several requests. A new slot takes two calls.
    /// An attacker who can write to the storage can add slots that KMS refuses. A slow KMS can then delay an opening
    /// by 16 calls.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sends the requests to KMS through the proxy that the environment names, such as `HTTPS_PROXY`. The
    /// connection through the proxy is encrypted to KMS, so an [`endpoint`](Self::endpoint) with `http://` is
    /// refused.
    #[must_use]
    pub fn environment_proxy(mut self) -> Self {
        self.uses_environment_proxy = true;
        self
    }

    /// Creates the credential. Sends no request, and reads no access keys.
    ///
    /// # Errors
    /// [`Error::InvalidCredentialSetting`] if the key does not have 1 to 2,048 printable ASCII characters, if the
    /// Region does not consist of 1 to 64 lower-case letters, digits and hyphens, if an `http://` address is
    /// combined with the proxy, or if the address, the certificates or the time limit are invalid.
    pub fn build(self) -> Result<AwsKms> {
        let is_key = (1..=KEY_MAX).contains(&self.key.len())
            && self.key.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_key || !is_region(&self.region) {
            return Err(Error::InvalidCredentialSetting);
        }
        let address = match &self.endpoint {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => public_endpoint(&self.region),
        };
        check_address(&address)?;
        if self.uses_environment_proxy && !is_https(&address) {
            return Err(Error::InvalidCredentialSetting);
        }
        let mut options = HttpOptions {
            ca_certificates: self.ca_certificates.as_deref(),
            uses_environment_proxy: self.uses_environment_proxy,
            ..HttpOptions::default()
        };
        options.limit = self.limit.unwrap_or(options.limit);
        let identity = IdentityLoader::new(self.identity, &self.region, options.limit)?;
        Ok(AwsKms {
            key: self.key,
            client: KmsClient::new(HttpClient::new(&options)?, address, &self.region, identity),
        })
    }
}

fn is_region(region: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=REGION_MAX).contains(&region.len()) && region.bytes().all(is_part)
}

/// Returns the address of KMS in a Region, by the list of service endpoints in the AWS General Reference.
fn public_endpoint(region: &str) -> String {
    let suffix = match region.split_once('-') {
        Some(("cn", _)) => "amazonaws.com.cn",
        Some(("eusc", _)) => "amazonaws.eu",
        _ => "amazonaws.com",
    };
    format!("https://kms.{region}.{suffix}")
}

impl fmt::Debug for AwsKmsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsKmsOptions(..)")
    }
}
