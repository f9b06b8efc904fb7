//! Failures as HTTP responses, each with a FHIR `OperationOutcome`.

use axum::body::to_bytes;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chartlock::{Error, ErrorKind};
use serde_json::json;

use crate::fhir_records::FHIR;

/// Maximum length of the text of a failure that axum answered, in bytes.
const TEXT_MAX: usize = 4096;

/// A failed request: the status, and the text that the client receives.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    text: String,
    /// `true` if the same request can succeed later.
    is_retryable: bool,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            is_retryable: false,
        }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// Returns the failure for a record that does not exist. A record whose existence the caller must not
    /// learn gets the same failure.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no such record")
    }

    pub(crate) fn forbidden(text: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, text)
    }

    /// Returns the failure of an overloaded or ending service.
    pub(crate) fn busy(text: &str) -> Self {
        Self {
            is_retryable: true,
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }

    /// Returns the failure of a conditional request.
    pub(crate) fn of_condition(error: Error) -> Self {
        match error {
            Error::Conflict => Self::new(StatusCode::PRECONDITION_FAILED, error.to_string()),
            error => error.into(),
        }
    }
}

/// Error texts of the vault contain no identifier, path or content, so clients may receive them.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if error == Error::Denied {
            // The vault's text is for programmers.
            return Self::forbidden(
                "the access policy does not permit this; in an emergency, break the glass",
            );
        }
        let status = match (&error, error.kind()) {
            (Error::Erased, _) => StatusCode::GONE,
            (Error::TooLarge | Error::BeyondLimit, _) => StatusCode::PAYLOAD_TOO_LARGE,
            (Error::Source(_), _) => StatusCode::BAD_REQUEST,
            (_, ErrorKind::Conflict) => StatusCode::CONFLICT,
            (_, ErrorKind::Denied) => StatusCode::FORBIDDEN,
            (_, ErrorKind::NotFound) => StatusCode::NOT_FOUND,
            (_, ErrorKind::Invalid) => StatusCode::BAD_REQUEST,
            (_, ErrorKind::Full) => StatusCode::INSUFFICIENT_STORAGE,
            // `CommitUnknown` is not retryable: the client must read first.
            (_, ErrorKind::Unavailable | ErrorKind::CommitUnknown) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            (_, ErrorKind::Locked | ErrorKind::ReadOnly) => StatusCode::SERVICE_UNAVAILABLE,
            (_, ErrorKind::Unsupported) => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            is_retryable: error.is_retryable(),
            ..Self::new(status, error.to_string())
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, outcome(self.status, &self.text)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(FHIR));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.is_retryable {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Replaces the text of a failure that axum answered, such as a body over the limit or an unknown route, with an
/// `OperationOutcome`.
pub(crate) async fn complete(response: Response) -> Response {
    let status = response.status();
    let is_failure = status.is_client_error() || status.is_server_error();
    let is_outcome = (response.headers().get(CONTENT_TYPE)).is_some_and(|it| it == FHIR);
    if !is_failure || is_outcome {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let text = to_bytes(body, TEXT_MAX).await.unwrap_or_default();
    let text = match String::from_utf8_lossy(&text).trim() {
        "" => status.canonical_reason().unwrap_or("failed").to_owned(),
        text => text.to_owned(),
    };
    let (failure, body) = Failure::new(status, text).into_response().into_parts();
    head.headers.remove(CONTENT_LENGTH);
    head.headers.extend(failure.headers);
    Response::from_parts(head, body)
}

fn outcome(status: StatusCode, text: &str) -> String {
    let code = match status {
        StatusCode::UNAUTHORIZED => "login",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "not-found",
        StatusCode::GONE => "deleted",
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => "conflict",
        StatusCode::PAYLOAD_TOO_LARGE => "too-long",
        status if status.is_client_error() => "invalid",
        StatusCode::SERVICE_UNAVAILABLE => "transient",
        _ => "exception",
    };
    let issue = json!({ "severity": "error", "code": code, "diagnostics": text });
    json!({ "resourceType": "OperationOutcome", "issue": [issue] }).to_string()
}
