//! One order, from the list of names to the certificate (RFC 8555 section 7.4).

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeHandle, ChallengeType, Identifier, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::{Acme, AcmeError};
use crate::config::AcmeChallenge;
use crate::server::challenges::Proof;

/// How an order is asked for its state: soon at first, then less often.
const ASKING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// The chain and the key, both PEM.
pub(super) async fn order(acme: &Acme, account: &Account) -> Result<(String, String), AcmeError> {
    let hosts = &acme.config.hosts;
    // A new key each time; where it cannot be put, nobody needs to be asked for a certificate.
    let key = KeyPair::generate().map_err(AcmeError::Request)?;
    let key_pem = key.serialize_pem();
    acme.certificate.lay_key(&key_pem)?;
    let mut params = CertificateParams::new(hosts.clone()).map_err(AcmeError::Request)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(AcmeError::Request)?;

    let names: Vec<Identifier> = hosts.iter().cloned().map(Identifier::Dns).collect();
    let ordered = account.new_order(&NewOrder::new(&names)).await;
    let mut order = ordered.map_err(AcmeError::Authority)?;
    let proofs = prove(acme, &mut order).await?;
    let status = order.poll_ready(&ASKING).await;
    let status = match status {
        Ok(OrderStatus::Ready) => OrderStatus::Ready,
        Ok(status) => return Err(reason(&mut order, AcmeError::GivenUp(status)).await),
        Err(error) => return Err(reason(&mut order, AcmeError::Authority(error)).await),
    };
    drop((proofs, status));
    let finalized = order.finalize_csr(request.der()).await;
    finalized.map_err(AcmeError::Authority)?;
    let chain = order.poll_certificate(&ASKING).await;
    Ok((chain.map_err(AcmeError::Authority)?, key_pem))
}

/// Shows what the authority will look for, and tells it so. It is shown as long as the returned values live.
async fn prove(acme: &Acme, order: &mut Order) -> Result<Vec<Proof>, AcmeError> {
    let kind = acme.config.challenge;
    let mut proofs = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(AcmeError::Authority)?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let host = authorization.identifier().to_string();
        let wanted = match kind {
            AcmeChallenge::Http01 => ChallengeType::Http01,
            AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        };
        let Some(mut challenge) = authorization.challenge(wanted) else {
            let challenge = kind.as_str();
            return Err(AcmeError::NotOffered { challenge, host });
        };
        proofs.push(show(acme, &host, &challenge)?);
        let ready = challenge.set_ready().await;
        ready.map_err(AcmeError::Authority)?;
    }
    Ok(proofs)
}

fn show(acme: &Acme, host: &str, challenge: &ChallengeHandle<'_>) -> Result<Proof, AcmeError> {
    let authorization = challenge.key_authorization();
    Ok(match acme.config.challenge {
        AcmeChallenge::Http01 => {
            let text = authorization.as_str();
            acme.challenges.show_text(&challenge.token, text)
        }
        AcmeChallenge::TlsAlpn01 => {
            let provider = rustls::crypto::aws_lc_rs::default_provider();
            let digest = authorization.digest();
            let shown = acme
                .challenges
                .show_certificate(host, digest.as_ref(), &provider);
            shown?
        }
    })
}

/// Why an order failed: what the authority says of a name, or `otherwise`.
async fn reason(order: &mut Order, otherwise: AcmeError) -> AcmeError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            continue;
        }
        let problem = authorization
            .challenges
            .iter()
            .find_map(|challenge| challenge.error.clone());
        if let Some(source) = problem {
            let host = authorization.identifier().to_string();
            return AcmeError::Unproven { host, source };
        }
    }
    otherwise
}
