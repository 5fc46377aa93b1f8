//! Writes what the fuzzers begin with, from the rows of the tests: `seeds DIRECTORY` makes `DIRECTORY/TARGET/seeds`.
//! `fuzz/run` compiles it by itself, for nothing of the crate is needed.

#[allow(dead_code, reason = "what is expected of a case is not asked here")]
#[path = "../tests/it/smuggling_cases.rs"]
mod smuggling_cases;

use std::path::{Path, PathBuf};
use std::{env, fs, io};

const ID: &str = "0b5a4e3e-6a4f-4f1c-9d7e-1c2d3e4f5a6b";
const SESSION: &str = "bm90IGEgc2Vzc2lvbiwganVzdCBhcyBsb25nIGFzIG9uZQ";
/// How the streams are cut: the number of parts, and their sizes.
const CUTS: &[u8] = &[3, 1, 7, 60];
/// What a client has sent before its first message.
const OPENING: &[u8] = b"RFB 003.008\n\x01\x01\x02\0\0\x02\0\0\0\x07\xff\xff\xf8\x33";

fn main() -> io::Result<()> {
    let directory = env::args().nth(1).map(PathBuf::from);
    let directory = directory.ok_or_else(|| io::Error::other("seeds DIRECTORY"))?;
    write(&directory, "guard", guard())?;
    write(&directory, "headers", headers())?;
    write(&directory, "proxy_protocol", proxy_protocol())?;
    write(&directory, "route", route())?;
    write(&directory, "scan", scan())
}

fn write(directory: &Path, target: &str, seeds: Vec<Vec<u8>>) -> io::Result<()> {
    let directory = directory.join(target).join("seeds");
    fs::create_dir_all(&directory)?;
    if seeds.is_empty() {
        return Err(io::Error::other(format!("no rows for {target}")));
    }
    for (index, seed) in seeds.iter().enumerate() {
        fs::write(directory.join(format!("{index:03}")), seed)?;
    }
    Ok(())
}

/// The literals that begin a line, or a tuple in one.
fn literals(source: &'static str) -> impl Iterator<Item = &'static str> {
    source.lines().filter_map(|line| {
        let rest = line.trim().trim_start_matches('(').strip_prefix('"')?;
        rest.split('"').next()
    })
}

fn guard() -> Vec<Vec<u8>> {
    let cases = smuggling_cases::CASES.iter();
    cases
        .map(|case| [&[7], &*case.render(ID, SESSION)].concat())
        .collect()
}

/// A head of a browser's request, and those of a desktop's answers.
fn headers() -> Vec<Vec<u8>> {
    [
        "accept: */*\nrange: bytes=0-9\nif-range: \"1\"\ncookie: a=b\nreferer: https://desk.example/\nuser-agent: x",
        "if-none-match: \"1\"\nif-modified-since: Tue, 24 Nov 2026 12:00:00 GMT\nauthorization: Basic eA==",
        "connection: close, ETag\netag: \"1\"\nage: 1",
        "connection: keep-alive\nconnection:  vary,, ,no name\nvary: a\nvary: b\nset-cookie: a=b",
        "content-type: text/html\ncontent-length: 1\ncontent-security-policy: default-src *\nrefresh: 0",
        "transfer-encoding: chunked\ntrailer: x\nupgrade: websocket\nkeep-alive: timeout=5",
    ]
    .into_iter()
    .map(|text| [&[200, 3], text.as_bytes()].concat())
    .collect()
}

fn proxy_protocol() -> Vec<Vec<u8>> {
    let lines = literals(include_str!("../src/server/proxy_protocol_tests.rs"));
    let lines = lines.filter(|line| line.starts_with("TCP") || line.starts_with("UNKNOWN"));
    let mut seeds: Vec<_> = lines
        .map(|line| format!("PROXY {line}\r\nGET").into_bytes())
        .collect();
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 187];
    seeds.push([&signature[..], b"\x20\0\0\0"].concat());
    seeds.push([&signature[..], b"\x21\x11\0\x0c", &v4].concat());
    seeds.push([&signature[..], b"\x21\x11\0\x0f", &v4, b"\x04\0\0"].concat());
    seeds.push([&signature[..], b"\x21\x21\0\x24", &[0x20; 36]].concat());
    seeds
}

/// Path below the desktop's, query and Host, a line each.
fn route() -> Vec<Vec<u8>> {
    let target = literals(include_str!("../src/proxy/target.rs"));
    let paths = target.chain(literals(include_str!("../src/gateway/route.rs")));
    paths
        .filter_map(|path| path.strip_prefix('/'))
        .map(|path| format!("{path}\nv=1&x=%2F\ndesk.example").into_bytes())
        .collect()
}

/// The messages of `COMMON`: inputs, first bytes in hex, how many more follow, name.
fn scan() -> Vec<Vec<u8>> {
    let source = include_str!("../src/proxy/input.rs");
    let rows = source.split("const COMMON: &str = \"").nth(1);
    let rows = rows.and_then(|rows| rows.split('"').next());
    let rows = rows.unwrap_or_default().trim().lines();
    let messages = rows.filter_map(|row| {
        let mut words = row.split_whitespace().skip(1);
        let (hex, more) = (words.next()?, words.next()?.parse().ok()?);
        let digits = hex.as_bytes().chunks(2);
        let mut message: Vec<u8> = digits
            .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        message.extend([5].repeat(more));
        Some(message)
    });
    let messages: Vec<_> = messages.collect();
    let all = messages.concat();
    // The target frames them itself; what it takes as it is, is framed here.
    let frames = messages.iter().filter(|message| message.len() < 100);
    let frames = frames.flat_map(|message| {
        let length = 0x80 | u8::try_from(message.len()).unwrap_or_default();
        [&[0x82, length, 0, 0, 0, 0], &**message].concat()
    });
    let length = 0x80 | u8::try_from(OPENING.len()).unwrap_or_default();
    let opening = [&[0x82, length, 0, 0, 0, 0], OPENING].concat();
    let framed = opening.into_iter().chain(frames).collect();
    let mut seeds: Vec<_> = messages
        .iter()
        .map(|message| [CUTS, message].concat())
        .collect();
    seeds.push([CUTS, &all].concat());
    seeds.push([CUTS, &Vec::<u8>::from_iter::<Vec<u8>>(framed)].concat());
    seeds
}
