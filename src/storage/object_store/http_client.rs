//! HTTP client of the object store, without retries and without redirects.
//!
//! Guarantees: the failure of a request states if the request can have reached the server; an answer has a
//! bounded size.
//! Must not know: keys, values, or which request is sent.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector as TcpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};

use super::listing::Truncation;
use super::request_failure::RequestFailure;

/// Time-out for opening a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Time after which an unused connection is closed. Servers close unused connections after 20 seconds or more.
const IDLE: Duration = Duration::from_secs(15);
/// Maximum length of an answer, in bytes. A page of a list has less than 1 MiB.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Maximum length of the description of an error, in bytes.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// Maker of HTTP clients, for the requests to the store and for those that fetch its credentials.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) tls: Option<rustls::ClientConfig>,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut tcp = TcpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_WAIT));
        let Some(tls) = &self.tls else {
            return Ok(HttpClient::new(Connections(client(tcp))));
        };
        tcp.enforce_http(false);
        let mut tls = tls.clone();
        // Clear the app's protocols, because the connector panics if there are any.
        tls.alpn_protocols.clear();
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls);
        let tls: HttpsConnector<_> = tls.https_or_http().enable_http1().wrap_connector(tcp);
        Ok(HttpClient::new(Connections(client(tls))))
    }
}

fn client<C: Connect + Clone>(connector: C) -> Client<C, HttpRequestBody> {
    // The client repeats a request only if the connection was closed before any byte was sent.
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .build(connector)
}

struct Connections<C>(Client<C, HttpRequestBody>);

impl<C> fmt::Debug for Connections<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl<C: Connect + Clone + Send + Sync + 'static> HttpService for Connections<C> {
    fn call<'s, 'a>(&'s self, request: HttpRequest) -> Answer<'a>
    where
        's: 'a,
        Self: 'a,
    {
        Box::pin(async move {
            let is_head = request.method().as_str() == "HEAD";
            let is_list = request.uri().query().unwrap_or("").contains("list-type=");
            let sent = self.0.request(request).await;
            let answer = sent.map_err(|error| match error.is_connect() {
                true => http_error(RequestFailure::NotSent),
                false => http_error(RequestFailure::Lost),
            })?;
            let (mut parts, body) = answer.into_parts();
            let status = parts.status;
            if !status.is_success() {
                let body = Limited::new(body, ERROR_BYTES_MAX).collect().await;
                let body = body.map(|body| body.to_bytes()).unwrap_or_default();
                return Err(http_error(RequestFailure::refused(status.as_u16(), &body)));
            }
            let length = parts.headers.get("content-length");
            let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
            if !is_head && length.is_some_and(|length| length > ANSWER_BYTES_MAX as u64) {
                return Err(http_error(RequestFailure::Oversized));
            }
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body
                .map_err(|_| http_error(RequestFailure::Lost))?
                .to_bytes();
            if is_list {
                let truncation = Truncation::of(&body).map_err(http_error)?;
                parts.extensions.insert(truncation);
            }
            // Add the length, which the library needs, if a proxy sent chunks instead. The chunks prove their end.
            if length.is_none() && parts.headers.contains_key("transfer-encoding") {
                parts.headers.insert("content-length", body.len().into());
            }
            let body = Full::new(body).map_err(|never| match never {});
            Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
        })
    }
}

fn http_error(failure: RequestFailure) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, failure)
}
