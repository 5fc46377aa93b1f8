//! What becomes of containers of the fake engine while they run, and what they take of its machine.

use bollard::errors::Error;

use super::{Arc, ContainerState, EngineError, FakeDesktop, FakeEngine, FakeOptions, Ordering};

/// What Docker answers to a container that is to get the name that it has. It is not the answer for a name that another
/// one has.
pub fn same_name() -> EngineError {
    EngineError::Refused(Error::DockerResponseServerError {
        status_code: 400,
        message: "Renaming a container with the same name as its current name".into(),
    })
}

impl FakeEngine {
    /// Puts another desktop in the place of a running one, with a certificate of its own.
    pub async fn replace(&self, name: &str, port: u16, password: String) -> Arc<FakeDesktop> {
        self.desktops.lock().unwrap().remove(name);
        let options = FakeOptions {
            password,
            ..FakeOptions::default()
        };
        let starting = FakeDesktop::start_on(port, options);
        let desktop = Arc::new(self.home.spawn(starting).await.expect("a fake desktop"));
        let mut desktops = self.desktops.lock().unwrap();
        desktops.insert(name.to_owned(), desktop.clone());
        desktop
    }

    /// Freezes a container that runs, or lets a frozen one go on.
    pub fn freeze(&self, name: &str, frozen: bool) -> Result<(), EngineError> {
        let state = self
            .containers
            .lock()
            .unwrap()
            .get(name)
            .map(|made| made.state);
        let state = state.ok_or(EngineError::NotFound)?;
        if matches!(state, ContainerState::Running | ContainerState::Paused) {
            self.desktop(name).freeze(frozen);
            let state = if frozen {
                ContainerState::Paused
            } else {
                ContainerState::Running
            };
            self.set(name, state)?;
        }
        Ok(())
    }

    /// Bytes that the machine has left, if it says so: each container that runs takes all that it may.
    pub fn memory_left(&self) -> Option<u64> {
        let whole = self.memory.load(Ordering::SeqCst);
        let containers = self.containers.lock().unwrap();
        let run = containers.values().filter(|made| made.state.is_alive());
        let taken: i64 = run.map(|made| made.spec.memory).sum();
        let taken = u64::try_from(taken).expect("a size");
        (whole > 0).then(|| whole.saturating_sub(taken))
    }
}
