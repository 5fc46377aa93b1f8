//! What the gateway itself asks a desktop. Above all whether it answers: an authenticated `GET` of what its template names,
//! because a container that runs is not yet a picture. The right credentials go along every time: KasmVNC locks an address out after five failures.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue};
use hyper_util::rt::TokioIo;

use super::upstream::{Dialer, Upstream};
use crate::model::template::Ready;
use crate::stream::Scratch;

/// How long one question may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a desktop said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It serves its page.
    Ready,
    /// It does not answer yet, or not as it should.
    NotYet,
    /// It does not take our password; asking again would lock us out.
    Refused,
}

/// Asks a desktop once.
pub async fn ask(dialer: &Dialer, upstream: &Upstream, ready: &Ready) -> Answer {
    let path = upstream.path(&ready.path);
    let question = Question {
        path: &path,
        authorization: upstream.authorization.as_ref().filter(|_| ready.auth),
    };
    match (status_of(dialer, upstream, question).await, ready.expect) {
        (Some(status), Some(expected)) if status == expected => Answer::Ready,
        (Some(200..=399), None) => Answer::Ready,
        (Some(401 | 403), _) if ready.auth => Answer::Refused,
        _ => Answer::NotYet,
    }
}

#[derive(Clone, Copy)]
struct Question<'a> {
    path: &'a str,
    authorization: Option<&'a HeaderValue>,
}

/// The status that `path` is answered with, within a few seconds.
pub async fn status(dialer: &Dialer, upstream: &Upstream, path: &str) -> Option<u16> {
    let question = Question {
        path,
        authorization: upstream.authorization.as_ref(),
    };
    status_of(dialer, upstream, question).await
}

async fn status_of(dialer: &Dialer, upstream: &Upstream, question: Question<'_>) -> Option<u16> {
    // The body is of no interest.
    let status = async |answer: Response<Incoming>| answer.status().as_u16();
    tokio::time::timeout(PROBE_TIMEOUT, get(dialer, upstream, question, status))
        .await
        .ok()?
}

/// The status and the body that `path` is answered with, if that has at most `limit` bytes. Redirects are not followed.
/// The caller says how long that may take.
pub async fn fetch(
    dialer: &Dialer,
    upstream: &Upstream,
    path: &str,
    limit: usize,
) -> Option<(u16, Bytes)> {
    let question = Question {
        path,
        authorization: upstream.authorization.as_ref(),
    };
    let read = async |answer: Response<Incoming>| {
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), limit).collect().await;
        Some((status, body.ok()?.to_bytes()))
    };
    get(dialer, upstream, question, read).await?
}

/// Asks, and has the answer read while the connection still stands.
async fn get<T>(
    dialer: &Dialer,
    upstream: &Upstream,
    question: Question<'_>,
    read: impl AsyncFnOnce(Response<Incoming>) -> T,
) -> Option<T> {
    let stream = dialer.dial(upstream, &Scratch::default()).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await
        .ok()?;
    let mut request = hyper::Request::get(question.path)
        .header(HOST, upstream.addr.to_string())
        .header(CONNECTION, HeaderValue::from_static("close"));
    if let Some(credentials) = question.authorization {
        request = request.header(AUTHORIZATION, credentials);
    }
    let request = request.body(Empty::<Bytes>::new()).ok()?;
    // The connection is driven here, and dropped when the answer was read.
    let answer = async {
        let answer = sender.send_request(request).await.ok()?;
        Some(read(answer).await)
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        // KasmVNC closes right behind its answer, which is then there already.
        _ = &mut connection => answer.await,
    }
}
