//! The demo's `OpenID` provider: its listener, its connections, and which endpoint answers which path.
//!
//! It is a real provider with a toy's accounts. It speaks plain HTTP and knows everybody's password, so it listens on
//! loopback only.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::error::Unspecified;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use openidconnect::core::CoreJsonWebKeySet;
use openidconnect::{IssuerUrl, PrivateSigningKey as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::accounts::{ACCOUNTS, Account};
use super::provider_answer::{self as answer, Answer, Params};
use super::provider_client::Client;
use super::provider_keys::SigningKey;
use super::provider_metadata::{self as metadata, Metadata};
use super::provider_state::State;
use super::{provider_authorize, provider_logout, provider_token};
use crate::clock::Clock;
use crate::tasks::Tasks;

pub use super::provider_client::{AddressError, ClientRegistration};

/// How long a client may take to send a request head, and how long a connection may stay idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to send a form.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How large a form may be, in bytes.
const BODY_LIMIT: usize = 16 * 1024;
/// How many connections may be open at once.
const CONNECTIONS: usize = 128;
/// How long to wait after a failed accept, which is most often a shortage of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the demo provider cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The address can be reached from other machines.
    #[error("the demo provider listens on loopback addresses only, not on {0}")]
    NotLoopback(SocketAddr),
    /// The socket cannot be opened.
    #[error("the demo provider cannot listen on {address}")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// The client's registration is not usable.
    #[error("the client of the demo provider cannot be registered")]
    Registration(#[source] AddressError),
    /// No key could be made.
    #[error("the signing key of the demo provider cannot be generated")]
    Key(#[source] Unspecified),
    /// The provider's own addresses do not form URLs.
    #[error("the addresses of the demo provider are not URLs")]
    Addresses(#[source] url::ParseError),
}

/// A provider that is bound to its port but does not answer yet.
pub struct Provider {
    listener: TcpListener,
    shared: Arc<Shared>,
}

/// What all requests share.
pub(super) struct Shared {
    pub(super) issuer: IssuerUrl,
    pub(super) client: Client,
    pub(super) accounts: &'static [Account],
    pub(super) key: SigningKey,
    pub(super) clock: Arc<dyn Clock>,
    metadata: Metadata,
    keys: CoreJsonWebKeySet,
    state: Mutex<State>,
}

impl Shared {
    /// What the provider remembers; the guard is never held across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one insert or remove, so a panic elsewhere leaves the maps whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Provider {
    /// Binds `listen`, whose port may be 0 for any free one, and makes a fresh signing key (some tenths of a second).
    ///
    /// # Errors
    ///
    /// When `listen` is not loopback or cannot be bound, when an address of `client` is not a URL, or when key
    /// generation fails.
    pub async fn bind(
        listen: SocketAddr,
        client: ClientRegistration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ProviderError> {
        Self::for_accounts(&ACCOUNTS, listen, client, clock).await
    }

    /// The same for other people, who type their names: the login page has cards for those of the demo only.
    ///
    /// # Errors
    ///
    /// As for [`Self::bind`].
    pub async fn for_accounts(
        accounts: &'static [Account],
        listen: SocketAddr,
        client: ClientRegistration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ProviderError> {
        if !listen.ip().is_loopback() {
            return Err(ProviderError::NotLoopback(listen));
        }
        let client = Client::new(client).map_err(ProviderError::Registration)?;
        let failed = |source| ProviderError::Listen {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let issuer =
            IssuerUrl::new(format!("http://localhost:{port}")).map_err(ProviderError::Addresses)?;
        let key = SigningKey::generate().map_err(ProviderError::Key)?;
        let shared = Shared {
            metadata: metadata::metadata(&issuer).map_err(ProviderError::Addresses)?,
            keys: CoreJsonWebKeySet::new(vec![key.as_verification_key()]),
            issuer,
            client,
            accounts,
            key,
            clock,
            state: Mutex::new(State::new()),
        };
        Ok(Self {
            listener,
            shared: Arc::new(shared),
        })
    }

    /// The issuer: `http://localhost:PORT`, without a slash at the end.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.shared.issuer.to_string()
    }

    /// Answers requests until the soft stop; requests that have begun are finished.
    pub fn serve(self, tasks: &Tasks) {
        let accept = accept(self.listener, self.shared, tasks.clone());
        tasks.spawn("demo-provider", accept);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: Tasks) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            let permit = permits
                .clone()
                .acquire_owned()
                .await
                .expect("nothing closes the semaphore");
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = tasks.soft().cancelled() => return,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                let (shared, soft) = (shared.clone(), tasks.soft().clone());
                tasks.spawn("demo-provider-connection", async move {
                    serve_connection(stream, shared, soft).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the demo provider cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, shared: Arc<Shared>, soft: CancellationToken) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(respond(&shared, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = soft.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the demo provider ended early");
    }
}

async fn respond(shared: &Shared, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let (get, post) = (head.method == Method::GET, head.method == Method::POST);
    let params = if post {
        match read_form(body).await {
            Ok(bytes) => Params::parse(&bytes),
            Err(status) => return answer::empty(status),
        }
    } else {
        Params::parse(head.uri.query().unwrap_or_default().as_bytes())
    };
    match head.uri.path() {
        metadata::DISCOVERY if get => answer::json(StatusCode::OK, &shared.metadata),
        metadata::KEYS if get => answer::json(StatusCode::OK, &shared.keys),
        metadata::AUTHORIZE if get || post => {
            provider_authorize::authorize(shared, &head.headers, &params)
        }
        metadata::TOKEN if post => provider_token::token(shared, &head.headers, &params),
        metadata::USER_INFO if get || post => provider_token::user_info(shared, &head.headers),
        metadata::END_SESSION if get || post => {
            provider_logout::end_session(shared, &head.headers, &params)
        }
        metadata::DISCOVERY
        | metadata::KEYS
        | metadata::AUTHORIZE
        | metadata::TOKEN
        | metadata::USER_INFO
        | metadata::END_SESSION => answer::empty(StatusCode::METHOD_NOT_ALLOWED),
        _ => answer::empty(StatusCode::NOT_FOUND),
    }
}

async fn read_form(body: Incoming) -> Result<Bytes, StatusCode> {
    let read = Limited::new(body, BODY_LIMIT).collect();
    match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(StatusCode::PAYLOAD_TOO_LARGE)
        }
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}
