//! `deskgate health`: asks the gateway on this machine for `/readyz`, for container health checks.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::ServerConfig;
use crate::config::raw::Raw;
use crate::desktop::readiness;
use crate::desktop::upstream::{Dialer, Upstream};
use crate::model::template::Scheme;
use crate::request::client_addr::TrustedProxies;
use crate::server::proxy_protocol;

pub(super) async fn run(raw: Raw) -> anyhow::Result<()> {
    let config = ServerConfig::resolve(raw)?;
    let scheme = if config.tls.is_some() {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let gateway = Upstream::bare(on_this_machine(config.listen), scheme);
    // From this machine to itself: the gateway sees the address that it is asked at.
    let trusted = TrustedProxies::new(config.trusted);
    let expects_header = config.proxy_protocol && trusted.contains(gateway.addr.ip());
    let preface = if expects_header {
        proxy_protocol::LOCAL
    } else {
        &[]
    };
    let dialer = Dialer::new().with_preface(preface);
    // The certificate names the public host, not this address, and the way leads over this machine only.
    match readiness::status(&dialer, &gateway, "/readyz").await {
        Some(200) => Ok(()),
        Some(status) => anyhow::bail!("the gateway is not ready (status {status})"),
        None => anyhow::bail!("the gateway does not answer on {}", gateway.addr),
    }
}

/// Where to ask a gateway that listens on `address`, which may mean all addresses.
fn on_this_machine(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other.ip(),
    };
    SocketAddr::new(ip, address.port())
}
