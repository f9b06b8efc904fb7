//! The authenticated user of a request, and the session in which the request acts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{FromRequestParts, Request};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use chartlock::asynchronous::AsyncSession;
use chartlock::{Purpose, Subject};

use crate::failure::{self, Failure};
use crate::state::Portal;
use crate::users::{self, User};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Number of requests so far, for the ids of requests without an id.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// The id of a request, which every journal entry of the request contains.
#[derive(Clone)]
struct RequestId(String);

/// Gives each request an id, each response headers that keep browsers from storing records, and each failure
/// a FHIR body.
pub(crate) async fn mark(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID);
    let given = given
        .and_then(|id| id.to_str().ok())
        .filter(|id| is_request_id(id));
    let id = given.map_or_else(new_request_id, str::to_owned);
    let header = HeaderValue::from_str(&id);
    request.extensions_mut().insert(RequestId(id));
    let mut response = failure::complete(next.run(request).await).await;
    let headers = response.headers_mut();
    if let Ok(header) = header {
        headers.insert(REQUEST_ID.clone(), header);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn is_request_id(id: &str) -> bool {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&id.len()) && id.bytes().all(is_safe)
}

fn new_request_id() -> String {
    let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!(
        "{:x}-{:x}-{number:x}",
        since.as_millis(),
        std::process::id()
    )
}

/// An authenticated user, with the id of the request. As an argument of a handler before the body, this
/// type refuses a request without a valid token before its body is read.
pub(crate) struct Caller {
    pub(crate) user: User,
    request_id: String,
}

impl FromRequestParts<Arc<Portal>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Portal>) -> Result<Self, Failure> {
        let header = parts.headers.get(AUTHORIZATION);
        let token = header
            .and_then(|header| header.to_str().ok())
            .and_then(|header| header.strip_prefix("Bearer "));
        let user = token.map(users::find).transpose()?.flatten();
        let missing = || Failure::new(StatusCode::UNAUTHORIZED, "send a valid bearer token");
        let request_id = parts.extensions.get::<RequestId>();
        Ok(Self {
            user: user.ok_or_else(missing)?,
            request_id: request_id.map_or_else(new_request_id, |id| id.0.clone()),
        })
    }
}

impl Caller {
    /// Returns a session for the records of a patient: the user's break-glass session if there is one.
    pub(crate) async fn session_for(
        &self,
        portal: &Portal,
        subject: &Subject,
    ) -> Result<AsyncSession, Failure> {
        if let Some(glass) = portal.glass.find(&self.user.actor, subject) {
            return self.identified(glass);
        }
        if self.user.purpose == Purpose::Research {
            portal.consents.refresh(&portal.vault, subject).await?;
        }
        self.session(portal)
    }

    /// Returns a session for operations that concern no single patient.
    pub(crate) fn session(&self, portal: &Portal) -> Result<AsyncSession, Failure> {
        let User { actor, purpose, .. } = &self.user;
        self.identified(portal.vault.session(actor.clone(), *purpose))
    }

    fn identified(&self, session: AsyncSession) -> Result<AsyncSession, Failure> {
        Ok(session.with_request_id(&self.request_id)?)
    }
}
