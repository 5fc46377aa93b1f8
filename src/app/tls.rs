//! The certificate and all that comes with it: the TLS door, and the orders that keep it good.

use std::sync::Arc;

use url::Url;

use super::AppError;
use crate::acme::{self, Acme};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{AcmeChallenge, ServerConfig};
use crate::server::certificate::Certificate;
use crate::server::challenges::Challenges;
use crate::server::tls::Acceptor;
use crate::telemetry::metrics::Metrics;

/// What a gateway has that speaks TLS itself.
#[derive(Default)]
pub(super) struct Tls {
    pub acceptor: Option<Acceptor>,
    pub certificate: Option<Arc<Certificate>>,
    /// Who orders it, if somebody does.
    pub acme: Option<Acme>,
    /// What the plain door shows to an authority, if that is where it looks.
    pub challenges: Option<Challenges>,
}

/// Reads the certificate, or makes one.
pub(super) fn prepare(
    server: &ServerConfig,
    (clock, metrics, audit): (&Arc<dyn Clock>, &Metrics, &Audit),
) -> Result<Tls, AppError> {
    let Some(files) = &server.tls else {
        return Ok(Tls::default());
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let hosts = std::iter::once(&server.public_url)
        .chain(&server.desktop_origin)
        .filter_map(Url::host_str);
    let hosts: Vec<&str> = hosts.collect();
    if server.acme.is_some() {
        acme::recover(files);
    }
    let certificate = Arc::new(Certificate::load(files.clone(), &hosts, provider.clone())?);
    let (mut at_tls, mut at_http, mut orders) = (None, None, None);
    if let Some(config) = &server.acme {
        let challenges = Challenges::default();
        match config.challenge {
            AcmeChallenge::TlsAlpn01 => at_tls = Some(challenges.clone()),
            AcmeChallenge::Http01 => at_http = Some(challenges.clone()),
        }
        orders = Some(Acme::new(
            config.clone(),
            files,
            (certificate.clone(), challenges),
            (clock.clone(), metrics.clone(), audit.clone()),
        )?);
    }
    Ok(Tls {
        acceptor: Some(Acceptor::new(certificate.clone(), at_tls, provider)),
        certificate: Some(certificate),
        acme: orders,
        challenges: at_http,
    })
}
