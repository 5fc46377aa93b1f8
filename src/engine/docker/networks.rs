//! Networks as the Docker API knows them: one that all desktops share, or a small one for each.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{Ipam, IpamConfig, Network as Known, NetworkCreateRequest};
use bollard::query_parameters::{ListNetworksOptions, ListNetworksOptionsBuilder};

use super::super::spec::{LABEL_DESKTOP, LABEL_INSTANCE, Network, Own};
use super::super::{EngineError, OwnNetwork};
use super::{CALL_TIMEOUT, accept, instance_filter, is_conflict, says, within};
use crate::model::subnet::Subnet;

/// How many networks are tried before the range counts as used up; each try means that somebody else was faster.
const ATTEMPTS: usize = 64;

/// Makes a network, if there is none of its name.
pub(super) async fn make(
    client: &Docker,
    network: &Network,
    instance: &str,
) -> Result<(), EngineError> {
    if !named(client, &network.name).await?.is_empty() {
        return Ok(());
    }
    let made = match &network.own {
        None => within(
            CALL_TIMEOUT,
            client.create_network(body(network, instance, None)),
        )
        .await
        .map(|made| made.id),
        Some(own) => small(client, network, instance, *own).await,
    };
    let made = match made {
        Err(error) if is_conflict(&error) => return Ok(()),
        made => made?,
    };
    // Older engines make a second network of the same name when two gateways ask at once; then all
    // but the first by id take theirs back.
    if named(client, &network.name).await?.first() != Some(&made) {
        within(CALL_TIMEOUT, client.remove_network(&made)).await?;
    }
    Ok(())
}

/// Makes a network with the lowest addresses that nobody has. The engine refuses those that somebody else has just
/// taken, whoever that is: it keeps the books, and there are no others.
async fn small(
    client: &Docker,
    network: &Network,
    instance: &str,
    own: Own,
) -> Result<String, EngineError> {
    let all = within(
        CALL_TIMEOUT,
        client.list_networks(None::<ListNetworksOptions>),
    )
    .await?;
    let taken: Vec<Subnet> = all.iter().flat_map(subnets).collect();
    let free = own
        .pool
        .subnets()
        .filter(|subnet| !taken.iter().any(|other| other.overlaps(*subnet)));
    for subnet in free.take(ATTEMPTS) {
        let made = client.create_network(body(network, instance, Some((own, subnet))));
        match within(CALL_TIMEOUT, made).await {
            Ok(made) => return Ok(made.id),
            Err(error) if says(&error, "overlap") || says(&error, "same bridge name") => {}
            Err(error) => return Err(error),
        }
    }
    Err(EngineError::NoSubnet)
}

/// What the engine is asked for a network.
pub(crate) fn body(
    network: &Network,
    instance: &str,
    own: Option<(Own, Subnet)>,
) -> NetworkCreateRequest {
    let pair = |name: &str, value: String| (name.to_owned(), value);
    let mut labels = HashMap::from([pair(LABEL_INSTANCE, instance.to_owned())]);
    // Without inter-container traffic no desktop reaches another, nor locks the gateway out of it.
    let mut options = HashMap::from([pair(
        "com.docker.network.bridge.enable_icc",
        "false".to_owned(),
    )]);
    if let Some((own, subnet)) = own {
        labels.extend([pair(LABEL_DESKTOP, own.desktop.to_string())]);
        options.extend([pair(
            "com.docker.network.bridge.name",
            subnet.bridge(network.internal),
        )]);
    }
    NetworkCreateRequest {
        name: network.name.clone(),
        internal: Some(network.internal),
        // Rules of firewalls are for IPv4 (scripts/firewall), and an engine may be set up to give networks both.
        enable_ipv6: Some(false),
        driver: Some("bridge".into()),
        labels: Some(labels),
        options: Some(options),
        ipam: own.map(|(_, subnet)| Ipam {
            driver: Some("default".into()),
            config: Some(vec![IpamConfig {
                subnet: Some(subnet.to_string()),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        }),
        ..NetworkCreateRequest::default()
    }
}

fn subnets(network: &Known) -> Vec<Subnet> {
    let ipam = network.ipam.as_ref().and_then(|ipam| ipam.config.as_ref());
    let configs = ipam.into_iter().flatten();
    configs
        .filter_map(|config| config.subnet.as_ref()?.parse().ok())
        .collect()
}

/// Ids of the networks of exactly this name, in order.
async fn named(client: &Docker, name: &str) -> Result<Vec<String>, EngineError> {
    let filters = HashMap::from([("name".to_owned(), vec![name.to_owned()])]);
    let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let found = within(CALL_TIMEOUT, client.list_networks(Some(options))).await?;
    let found = found
        .into_iter()
        .filter(|network| network.name.as_deref() == Some(name));
    let mut ids: Vec<String> = found.filter_map(|network| network.id).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Those networks of an installation that are one desktop's alone.
pub(super) async fn own(client: &Docker, instance: &str) -> Result<Vec<OwnNetwork>, EngineError> {
    let filters = instance_filter(instance);
    let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let found = within(CALL_TIMEOUT, client.list_networks(Some(options))).await?;
    let own = found.into_iter().filter_map(|network| {
        let desktop = network.labels?.get(LABEL_DESKTOP)?.parse().ok()?;
        Some(OwnNetwork {
            name: network.name?,
            desktop,
            made_at: network.created.and_then(|text| text.parse().ok()),
        })
    });
    Ok(own.collect())
}

/// Removes the network of this name; fine when there is none, or somebody's container is still in it.
pub(super) async fn remove(client: &Docker, name: &str) -> Result<(), EngineError> {
    for id in named(client, name).await? {
        let removed = within(CALL_TIMEOUT, client.remove_network(&id)).await;
        accept(removed, |error| {
            matches!(error, EngineError::NotFound) || says(error, "active endpoints")
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::spec::{Place, network};
    use crate::model::id::DesktopId;
    use crate::model::subnet::SubnetPool;
    use crate::model::template::NetworkPolicy;

    #[test]
    fn every_network_has_ipv4_alone_and_those_without_the_outside_say_so() {
        let pool = "10.213.0.0/24".parse::<SubnetPool>().ok();
        for (policy, internal) in [
            (NetworkPolicy::Internet, false),
            (NetworkPolicy::None, true),
        ] {
            for subnets in [None, pool] {
                let place = Place {
                    instance: "school",
                    reach: crate::config::Reach::Network,
                    subnets,
                };
                let network = network(place, policy, DesktopId::NIL);
                let subnet = subnets.and_then(|pool| pool.subnets().next());
                let made = body(&network, "school", network.own.zip(subnet));
                assert_eq!(made.enable_ipv6, Some(false));
                assert_eq!(made.internal, Some(internal));
                let bridge = made.options.expect("options");
                let bridge = bridge.get("com.docker.network.bridge.name");
                let wanted = subnet.map(|subnet| subnet.bridge(internal));
                assert_eq!(bridge, wanted.as_ref());
            }
        }
    }
}
