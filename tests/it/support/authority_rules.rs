//! What the tests' ACME authority makes of requests whose signature is good: accounts, orders, authorizations, challenges and
//! certificates (RFC 8555 section 7).

use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL;
use rcgen::{CertificateSigningRequestParams, SanType};
use rustls::pki_types::CertificateSigningRequestDer;
use serde_json::{Value, json};

use super::authority::{
    Account, Authorization, ERROR, Inner, Order, Refusal, Signed, State, malformed, refuse,
};
use super::authority_look;

/// Status, location and body of an answer.
pub(super) type Answer = (u16, Option<String>, Value);

impl Inner {
    /// Sections 7.3 and 7.3.4.
    pub(super) fn new_account(&self, signed: &Signed) -> Result<Answer, Refusal> {
        let payload = signed.payload.clone().unwrap_or_default();
        if signed.account.is_some() {
            return malformed("a new account is signed for with its key");
        }
        if payload["termsOfServiceAgreed"] != true {
            return refuse("userActionRequired", "terms");
        }
        let contacts = payload["contact"].as_array().cloned().unwrap_or_default();
        for contact in contacts {
            if !contact
                .as_str()
                .is_some_and(|text| text.starts_with("mailto:"))
            {
                return refuse("unsupportedContact", contact.to_string());
            }
        }
        let mut state = self.state();
        if let Some((kid, key)) = state.troubles.external {
            let binding = &payload["externalAccountBinding"];
            let text = |name: &str| binding[name].as_str().unwrap_or_default();
            let decoded = |name: &str| URL.decode(text(name)).unwrap_or_default();
            let header: Value = serde_json::from_slice(&decoded("protected")).unwrap_or_default();
            let inner: Value = serde_json::from_slice(&decoded("payload")).unwrap_or_default();
            let message = format!("{}.{}", text("protected"), text("payload"));
            let key = hmac::Key::new(hmac::HMAC_SHA256, key);
            let expected = json!({"alg": "HS256", "kid": kid, "url": self.url("account")});
            let bound = hmac::verify(&key, message.as_bytes(), &decoded("signature")).is_ok();
            if header != expected || inner != signed.jwk || !bound {
                return refuse("externalAccountRequired", binding.to_string());
            }
        }
        let known = state.accounts.iter().position(|one| one.jwk == signed.jwk);
        let index = known.unwrap_or(state.accounts.len());
        if known.is_none() {
            state.accounts.push(Account {
                jwk: signed.jwk.clone(),
                contact: payload["contact"].clone(),
            });
        }
        let location = self.url(&format!("account/{index}"));
        let status = if known.is_some() { 200 } else { 201 };
        Ok((status, Some(location), json!({"status": "valid"})))
    }

    /// Section 7.4.
    pub(super) fn new_order(
        &self,
        account: usize,
        payload: Option<&Value>,
    ) -> Result<Answer, Refusal> {
        let wanted = payload
            .and_then(|payload| payload["identifiers"].as_array())
            .cloned();
        let mut state = self.state();
        if let Some(seconds) = state.troubles.limited {
            state.refused_orders += 1;
            return Err(Refusal {
                status: 429,
                kind: "rateLimited",
                detail: "too many".into(),
                retry_after: Some(seconds),
            });
        }
        let mut hosts = Vec::new();
        for identifier in wanted.unwrap_or_default() {
            match (&identifier["type"], identifier["value"].as_str()) {
                (Value::String(kind), Some(host)) if kind == "dns" && host.contains('.') => {
                    hosts.push(host.to_owned());
                }
                _ => return refuse("rejectedIdentifier", identifier.to_string()),
            }
        }
        if hosts.is_empty() {
            return malformed("no identifiers");
        }
        let first = state.authorizations.len();
        for host in &hosts {
            state.authorizations.push(Authorization {
                account,
                host: host.clone(),
                status: "pending",
                token: uuid::Uuid::new_v4().simple().to_string(),
                kind: None,
                error: None,
            });
        }
        let authorizations = (first..state.authorizations.len()).collect();
        let index = state.orders.len();
        state.orders.push(Order {
            account,
            hosts,
            authorizations,
            status: "pending",
            chain: None,
        });
        let location = self.url(&format!("order/{index}"));
        Ok((201, Some(location), self.shown(&mut state, index)))
    }

    pub(super) fn order(
        &self,
        account: usize,
        index: usize,
        payload: Option<&Value>,
    ) -> Result<Answer, Refusal> {
        let mut state = self.state();
        if payload.is_some()
            || state
                .orders
                .get(index)
                .is_none_or(|order| order.account != account)
        {
            return malformed("no such order of this account");
        }
        let shown = self.shown(&mut state, index);
        if state.orders[index].status == "processing" {
            state.orders[index].status = "valid";
        }
        Ok((200, None, shown))
    }

    /// An order as it is now (section 7.1.3).
    fn shown(&self, state: &mut State, index: usize) -> Value {
        let states: Vec<&str> = state.orders[index]
            .authorizations
            .iter()
            .map(|at| state.authorizations[*at].status)
            .collect();
        let order = &mut state.orders[index];
        if order.status == "pending" {
            if states.iter().all(|status| *status == "valid") {
                order.status = "ready";
            } else if states.contains(&"invalid") {
                order.status = "invalid";
            }
        }
        let urls = order
            .authorizations
            .iter()
            .map(|at| self.url(&format!("authz/{at}")));
        let mut shown = json!({
            "status": order.status,
            "identifiers": order.hosts.iter().map(|host| json!({"type": "dns", "value": host})).collect::<Vec<_>>(),
            "authorizations": urls.collect::<Vec<_>>(),
            "finalize": self.url(&format!("finalize/{index}")),
        });
        if order.status == "valid" {
            shown["certificate"] = json!(self.url(&format!("certificate/{index}")));
        }
        shown
    }

    pub(super) fn authorization(
        &self,
        account: usize,
        index: usize,
        payload: Option<&Value>,
    ) -> Result<Answer, Refusal> {
        let state = self.state();
        let one = state
            .authorizations
            .get(index)
            .filter(|one| one.account == account);
        let Some(one) = one.filter(|_| payload.is_none()) else {
            return malformed("no such authorization of this account");
        };
        let challenges =
            ["dns-01", "http-01", "tls-alpn-01"].map(|kind| self.challenge_of(one, index, kind));
        let shown = json!({
            "status": one.status,
            "identifier": {"type": "dns", "value": one.host},
            "challenges": challenges,
        });
        Ok((200, None, shown))
    }

    fn challenge_of(&self, one: &Authorization, index: usize, kind: &str) -> Value {
        let chosen = one.kind.as_deref() == Some(kind);
        let status = match (chosen, one.status) {
            (true, "pending") => "processing",
            (true, status) => status,
            (false, _) => "pending",
        };
        let mut shown = json!({
            "type": kind, "status": status, "token": one.token,
            "url": self.url(&format!("challenge/{index}/{kind}")),
        });
        if let Some(error) = one.error.as_ref().filter(|_| chosen) {
            shown["error"] = error.clone();
        }
        shown
    }

    /// Section 7.5.1: the client says that the proof is there, and it is looked for.
    pub(super) fn challenge(
        self: Arc<Self>,
        account: usize,
        (index, kind): (usize, &str),
        payload: Option<&Value>,
    ) -> Result<Answer, Refusal> {
        let mut state = self.state();
        let thumbprint = thumbprint(&state.accounts[account].jwk);
        let one = state
            .authorizations
            .get_mut(index)
            .filter(|one| one.account == account);
        let Some(one) = one.filter(|_| payload == Some(&json!({}))) else {
            return malformed("no such challenge, or no empty object");
        };
        if one.kind.is_some() || !["http-01", "tls-alpn-01"].contains(&kind) {
            return malformed("this challenge cannot be tried");
        }
        one.kind = Some(kind.to_owned());
        let shown = self.challenge_of(one, index, kind);
        let (host, token, kind) = (one.host.clone(), one.token.clone(), kind.to_owned());
        let doors = state.doors.get(&host).copied();
        drop(state);
        let inner = self.clone();
        self.looks.lock().unwrap().spawn(async move {
            let proof = format!("{token}.{thumbprint}");
            let found = match (doors, &*kind) {
                (None, _) => Err(format!("no address for {host}")),
                (Some((plain, _)), "http-01") => {
                    authority_look::http(plain, &host, &token, &proof).await
                }
                (Some((_, encrypted)), _) => {
                    authority_look::tls_alpn(encrypted, &host, &proof).await
                }
            };
            let mut state = inner.state();
            let one = &mut state.authorizations[index];
            match found {
                Ok(()) => one.status = "valid",
                Err(detail) => {
                    one.status = "invalid";
                    one.error = Some(
                        json!({"type": format!("{ERROR}unauthorized"), "detail": detail, "status": 403}),
                    );
                }
            }
        });
        Ok((200, None, shown))
    }

    /// Section 7.4: the request for the certificate.
    pub(super) fn finalize(
        &self,
        account: usize,
        index: usize,
        payload: Option<&Value>,
    ) -> Result<Answer, Refusal> {
        let mut state = self.state();
        if state
            .orders
            .get(index)
            .is_none_or(|order| order.account != account)
        {
            return malformed("no such order of this account");
        }
        self.shown(&mut state, index);
        if state.orders[index].status != "ready" {
            return refuse("orderNotReady", state.orders[index].status);
        }
        let csr = payload
            .and_then(|payload| payload["csr"].as_str())
            .unwrap_or_default();
        let csr = CertificateSigningRequestDer::from(URL.decode(csr).unwrap_or_default());
        let mut request = match CertificateSigningRequestParams::from_der(&csr) {
            Ok(request) => request,
            Err(error) => return refuse("badCSR", error.to_string()),
        };
        let mut names = Vec::new();
        for name in &request.params.subject_alt_names {
            match name {
                SanType::DnsName(name) => names.push(name.as_str().to_owned()),
                other => return refuse("badCSR", format!("{other:?}")),
            }
        }
        let mut hosts = state.orders[index].hosts.clone();
        names.sort_unstable();
        hosts.sort_unstable();
        if names != hosts || request.params.distinguished_name.iter().next().is_some() {
            return refuse("badCSR", format!("{names:?} for {hosts:?}"));
        }
        let point = rcgen::PublicKeyData::der_bytes(&request.public_key).to_vec();
        if state.accounts[account].jwk["x"] == json!(URL.encode(&point[1..33])) {
            return refuse("badCSR", "the key is the account's");
        }
        self.date(&mut request.params);
        let leaf = request.signed_by(&self.issuer).unwrap();
        state.orders[index].chain = Some(leaf.pem() + &self.root_pem);
        state.orders[index].status = "processing";
        Ok((200, None, self.shown(&mut state, index)))
    }
}

/// RFC 7638.
fn thumbprint(jwk: &Value) -> String {
    let text = format!(
        r#"{{"crv":{},"kty":{},"x":{},"y":{}}}"#,
        jwk["crv"], jwk["kty"], jwk["x"], jwk["y"]
    );
    URL.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}
