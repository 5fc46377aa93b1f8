//! The ACME authority that certificates are ordered from. It is looked at and asked for nothing.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde::Deserialize;

use super::report::Report;
use crate::acme;
use crate::config::{AcmeConfig, ServerConfig, TlsConfig};
use crate::outbound::HttpClient;
use crate::telemetry::ErrorChain;

/// What is needed of a directory (RFC 8555 section 7.1.1).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "it is read to see that it is there")]
struct Directory {
    new_nonce: String,
    new_account: String,
    new_order: String,
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    external_account_required: bool,
    terms_of_service: Option<String>,
}

pub(super) async fn look(server: &ServerConfig, report: &mut Report) {
    let (Some(config), Some(files)) = (&server.acme, &server.tls) else {
        return;
    };
    let at = &config.directory;
    match directory(config).await {
        Ok(directory) => tell(config, files, &directory.meta, report),
        Err(why) => report.fail(
            "acme",
            format!("{at}: {why}"),
            "ACME_DIRECTORY is the address of the authority's directory, reached from here; a private root belongs into ACME_CA_FILE",
        ),
    }
}

async fn directory(config: &AcmeConfig) -> Result<Directory, String> {
    let said = |error: &(dyn std::error::Error + 'static)| ErrorChain(error).to_string();
    let http = HttpClient::new(config.ca_file.as_deref()).map_err(|error| said(&error))?;
    let question = Request::get(config.directory.as_str()).body(Full::<Bytes>::default());
    let question = question.map_err(|error| said(&error))?;
    let answer = http.send(question).await.map_err(|error| said(&error))?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status()));
    }
    serde_json::from_slice(answer.body()).map_err(|error| format!("it is no directory: {error}"))
}

fn tell(config: &AcmeConfig, files: &TlsConfig, meta: &Meta, report: &mut Report) {
    let (at, challenge) = (&config.directory, config.challenge.as_str());
    if acme::has_account(files, config) {
        let found = format!(
            "{at} answers, and there is an account for it; names are proven by {challenge}"
        );
        return report.ok("acme", found);
    }
    if meta.external_account_required && config.external_account.is_none() {
        return report.fail(
            "acme",
            format!("{at} opens accounts only for its customers"),
            "set ACME_EAB_KID and ACME_EAB_KEY to what the authority gave for external account binding",
        );
    }
    let terms = meta.terms_of_service.as_deref();
    let terms = terms.map_or_else(String::new, |terms| format!(" and agree to {terms}"));
    report.ok(
        "acme",
        format!("{at} answers; the first start will open an account{terms}; names are proven by {challenge}"),
    );
}
