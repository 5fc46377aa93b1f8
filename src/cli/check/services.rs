//! What a gateway talks to: database, OpenID provider, container engine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::DATE;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::report::Report;
use crate::authn::oidc::Oidc;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, DatabaseConfig, DesktopConfig};
use crate::engine::docker::DockerEngine;
use crate::engine::spec::{LABEL_INSTANCE, home_volume};
use crate::engine::{Engine, EngineError, PullFailure, probe};
use crate::model::id::UserId;
use crate::model::template::{Home, Pull};
use crate::model::time::Timestamp;
use crate::outbound::HttpClient;
use crate::store::{Database, StoreError};
use crate::telemetry::ErrorChain;

/// How far clocks may differ before tokens that are good now begin to look too new or too old.
const SKEW: Duration = Duration::from_secs(30);
/// The oldest PostgreSQL that gives up the connection of a gateway that stands still.
const OLDEST_POSTGRES: u32 = 14;
/// How far they may differ before logins fail.
const TOO_MUCH_SKEW: Duration = Duration::from_secs(300);

/// Looks at the database without changing it; returns the name of the installation as far as it is known.
pub(super) async fn database(config: &Config, report: &mut Report) -> String {
    let said = config.desktops.instance.clone();
    let fresh = || said.clone().unwrap_or_else(|| "new".into());
    if let DatabaseConfig::Sqlite(Some(path)) = &config.database
        && !path.exists()
    {
        match writable(path) {
            Ok(()) => report.ok("database", format!("{} will be made at the first start", path.display())),
            Err(error) => report.fail(
                "database",
                format!("{} cannot be made: {error}", path.display()),
                "make its directory and give it to the user that the gateway runs as, or set DATABASE_URL",
            ),
        }
        return fresh();
    }
    match look(&config.database).await {
        Ok((kind, version, pending, instance)) => {
            old_server(version, report);
            if pending.is_empty() {
                report.ok("database", format!("{kind}, its schema is up to date"));
            } else {
                let found = format!("{kind}, to be brought up to date: {}", pending.join(", "));
                report.warn(
                    "database",
                    found,
                    "the next start does it, or deskgate migrate; make a backup before",
                );
            }
            said.or(instance).unwrap_or_else(|| "new".into())
        }
        Err(error) => {
            report.fail(
                "database",
                ErrorChain(&error).to_string(),
                "DATABASE_URL is sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE; see that the server runs, lets this user in, and was not used by a newer Deskgate",
            );
            fresh()
        }
    }
}

/// Warns of a server that several gateways should not share.
fn old_server(version: Option<u32>, report: &mut Report) {
    let Some(version) = version.filter(|version| *version < OLDEST_POSTGRES) else {
        return;
    };
    report.warn(
        "database",
        format!("PostgreSQL {version}: of several gateways, one that stands still goes on leading"),
        format!("use PostgreSQL {OLDEST_POSTGRES} or newer, or run one gateway"),
    );
}

/// Kind, version of the server, missing migrations, name of the installation.
type Seen = (&'static str, Option<u32>, Vec<String>, Option<String>);

async fn look(config: &DatabaseConfig) -> Result<Seen, StoreError> {
    let database = Database::connect(config).await?;
    let version = database.server_version().await?;
    let pending = database.pending().await?;
    // The table has to be there.
    let instance = if pending.is_empty() {
        database.known_instance().await?
    } else {
        None
    };
    let kind = database.kind();
    database.close().await;
    Ok((kind, version, pending, instance))
}

/// Whether a file can be made where `path` says, with its directories.
fn writable(path: &Path) -> std::io::Result<()> {
    let parents = path.ancestors().skip(1);
    let there = parents
        .map(|parent| {
            if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            }
        })
        .find(|parent| parent.exists())
        .unwrap_or(Path::new("."));
    let probe = there.join(format!(".deskgate-check-{}", std::process::id()));
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&probe)?;
    std::fs::remove_file(probe)
}

pub(super) async fn provider(config: &Config, report: &mut Report) {
    let issuer = &config.oidc.issuer;
    let clock = Arc::new(SystemClock);
    let oidc = match Oidc::new(config.oidc.clone(), clock) {
        Ok(oidc) => oidc,
        Err(error) => {
            let remedy =
                "OAUTH_CA_FILE is a PEM file with the root that signed the provider's certificate";
            return report.fail("provider", ErrorChain(&error).to_string(), remedy);
        }
    };
    if let Err(error) = oidc.look().await {
        return report.fail(
            "provider",
            format!("{issuer}: {}", ErrorChain(&error)),
            "OAUTH_ISSUER is the address below which /.well-known/openid-configuration is, reached from here; a private root belongs into OAUTH_CA_FILE",
        );
    }
    report.ok(
        "provider",
        format!("{issuer} can be discovered and has keys"),
    );
    match oidc.knows_client().await {
        Ok(()) => report.ok("client", format!("{issuer} knows {:?} with this secret", config.oidc.client_id)),
        Err(error) => report.fail(
            "client",
            format!("{issuer} refuses {:?}: {}", config.oidc.client_id, ErrorChain(&error)),
            format!(
                "compare OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET with the provider, where {} must be a redirect address",
                config.oidc.redirect_url
            ),
        ),
    }
    clocks(config, report).await;
}

/// Compares our clock with the provider's, which puts times into tokens.
async fn clocks(config: &Config, report: &mut Report) {
    let before = SystemClock.timestamp();
    let Some(theirs) = time_at(config).await else {
        return report.warn(
            "clock",
            "the provider does not say what time it is",
            "see that this machine follows a time server",
        );
    };
    // The header has whole seconds, and the question took a moment.
    let skew = theirs
        .since(before)
        .max(SystemClock.timestamp().since(theirs));
    let seconds = skew.as_secs();
    let remedy = "let both machines follow a time server (timedatectl set-ntp true)";
    let found = format!("this machine and the provider differ by {seconds} s");
    if skew > TOO_MUCH_SKEW {
        report.fail("clock", found, remedy);
    } else if skew > SKEW {
        report.warn("clock", found, remedy);
    } else {
        report.ok("clock", found);
    }
}

async fn time_at(config: &Config) -> Option<Timestamp> {
    let http = HttpClient::new(config.oidc.ca_file.as_deref()).ok()?;
    let issuer = config.oidc.issuer.trim_end_matches('/');
    let address = format!("{issuer}/.well-known/openid-configuration");
    let question = Request::get(address).body(Full::<Bytes>::default()).ok()?;
    let answer = http.send(question).await.ok()?;
    let date = answer.headers().get(DATE)?.to_str().ok()?;
    Some(OffsetDateTime::parse(date, &Rfc2822).ok()?.into())
}

/// Whether the engine answers.
pub(super) async fn engine(config: &Config, engine: &dyn Engine, report: &mut Report) -> bool {
    let host = &config.engine.docker_host;
    match engine.ping().await {
        Ok(()) => {
            report.ok("engine", format!("Docker answers at {host}"));
            true
        }
        Err(error) => {
            report.fail(
                "engine",
                format!("{host}: {}", ErrorChain(&error)),
                "see that Docker runs there (docker info), that DOCKER_HOST names it, and that this user may use it (group docker). Images, ports and networks were not checked",
            );
            false
        }
    }
}

pub(super) async fn images(config: &DesktopConfig, engine: &dyn Engine, report: &mut Report) {
    for template in &config.templates {
        let (id, image) = (&template.id, &template.image);
        let found = match engine.has_image(image).await {
            Ok(true) => {
                report.ok("image", format!("{image} of template {id} is here"));
                continue;
            }
            Ok(false) if template.pull == Pull::Never => {
                let found = format!("{image} of template {id} is not here, and pull is \"never\"");
                report.fail("image", found, format!("docker pull {image}, or build it"));
                continue;
            }
            Ok(false) => engine.can_pull(image).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(()) => report.warn(
                "image",
                format!("{image} of template {id} will be pulled at its first start, which takes minutes"),
                format!("docker pull {image}"),
            ),
            Err(error) => report.fail(
                "image",
                format!("{image} of template {id} is neither here nor to be pulled: {}", ErrorChain(&refused(error))),
                "correct KASM_IMAGE or the template's image; from a private registry bring it by hand (docker login, docker pull), or with docker load",
            ),
        }
    }
}

/// Whether homes are kept to the size that their template says, tried with a volume of its own.
pub(super) async fn quotas(
    config: &DesktopConfig,
    engine: &DockerEngine,
    instance: &str,
    report: &mut Report,
) {
    let templates = config.templates.iter();
    let limited = templates.filter(|one| one.home == Home::Volume && one.home_quota.is_some());
    let limited: Vec<_> = limited.collect();
    let Some((template, quota)) = limited
        .first()
        .and_then(|one| one.home_quota.map(|q| (*one, q)))
    else {
        return;
    };
    let names: Vec<&str> = limited.iter().map(|one| one.id.as_str()).collect();
    let names = names.join(", ");
    let instance = probe::instance(instance);
    // What an earlier run left that was killed.
    let left = [(LABEL_INSTANCE, instance.clone())];
    let tried = match engine.remove_volumes(&left).await {
        Ok(_) => {
            let home = home_volume(&instance, UserId::random(), template, 0);
            engine.keeps_quota(&home, quota).await
        }
        Err(error) => Err(error),
    };
    match tried {
        Ok(true) => report.ok("homes", format!("the engine keeps homes to home_quota (template {names})")),
        Ok(false) => report.warn(
            "homes",
            format!("home_quota of template {names} has no effect: the engine keeps no volume to a size"),
            "put Docker's directory onto XFS that is mounted with pquota, before homes are made; or leave home_quota out, and watch the disk",
        ),
        Err(error) => report.fail(
            "homes",
            format!("no home can be made for template {names}: {}", ErrorChain(&error)),
            "see what the engine says to docker volume create --opt size=1g test; behind deskgate engine-filter give both the same deskgate.toml",
        ),
    }
}

/// A registry that refuses is the same to us as one that is not there.
fn refused(error: EngineError) -> EngineError {
    match error {
        EngineError::Refused(error) => EngineError::Pull(PullFailure::Other, error),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_for_several_gateways_is_told() {
        let outcome = |version| {
            let mut report = Report::default();
            old_server(version, &mut report);
            report.text()
        };
        assert_eq!(outcome(None), "");
        assert_eq!(outcome(Some(14)), "");
        let told = outcome(Some(13));
        assert!(told.starts_with("warn database"), "{told}");
        assert!(told.contains("PostgreSQL 14 or newer"), "{told}");
    }
}
