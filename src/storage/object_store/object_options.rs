//! Options of a storage in an object store.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use object_store::RetryConfig;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};

use super::ObjectStorage;
use super::bucket::Bucket;
use super::condition_probe;
use super::http_client::Connector;
use super::object_names::ObjectNames;
use crate::crypto;
use crate::storage::StorageError;
use crate::storage::worker::Worker;

/// Default number of requests of one call that run at the same time.
const REQUESTS: usize = 16;
/// Maximum number of requests of one call that run at the same time.
const REQUESTS_MAX: usize = 256;
/// Default time for which a call waits for a server that cannot be reached, or that temporarily refuses requests.
const SERVER_WAIT: Duration = Duration::from_secs(10);
/// Default time for which a request waits for its whole answer.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Maximum of both times. A request that took longer than the key removal delay, 10 minutes by default, could
/// write an object under a destroyed key.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// Options for opening an [`ObjectStorage`].
///
/// ```
/// use std::time::Duration;
/// use chartlock::storage::ObjectOptions;
///
/// let options = ObjectOptions::from_env()
///     .bucket("clinic-images")
///     .prefix("north")?
///     .requests(32)
///     .wait_for_server(Duration::from_secs(20));
/// # Ok::<(), chartlock::storage::StorageError>(())
/// ```
#[derive(Clone)]
pub struct ObjectOptions {
    builder: AmazonS3Builder,
    tls: Option<rustls::ClientConfig>,
    names: ObjectNames,
    requests: usize,
    server_wait: Duration,
    answer_wait: Duration,
}

impl ObjectOptions {
    /// Creates options from the environment variables of the AWS tools, such as `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_REGION` and `AWS_ENDPOINT_URL`. If these variables contain no keys, the
    /// storage requests credentials from the metadata service of the machine or container.
    pub fn from_env() -> Self {
        Self::new(AmazonS3Builder::from_env())
    }

    /// Creates options from a builder of the crate `object_store` 0.14, for settings that have no method here,
    /// such as encryption by the server.
    ///
    /// The storage sends requests with its own client, retries and preconditions. Client options, retries and
    /// preconditions of the builder have no effect.
    pub fn new(builder: AmazonS3Builder) -> Self {
        Self {
            builder,
            tls: None,
            names: ObjectNames::default(),
            requests: REQUESTS,
            server_wait: SERVER_WAIT,
            answer_wait: ANSWER_WAIT,
        }
    }

    /// Sets the name of the bucket, which must exist.
    #[must_use]
    pub fn bucket(mut self, name: &str) -> Self {
        self.builder = self.builder.with_bucket_name(name);
        self
    }

    /// Sets the address of an object store other than Amazon S3, such as `https://s3.clinic.example`. With
    /// `http://`, requests are sent without TLS. The content is ciphertext, but an attacker in the network can
    /// then alter the lists of objects.
    #[must_use]
    pub fn endpoint(mut self, url: &str) -> Self {
        self.builder = self.builder.with_endpoint(url);
        self
    }

    /// Sets the region of the bucket, `us-east-1` by default.
    #[must_use]
    pub fn region(mut self, region: &str) -> Self {
        self.builder = self.builder.with_region(region);
        self
    }

    /// Sets an access key and its secret.
    #[must_use]
    pub fn access_key(mut self, id: &str, secret: &str) -> Self {
        let builder = self.builder.with_access_key_id(id);
        self.builder = builder.with_secret_access_key(secret);
        self
    }

    /// Sets the TLS configuration of the connections. All addresses with `https://` need one, and connections
    /// over a network need such an address.
    ///
    /// The configuration is a type of the crate `rustls` 0.23. The app must depend on `rustls` too, and choose the
    /// crypto provider, because chartlock enables none. Without a provider, `ClientConfig::builder` panics.
    ///
    /// ```
    /// # use chartlock::storage::ObjectOptions;
    /// // rustls = { version = "0.23", default-features = false, features = ["ring", "std", "tls12"] }
    /// let mut roots = rustls::RootCertStore::empty();
    /// // roots.extend(the root certificates of the object store);
    /// let provider = rustls::crypto::ring::default_provider();
    /// let tls = rustls::ClientConfig::builder_with_provider(provider.into())
    ///     .with_safe_default_protocol_versions()?
    ///     .with_root_certificates(roots)
    ///     .with_no_client_auth();
    /// let options = ObjectOptions::from_env().tls(tls);
    /// # Ok::<(), rustls::Error>(())
    /// ```
    #[must_use]
    pub fn tls(mut self, config: rustls::ClientConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// Sets the path below which the objects are stored; none by default. Each vault needs its own prefix, and
    /// no prefix may contain another prefix.
    ///
    /// # Errors
    /// [`StorageError::InvalidOptions`] if the path has more than 512 bytes, or other characters than ASCII
    /// letters, digits, `-`, `_`, `.` and the separator `/`.
    pub fn prefix(mut self, path: &str) -> Result<Self, StorageError> {
        self.names = ObjectNames::new(path)?;
        Ok(self)
    }

    /// Sets the maximum number of requests of one call that run at the same time, 16 by default, from 1 to
    /// 256.
    #[must_use]
    pub fn requests(mut self, requests: usize) -> Self {
        self.requests = requests.clamp(1, REQUESTS_MAX);
        self
    }

    /// Sets the time for which a call repeats a request while the server cannot be reached, or asks to slow
    /// down. The default is 10 seconds, the maximum 120 seconds.
    #[must_use]
    pub fn wait_for_server(mut self, wait: Duration) -> Self {
        self.server_wait = wait.min(WAIT_MAX);
        self
    }

    /// Sets the time-out of a request. The default is 30 seconds, the maximum 120 seconds.
    #[must_use]
    pub fn wait_for_answer(mut self, wait: Duration) -> Self {
        self.answer_wait = wait.min(WAIT_MAX);
        self
    }

    /// Opens the storage.
    ///
    /// If the prefix contains no object, this call writes and deletes an object, to check that the server
    /// honours preconditions.
    ///
    /// # Errors
    /// - [`StorageError::InvalidOptions`] if the bucket is not set, TLS is not set for an address with
    ///   `https://`, or the options contradict each other.
    /// - [`StorageError::Unsupported`] if the server ignores preconditions, and for S3 Express.
    /// - [`StorageError::Unreachable`] if the server cannot be reached.
    /// - [`StorageError::Denied`] if the server refuses the credentials.
    /// - [`StorageError::Foreign`] if the prefix contains objects of another program.
    /// - [`StorageError::Backend`] with the HTTP status otherwise: 404 if there is no such bucket, and 301 if
    ///   the bucket is in another region.
    pub fn open(self) -> Result<ObjectStorage, StorageError> {
        let worker = Worker::start("chartlock-s3")?;
        let bucket = Arc::new(self.into_bucket()?);
        let checked = Arc::clone(&bucket);
        let random = crypto::fresh::<8>().map_err(|_| StorageError::Io(io::ErrorKind::Other))?;
        let suffix = format!("{:016x}", u64::from_be_bytes(random));
        worker.run(async move {
            let list = async { Ok(checked.list(&[], None, 1).await?) };
            let page = checked.in_time(list).await?;
            if !page.objects.is_empty() {
                return Ok(());
            }
            condition_probe::check(&checked, &suffix).await
        })??;
        Ok(ObjectStorage::new(worker, bucket))
    }

    fn into_bucket(self) -> Result<Bucket, StorageError> {
        let is_set = |key| self.builder.get_config_value(&key);
        let express = is_set(AmazonS3ConfigKey::S3Express).unwrap_or_default();
        // The spellings of `true` that `object_store` accepts.
        if ["1", "true", "on", "yes", "y"].contains(&&*express.to_lowercase()) {
            return Err(StorageError::Unsupported);
        }
        let endpoint =
            is_set(AmazonS3ConfigKey::S3Endpoint).or(is_set(AmazonS3ConfigKey::Endpoint));
        if self.tls.is_none() && !endpoint.is_some_and(|url| url.starts_with("http://")) {
            return Err(StorageError::InvalidOptions);
        }
        let no_retries = RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        };
        let builder = self
            .builder
            .with_http_connector(Connector { tls: self.tls });
        let store = builder
            .with_retry(no_retries)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // Disable bulk deletion, because a request for one object has one outcome.
            .with_disable_bulk_delete(true)
            .build()
            .map_err(|_| StorageError::InvalidOptions)?;
        Ok(Bucket {
            store,
            names: self.names,
            requests: self.requests,
            server_wait: self.server_wait,
            answer_wait: self.answer_wait,
            is_closed: AtomicBool::new(false),
        })
    }
}

/// Shows no setting, because the builder contains credentials.
impl fmt::Debug for ObjectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectOptions").finish_non_exhaustive()
    }
}
