//! What this machine has for a gateway: addresses to listen on, a certificate, ports and networks for desktops.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::report::Report;
use crate::clock::{Clock, SystemClock};
use crate::config::{DesktopConfig, Reach, ServerConfig, TlsConfig};
use crate::engine::Engine;
use crate::model::subnet::Subnet;
use crate::server::certificate::Certificate;
use crate::telemetry::ErrorChain;

/// How long before its end a certificate should have been replaced, seconds.
const RENEWAL: i64 = 14 * 24 * 3600;
/// What to do about a certificate that browsers warn of.
const OWN_CERTIFICATE: &str =
    "put certificate chain and key there, or set TLS_CERT and TLS_KEY (certs/README.md)";
/// How many ports that are taken are named.
const NAMED_PORTS: usize = 5;

pub(super) fn doors(server: &ServerConfig, report: &mut Report) {
    let doors = [
        ("LISTEN", Some(server.listen)),
        ("HTTP_LISTEN", server.http_listen),
        ("METRICS_LISTEN", server.metrics),
    ];
    for (key, address) in doors {
        if let Some(address) = address {
            door(key, address, report);
        }
    }
}

fn door(key: &str, address: SocketAddr, report: &mut Report) {
    match TcpListener::bind(address) {
        Ok(_) => report.ok("listen", format!("{key}: {address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => report.warn(
            "listen",
            format!("{key}: somebody listens on {address} already"),
            format!("if that is this gateway, all is well (deskgate health asks it); otherwise set {key} to another port"),
        ),
        Err(error) => report.fail(
            "listen",
            format!("{key}: {address} cannot be listened on: {error}"),
            format!("set {key} to an address of this machine; ports below 1024 need CAP_NET_BIND_SERVICE, or a lower sysctl net.ipv4.ip_unprivileged_port_start"),
        ),
    }
}

pub(super) fn certificate(server: &ServerConfig, report: &mut Report) {
    let host = server.public_url.host_str().unwrap_or_default();
    let Some(files) = &server.tls else {
        let found = "TLS=off: whatever stands in front of the gateway has the certificate";
        return report.ok("certificate", found);
    };
    let TlsConfig { cert, key } = files;
    let ordered = server.acme.is_some();
    if !cert.exists() && !key.exists() {
        if ordered {
            let found =
                "there is none yet; a self-signed one is used until the authority has issued one";
            return report.ok("certificate", found);
        }
        let found = format!(
            "{} and {} are not there; a self-signed pair will be made, of which browsers warn",
            cert.display(),
            key.display()
        );
        return report.warn("certificate", found, OWN_CERTIFICATE);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let loaded = match Certificate::load(files.clone(), &[host], provider) {
        Ok(loaded) => loaded,
        Err(error) => {
            return report.fail(
                "certificate",
                ErrorChain(&error).to_string(),
                "TLS_CERT is the PEM chain, the server's certificate first, and TLS_KEY its PEM key, readable for the gateway's user",
            );
        }
    };
    let facts = loaded.facts();
    let self_signed = facts.as_ref().is_some_and(|facts| facts.self_signed);
    if ordered && self_signed {
        let found = format!(
            "{} is self-signed, until the authority has issued one",
            cert.display()
        );
        return report.ok("certificate", found);
    }
    let renew = if ordered {
        "see in the log of the gateway why no other one could be ordered"
    } else {
        "renew it; the gateway picks up replaced files by itself"
    };
    let now = SystemClock.timestamp().millis() / 1000;
    // One that is ordered may be for a day only, and is renewed when a third of that is left.
    let soon = facts
        .as_ref()
        .filter(|_| ordered)
        .map_or(RENEWAL, |facts| (facts.ends - facts.begins) / 4);
    match facts.map(|facts| facts.ends - now) {
        Some(left) if left < 0 => {
            return report.fail(
                "certificate",
                format!("{} has expired", cert.display()),
                renew,
            );
        }
        Some(left) if left < soon => {
            let (days, hours) = (left / (24 * 3600), left / 3600 % 24);
            return report.warn(
                "certificate",
                format!(
                    "{} expires in {days} days and {hours} hours",
                    cert.display()
                ),
                renew,
            );
        }
        _ => {}
    }
    let shown = cert.display();
    if !loaded.names(host) {
        report.fail(
            "certificate",
            format!("{shown} is not for {host}, the host of PUBLIC_URL"),
            "get a certificate that names that host, or correct PUBLIC_URL",
        );
    } else if self_signed {
        let found = format!("{shown} is for {host} and self-signed, of which browsers warn");
        report.warn("certificate", found, OWN_CERTIFICATE);
    } else {
        report.ok("certificate", format!("{shown} is for {host}"));
    }
}

/// Ports for desktops; those that desktops of this installation have count as free.
pub(super) async fn desktop_ports(
    config: &DesktopConfig,
    engine: &dyn Engine,
    instance: &str,
    report: &mut Report,
) {
    if config.reach == Reach::Network {
        return report.ok("ports", "DESKTOP_REACH=network: none are published");
    }
    let running = engine.list(instance).await.map_or(0, |ours| ours.len());
    let range = config.ports.clone();
    let (first, last, count) = (*range.start(), *range.end(), range.len());
    let taken: Vec<u16> = range
        .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_err())
        .collect();
    let remedy = "set PORT_RANGE to ports that nothing else uses, at least MAX_DESKTOPS of them";
    if taken.len() <= running {
        let wanted = usize::try_from(config.max_total).unwrap_or(usize::MAX);
        if count < wanted {
            let found =
                format!("{first}-{last} has {count} ports for {wanted} desktops (MAX_DESKTOPS)");
            return report.warn("ports", found, remedy);
        }
        return report.ok("ports", format!("{first}-{last} are free on 127.0.0.1"));
    }
    let some: Vec<String> = taken.iter().take(NAMED_PORTS).map(u16::to_string).collect();
    let more = if taken.len() > NAMED_PORTS {
        ", ..."
    } else {
        ""
    };
    let found = format!(
        "{} of {first}-{last} are taken on 127.0.0.1 ({}{more}), and this installation has {running} containers",
        taken.len(),
        some.join(", ")
    );
    if taken.len() >= count {
        report.fail("ports", found, remedy);
    } else {
        report.warn("ports", found, remedy);
    }
}

/// Whether the desktops' addresses are somebody else's on this machine.
pub(super) fn subnets(config: &DesktopConfig, report: &mut Report) {
    let Some(pool) = config.subnets else {
        return report.warn(
            "subnets",
            "DESKTOP_SUBNETS=off: desktops share one network",
            "set DESKTOP_SUBNETS to a range that is used nowhere else in your network",
        );
    };
    let routes = procfs::net::route().unwrap_or_default();
    let others: HashSet<String> = routes
        .into_iter()
        .filter(|route| !route.mask.is_unspecified() && !route.iface.starts_with("dg-"))
        .filter_map(|route| {
            let prefix = u8::try_from(route.mask.to_bits().count_ones()).ok()?;
            let subnet = Subnet::of(route.destination, prefix);
            subnet
                .overlaps(pool.range())
                .then(|| format!("{subnet} ({})", route.iface))
        })
        .collect();
    if others.is_empty() {
        return report.ok("subnets", format!("{pool} is used by nothing else here"));
    }
    let mut others: Vec<String> = others.into_iter().collect();
    others.sort_unstable();
    report.warn(
        "subnets",
        format!("{pool} meets {}", others.join(", ")),
        "what has addresses in the range may become unreachable from here: set DESKTOP_SUBNETS to an unused range",
    );
}
