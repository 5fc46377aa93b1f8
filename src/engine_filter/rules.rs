//! What may be asked for, derived from the configuration by the functions that the gateway's own requests come from: a
//! body is let through if it is the one that this configuration makes, down to the last member. A new member of the
//! engine's API, known here or not, is so refused by itself.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use bollard::exec::StartExecOptions;
use serde::Serialize;
use serde_json::Value;

use super::call::{Asked, Call, Filters};
use super::refusal::Refusal;
use crate::config::{FilterConfig, Reach};
use crate::engine::docker::{command_body, create, networks};
use crate::engine::probe;
use crate::engine::spec::{
    LABEL_DESKTOP, LABEL_INSTANCE, LABEL_TEMPLATE, LABEL_USER, Network, Own, container_name,
    home_generation, home_volume, is_home_name, shared_network,
};
use crate::model::id::DesktopId;
use crate::model::subnet::{Subnet, SubnetPool};
use crate::model::template::{NetworkPolicy, Template};

/// What one installation may ask for.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Its name in labels.
    pub(super) instance: String,
    /// The same for the containers of `deskgate check`.
    pub(super) probes: String,
    pub(super) templates: Vec<Template>,
    pub(super) reach: Reach,
    pub(super) subnets: Option<SubnetPool>,
    pub(super) ports: RangeInclusive<u16>,
}

impl Rules {
    pub(super) fn new(config: FilterConfig) -> Self {
        let FilterConfig { instance, desktops } = config;
        Self {
            probes: probe::instance(&instance),
            instance,
            templates: desktops.templates,
            reach: desktops.reach,
            subnets: desktops.subnets,
            ports: desktops.ports,
        }
    }

    /// Whether labels are this installation's, or those of its check.
    pub(super) fn owns(&self, labels: &HashMap<String, String>) -> bool {
        let instance = labels.get(LABEL_INSTANCE);
        instance.is_some_and(|instance| *instance == self.instance || *instance == self.probes)
    }

    pub(super) fn template(&self, labels: &HashMap<String, String>) -> Result<&Template, Refusal> {
        let id = labels.get(LABEL_TEMPLATE);
        let mut templates = self.templates.iter();
        let found = templates.find(|template| Some(&template.id) == id);
        found.ok_or(Refusal::Template)
    }

    /// Decides on what neither has a body nor is about something that the engine has to be asked about.
    pub(super) fn plain(&self, asked: &Asked) -> Result<(), Refusal> {
        match &asked.call {
            Call::ListContainers | Call::ListVolumes | Call::Events => self.narrowed(asked),
            Call::Image(image) | Call::Registry(image) => self.image(image),
            Call::Pull => self.image(asked.parameter("fromImage")),
            Call::Volume(name) | Call::RemoveVolume(name) => {
                let mut ours = [&self.instance, &self.probes].into_iter();
                let ours = ours.any(|instance| is_home_name(instance, name));
                ours.then_some(()).ok_or(Refusal::Foreign("volume"))
            }
            _ => Ok(()),
        }
    }

    fn narrowed(&self, asked: &Asked) -> Result<(), Refusal> {
        let none = Filters::new();
        let filters = asked.filters.as_ref().unwrap_or(&none);
        let ours = [&self.instance, &self.probes].map(|name| format!("{LABEL_INSTANCE}={name}"));
        let labels = filters.get("label");
        let narrow = labels.is_some_and(|labels| ours.iter().any(|own| labels.contains(own)));
        // Whatever else it says makes the list shorter.
        narrow.then_some(()).ok_or(Refusal::Filters)
    }

    fn image(&self, image: &str) -> Result<(), Refusal> {
        let known = self
            .templates
            .iter()
            .any(|template| template.image == image);
        known.then_some(()).ok_or(Refusal::Image)
    }

    /// The name that a container may be given: its desktop's.
    pub(super) fn rename(
        &self,
        labels: &HashMap<String, String>,
        name: &str,
    ) -> Result<(), Refusal> {
        let desktop = labels.get(LABEL_DESKTOP).and_then(|id| id.parse().ok());
        let wanted = desktop.map(|id| container_name(&self.instance, id));
        let fits =
            wanted.as_deref() == Some(name) && labels.get(LABEL_INSTANCE) == Some(&self.instance);
        fits.then_some(()).ok_or(Refusal::Name)
    }

    /// The body of a command in a container with these labels.
    pub(super) fn command(
        &self,
        labels: &HashMap<String, String>,
        body: &[u8],
    ) -> Result<Value, Refusal> {
        let asked = json(body)?;
        let words = asked["Cmd"].as_array().ok_or(Refusal::Command)?;
        let words = words.iter().map(|word| word.as_str().map(str::to_owned));
        let words: Vec<String> = words.collect::<Option<_>>().ok_or(Refusal::Command)?;
        let known = if labels.get(LABEL_INSTANCE) == Some(&self.probes) {
            probe::is_attempt(&words)
        } else {
            let template = self.template(labels)?;
            let before_stop = !words.is_empty() && template.stop.pre_stop == words;
            let mut notice = template.notice.iter();
            before_stop || notice.any(|notice| notice.makes(&words))
        };
        if !known {
            return Err(Refusal::Command);
        }
        same(command_body(&words), &asked)
    }

    /// The body of the start of such a command.
    pub(super) fn start_command(body: &[u8]) -> Result<Value, Refusal> {
        same(StartExecOptions::default(), &json(body)?)
    }

    /// The body of a new network.
    pub(super) fn network(&self, body: &[u8]) -> Result<Value, Refusal> {
        let asked = json(body)?;
        let labels = strings(&asked["Labels"]);
        if !self.owns(&labels) {
            return Err(Refusal::Instance);
        }
        let instance = &labels[LABEL_INSTANCE];
        let internal = asked["Internal"] == true;
        let policy = if internal {
            NetworkPolicy::None
        } else {
            NetworkPolicy::Internet
        };
        if !self
            .templates
            .iter()
            .any(|template| template.network == policy)
        {
            return Err(Refusal::Member("Internal".into()));
        }
        let Some(pool) = self.subnets else {
            let network = shared_network(instance, policy);
            return same(networks::body(&network, instance, None), &asked);
        };
        let desktop = labels.get(LABEL_DESKTOP).and_then(|id| id.parse().ok());
        let desktop: DesktopId = desktop.ok_or(Refusal::Owner)?;
        let subnet = asked
            .pointer("/IPAM/Config/0/Subnet")
            .and_then(Value::as_str);
        let subnet = subnet.and_then(|text| text.parse::<Subnet>().ok());
        let subnet = subnet.filter(|subnet| pool.subnets().any(|one| one == *subnet));
        let subnet = subnet.ok_or_else(|| Refusal::Member("IPAM".into()))?;
        let own = Own { desktop, pool };
        let network = Network {
            name: container_name(instance, desktop),
            internal,
            own: Some(own),
        };
        same(
            networks::body(&network, instance, Some((own, subnet))),
            &asked,
        )
    }

    /// The body of a new volume: a home that is kept to a size, or one with which `deskgate check` tries that.
    pub(super) fn volume(&self, body: &[u8]) -> Result<Value, Refusal> {
        let asked = json(body)?;
        let labels = strings(&asked["Labels"]);
        let template = self.template(&labels)?;
        let is_probe = labels.get(LABEL_INSTANCE) == Some(&self.probes);
        let instance = if is_probe {
            &self.probes
        } else {
            &self.instance
        };
        let user = labels.get(LABEL_USER).and_then(|id| id.parse().ok());
        let user = user.ok_or(Refusal::Owner)?;
        let name = asked["Name"].as_str().unwrap_or_default();
        let generation = home_generation(instance, user, &template.id, name);
        let home = home_volume(instance, user, template, generation.ok_or(Refusal::Name)?);
        let quota = home
            .quota
            .ok_or_else(|| Refusal::Member("DriverOpts".into()))?;
        same(create::volume_body(&home, quota), &asked)
    }
}

pub(super) fn json(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::Body)
}

/// The members of an object that are texts.
pub(super) fn strings(object: &Value) -> HashMap<String, String> {
    let members = object.as_object().into_iter().flatten();
    let texts =
        members.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    texts.collect()
}

/// The body that we would have written, if the one that came is the same. The engine gets ours: it may read names
/// without regard to case, and take the first of two members where we took the second.
pub(super) fn same(ours: impl Serialize, asked: &Value) -> Result<Value, Refusal> {
    let ours = serde_json::to_value(ours).map_err(|_| Refusal::Body)?;
    match difference("", &ours, asked) {
        None => Ok(ours),
        Some(place) => Err(Refusal::Member(place)),
    }
}

/// The first place at which two values differ, as in `HostConfig.Privileged`.
fn difference(place: &str, ours: &Value, asked: &Value) -> Option<String> {
    let below = |name: &str| match place {
        "" => name.to_owned(),
        place => format!("{place}.{name}"),
    };
    match (ours, asked) {
        (Value::Object(ours), Value::Object(asked)) => {
            let more = asked.keys().find(|name| !ours.contains_key(*name));
            let missing = ours.keys().find(|name| !asked.contains_key(*name));
            if let Some(name) = more.or(missing) {
                return Some(below(name));
            }
            let mut members = ours.iter();
            members.find_map(|(name, value)| difference(&below(name), value, &asked[name]))
        }
        (Value::Array(ours), Value::Array(asked)) if ours.len() == asked.len() => {
            let mut items = ours.iter().zip(asked).enumerate();
            items.find_map(|(at, (ours, asked))| difference(&below(&at.to_string()), ours, asked))
        }
        (ours, asked) => (ours != asked).then(|| place.to_owned()),
    }
}
