//! The one client of the demo provider: which addresses it may be sent back to, and how it proves who it is.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use url::{ParseError, Url, form_urlencoded};

use super::provider_answer::Params;

/// The client as whoever starts the provider registers it.
#[derive(Clone)]
pub struct ClientRegistration {
    /// The `client_id`.
    pub client_id: String,
    /// The secret for the token endpoint.
    pub client_secret: String,
    /// Where a login may lead, compared character by character.
    pub redirect_uris: Vec<String>,
    /// Where a logout may lead, compared character by character.
    pub post_logout_redirect_uris: Vec<String>,
}

/// An address of the registration that is not a URL.
#[derive(Debug, thiserror::Error)]
#[error("the registered address `{address}` is not a URL")]
pub struct AddressError {
    /// The address as it was registered.
    pub address: String,
    /// What is wrong with it.
    #[source]
    pub source: ParseError,
}

/// The registration, with all its addresses known to be URLs.
pub(super) struct Client {
    id: String,
    secret: String,
    redirects: Vec<(String, Url)>,
    post_logout: Vec<(String, Url)>,
}

/// Why a request at the token endpoint is not from the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClientFault {
    /// It proves itself in two ways at once (RFC 6749, section 2.3).
    TwoMethods,
    /// No proof, or a wrong one.
    Unproven,
}

impl Client {
    /// Parses the addresses of `registration`.
    pub(super) fn new(registration: ClientRegistration) -> Result<Self, AddressError> {
        Ok(Self {
            id: registration.client_id,
            secret: registration.client_secret,
            redirects: addresses(registration.redirect_uris)?,
            post_logout: addresses(registration.post_logout_redirect_uris)?,
        })
    }

    /// The `client_id`.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The registered redirect address that is exactly `text`.
    pub(super) fn redirect(&self, text: &str) -> Option<&Url> {
        find(&self.redirects, text)
    }

    /// The registered address after logout that is exactly `text`.
    pub(super) fn post_logout(&self, text: &str) -> Option<&Url> {
        find(&self.post_logout, text)
    }

    /// Checks `client_secret_basic` or `client_secret_post` (`OpenID` Connect Core 1.0, section 9).
    pub(super) fn authenticate(
        &self,
        headers: &HeaderMap,
        params: &Params,
    ) -> Result<(), ClientFault> {
        let proven = match (headers.get(AUTHORIZATION), params.get("client_secret")) {
            (Some(_), Some(_)) => return Err(ClientFault::TwoMethods),
            (Some(header), None) => header.to_str().is_ok_and(|header| self.is_basic(header)),
            (None, Some(secret)) => {
                params.get("client_id") == Some(&self.id) && same(secret, &self.secret)
            }
            (None, None) => false,
        };
        proven.then_some(()).ok_or(ClientFault::Unproven)
    }

    fn is_basic(&self, header: &str) -> bool {
        let credentials = header
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
            .and_then(|(_, encoded)| BASE64_STANDARD.decode(encoded.trim()).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        credentials
            .as_deref()
            .and_then(|text| text.split_once(':'))
            .is_some_and(|(id, secret)| {
                is_or_encodes(id, &self.id) && is_or_encodes(secret, &self.secret)
            })
    }
}

fn addresses(texts: Vec<String>) -> Result<Vec<(String, Url)>, AddressError> {
    texts
        .into_iter()
        .map(|text| match Url::parse(&text) {
            Ok(url) => Ok((text, url)),
            Err(source) => Err(AddressError {
                address: text,
                source,
            }),
        })
        .collect()
}

fn find<'a>(registered: &'a [(String, Url)], text: &str) -> Option<&'a Url> {
    registered
        .iter()
        .find(|(address, _)| address == text)
        .map(|(_, url)| url)
}

/// RFC 6749, section 2.3.1, wants both parts form-encoded inside Basic; many clients leave that out.
fn is_or_encodes(sent: &str, expected: &str) -> bool {
    let decoded = form_urlencoded::parse(sent.as_bytes()).next();
    same(sent, expected) || decoded.is_some_and(|(name, _)| same(&name, expected))
}

fn same(left: &str, right: &str) -> bool {
    verify_slices_are_equal(left.as_bytes(), right.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        Client::new(ClientRegistration {
            client_id: "desk".to_owned(),
            client_secret: "a+b/c=".to_owned(),
            redirect_uris: vec!["https://desk.example/callback".to_owned()],
            post_logout_redirect_uris: vec!["https://desk.example/".to_owned()],
        })
        .unwrap()
    }

    fn basic(credentials: &str) -> HeaderMap {
        let value = format!("Basic {}", BASE64_STANDARD.encode(credentials));
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn basic_credentials_may_be_encoded_or_not() {
        let none = Params::parse(b"");
        for good in ["desk:a+b/c=", "desk:a%2Bb%2Fc%3D"] {
            assert_eq!(client().authenticate(&basic(good), &none), Ok(()));
        }
        for bad in ["desk:", "desk", "desk:wrong", "other:a+b/c=", ":a+b/c="] {
            let fault = client().authenticate(&basic(bad), &none);
            assert_eq!(fault, Err(ClientFault::Unproven), "{bad}");
        }
    }

    #[test]
    fn credentials_may_stand_in_the_form_but_not_in_both_places() {
        let form = Params::parse(b"client_id=desk&client_secret=a%2Bb%2Fc%3D");
        assert_eq!(client().authenticate(&HeaderMap::new(), &form), Ok(()));
        let both = client().authenticate(&basic("desk:a+b/c="), &form);
        assert_eq!(both, Err(ClientFault::TwoMethods));
        let neither = client().authenticate(&HeaderMap::new(), &Params::parse(b"client_id=desk"));
        assert_eq!(neither, Err(ClientFault::Unproven));
    }

    #[test]
    fn an_address_must_be_the_registered_one_to_the_letter() {
        let client = client();
        assert!(client.redirect("https://desk.example/callback").is_some());
        for other in [
            "https://desk.example/callback/",
            "https://desk.example/callback?x=1",
            "https://desk.example/",
            "",
        ] {
            assert!(client.redirect(other).is_none(), "{other}");
        }
        assert!(client.post_logout("https://desk.example").is_none());
    }

    #[test]
    fn an_address_that_is_no_url_is_refused_at_once() {
        let registration = ClientRegistration {
            client_id: "desk".to_owned(),
            client_secret: "secret".to_owned(),
            redirect_uris: vec!["/callback".to_owned()],
            post_logout_redirect_uris: Vec::new(),
        };
        let error = Client::new(registration).err().unwrap();
        assert_eq!(error.address, "/callback");
    }
}
