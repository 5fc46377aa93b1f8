//! What tests see of the fake engine, and do to it behind the gateway's back.

use std::sync::Arc;

use deskgate::engine::spec::ContainerSpec;
use deskgate::engine::{ContainerState, Event};

use super::fake_desktop::FakeDesktop;
use super::fake_engine::{Ending, FakeEngine};

impl FakeEngine {
    /// The id of the container that has this name now.
    pub fn id_of(&self, name: &str) -> String {
        self.containers.lock().unwrap()[name].id.clone()
    }

    /// How the container that has this name now was described.
    pub fn spec_of(&self, name: &str) -> Option<ContainerSpec> {
        let containers = self.containers.lock().unwrap();
        containers.get(name).map(|made| made.spec.clone())
    }

    /// The desktop in a running container.
    pub fn desktop(&self, name: &str) -> Arc<FakeDesktop> {
        self.desktops.lock().unwrap()[name].clone()
    }

    /// The desktop in a running container, which is without one from now on.
    pub fn take_desktop(&self, name: &str) -> FakeDesktop {
        let desktop = self.desktops.lock().unwrap().remove(name);
        Arc::into_inner(desktop.expect("a desktop")).expect("nobody else has it")
    }

    /// Removes a container behind the gateway's back.
    pub fn vanish(&self, name: &str) {
        self.containers.lock().unwrap().remove(name);
        self.desktops.lock().unwrap().remove(name);
    }

    /// Ends a container's process.
    pub fn end(&self, name: &str, ending: Ending) {
        self.desktops.lock().unwrap().remove(name);
        let mut containers = self.containers.lock().unwrap();
        let made = containers.get_mut(name).expect("a container");
        (made.state, made.ending) = (ContainerState::Exited, ending);
    }

    /// Tells who listens what happened to a container.
    pub fn tell(&self, name: &str, action: &str) {
        let event = Event {
            name: name.to_owned(),
            action: action.to_owned(),
        };
        let listeners = self.listeners.lock().unwrap();
        let told = listeners.as_ref().map(|listeners| listeners.send(event));
        assert!(told.is_some_and(|told| told.is_ok()), "nobody listens");
    }

    /// Ends everything in good order, as an engine does that is restarted, and every connection.
    pub fn restart(&self) {
        *self.listeners.lock().unwrap() = None;
        for (name, state) in self.all() {
            if state.is_alive() {
                self.end(&name, Ending::default());
            }
        }
    }

    /// Names and states of all containers.
    pub fn all(&self) -> Vec<(String, ContainerState)> {
        let containers = self.containers.lock().unwrap();
        containers
            .iter()
            .map(|(name, made)| (name.clone(), made.state))
            .collect()
    }

    /// What the one container does.
    pub fn state(&self) -> ContainerState {
        let all = self.all();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].1
    }

    /// The password that a container was given.
    pub fn password(&self, name: &str) -> String {
        self.options(&self.containers.lock().unwrap()[name].spec)
            .password
    }

    /// How containers were described, ever.
    pub fn specs(&self) -> Vec<ContainerSpec> {
        self.specs.lock().unwrap().clone()
    }
}
