//! Blocking HTTP client of the credentials that ask a key service.
//!
//! Guarantees: a request ends within its time limit, goes only to the given address, and returns a bounded
//! answer, which is wiped on drop. No error contains text of the service.
//! Must not know: what a request or an answer means.

use std::fmt;
use std::io::Read;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::http::HeaderValue;
#[cfg(feature = "aws-kms")]
pub(super) use ureq::http::{Request, request::Parts};
pub(super) use ureq::http::{Response, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy, RequestBuilder};
use zeroize::Zeroizing;

use crate::error::{CredentialFailure, Error, Result};

/// The maximum length of the body of an answer, in bytes. Answers of key services about 32 bytes have less than
/// 2 KiB.
const ANSWER_MAX: usize = 64 * 1024;
/// The maximum length of the head of an answer, in bytes.
const HEAD_MAX: usize = 16 * 1024;
/// The time limit of a request, unless the caller sets another one.
pub(super) const DEFAULT_LIMIT: Duration = Duration::from_secs(10);
/// The time limits that a caller may set. Adding such a limit to an `Instant` does not overflow.
const LIMITS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
/// The time limit of a connection with its handshake. It is shorter, so that a lost host is reported early.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Settings of a client.
pub(super) struct HttpOptions<'o> {
    /// The time limit of a request, from looking up the name of the host to the end of the answer: 1 ms to 1 h.
    pub(super) limit: Duration,
    /// The CA certificates to trust, in PEM format. They replace the public CAs, because no public CA should
    /// certify a service that has its own CA.
    pub(super) ca_certificates: Option<&'o [u8]>,
    /// Uses the proxy that the environment names, such as `HTTPS_PROXY`, if there is one. Requires an `https://`
    /// address.
    pub(super) uses_environment_proxy: bool,
}

impl Default for HttpOptions<'_> {
    fn default() -> Self {
        Self {
            limit: DEFAULT_LIMIT,
            ca_certificates: None,
            uses_environment_proxy: false,
        }
    }
}

/// A client that opens a connection for each request.
pub(super) struct HttpClient(Agent);

/// The status and the body of an answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl HttpClient {
    /// Creates a client.
    ///
    /// # Errors
    /// [`Error::InvalidCredentialSetting`] if the time limit is out of bounds, or the CA certificates are invalid.
    pub(super) fn new(options: &HttpOptions<'_>) -> Result<Self> {
        if !LIMITS.contains(&options.limit) {
            return Err(Error::InvalidCredentialSetting);
        }
        let tls = TlsConfig::builder()
            .root_certs(roots(options.ca_certificates)?)
            // The provider is given, because another one may be installed for the whole process.
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let proxy = options.uses_environment_proxy.then(Proxy::try_from_env);
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(proxy.flatten())
            .timeout_global(Some(options.limit))
            .timeout_connect(Some(CONNECT_LIMIT.min(options.limit)))
            // A redirect would send tokens and secrets to an address that the app has not given.
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent("chartlock")
            .max_response_header_size(HEAD_MAX)
            .input_buffer_size(2 * HEAD_MAX)
            .output_buffer_size(HEAD_MAX)
            // An idle connection would keep the last secret in its buffers.
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            .build();
        Ok(Self(config.new_agent()))
    }

    /// Sends a request with a body, and returns the answer, whatever its status is.
    ///
    /// # Errors
    /// [`CredentialFailure::Unreachable`] without a connection, or if the service's certificate is not trusted;
    /// [`CredentialFailure::TimedOut`]; [`CredentialFailure::LogExposesSecrets`] if the log would show the bytes;
    /// [`CredentialFailure::Other`] for a header with control characters, an
    /// answer that is not HTTP, or an answer of more than 64 KiB.
    pub(super) fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::result::Result<Answer, CredentialFailure> {
        check_log()?;
        let request = with_headers(self.0.post(url), headers)?;
        answer(request.send(body))
    }

    /// Sends a request without a body, and returns the answer, whatever its status is.
    ///
    /// # Errors
    /// The failures of [`HttpClient::post`].
    #[cfg(feature = "transit")]
    pub(super) fn get(
        &self,
        url: &str,
        headers: &[(&str, &str)],
    ) -> std::result::Result<Answer, CredentialFailure> {
        check_log()?;
        let request = with_headers(self.0.get(url), headers)?;
        answer(request.call())
    }
}

#[cfg(feature = "aws-kms")]
impl HttpClient {
    /// Sends a request of any method, and returns the answer, whatever its status is. Without bytes, the request has
    /// no body. The address needs no protection, because the metadata services of a machine have none.
    ///
    /// # Errors
    /// The failures of [`HttpClient::post`].
    pub(super) fn send(
        &self,
        request: Request<&[u8]>,
    ) -> std::result::Result<Answer, CredentialFailure> {
        check_log()?;
        let (parts, body) = request.into_parts();
        answer(match body {
            [] => self.0.run(Request::from_parts(parts, ())),
            body => self.0.run(Request::from_parts(parts, body)),
        })
    }
}

/// Refuses to send anything if the app's log would record the bytes of requests and responses.
fn check_log() -> std::result::Result<(), CredentialFailure> {
    let is_logged = log::log_enabled!(target: "ureq_proto::util", log::Level::Trace);
    (!is_logged)
        .then_some(())
        .ok_or(CredentialFailure::LogExposesSecrets)
}

fn with_headers<B>(
    mut request: RequestBuilder<B>,
    headers: &[(&str, &str)],
) -> std::result::Result<RequestBuilder<B>, CredentialFailure> {
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).map_err(|_| CredentialFailure::Other)?;
        request = request.header(*name, hidden(value));
    }
    Ok(request)
}

/// Marks a header so that no `Debug` prints it.
fn hidden(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

fn answer(
    answer: std::result::Result<Response<Body>, ureq::Error>,
) -> std::result::Result<Answer, CredentialFailure> {
    let mut answer = answer.map_err(|error| failure_of(&error))?;
    Ok(Answer {
        status: answer.status().as_u16(),
        body: bounded(answer.body_mut().as_reader())?,
    })
}

/// Checks the address of a service: `https://`, or `http://` to this machine, with a host and without a user
/// name, password or query.
///
/// # Errors
/// [`Error::InvalidCredentialSetting`] for any other address.
pub(super) fn check_address(address: &str) -> Result<()> {
    let uri: Uri = address
        .parse()
        .map_err(|_| Error::InvalidCredentialSetting)?;
    let host = uri.host().filter(|host| !host.is_empty());
    let host = host.ok_or(Error::InvalidCredentialSetting)?;
    let is_plain =
        uri.query().is_none() && !address.contains(['@', '#']) && has_valid_port(&uri, host);
    (is_plain && is_protected(&uri))
        .then_some(())
        .ok_or(Error::InvalidCredentialSetting)
}

/// Returns `true` for an address without a port, or with one of 1 to 65535. The client would use the default port
/// in place of any other text.
fn has_valid_port(uri: &Uri, host: &str) -> bool {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    match authority.strip_prefix(host) {
        Some("") => true,
        Some(rest) => rest.strip_prefix(':').is_some_and(|port| {
            port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<NonZeroU16>().is_ok()
        }),
        None => false,
    }
}

/// Returns `true` for an address with `https://`. A proxy would read everything that goes to another address.
#[cfg(feature = "aws-kms")]
pub(super) fn is_https(address: &str) -> bool {
    let uri = address.parse::<Uri>();
    uri.is_ok_and(|uri| uri.scheme_str() == Some("https"))
}

/// Returns `true` for an address with `https://`, or with `http://` on this machine. Everyone on the path of other
/// connections could read tokens and secrets.
pub(super) fn is_protected(uri: &Uri) -> bool {
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => is_this_machine(uri.host().unwrap_or_default()),
        _ => false,
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |ip: IpAddr| ip.is_loopback();
    host == "localhost" || address.parse().is_ok_and(is_loopback)
}

/// Returns the CA certificates to trust. By default these are Mozilla's, which are part of the program, and not the
/// system's: the list is the same on each machine, exists in a container without certificates, and includes no CA
/// of a proxy that reads the traffic.
fn roots(ca_certificates: Option<&[u8]>) -> Result<RootCerts> {
    let Some(pem) = ca_certificates else {
        return Ok(RootCerts::WebPki);
    };
    // The client would ignore certificates that it cannot use.
    let mut usable = RootCertStore::empty();
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| Error::InvalidCredentialSetting)?;
        certificates.push(Certificate::from_der(&certificate).to_owned());
        let added = usable.add(certificate);
        added.map_err(|_| Error::InvalidCredentialSetting)?;
    }
    if certificates.is_empty() {
        return Err(Error::InvalidCredentialSetting);
    }
    Ok(RootCerts::from(certificates))
}

/// Reads a body into a buffer that never moves, so that no copy of a secret remains.
fn bounded(mut body: impl Read) -> std::result::Result<Zeroizing<Vec<u8>>, CredentialFailure> {
    let mut buffer = Zeroizing::new(vec![0; ANSWER_MAX + 1]);
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match body.read(rest) {
            Ok(0) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Ok(read) => length += read,
            Err(error) => return Err(failure_of(&ureq::Error::from(error))),
        }
    }
    Err(CredentialFailure::Other)
}

fn failure_of(error: &ureq::Error) -> CredentialFailure {
    use std::io::ErrorKind;
    match error {
        ureq::Error::Timeout(_) => CredentialFailure::TimedOut,
        ureq::Error::Io(error)
            if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) =>
        {
            CredentialFailure::TimedOut
        }
        // A certificate that is not trusted is among these: the service itself was not reached.
        ureq::Error::Io(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_)
        | ureq::Error::InvalidProxyUrl
        | ureq::Error::Tls(_)
        | ureq::Error::Rustls(_) => CredentialFailure::Unreachable,
        _ => CredentialFailure::Other,
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient(..)")
    }
}
