//! The form of all answers.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use crate::printable::Printable;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// What is answered, before it is a response.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    /// A header that only this answer has.
    extra: Option<(HeaderName, &'static str)>,
    body: Bytes,
}

impl Answer {
    pub(super) fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, content_type, extra: None, body: body.into() }
    }

    /// The value as JSON.
    pub(super) fn json(value: &impl Serialize) -> Self {
        match serde_json::to_string(value) {
            Ok(body) => Self::new(JSON, format!("{}\n", Printable(body))),
            Err(error) => Self::text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }

    /// A line of text.
    pub(super) fn text(status: StatusCode, line: &str) -> Self {
        Self { status, ..Self::new(TEXT, format!("{line}\n")) }
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Has the page load nothing but what `policy` allows.
    pub(super) fn with_policy(self, policy: &'static str) -> Self {
        Self { extra: Some((CONTENT_SECURITY_POLICY, policy)), ..self }
    }

    /// The response; to a request for the head alone, without a body.
    pub(super) fn into_response(self, is_head: bool) -> Response<Full<Bytes>> {
        let length = self.body.len();
        let mut response = Response::new(Full::new(if is_head { Bytes::new() } else { self.body }));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CONTENT_LENGTH, length.into());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some((name, value)) = self.extra {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// There is nothing at this path.
pub(super) fn not_found() -> Answer {
    let paths = "/, /leader, /livez, /readyz, /status, /history and /metrics";
    Answer::text(StatusCode::NOT_FOUND, &format!("not found: there are {paths}"))
}

/// All that is here can only be read.
pub(super) fn method_not_allowed() -> Answer {
    let answer = Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed");
    Answer { extra: Some((ALLOW, "GET, HEAD")), ..answer }
}
