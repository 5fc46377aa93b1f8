//! The strict half of the rules: a new container. What varies from one desktop to the next (ids, port, password, groups,
//! the number of a home) is read from what came; from that the description is made as the gateway makes it, and the two
//! have to be the same.

use std::collections::HashMap;

use serde_json::Value;

use super::refusal::Refusal;
use super::rules::{Rules, json, same, strings};
use crate::config::Reach;
use crate::engine::docker::create;
use crate::engine::probe;
use crate::engine::spec::{
    Belongings, ContainerSpec, LABEL_DESKTOP, LABEL_INSTANCE, LABEL_MADE, LABEL_POOL, LABEL_USER,
    Place, Waiting, container_name, home_generation, pool_prefix, reach_of,
};
use crate::model::desktop::Desktop;
use crate::model::id::{DesktopId, UserId};
use crate::model::mount::Mount;
use crate::model::template::{Auth, Home, Template};
use crate::model::time::Timestamp;

/// Length of a fingerprint as text: SHA-256 in base64 without padding.
const FINGERPRINT: usize = 43;

impl Rules {
    /// The body of a new container called `name`.
    pub(super) fn container(&self, name: &str, body: &[u8]) -> Result<Value, Refusal> {
        let asked = json(body)?;
        let labels = strings(&asked["Labels"]);
        if !self.owns(&labels) {
            return Err(Refusal::Instance);
        }
        let template = self.template(&labels)?;
        let id = labels.get(LABEL_DESKTOP).and_then(|id| id.parse().ok());
        let id: DesktopId = id.ok_or(Refusal::Owner)?;
        let spec = if labels.get(LABEL_INSTANCE) == Some(&self.probes) {
            let place = probe::place(&self.probes, self.subnets);
            probe::spec(template, place, id)
        } else if labels.contains_key(LABEL_POOL) {
            let spec = self.desktop(template, (id, UserId::NIL), &asked)?;
            spec.waiting(&self.waiting(template, &labels, name)?)
        } else {
            let user = labels.get(LABEL_USER).and_then(|id| id.parse().ok());
            self.desktop(template, (id, user.ok_or(Refusal::Owner)?), &asked)?
        };
        if spec.name != name {
            return Err(Refusal::Name);
        }
        same(create::body(&spec), &asked)
    }

    /// The container of a desktop, with what varies taken from what came.
    fn desktop(
        &self,
        template: &Template,
        (id, user): (DesktopId, UserId),
        asked: &Value,
    ) -> Result<ContainerSpec, Refusal> {
        let place = Place {
            instance: &self.instance,
            reach: self.reach,
            subnets: self.subnets,
        };
        let name = container_name(&self.instance, id);
        let row = Desktop {
            host_port: self.port(template, asked)?,
            ..Desktop::queued(template, id, user, name, Timestamp::default())
        };
        let owner = self.belongings(template, user, asked);
        let password = password(template, asked).unwrap_or_default();
        Ok(ContainerSpec::new(template, &row, password, place, &owner))
    }

    /// The port on the host, which has to be one of ours where there is one.
    fn port(&self, template: &Template, asked: &Value) -> Result<Option<u16>, Refusal> {
        if reach_of(template, self.reach) == Reach::Network {
            return Ok(None);
        }
        let bindings = &asked["HostConfig"]["PortBindings"][format!("{}/tcp", template.port)];
        let port = bindings[0]["HostPort"].as_str().unwrap_or_default();
        let port = port.parse().ok().filter(|port| self.ports.contains(port));
        port.map(Some).ok_or(Refusal::Port)
    }

    fn belongings(&self, template: &Template, user: UserId, asked: &Value) -> Belongings {
        let mounts = asked["HostConfig"]["Mounts"].as_array();
        let sources = mounts.into_iter().flatten().map(|mount| {
            let text = |name: &str| mount[name].as_str().unwrap_or_default();
            (text("Source"), text("Target"))
        });
        let sources: Vec<(&str, &str)> = sources.collect();
        let is_mounted = |mount: &Mount| sources.contains(&(&mount.source, &mount.target));
        let shared = template
            .mounts
            .iter()
            .filter(|shared| shared.is_per_group());
        let groups = shared.flat_map(|shared| {
            let has = |group: &&String| {
                let theirs = shared.of(std::slice::from_ref(*group));
                !theirs.is_empty() && theirs.iter().all(is_mounted)
            };
            shared.groups.iter().filter(has)
        });
        let home = sources.first().filter(|_| template.home == Home::Volume);
        let generation = home
            .and_then(|(volume, _)| home_generation(&self.instance, user, &template.id, volume));
        Belongings {
            groups: groups.cloned().collect(),
            home_generation: generation.unwrap_or_default(),
        }
    }

    /// What makes a container one that waits: a place that its template has, and nobody's files in it.
    fn waiting(
        &self,
        template: &Template,
        labels: &HashMap<String, String>,
        name: &str,
    ) -> Result<Waiting, Refusal> {
        let place = name.strip_prefix(&pool_prefix(&self.instance, &template.id));
        let place = place.and_then(|place| place.parse().ok());
        let place = place.filter(|place| *place < template.warm && template.suits_anybody());
        let made_at = labels
            .get(LABEL_MADE)
            .and_then(|millis| millis.parse().ok());
        let fingerprint = labels
            .get(LABEL_POOL)
            .filter(|text| text.len() == FINGERPRINT);
        Ok(Waiting {
            place: place.ok_or(Refusal::Name)?,
            fingerprint: fingerprint.ok_or(Refusal::Owner)?.clone(),
            made_at: Timestamp::from_millis(made_at.ok_or(Refusal::Owner)?),
        })
    }
}

/// The password in what came. It is the last thing that the gateway says.
fn password<'a>(template: &Template, asked: &'a Value) -> Option<&'a str> {
    let Auth::Basic { password_env, .. } = &template.auth else {
        return None;
    };
    let last = asked["Env"].as_array()?.last()?.as_str()?;
    last.strip_prefix(password_env.as_str())?.strip_prefix('=')
}

#[cfg(test)]
mod tests;
