//! The proxy as its clients see it: how to connect, what to send, and how to read its answers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::socket::{self, Socket};
use crate::tls;

/// What Chromium sends with a request, so that the proxies have heads of an ordinary size to read.
const BROWSER: &str = "\
sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\n\
sec-ch-ua-mobile: ?0\r\n\
sec-ch-ua-platform: \"Linux\"\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
Accept: */*\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-Mode: cors\r\n\
Sec-Fetch-Dest: empty\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-US,en;q=0.9\r\n";
/// The key of RFC 6455, section 1.3, and what must come back for it.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Longest head of an answer that is accepted.
const MAX_HEAD: usize = 64 * 1024;

/// Where the proxy is and who comes.
#[derive(clap::Args, Clone)]
pub struct Door {
    /// The proxy: <https://ADDRESS:PORT>
    #[arg(long)]
    target: String,
    /// Path of the desktop, with a slash at its end
    #[arg(long, default_value = "/desktop/bench/")]
    path_prefix: String,
    /// Cookie header
    #[arg(long)]
    cookie: Option<String>,
    /// Name for SNI, Host and Origin
    #[arg(long, default_value = "localhost")]
    host: String,
}

impl Door {
    /// Whoever comes to this proxy without a cookie.
    pub fn of(target: String) -> Self {
        Self {
            target,
            path_prefix: "/".into(),
            cookie: None,
            host: "localhost".into(),
        }
    }
}

/// One proxy.
#[derive(Clone)]
pub struct Peer {
    address: SocketAddr,
    name: ServerName<'static>,
    /// Name and port.
    pub host: String,
    prefix: String,
    /// The header with its line end, or nothing.
    pub cookie: String,
    /// Never resumes.
    full: Arc<ClientConfig>,
    /// Our own address, and the size of the kernel's buffer for what we receive.
    from: Option<IpAddr>,
    receive_buffer: Option<u32>,
}

/// The head of an answer.
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Bytes of the body.
    pub body: usize,
    /// `Sec-WebSocket-Accept`.
    accept: Option<String>,
}

/// A connection to the proxy and what has been read ahead of it.
pub struct Connection {
    /// The stream.
    pub socket: Socket,
    /// Bytes read and not yet used.
    pub buffer: Vec<u8>,
}

impl Peer {
    /// Interprets the options.
    pub fn new(door: &Door) -> anyhow::Result<Self> {
        let address = address(&door.target)?;
        Ok(Self {
            address,
            name: ServerName::try_from(door.host.clone()).context("no host name")?,
            host: format!("{}:{}", door.host, address.port()),
            prefix: door.path_prefix.clone(),
            cookie: door
                .cookie
                .as_ref()
                .map_or_else(String::new, |cookie| format!("Cookie: {cookie}\r\n")),
            full: tls::client(false)?,
            from: None,
            receive_buffer: None,
        })
    }

    /// The same, seen from another of our addresses.
    pub fn from(&self, address: impl Into<IpAddr>) -> Self {
        Self {
            from: Some(address.into()),
            ..self.clone()
        }
    }

    /// The same for a client whose system takes little on its behalf, so that what it does not read piles up at the
    /// proxy.
    pub fn with_receive_buffer(&self, bytes: u32) -> Self {
        Self {
            receive_buffer: Some(bytes),
            ..self.clone()
        }
    }

    /// Path of something of the desktop's.
    pub fn path(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// Connects without TLS.
    pub async fn tcp(&self) -> anyhow::Result<TcpStream> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(ip) = self.from {
            socket.bind(SocketAddr::new(ip, 0))?;
        }
        socket.connect(self.address).await.context("connect")
    }

    /// Connects with a full handshake.
    pub async fn connect(&self, read_size: usize) -> anyhow::Result<Connection> {
        let connection = self.connect_with(&self.full, read_size).await?;
        if connection.handshake() != Some(rustls::HandshakeKind::Full) {
            bail!("the handshake took a detour");
        }
        Ok(connection)
    }

    /// Connects with a configuration, which may hold a ticket.
    pub async fn connect_with(
        &self,
        config: &Arc<ClientConfig>,
        read_size: usize,
    ) -> anyhow::Result<Connection> {
        let tcp = self.tcp().await?;
        let tcp = socket::read_ahead(tcp, read_size)?;
        let stream = TlsConnector::from(Arc::clone(config))
            .connect(self.name.clone(), tcp)
            .await
            .context("TLS handshake")?;
        Ok(Connection {
            socket: Socket::Client(Box::new(stream)),
            buffer: Vec::new(),
        })
    }

    /// The request for a path below the prefix.
    pub fn get(&self, path: &str) -> Vec<u8> {
        let Self {
            host,
            prefix,
            cookie,
            ..
        } = self;
        format!("GET {prefix}{path} HTTP/1.1\r\nHost: {host}\r\n{BROWSER}{cookie}\r\n").into_bytes()
    }

    /// The head of a WebSocket handshake.
    pub fn upgrade(&self, path: &str) -> String {
        let Self {
            host,
            prefix,
            cookie,
            ..
        } = self;
        format!(
            "GET {prefix}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Origin: https://{host}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
             Sec-WebSocket-Protocol: binary\r\n{BROWSER}{cookie}\r\n"
        )
    }

    /// Opens a WebSocket.
    pub async fn open(&self, path: &str, read_size: usize) -> anyhow::Result<Connection> {
        let mut connection = self.connect(read_size).await?;
        connection.send(self.upgrade(path).as_bytes()).await?;
        let answer = connection.head().await?;
        if answer.status != 101 || answer.accept.as_deref() != Some(ACCEPT) {
            bail!("no WebSocket: status {}", answer.status);
        }
        Ok(connection)
    }
}

impl Connection {
    /// How the handshake went.
    pub fn handshake(&self) -> Option<rustls::HandshakeKind> {
        match &self.socket {
            Socket::Client(stream) => stream.get_ref().1.handshake_kind(),
            _ => None,
        }
    }

    /// Writes and flushes.
    pub async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.socket.write_all(bytes).await.context("write")?;
        self.socket.flush().await.context("write")
    }

    /// Reads more into the buffer.
    ///
    /// # Errors
    /// Also at the end of the stream.
    pub async fn more(&mut self) -> anyhow::Result<()> {
        if self
            .socket
            .read_buf(&mut self.buffer)
            .await
            .context("read")?
            == 0
        {
            bail!("the connection was closed");
        }
        Ok(())
    }

    /// Reads the head of the next answer.
    pub async fn head(&mut self) -> anyhow::Result<Answer> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut parsed = httparse::Response::new(&mut headers);
            if !self.buffer.is_empty()
                && let httparse::Status::Complete(len) = parsed.parse(&self.buffer)?
            {
                let answer = interpret(&parsed)?;
                self.buffer.drain(..len);
                return Ok(answer);
            }
            if self.buffer.len() > MAX_HEAD {
                bail!("the head is too long");
            }
            self.more().await?;
        }
    }

    /// Sends a request and reads its whole answer, which must be 200 and so long; `part` learns of every piece.
    pub async fn exchange(
        &mut self,
        request: &[u8],
        len: usize,
        mut part: impl FnMut(usize),
    ) -> anyhow::Result<()> {
        self.send(request).await?;
        let answer = self.head().await?;
        if answer.status != 200 || answer.body != len {
            bail!("status {} with {} bytes", answer.status, answer.body);
        }
        let mut rest = len;
        loop {
            let taken = rest.min(self.buffer.len());
            self.buffer.drain(..taken);
            rest -= taken;
            part(taken);
            if rest == 0 {
                return Ok(());
            }
            self.buffer.reserve(socket::LARGE.min(rest));
            self.more().await?;
        }
    }
}

fn interpret(parsed: &httparse::Response<'_, '_>) -> anyhow::Result<Answer> {
    let mut answer = Answer {
        status: parsed.code.unwrap_or_default(),
        body: 0,
        accept: None,
    };
    for header in &*parsed.headers {
        let value = || std::str::from_utf8(header.value).unwrap_or_default();
        match header.name.len() {
            14 if header.name.eq_ignore_ascii_case("content-length") => {
                answer.body = value().parse()?;
            }
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                bail!("the proxy made the answer chunked");
            }
            20 if header.name.eq_ignore_ascii_case("sec-websocket-accept") => {
                answer.accept = Some(value().to_owned());
            }
            _ => {}
        }
    }
    Ok(answer)
}

/// Takes the address out of the target.
fn address(target: &str) -> anyhow::Result<SocketAddr> {
    let Some(rest) = target.strip_prefix("https://") else {
        bail!("the target must be https://ADDRESS:PORT, not {target}");
    };
    rest.trim_end_matches('/')
        .parse()
        .with_context(|| format!("no address and port in {target}"))
}
