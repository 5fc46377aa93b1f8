//! What a desktop reaches on the network, tried from containers that are made as desktops are, from the templates' own
//! images. They carry a name of their own, so that no gateway takes them for its orphans.

mod tell;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use futures_util::StreamExt;
use url::Url;

use self::tell::{ANOTHER_DESKTOP, Knock, Target};
use super::report::Report;
use crate::config::{Config, DatabaseConfig};
use crate::engine::docker::DockerEngine;
use crate::engine::spec::{Place, network};
use crate::engine::{Engine, EngineError, probe};
use crate::model::id::DesktopId;
use crate::model::template::{NetworkPolicy, Template};
use crate::telemetry::ErrorChain;

/// How long one attempt may take, the engine's part included.
const LIMIT: Duration = Duration::from_secs(20);
/// Attempts at the same time.
const PARALLEL: usize = 8;
/// The address at which clouds tell a machine its secrets.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

pub(super) async fn try_out(
    config: &Config,
    engine: &DockerEngine,
    instance: &str,
    report: &mut Report,
) {
    let name = probe::instance(instance);
    for policy in [NetworkPolicy::Internet, NetworkPolicy::None] {
        let templates = config.desktops.templates.iter();
        let mut templates = templates.filter(|template| template.network == policy);
        let Some(template) = with_image(engine, templates.clone()).await else {
            if let Some(first) = templates.next() {
                tell::no_image(first, report);
            }
            continue;
        };
        let place = probe::place(&name, config.desktops.subnets);
        // What an earlier run left that was killed.
        let done = match remove_all(engine, place, policy).await {
            Ok(()) => try_all(config, (engine, place), template, report).await,
            Err(error) => Err(error),
        };
        let gone = remove_all(engine, place, policy).await;
        if let Err(error) = done.and(gone) {
            report.warn(
                "reach",
                format!("template {}: {}", template.id, ErrorChain(&error)),
                "see that the engine can start a container of this image, with a network of its own",
            );
        }
    }
}

/// The first whose image is there.
async fn with_image<'a>(
    engine: &dyn Engine,
    templates: impl Iterator<Item = &'a Template>,
) -> Option<&'a Template> {
    for template in templates {
        if engine.has_image(&template.image).await.unwrap_or(false) {
            return Some(template);
        }
    }
    None
}

async fn remove_all(
    engine: &dyn Engine,
    place: Place<'_>,
    policy: NetworkPolicy,
) -> Result<(), EngineError> {
    for container in engine.list(place.instance).await? {
        engine.remove(&container.id).await?;
    }
    for own in engine.networks(place.instance).await? {
        engine.remove_network(&own.name).await?;
    }
    let shared = network(place, policy, DesktopId::NIL);
    engine.remove_network(&shared.name).await
}

/// A container that waits; returns its name and address.
async fn start(
    engine: &dyn Engine,
    place: Place<'_>,
    template: &Template,
) -> Result<(String, Option<IpAddr>), EngineError> {
    let id = DesktopId::random();
    let spec = probe::spec(template, place, id);
    let network = network(place, template.network, id);
    engine.prepare(&network, place.instance).await?;
    engine.create(&spec).await?;
    engine.start(&spec.name).await?;
    let found = engine.inspect(&spec.name).await?;
    Ok((spec.name, found.and_then(|found| found.address)))
}

async fn try_all(
    config: &Config,
    (engine, place): (&DockerEngine, Place<'_>),
    template: &Template,
    report: &mut Report,
) -> Result<(), EngineError> {
    let (from, address) = start(engine, place, template).await?;
    let (_, other) = start(engine, place, template).await?;
    let mut targets = around(config, address).await;
    let neighbour = other.map(|address| target(ANOTHER_DESKTOP, (address, template.port), true));
    targets.extend(neighbour);
    let provider = outside(config).await;
    let all = targets.iter().chain(&provider);
    let knocks = all.map(|target| knock(engine, &from, target));
    let knocks: Vec<_> = futures_util::stream::iter(knocks.collect::<Vec<_>>())
        .buffered(PARALLEL)
        .collect()
        .await;
    let knocks = knocks
        .into_iter()
        .collect::<Result<Vec<Knock>, EngineError>>()?;
    if knocks.contains(&Knock::NoTool) {
        tell::no_tool(template, report);
        return Ok(());
    }
    tell::around(&targets, &knocks, (template, place), report);
    if let Some(target) = &provider {
        tell::outside(target, knocks[targets.len()], template, report);
    }
    if let Some(name) = provider.and(name_outside(config)) {
        let found = look_up(engine, &from, &name).await?;
        tell::name(&name, found, template, report);
    }
    Ok(())
}

async fn knock(engine: &dyn Engine, from: &str, target: &Target) -> Result<Knock, EngineError> {
    let command = probe::knock(target.address, target.port);
    attempt(engine, from, &command).await
}

/// Has a name looked up from there.
async fn look_up(engine: &dyn Engine, from: &str, name: &str) -> Result<Knock, EngineError> {
    match probe::look_up(name) {
        Some(command) => attempt(engine, from, &command).await,
        None => Ok(Knock::NoTool),
    }
}

async fn attempt(
    engine: &dyn Engine,
    from: &str,
    command: &[String],
) -> Result<Knock, EngineError> {
    Ok(match engine.exec(from, command, LIMIT).await? {
        Some(10) => Knock::Open,
        Some(11) => Knock::Refused,
        Some(12) => Knock::Silent,
        _ => Knock::NoTool,
    })
}

fn target(what: &str, (address, port): (IpAddr, u16), private: bool) -> Target {
    Target {
        what: what.into(),
        address,
        port,
        private,
    }
}

/// What is around a desktop: the engine's host by its addresses, its network, the database, the metadata address.
async fn around(config: &Config, desktop: Option<IpAddr>) -> Vec<Target> {
    let mut targets = vec![target("the metadata address", (METADATA.into(), 80), true)];
    let mut hosts: Vec<IpAddr> = own_address().into_iter().collect();
    if let (Some(pool), Some(IpAddr::V4(address))) = (config.desktops.subnets, desktop) {
        hosts.push(pool.engine_side(address).into());
    }
    let server = &config.server;
    for host in hosts {
        targets.push(target("this machine's ssh", (host, 22), false));
        let door = server.listen.port();
        targets.push(target("the gateway's own door", (host, door), false));
        if let Some(metrics) = server.metrics {
            targets.push(target(
                "the gateway's metrics",
                (host, metrics.port()),
                true,
            ));
        }
        for port in [2375, 2376] {
            targets.push(target("the engine's own port", (host, port), true));
        }
    }
    targets.extend(database(&config.database).await);
    let routes = procfs::net::route().unwrap_or_default();
    let outward = routes.iter().find(|route| route.mask.is_unspecified());
    if let Some(route) = outward.filter(|route| !route.gateway.is_unspecified()) {
        targets.push(target(
            "the network around this machine",
            (route.gateway.into(), 80),
            false,
        ));
    }
    targets
}

/// The address with which this machine goes outside. Nothing is sent for it.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Any address on the other side of the router will do; this one is for documentation (RFC 5737).
    socket.connect((Ipv4Addr::new(203, 0, 113, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then_some(address)
}

/// A database server, where one is used.
async fn database(config: &DatabaseConfig) -> Option<Target> {
    let DatabaseConfig::Postgres(url) = config else {
        return None;
    };
    let url: Url = url.expose().parse().ok()?;
    let port = url.port().unwrap_or(5432);
    let address = resolve(url.host_str()?, port).await?;
    let address = match address {
        // From a desktop, its own loopback is another.
        loopback if loopback.is_loopback() => own_address()?,
        other => other,
    };
    Some(target("the database", (address, port), true))
}

/// Something on the internet, or at least outside: the provider.
async fn outside(config: &Config) -> Option<Target> {
    let url: Url = config.oidc.issuer.parse().ok()?;
    let port = url.port_or_known_default()?;
    let address = resolve(url.host_str()?, port).await?;
    let what = format!("the provider {}", url.host_str()?);
    (!address.is_loopback()).then(|| target(&what, (address, port), false))
}

/// The provider's name, where it is one of the DNS. This machine has just found it, or there would be no target.
fn name_outside(config: &Config) -> Option<String> {
    let url: Url = config.oidc.issuer.parse().ok()?;
    url.domain().map(str::to_owned)
}

async fn resolve(host: &str, port: u16) -> Option<IpAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::time::timeout(LIMIT, tokio::net::lookup_host((host, port))).await;
    let mut found = found.ok()?.ok()?;
    found.find(SocketAddr::is_ipv4).map(|address| address.ip())
}
