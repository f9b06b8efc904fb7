//! Options of a transit credential.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use super::Transit;
use super::service::{Service, TransitKeyPath};
use super::token_source::TokenSource;
use crate::error::{Error, Result};
use crate::keys::credentials::http::{DEFAULT_LIMIT, HttpClient, HttpOptions, check_address};

/// The maximum length of the name of a key, mount or namespace, in bytes.
const NAME_MAX: usize = 255;

/// Options of a [`Transit`] credential.
///
/// ```
/// # use chartlock::keys::TransitOptions;
/// # use std::time::Duration;
/// let transit = TransitOptions::new("https://openbao.clinic.example:8200", "patient-records")
///     .mount("clinic/transit")
///     .namespace("records")
///     .token_variable("VAULT_TOKEN")
///     .time_limit(Duration::from_secs(3))
///     .build()?;
/// # Ok::<(), chartlock::Error>(())
/// ```
pub struct TransitOptions {
    address: String,
    path: TransitKeyPath,
    token: Option<TokenSource>,
    ca_certificates: Option<Vec<u8>>,
    limit: Duration,
}

impl TransitOptions {
    /// Creates options for the address of a service, such as `https://vault.clinic.example:8200`, and the name of a
    /// key in the mount `transit`.
    ///
    /// An address with `http://` is accepted only if its host is `localhost` or a loopback address, such as that of
    /// an agent on this machine.
    pub fn new(address: &str, key: &str) -> Self {
        Self {
            address: address.to_owned(),
            path: TransitKeyPath {
                mount: "transit".to_owned(),
                key: key.to_owned(),
                namespace: None,
            },
            token: None,
            ca_certificates: None,
            limit: DEFAULT_LIMIT,
        }
    }

    /// Sets the path at which the transit engine is mounted. The default is `transit`.
    pub fn mount(mut self, mount: &str) -> Self {
        self.path.mount = mount.to_owned();
        self
    }

    /// Sets the namespace of the mount.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.path.namespace = Some(namespace.to_owned());
        self
    }

    /// Sets a token that stays the same. It is wiped on drop.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(TokenSource::Value(Zeroizing::new(token.to_owned())));
        self
    }

    /// Sets a file that contains the token, with or without a line end. Each request reads it again, so that a
    /// token is used that an agent has renewed. A file that other users than its owner can write is refused (on
    /// Unix).
    pub fn token_file(mut self, path: impl AsRef<Path>) -> Self {
        self.token = Some(TokenSource::File(path.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable that contains the token, with or without a line end. Each request reads it
    /// again.
    pub fn token_variable(mut self, name: &str) -> Self {
        self.token = Some(TokenSource::Variable(name.to_owned()));
        self
    }

    /// Sets the CA certificates to trust, in PEM format. They replace the public CAs, which are Mozilla's list of
    /// this release.
    pub fn ca_certificates(mut self, pem: &[u8]) -> Self {
        self.ca_certificates = Some(pem.to_owned());
        self
    }

    /// Sets the time limit of each request: 1 ms to 1 h, with 10 s as the default. The connection takes at most 5 s
    /// of it. A slot takes one request to open, two if the service refuses it, and three to enrol. An attacker
    /// who can write to the storage can add slots that the service refuses. A slow service can then delay an opening
    /// by 32 times the limit.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Creates the credential, without asking the service.
    ///
    /// # Errors
    /// [`Error::InvalidCredentialSetting`] for an address with another scheme than [`TransitOptions::new`] allows,
    /// with a user name or a query; for the name of a key, mount or namespace with more than 255 bytes, or with
    /// other characters than ASCII letters, digits, `_`, `-` and `.` (and `/`, for mounts and namespaces); without
    /// a token; for a token of more than 8,192 bytes or with spaces or control characters; for invalid CA
    /// certificates; for a time limit out of bounds.
    pub fn build(self) -> Result<Transit> {
        check_address(&self.address)?;
        let token = self.token.filter(TokenSource::is_valid);
        let is_valid = is_name(&self.path.key)
            && is_path(&self.path.mount)
            && self.path.namespace.as_deref().is_none_or(is_path);
        let (true, Some(token)) = (is_valid, token) else {
            return Err(Error::InvalidCredentialSetting);
        };
        let client = HttpClient::new(&HttpOptions {
            limit: self.limit,
            ca_certificates: self.ca_certificates.as_deref(),
            ..HttpOptions::default()
        })?;
        let address = self.address.trim_end_matches('/').to_owned();
        let path = self.path;
        Ok(Transit(Service::new(client, address, path, token)))
    }
}

/// Returns `true` for names that need no escape in a URL and lead to no other path.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(is_plain)
        && !name.bytes().all(|byte| byte == b'.')
}

fn is_path(path: &str) -> bool {
    path.len() <= NAME_MAX && path.split('/').all(is_name)
}

impl fmt::Debug for TransitOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransitOptions(..)")
    }
}
