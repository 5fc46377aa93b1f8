//! Times of what is computed for each request and each frame, without sockets: `cargo bench --bench pure`. With
//! `DESKGATE_TEST_POSTGRES`, the URL of a fresh database, what a look-up costs that asks it is measured there too.
//! `docs/BENCHMARKS.md` has the last figures.

#[allow(
    dead_code,
    reason = "the test that shares it asks for more than the benchmark"
)]
#[path = "../tests/it/support/lookup.rs"]
mod lookup;

use std::env;
use std::hint::black_box;
use std::iter;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use deskgate::authn::session::RECHECK;
use deskgate::authz::Access;
use deskgate::gateway::route::{self, Route};
use deskgate::proxy::frames::Frames;
use deskgate::proxy::headers::{self, ToBrowser};
use deskgate::proxy::input::InputScanner;
use deskgate::proxy::target::Target;
use futures_util::FutureExt as _;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};

use lookup::Lookup;

const HOST: &str = "desk.example";
/// Payload of a large frame, bytes.
const LARGE: usize = 16 * 1024;
/// What Chromium sends with a request for a file of a page.
const BROWSER: [(&str, &str); 14] = [
    ("host", HOST),
    (
        "sec-ch-ua",
        "\"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"",
    ),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ),
    ("accept", "*/*"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-dest", "empty"),
    (
        "referer",
        "https://desk.example/desktop/0b5a4e3e-6a4f-4f1c-9d7e-1c2d3e4f5a6b/",
    ),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-US,en;q=0.9"),
    ("if-none-match", "\"5f3c1a2b\""),
    (
        "cookie",
        "__Host-Http-session=bm90IGEgc2Vzc2lvbiwganVzdCBhcyBsb25nIGFzIG9uZQ",
    ),
];
/// What a desktop answers with a file.
const DESKTOP: [(&str, &str); 9] = [
    ("server", "KasmVNC"),
    ("date", "Tue, 24 Nov 2026 12:00:00 GMT"),
    ("content-type", "text/javascript"),
    ("content-length", "1024"),
    ("etag", "\"5f3c1a2b\""),
    ("cache-control", "no-cache"),
    ("connection", "close"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-opener-policy", "same-origin"),
];

fn header_map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let fields = fields.iter().map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    });
    fields.collect()
}

fn routes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    for (name, rest) in [
        ("plain", "app/ui.js?v=1"),
        ("escaped", "app/ui%20(1).js?v=1"),
    ] {
        let text = format!("/desktop/0b5a4e3e-6a4f-4f1c-9d7e-1c2d3e4f5a6b/{rest}");
        let (path, query) = text.split_once('?').expect("a query");
        group.bench_function(name, |bencher| {
            bencher.iter(
                || match Route::parse(&Method::GET, black_box(path)).expect("a route") {
                    Route::Desktop { rest, .. } => {
                        Target::parse(rest, Some(query)).expect("a target")
                    }
                    other => panic!("{other:?}"),
                },
            );
        });
    }
    let mut request = Request::builder().uri("/desktop/x/").body(()).expect("one");
    *request.headers_mut() = header_map(&BROWSER);
    group.bench_function("checks of the head", |bencher| {
        bencher.iter(|| {
            let request = black_box(&request);
            route::check_head(request).expect("a good head");
            route::check_host(request, HOST).expect("our host");
        });
    });
}

fn decisions(criterion: &mut Criterion) {
    // Kept to the end: the database goes with it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let lookup = runtime.block_on(async {
        let lookup = Lookup::new().await;
        lookup.decide().await.expect("from the database");
        // What is measured cannot have asked it.
        lookup.database.close().await;
        lookup
    });
    criterion.bench_function("authenticate and authorize, from memory", |bencher| {
        bencher.iter(|| {
            let access = lookup.decide().now_or_never().expect("at once");
            assert!(matches!(access, Ok(Access::Granted(_))));
            access
        });
    });
}

/// The same for a session that memory has no fresh word of: the database is asked by every one of them.
fn misses(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = format!("sqlite://{}/miss.db", directory.path().display());
    let postgres = env::var("DESKGATE_TEST_POSTGRES").unwrap_or_default();
    let mut group = criterion.benchmark_group("authenticate and authorize, asking");
    for (name, url) in [
        ("SQLite in memory", Some("sqlite::memory:")),
        ("SQLite in a file", Some(&*file)),
        ("PostgreSQL", Some(&*postgres).filter(|url| !url.is_empty())),
    ] {
        let Some(url) = url else { continue };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let lookup = runtime.block_on(Lookup::on(url));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                lookup.clock.advance(RECHECK);
                let access = runtime.block_on(lookup.decide());
                assert!(matches!(access, Ok(Access::Granted(_))));
                access
            });
        });
        // Nothing but the session's age made it ask: without the database there is no answer.
        runtime.block_on(lookup.database.close());
        lookup.clock.advance(RECHECK);
        assert!(runtime.block_on(lookup.decide()).is_err());
    }
}

fn header_filters(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("headers");
    let browser = header_map(&BROWSER);
    group.bench_function("to the desktop", |bencher| {
        bencher.iter(|| {
            let known = headers::known(black_box(&browser), 3000);
            known.fold(0, |sum, (name, value)| sum + name.len() + value.len())
        });
    });
    let desktop = DESKTOP.map(|(name, value)| (HeaderName::from_static(name), value));
    group.bench_function("to the browser", |bencher| {
        bencher.iter(|| {
            let mut passed = ToBrowser::default();
            for (name, value) in &desktop {
                let added = passed.add(name.clone(), value.as_bytes());
                added.expect("a value");
            }
            passed.finish()
        });
    });
}

/// A binary frame, masked as clients do it.
fn frame(payload: &[u8], masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut bytes = vec![0x82];
    match payload.len() {
        length @ 0..=125 => bytes.push(mask | u8::try_from(length).expect("below 126")),
        length => {
            bytes.push(mask | 0x7e);
            bytes.extend(u16::try_from(length).expect("16 bits").to_be_bytes());
        }
    }
    let key = if masked {
        [0x37, 0xfa, 0x21, 0x3d]
    } else {
        [0; 4]
    };
    if masked {
        bytes.extend(key);
    }
    bytes.extend(iter::zip(payload, key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames");
    for (name, size) in [("64 B", 64), ("16 kB", LARGE)] {
        let bytes = frame(&vec![0x5a; size], false);
        let mut frames = Frames::from_server();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| frames.advance(black_box(&bytes)));
        });
        assert!(frames.at_boundary(), "it follows");
    }
}

fn inputs(criterion: &mut Criterion) {
    // A handshake without security, and KasmVNC's list of encodings.
    let opening = b"RFB 003.008\n\x01\x01\x02\0\0\x02\0\0\0\x07\xff\xff\xf8\x33";
    // The letter a goes down (RFC 6143 section 7.5.4).
    let key = [4, 1, 0, 0, 0, 0, 0, 0x61];
    // A clipboard that fills the frame (section 7.5.6).
    let mut clipboard = vec![0x20; LARGE];
    clipboard[..8].copy_from_slice(&[6, 0, 0, 0, 0, 0, 0x3f, 0xf8]);
    let mut group = criterion.benchmark_group("input");
    for (name, payload) in [
        ("a key", key.to_vec()),
        ("64 B of keys", key.repeat(8)),
        ("16 kB of keys", key.repeat(LARGE / 8)),
        ("16 kB of clipboard", clipboard),
    ] {
        let bytes = frame(&payload, true);
        let mut scanner = InputScanner::new();
        scanner.scan(&frame(opening, true));
        assert!(scanner.scan(&bytes), "input");
        group.throughput(Throughput::Bytes(payload.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| scanner.scan(black_box(&bytes)));
        });
        assert!(!scanner.is_lost(), "it follows");
    }
    // The pointer in a stream of selkies, and what its client says twenty times a second.
    let text = |words: &[u8]| {
        let mut bytes = frame(words, true);
        bytes[0] = 0x81;
        bytes
    };
    for (name, words, found) in [
        ("a text of the pointer", &b"m,640,400,0,0,417"[..], true),
        ("a text of the client", b"CLIENT_FRAME_ACK 417 0", false),
    ] {
        let bytes = text(words);
        let mut scanner = InputScanner::new();
        scanner.scan(&text(b"_gz,1"));
        assert_eq!(scanner.scan(&bytes), found, "input");
        group.throughput(Throughput::Bytes(words.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| scanner.scan(black_box(&bytes)));
        });
        assert!(!scanner.is_lost(), "it follows");
    }
}

criterion_group!(
    pure,
    routes,
    decisions,
    misses,
    header_filters,
    frames,
    inputs
);
criterion_main!(pure);
