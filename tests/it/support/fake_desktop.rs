//! A desktop that is as strict as `KasmVNC` 1.3.1 and tells on every client that breaks a rule.
//!
//! Where `KasmVNC` would quietly overflow, hang or lose bytes, the fake records a violation; where
//! `KasmVNC` answers, the fake gives the same answer. The bytes themselves are in
//! `fake_desktop_wire`. Behind the greeting a WebSocket echoes, or speaks RFB (`fake_rfb`).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::echo;
use super::fake_desktop_wire::{
    Answer, CREDENTIALS_LIMIT, Decoded, EXACT_NAMES, HeadRead, Lockout, OneRecordAtATime, Stream,
    VALUE_LIMIT, accept_key, client_address, decode_frame, knows, percent_decode, read_head,
    server_config, server_frames,
};
pub use super::fake_desktop_wire::{
    ClientFrame, HOSTILE_HEADERS, SERVER_FRAME_LIMIT, SeenRequest, big_body,
};
use super::fake_rfb::{FakeRfb, FakeScreen};

/// The first bytes of every WebSocket, sent in the same write as the 101.
pub const GREETING: &[u8] = b"RFB 003.008\n";
/// What a request that climbs out of the web root gets: proof that a gateway let it through.
pub const STOLEN_FILE: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n";

/// How a fake desktop behaves.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches that have nothing to do with each other"
)]
pub struct FakeOptions {
    /// The Basic user.
    pub user: String,
    /// The Basic password.
    pub password: String,
    /// Whether the port speaks TLS.
    pub tls: bool,
    /// Whether the user is an owner, who may use `/api/`.
    pub owner: bool,
    /// Whether a WebSocket is an ordinary echo server's, without the greeting and `KasmVNC`'s strictness.
    pub echo: bool,
    /// What its WebSockets show by RFB, instead of an echo.
    pub screen: Option<FakeScreen>,
    /// The picture of itself that it gives its owner; without one it has nothing to show.
    pub screenshot: Option<Vec<u8>>,
    /// Whether every answer, the 101 included, carries [`HOSTILE_HEADERS`].
    pub hostile_headers: bool,
    /// The only `Host` that it answers to.
    pub host: Option<String>,
    /// The path below which it believes to be; elsewhere there is nothing.
    pub prefix: Option<String>,
    /// The only path at which it takes WebSockets.
    pub socket_path: Option<String>,
    /// Whether a WebSocket's `Origin` must be of the host in `Host`, as selkies wants it.
    pub same_origin: bool,
    /// A path that is answered without credentials; all others fail until it was asked for once.
    pub health: Option<String>,
    /// Time without any request after which a locked-out address is let in again.
    pub lock_time: Duration,
}

impl Default for FakeOptions {
    fn default() -> Self {
        Self {
            user: "kasm_user".to_owned(),
            password: "fake-desktop-password".to_owned(),
            tls: true,
            owner: true,
            echo: false,
            screen: None,
            screenshot: None,
            hostile_headers: false,
            host: None,
            prefix: None,
            socket_path: None,
            same_origin: false,
            health: None,
            lock_time: Duration::from_secs(10),
        }
    }
}

/// A running fake desktop; dropping it ends the listener and all connections.
pub struct FakeDesktop {
    addr: SocketAddr,
    certificate: Option<CertificateDer<'static>>,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl FakeDesktop {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start(options: FakeOptions) -> Self {
        Self::start_on(0, options).await
    }

    /// Starts on `port` of 127.0.0.1, waiting up to five seconds for a former owner to let go.
    pub async fn start_on(port: u16, options: FakeOptions) -> Self {
        let deadline = Instant::now() + Duration::from_secs(5);
        let listener = loop {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                Ok(listener) => break listener,
                Err(error) => assert!(Instant::now() < deadline, "port {port}: {error}"),
            }
            sleep(Duration::from_millis(10)).await;
        };
        let addr = listener.local_addr().expect("a bound address");
        let (tls, certificate) = options.tls.then(server_config).unzip();
        let shared = Arc::new(Shared {
            options,
            seen: Mutex::default(),
            kill: watch::Sender::new(()),
            frozen: watch::Sender::new(false),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, tls.map(TlsAcceptor::from), shared.clone()));
        Self {
            addr,
            certificate,
            shared,
            tasks,
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The certificate, for a client that pins it; `None` without TLS.
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.certificate.clone()
    }

    /// Every whole head that arrived, in order; refused ones too.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.shared.seen().requests.clone()
    }

    /// Every rule that a client broke, as `rule: detail`.
    pub fn violations(&self) -> Vec<String> {
        self.shared.seen().violations.clone()
    }

    /// The targets of requests that reached the owner's API, which a gateway must never let happen.
    pub fn api_calls(&self) -> Vec<String> {
        self.shared.seen().api_calls.clone()
    }

    /// Every frame that clients sent, to prove that frames are relayed one to one.
    pub fn client_frames(&self) -> Vec<ClientFrame> {
        self.shared.seen().frames.clone()
    }

    /// Connections accepted since the start, also those without a request.
    pub fn connections(&self) -> usize {
        self.shared.seen().connections
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        self.shared.kill.receiver_count()
    }

    /// How many upgraded connections are open now.
    pub fn open_websockets(&self) -> usize {
        let seen = self.shared.seen();
        seen.sockets.iter().filter(|s| !s.is_closed()).count()
    }

    /// Sends `bytes` to every open WebSocket, as one binary frame if they fit into one.
    pub fn push(&self, bytes: &[u8]) {
        let frames: Arc<[u8]> = server_frames(bytes).into();
        for socket in &self.shared.seen().sockets {
            // A socket that is just ending misses the push, as it would in a desktop.
            let _ = socket.send(frames.clone());
        }
    }

    /// Freezes it, as an engine's pause does, or lets it go on: what is sent meanwhile waits in the system's buffers.
    pub fn freeze(&self, frozen: bool) {
        self.shared.frozen.send_replace(frozen);
    }

    /// Tells all open connections to drop in the middle of whatever they do; the listener stays.
    pub fn kill_streams(&self) {
        self.shared.kill.send_replace(());
    }

    /// Stops and returns when the port and all connections are closed; a plain drop does not wait.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        while self.open_connections() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

struct Shared {
    options: FakeOptions,
    seen: Mutex<Seen>,
    kill: watch::Sender<()>,
    frozen: watch::Sender<bool>,
}

/// What happened so far.
#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<SeenRequest>,
    violations: Vec<String>,
    api_calls: Vec<String>,
    frames: Vec<ClientFrame>,
    lockout: Lockout,
    /// Whether the health path was asked for.
    healthy: bool,
    /// One for each WebSocket; closed when the WebSocket is gone.
    sockets: Vec<mpsc::UnboundedSender<Arc<[u8]>>>,
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // The set belongs to this task, so that ending it ends the connections with it.
    let mut connections = JoinSet::new();
    loop {
        let Ok((tcp, peer)) = listener.accept().await else {
            continue;
        };
        shared.seen().connections += 1;
        let (tls, shared, mut killed) = (tls.clone(), shared.clone(), shared.kill.subscribe());
        connections.spawn(async move {
            // Whichever ends first, the socket is dropped here: no close_notify, ever. An error
            // is a client that went away.
            tokio::select! {
                _ = serve(tcp, peer, tls, &shared) => {}
                _ = killed.changed() => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(
    tcp: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    shared: &Shared,
) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    shared.thawed().await;
    match tls {
        Some(tls) => {
            let (read, write) = tcp.into_split();
            let tcp = tokio::io::join(OneRecordAtATime::new(read), write);
            let stream = tls.accept(tcp).await?;
            shared.converse(stream, peer).await
        }
        None => shared.converse(BufReader::new(tcp), peer).await,
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no holder panics")
    }

    /// Returns when it is not frozen.
    async fn thawed(&self) {
        let mut frozen = self.frozen.subscribe();
        // The sender is ours, so this only ends when it is so.
        let _ = frozen.wait_for(|frozen| !frozen).await;
    }

    fn violation(&self, rule: &str, detail: impl std::fmt::Display) {
        self.seen().violations.push(format!("{rule}: {detail}"));
    }

    /// The life of one connection: one request, one answer or one WebSocket.
    async fn converse<S: Stream>(&self, mut stream: S, peer: SocketAddr) -> io::Result<()> {
        let (request, behind) = match read_head(&mut stream).await? {
            HeadRead::Complete(head, behind, reads) => {
                (SeenRequest::parse(peer, head, reads), behind)
            }
            HeadRead::Broken(rule) => {
                self.violation(rule, "closed without an answer");
                return Ok(());
            }
            HeadRead::Empty => return Ok(()),
        };
        self.thawed().await;
        self.seen().requests.push(request.clone());
        self.judge_head(&request, &behind);
        if request.headers.iter().any(|(_, v)| v.len() > VALUE_LIMIT) {
            return Ok(());
        }
        let refusal = self.refuse(&request);
        if refusal.is_none() && request.may_upgrade() {
            if self.options.echo {
                stream.write_all(&self.switching(&request).head()).await?;
                return echo::serve(stream).await;
            }
            return self.websocket(stream, &request).await;
        }
        let Some(answer) = refusal.or_else(|| self.route(&request)) else {
            return std::future::pending().await;
        };
        let answer = answer.hostile_if(self.options.hostile_headers);
        answer.send(&mut stream).await?;
        let mut second = [0; 1];
        // A timeout of zero polls once: only what is there already counts.
        if let Ok(Ok(1..)) = timeout(Duration::ZERO, stream.read(&mut second)).await {
            self.violation("second-request", "more bytes after the answer");
        }
        Ok(())
    }

    /// Records what is wrong with a head, whatever the answer to it will be.
    fn judge_head(&self, request: &SeenRequest, behind: &[u8]) {
        if !behind.is_empty() && request.method != "POST" {
            self.violation(
                "early-bytes",
                format_args!("{} behind the head", behind.len()),
            );
        }
        for (name, value) in &request.headers {
            if value.len() > VALUE_LIMIT {
                self.violation("value-too-long", format_args!("{name}: {}", value.len()));
            }
            let mut known = EXACT_NAMES.split(' ');
            if known.any(|known| known != name && known.eq_ignore_ascii_case(name)) {
                self.violation("name-case", name);
            }
            if value.contains("../") {
                self.violation("dot-segments", name);
            }
        }
        if !request.has_header("Host") {
            self.violation("no-host", &request.target);
        }
        if request.target.len() > VALUE_LIMIT {
            self.violation("target-too-long", request.target.len());
        }
        if request.path().contains("../") {
            self.violation("dot-segments", &request.target);
        } else if percent_decode(request.path()).split('/').any(|s| s == "..") {
            self.violation("encoded-dots", &request.target);
        }
        let missing = request.missing_for_upgrade();
        if let Some(missing) = missing.filter(|_| request.has_header("Upgrade")) {
            self.violation("upgrade-incomplete", missing);
        }
    }

    /// What a template has to get right: the path, the host, the origin, the question for health.
    fn misplaced(&self, request: &SeenRequest) -> Option<Answer> {
        let FakeOptions {
            host,
            prefix,
            socket_path,
            same_origin,
            health,
            ..
        } = &self.options;
        let path = request.path();
        let below = |prefix: &String| path.strip_prefix(prefix.as_str()).is_some();
        let (seen_host, seen_origin) = (request.header("Host"), request.header("Origin"));
        let of_origin = seen_origin.and_then(|origin| origin.split_once("://"));
        let foreign = of_origin.map(|(_, host)| host) != seen_host;
        if host.as_deref().is_some_and(|host| seen_host != Some(host)) {
            self.violation("host", seen_host.unwrap_or_default());
            return Some(Answer::error("421 Misdirected Request"));
        }
        if prefix.as_ref().is_some_and(|prefix| !below(prefix)) {
            self.violation("outside-prefix", &request.target);
            return Some(Answer::error("404 Not Found"));
        }
        if request.has_header("Upgrade") {
            if *same_origin && foreign {
                self.violation("foreign-origin", seen_origin.unwrap_or_default());
                return Some(Answer::error("403 Forbidden"));
            }
            if socket_path.as_ref().is_some_and(|only| only != path) {
                self.violation("socket-path", &request.target);
                return Some(Answer::error("404 Not Found"));
            }
        }
        if let Some(health) = health {
            let healthy = &mut self.seen().healthy;
            if path == health {
                *healthy = true;
                if request.has_header("Authorization") {
                    return Some(Answer::error("400 Bad Request"));
                }
                return Some(Answer::file("application/json", b"{}"));
            }
            if !*healthy {
                return Some(Answer::error("503 Service Unavailable"));
            }
        }
        None
    }

    /// The lock-out and Basic authentication, which come before everything else.
    fn refuse(&self, request: &SeenRequest) -> Option<Answer> {
        if let Some(answer) = self.misplaced(request) {
            return Some(answer);
        }
        let address = client_address(request);
        let lockout = &mut self.seen().lockout;
        if lockout.refuses(&address, self.options.lock_time) {
            return Some(Answer::bare("401 Forbidden", &[]));
        }
        let Some(encoded) = request.after("Authorization: Basic ") else {
            lockout.failed(&address);
            let challenge = [("WWW-Authenticate", "Basic realm=\"Websockify\"")];
            return Some(Answer::bare("401 Unauthorized", &challenge).isolated());
        };
        if encoded.len() > CREDENTIALS_LIMIT {
            lockout.failed(&address);
            return Some(Answer::error("403 Forbidden"));
        }
        let FakeOptions { user, password, .. } = &self.options;
        if !knows((user, password), encoded) {
            lockout.failed(&address);
            return Some(Answer::bare("401 Forbidden", &[]).isolated());
        }
        None
    }

    /// The answer to a request that is not an upgrade; `None` for one that never comes.
    fn route(&self, request: &SeenRequest) -> Option<Answer> {
        // KasmVNC looks for this anywhere in the head, a Referer included.
        if request.text().contains("/api/") {
            if !self.options.owner {
                return Some(Answer::error("401 Unauthorized"));
            }
            if request.path().starts_with("/api/") {
                self.seen().api_calls.push(request.target.clone());
            }
            if request.path() == "/api/get_screenshot" {
                return Some(match &self.options.screenshot {
                    Some(picture) => Answer::file("image/jpeg", picture),
                    None => Answer::error("400 Bad Request"),
                });
            }
            if request.method == "GET" && request.path() == "/api/get_users" {
                let users = br#"[{"user":"kasm_user","write":true,"owner":true}]"#;
                return Some(Answer::file("text/json", users));
            }
        }
        if request.method != "GET" || request.is_refused_for_shape() {
            return Some(Answer::error("404 Not Found"));
        }
        let path = percent_decode(request.path());
        let prefix = self.options.prefix.as_deref().unwrap_or_default();
        let path = path.strip_prefix(prefix).unwrap_or(&path);
        if path.split('/').any(|segment| segment == "..") {
            return Some(Answer::file("application/octet-stream", STOLEN_FILE));
        }
        Some(match path {
            "/" | "/index.html" => Answer::file("text/html", b"<!DOCTYPE html><title>fake</title>"),
            "/app.js" => Answer::file("application/javascript", b"console.log('fake');\n"),
            "/big" => Answer::file("application/octet-stream", &big_body()),
            "/slow" => {
                let parts: Vec<_> = (b'0'..=b'9').map(|digit| vec![digit; 8]).collect();
                let mut answer = Answer::file("text/plain", &parts.concat());
                (answer.parts, answer.pause) = (parts, Duration::from_millis(50));
                answer
            }
            "/close-delimited" => {
                Answer::close_delimited("200 OK", "text/html", b"ends with the connection")
            }
            "/redirect-self" => {
                let scheme = if self.options.tls { "https" } else { "http" };
                let host = request.header("Host").unwrap_or_default();
                Answer::redirect("302 Found", &format!("{scheme}://{host}{prefix}/dir/"))
            }
            "/die" => Answer::close_delimited("200 OK", "text/plain", &[b'd'; 100])
                .with("Content-length", "1000"),
            "/hang" => return None,
            "/redirect-out" => Answer::redirect("302 Found", "https://evil.example/"),
            "/redirect-escape" => Answer::redirect("302 Found", "/other/"),
            "/dir" => Answer::redirect("301 Moved Permanently", "/dir/"),
            "/dir/" => {
                Answer::close_delimited("200 OK", "text/html", b"<title>Directory Listing</title>")
            }
            _ => Answer::error("404 Not Found"),
        })
    }

    /// The answer to a WebSocket handshake.
    fn switching(&self, request: &SeenRequest) -> Answer {
        let value = |name| request.header(name).unwrap_or_default();
        let accept = accept_key(value("Sec-WebSocket-Key"));
        let protocol = value("Sec-WebSocket-Protocol").split(',').next();
        Answer::bare("101 Switching Protocols", &[("Upgrade", "websocket")])
            .with("Connection", "Upgrade")
            .with("Sec-WebSocket-Accept", &accept)
            .with("Sec-WebSocket-Protocol", protocol.unwrap_or_default())
            .hostile_if(self.options.hostile_headers)
    }

    async fn websocket<S: Stream>(&self, mut stream: S, request: &SeenRequest) -> io::Result<()> {
        // A client that does not wait for the 101 gets a chance to show it.
        let mut early = [0; 1024];
        match timeout(Duration::from_millis(10), stream.read(&mut early)).await {
            Ok(Ok(bytes @ 1..)) => {
                self.violation("early-bytes", format_args!("{bytes} before the 101"));
            }
            Ok(ended) => return ended.map(drop),
            Err(_) => {}
        }
        // Registered before the 101 leaves, so that a push right after it is not missed.
        let (sender, mut pushes) = mpsc::unbounded_channel();
        self.seen().sockets.retain(|socket| !socket.is_closed());
        self.seen().sockets.push(sender);
        let mut wire = self.switching(request).head();
        // In one write, so that a client that throws away what is behind the head is found out.
        wire.extend(server_frames(GREETING));
        let mut inbox = Vec::new();
        let mut rfb = self.options.screen.map(FakeRfb::new);
        loop {
            stream.write_all(&wire).await?;
            stream.flush().await?;
            wire.clear();
            tokio::select! {
                read = stream.read_buf(&mut inbox) => {
                    let read = read?;
                    self.thawed().await;
                    if read == 0 || !self.take_frames(&mut inbox, (&mut wire, &mut rfb)) {
                        return Ok(());
                    }
                }
                Some(frames) = pushes.recv() => wire.extend(&*frames),
            }
        }
    }

    /// Handles the whole frames at the front of `inbox`; false when the connection has to end.
    fn take_frames(
        &self,
        inbox: &mut Vec<u8>,
        (wire, rfb): (&mut Vec<u8>, &mut Option<FakeRfb>),
    ) -> bool {
        loop {
            let frame = match decode_frame(inbox) {
                Decoded::Incomplete => return true,
                Decoded::TooLong => {
                    self.violation("frame-too-long", "a 64-bit length field");
                    return false;
                }
                Decoded::Frame(frame, taken) => {
                    inbox.drain(..taken);
                    frame
                }
            };
            self.seen().frames.push(frame.clone());
            if frame.reserved {
                self.violation("reserved-bits", "an extension that was not negotiated");
            }
            if !frame.masked {
                self.violation("unmasked-frame", frame.opcode);
                return false;
            }
            match frame.opcode {
                0 => self.violation("continuation", "ignored, the stream is corrupt now"),
                1 => {
                    self.violation("text-frame", "the subprotocol is binary");
                    return false;
                }
                2 => {
                    if !frame.fin {
                        self.violation("fragmented", "a message in several frames");
                    }
                    let Some(rfb) = rfb else {
                        wire.extend(server_frames(&frame.payload));
                        continue;
                    };
                    wire.extend(server_frames(&rfb.take(&frame.payload)));
                    self.seen().violations.append(&mut rfb.violations);
                }
                8 => return false,
                9 => self.violation("ping", "never answered"),
                // An unsolicited pong is allowed (RFC 6455, section 5.5.3) and ignored.
                10 => {}
                opcode => self.violation("opcode", opcode),
            }
        }
    }
}
