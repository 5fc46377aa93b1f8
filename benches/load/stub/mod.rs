//! The upstream of every proxy: HTTP/1.1 with keep-alive, answers made beforehand, WebSockets by hand.
//!
//! | path ends in | answer |
//! |---|---|
//! | `/big?mb=N` | N MB (10^6 bytes) |
//! | `/echo` | WebSocket: every message comes back |
//! | `/pump?size=S&fps=F` | WebSocket: frames of S bytes, F a second, or flat out if F is 0 |
//! | `/idle` | WebSocket: silence |
//! | `/refuse`, `/hang`, `/close`, `/garbage` | what a desktop must not do: 403, nothing, the end, a wrong 101 |
//! | anything else | 1 kB |
//!
//! More of `/pump`: `frames=N` ends after N frames and stays silent, `wait=1` begins with the client's first
//! message, and `phase=P` moves the beat by P thousandths of a period.

mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::socket::{self, Socket};
use crate::tls::{self, Pair};

/// How the stub is run.
#[derive(clap::Args)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Speak HTTP without TLS; the certificate is not used then
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    pair: Pair,
}

/// Longest request head that is accepted.
const MAX_HEAD: usize = 64 * 1024;
/// Size of the small answer.
const SMALL: usize = 1024;
/// Bytes of a big answer per write.
const CHUNK: usize = 128 * 1024;

/// What all connections share.
struct Shared {
    small: Vec<u8>,
    chunk: Vec<u8>,
    begin: Instant,
}

/// What a request asks for, taken out of its head.
struct Request {
    target: String,
    head_only: bool,
    keep_alive: bool,
    body: usize,
    /// `Sec-WebSocket-Key`, if this is an upgrade.
    key: Option<String>,
    protocol: Option<String>,
}

/// Serves until the process ends; prints `{"port": …, "pid": …}` when it listens.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    let port = listener.local_addr()?.port();
    let acceptor = if options.plain {
        None
    } else {
        Some(TlsAcceptor::from(tls::server(&options.pair)?))
    };
    println!(
        "{}",
        serde_json::json!({ "port": port, "pid": std::process::id() })
    );

    let shared = Arc::new(Shared {
        small: answer(SMALL, &[b'x'; SMALL]),
        chunk: vec![b'x'; CHUNK],
        begin: Instant::now(),
    });
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.context("cannot accept")?;
        connections.spawn(connection(tcp, acceptor.clone(), Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection. How it ends is the driver's business, which sees every answer.
async fn connection(tcp: TcpStream, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let _ = serve(tcp, acceptor, &shared).await;
}

async fn serve(
    tcp: TcpStream,
    acceptor: Option<TlsAcceptor>,
    shared: &Shared,
) -> anyhow::Result<()> {
    let tcp = socket::read_ahead(tcp, socket::SMALL)?;
    let mut socket = match acceptor {
        Some(acceptor) => Socket::Server(Box::new(acceptor.accept(tcp).await?)),
        None => Socket::Plain(tcp),
    };
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let Some(request) = read_request(&mut socket, &mut buffer).await? else {
            return Ok(());
        };
        if misbehave(&mut socket, path_of(&request.target)).await? {
            return Ok(());
        }
        if let Some(key) = &request.key {
            let head = switching(key, request.protocol.as_deref());
            socket.write_all(head.as_bytes()).await?;
            return websocket::serve(socket, &request.target, buffer, shared.begin).await;
        }
        skip_body(&mut socket, &mut buffer, request.body).await?;
        respond(&mut socket, &request, shared).await?;
        if !request.keep_alive {
            socket.shutdown().await?;
            return Ok(());
        }
    }
}

/// Reads the next head and leaves what follows it in `buffer`; `None` at the end of the connection.
async fn read_request(
    socket: &mut Socket,
    buffer: &mut Vec<u8>,
) -> anyhow::Result<Option<Request>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        if !buffer.is_empty()
            && let httparse::Status::Complete(len) = parsed.parse(buffer)?
        {
            let request = interpret(&parsed)?;
            buffer.drain(..len);
            return Ok(Some(request));
        }
        if buffer.len() > MAX_HEAD {
            bail!("the head is too long");
        }
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn interpret(parsed: &httparse::Request<'_, '_>) -> anyhow::Result<Request> {
    let mut request = Request {
        target: parsed.path.unwrap_or_default().to_owned(),
        head_only: parsed.method == Some("HEAD"),
        keep_alive: parsed.version == Some(1),
        body: 0,
        key: None,
        protocol: None,
    };
    let mut upgrade = false;
    for header in &*parsed.headers {
        let value = || std::str::from_utf8(header.value).unwrap_or_default();
        match header.name.len() {
            7 if header.name.eq_ignore_ascii_case("upgrade") => {
                upgrade = value().eq_ignore_ascii_case("websocket");
            }
            10 if header.name.eq_ignore_ascii_case("connection") => {
                request.keep_alive &= !value().eq_ignore_ascii_case("close");
            }
            14 if header.name.eq_ignore_ascii_case("content-length") => {
                request.body = value().parse()?;
            }
            17 if header.name.eq_ignore_ascii_case("sec-websocket-key") => {
                request.key = Some(value().to_owned());
            }
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                bail!("no load has a chunked request");
            }
            22 if header.name.eq_ignore_ascii_case("sec-websocket-protocol") => {
                request.protocol = Some(value().to_owned());
            }
            _ => {}
        }
    }
    if !upgrade {
        request.key = None;
    }
    Ok(request)
}

async fn skip_body(
    socket: &mut Socket,
    buffer: &mut Vec<u8>,
    mut rest: usize,
) -> anyhow::Result<()> {
    loop {
        let taken = rest.min(buffer.len());
        buffer.drain(..taken);
        rest -= taken;
        if rest == 0 {
            return Ok(());
        }
        if socket.read_buf(buffer).await? == 0 {
            bail!("the request's body was cut");
        }
    }
}

async fn respond(socket: &mut Socket, request: &Request, shared: &Shared) -> anyhow::Result<()> {
    let path = path_of(&request.target);
    if !path.ends_with("/big") {
        let bytes = if request.head_only {
            &shared.small[..shared.small.len() - SMALL]
        } else {
            &shared.small[..]
        };
        socket.write_all(bytes).await?;
        socket.flush().await?;
        return Ok(());
    }
    let mut rest = parameter(&request.target, "mb").unwrap_or(1) * 1_000_000;
    socket.write_all(&answer(rest, &[])).await?;
    while rest > 0 && !request.head_only {
        let taken = rest.min(CHUNK);
        socket.write_all(&shared.chunk[..taken]).await?;
        rest -= taken;
    }
    socket.flush().await?;
    Ok(())
}

/// Does what a desktop must not do where that is asked for; false if it is not.
async fn misbehave(socket: &mut Socket, path: &str) -> anyhow::Result<bool> {
    let answer = match path.rsplit('/').next() {
        Some("refuse") => {
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        }
        Some("garbage") => {
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: bm90IGZvciB0aGlzIGtleQ==\r\n\r\n"
        }
        Some("close") => return Ok(true),
        Some("hang") => {
            // Until whoever waits has had enough.
            let mut byte = [0];
            while socket.read(&mut byte).await? > 0 {}
            return Ok(true);
        }
        _ => return Ok(false),
    };
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await?;
    Ok(true)
}

/// A whole answer, or its head if the body comes by itself.
fn answer(len: usize, body: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "HTTP/1.1 200 OK\r\nServer: stub\r\nContent-Type: text/html\r\nContent-Length: {len}\r\n\r\n"
    )
    .into_bytes();
    out.extend_from_slice(body);
    out
}

/// The answer to a WebSocket handshake.
fn switching(key: &str, protocol: Option<&str>) -> String {
    let first = protocol.and_then(|offered| offered.split(',').next());
    let protocol = first.map_or_else(String::new, |name| {
        format!("Sec-WebSocket-Protocol: {}\r\n", name.trim())
    });
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{protocol}\r\n",
        websocket::accept(key)
    )
}

fn path_of(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// A number in the query.
fn parameter(target: &str, name: &str) -> Option<usize> {
    let (_, query) = target.split_once('?')?;
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then(|| value.parse().ok())?
    })
}
