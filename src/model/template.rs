//! A template: what an image needs so that its container can be somebody's desktop.
//!
//! The defaults fit the Kasm images; every field can be set in `deskgate.toml`.

use std::collections::BTreeMap;

/// How the gateway speaks to the desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// TLS with whatever certificate the container made for itself.
    Https,
}

/// What the desktop wants to see before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    None,
    /// Basic authentication; the container learns the password from `password_env`.
    Basic {
        /// User name the desktop expects.
        user: String,
        /// Environment variable that carries the password into the container.
        password_env: String,
    },
}

/// Whether the person's files outlive the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// Files end with the container.
    None,
    /// One volume per (user, template), kept when the desktop is removed.
    Volume,
}

/// One kind of desktop that people may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Short name in the API and in labels: `[a-z0-9-]`, at most 40 characters.
    pub id: String,
    /// What people read.
    pub title: String,
    /// One sentence for the card.
    pub description: String,
    /// Name of one of the portal's icons, or a local path.
    pub icon: String,
    /// Image reference.
    pub image: String,
    /// Port the desktop listens on inside the container.
    pub port: u16,
    /// How to speak to it.
    pub scheme: Scheme,
    /// What it wants to see.
    pub auth: Auth,
    /// Path and query of the first page; `{id}` becomes the desktop's id. Starts with a slash.
    pub entry: String,
    /// Paths that browsers never reach, with everything below them.
    pub deny_paths: Vec<String>,
    /// Shared memory, bytes.
    pub shm_size: u64,
    /// Memory limit, bytes.
    pub memory: u64,
    /// CPU limit, thousandths of a core.
    pub cpu_millis: u32,
    /// Limit of processes and threads.
    pub pids: u32,
    /// Capabilities given back after all were dropped.
    pub cap_add: Vec<String>,
    /// Further environment.
    pub env: BTreeMap<String, String>,
    /// Where the person's files are inside the container.
    pub home_path: String,
    /// Whether they outlive it.
    pub home: Home,
    /// Groups or roles that may start it; empty means everybody.
    pub groups: Vec<String>,
}

impl Template {
    /// The desktop that `KASM_IMAGE`, `KASM_CONTAINER_PORT` and `VNC_PASSWORD` describe.
    #[must_use]
    pub fn kasm(image: String, port: u16) -> Self {
        Self {
            id: "desktop".into(),
            title: "Desktop".into(),
            description: String::new(),
            icon: "desktop".into(),
            image,
            port,
            scheme: Scheme::Https,
            auth: Auth::Basic {
                user: "kasm_user".into(),
                password_env: "VNC_PW".into(),
            },
            entry: "/?path=desktop/{id}/websockify&reconnect=true&resize=remote".into(),
            deny_paths: vec!["/api".into(), "/Downloads".into()],
            shm_size: 512 << 20,
            memory: 2 << 30,
            cpu_millis: 2000,
            pids: 1024,
            cap_add: Vec::new(),
            env: BTreeMap::new(),
            home_path: "/home/kasm-user".into(),
            home: Home::Volume,
            groups: Vec::new(),
        }
    }

    /// Whether a browser may ask the desktop for `path` (decoded, absolute).
    #[must_use]
    pub fn allows_path(&self, path: &str) -> bool {
        !self.deny_paths.iter().any(|denied| {
            path.strip_prefix(denied.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_paths_cover_what_is_below_and_nothing_beside() {
        let template = Template::kasm("image".into(), 6901);
        assert!(!template.allows_path("/api"));
        assert!(!template.allows_path("/api/get_users"));
        assert!(!template.allows_path("/Downloads/Downloads/"));
        assert!(template.allows_path("/apiary.js"));
        assert!(template.allows_path("/app/api.js"));
    }
}
