//! The integration tests: one binary, one file per behaviour, real sockets and strict peers.
#![allow(missing_docs)]

fn main() {}
