//! Whether a desktop answers: an authenticated `GET` of what its template names, because a container that runs is not yet a
//! picture. The right credentials go along every time: KasmVNC locks an address out after five failures.

use std::time::Duration;

use http_body_util::Empty;
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
    tokio::time::timeout(PROBE_TIMEOUT, get(dialer, upstream, question))
        .await
        .ok()?
}

async fn get(dialer: &Dialer, upstream: &Upstream, question: Question<'_>) -> Option<u16> {
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
    let request = request.body(Empty::<bytes::Bytes>::new()).ok()?;
    // The connection is driven here and dropped with the answer's head: the body is of no interest.
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // KasmVNC closes right behind its answer, which is then there already.
        _ = &mut connection => answer.await,
    };
    Some(answer.ok()?.status().as_u16())
}
