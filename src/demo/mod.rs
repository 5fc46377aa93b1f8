//! The embedded demo: a gateway on loopback with everything it needs in one directory, and a real
//! OpenID provider beside it. The gateway talks to that provider exactly as to any other.

pub mod accounts;
mod login_page;
pub mod provider;
mod provider_answer;
mod provider_authorize;
mod provider_client;
#[cfg(test)]
mod provider_fixture_tests;
#[cfg(test)]
mod provider_interop_tests;
mod provider_keys;
mod provider_logout;
mod provider_metadata;
mod provider_state;
#[cfg(test)]
mod provider_tests;
mod provider_token;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::authn::token::SessionSecret;
use crate::clock::Clock;
use crate::config::raw::Raw;
use crate::config::{Config, ConfigError};
use crate::model::template::{Template, Texts};
use provider::{ClientRegistration, Provider, ProviderError};

/// Image of the demo desktop, made by `scripts/make-demo-image`.
pub const IMAGE: &str = "deskgate/demo-desktop:latest";

const CLIENT_ID: &str = "deskgate-demo";

/// Why the demo could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Everybody knows its passwords, so nobody else may reach it.
    #[error("the demo listens on loopback only, not on {0}")]
    NotLoopback(SocketAddr),
    /// A demo without a fixed port could not tell its provider where it is.
    #[error("the demo needs a port other than 0")]
    NoPort,
    /// Something listens there already.
    #[error("cannot listen on {0}")]
    Taken(SocketAddr, #[source] io::Error),
    /// Its directory cannot be used.
    #[error("{} cannot be used", .0.display())]
    Directory(PathBuf, #[source] io::Error),
    /// Its provider does not start.
    #[error("the demo's OpenID provider does not start")]
    Provider(#[from] ProviderError),
    /// A setting from the environment is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A demo that is ready to run.
pub struct Demo {
    /// The gateway's configuration.
    pub config: Config,
    /// The provider, listening.
    pub provider: Provider,
}

/// Prepares a demo on `listen` that keeps everything below `data`.
///
/// # Errors
/// `listen` is not loopback or has no port, the directory cannot be used, the provider does not start, or a
/// setting from the environment is wrong.
pub async fn prepare(
    listen: SocketAddr,
    data: &Path,
    mut raw: Raw,
    clock: Arc<dyn Clock>,
) -> Result<Demo, DemoError> {
    if !listen.ip().is_loopback() {
        return Err(DemoError::NotLoopback(listen));
    }
    if listen.port() == 0 {
        return Err(DemoError::NoPort);
    }
    // Gateways may share a port; two demos with different databases must not.
    drop(std::net::TcpListener::bind(listen).map_err(|error| DemoError::Taken(listen, error))?);
    fs::create_dir_all(data).map_err(|error| DemoError::Directory(data.to_owned(), error))?;
    let public_url = format!("https://localhost:{}", listen.port());
    let client_secret = SessionSecret::random().expose().to_owned();
    let provider = provider_beside(listen, &public_url, &client_secret, clock).await?;
    let file = |name: &str| data.join(name).display().to_string();
    for (key, value) in [
        ("PUBLIC_URL", public_url),
        ("LISTEN", listen.to_string()),
        ("TLS", "on".to_owned()),
        ("TLS_CERT", file("tls.crt")),
        ("TLS_KEY", file("tls.key")),
        ("DATABASE_URL", format!("sqlite://{}", file("deskgate.db"))),
        ("SECRET_KEY", secret_key(&data.join("secret.key"))?),
        ("OAUTH_ISSUER", provider.issuer()),
        ("OAUTH_CLIENT_ID", CLIENT_ID.to_owned()),
        ("OAUTH_CLIENT_SECRET", client_secret),
        ("ROLE_ADMIN", "ROLE_ADMIN".to_owned()),
        ("ROLE_TEACHER", "ROLE_TEACHER".to_owned()),
    ] {
        raw.set(key, value);
    }
    raw.set_default("KASM_IMAGE", IMAGE);
    raw.set_default("DRAIN", "2s");
    // The teacher's class, of which the student is.
    raw.set_default("TEACHER_GROUPS", "klasse.*");
    // Each network that appears makes browsers on this machine drop their connections, and here all of them are.
    raw.set_default("DESKTOP_SUBNETS", "off");
    let own_templates = !raw.templates.is_empty();
    let mut config = Config::resolve(raw)?;
    let demo_template = |template: &&mut Template| !own_templates && template.image == IMAGE;
    for template in config.desktops.templates.iter_mut().filter(demo_template) {
        template.title = Texts {
            de: "Linux-Desktop".into(),
            en: "Linux desktop".into(),
        };
        template.description = Texts {
            de: "XFCE mit Terminal, Dateien und einem kleinen Browser".into(),
            en: "XFCE with terminal, files and a small browser".into(),
        };
        template.memory = 1 << 30;
    }
    Ok(Demo { config, provider })
}

/// The provider on the next port, so that its name stays the same; on any port where that is taken.
async fn provider_beside(
    listen: SocketAddr,
    public_url: &str,
    client_secret: &str,
    clock: Arc<dyn Clock>,
) -> Result<Provider, ProviderError> {
    let client = ClientRegistration {
        client_id: CLIENT_ID.to_owned(),
        client_secret: client_secret.to_owned(),
        redirect_uris: vec![format!("{public_url}/authorize")],
        post_logout_redirect_uris: vec![format!("{public_url}/")],
    };
    let mut beside = listen;
    beside.set_port(listen.port().checked_add(1).unwrap_or_default());
    match Provider::bind(beside, client.clone(), clock.clone()).await {
        Err(ProviderError::Listen { .. }) => {
            beside.set_port(0);
            Provider::bind(beside, client, clock).await
        }
        bound => bound,
    }
}

/// The secret that everything else is derived from, made at the first start.
fn secret_key(path: &Path) -> Result<String, DemoError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let failed = |error| DemoError::Directory(path.to_owned(), error);
    match fs::read_to_string(path) {
        Ok(key) => return Ok(key),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let key = SessionSecret::random().expose().to_owned();
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(key.as_bytes()))
        .map_err(failed)?;
    Ok(key)
}
