//! Certificates from an ACME authority: ordered at the first start, proven at either door, renewed in time, and never
//! asked for too often.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use deskgate::model::time::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tokio::net::TcpStream;

use crate::audit;
use crate::support::authority::{Authority, DAYS};
use crate::support::authority_look;
use crate::support::browser::Browser;
use crate::support::gateway::{PATIENCE, TestGateway, eventually, own_ports};

/// Long enough for a gateway to look whether something is due.
const A_WHILE: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A gateway that orders at `authority`, and the directory of its certificate.
struct Site {
    authority: Authority,
    certs: tempfile::TempDir,
    settings: Vec<(String, String)>,
}

impl Site {
    async fn new(challenge: &str, more: &[(&str, &str)]) -> Self {
        let authority = Authority::start().await;
        let certs = tempfile::tempdir().unwrap();
        let path = |name: &str| certs.path().join(name).display().to_string();
        let port = own_ports();
        let mut settings = Vec::new();
        for (key, value) in [
            ("TLS", "on".to_owned()),
            ("TLS_CERT", path("tls.crt")),
            ("TLS_KEY", path("tls.key")),
            ("LISTEN", format!("127.0.0.1:{}", port + 46)),
            ("HTTP_LISTEN", format!("127.0.0.1:{}", port + 47)),
            ("PORT_RANGE", format!("{port}-{}", port + 40)),
            ("DESKTOP_SUBNETS", "off".to_owned()),
            ("MAX_DESKTOPS", "20".to_owned()),
            ("ACME_DIRECTORY", authority.directory()),
            ("ACME_CA_FILE", authority.root().display().to_string()),
            ("ACME_CHALLENGE", challenge.to_owned()),
            ("ACME_EMAIL", "head@desk.test".to_owned()),
        ] {
            settings.push((key.to_owned(), value));
        }
        for (key, value) in more {
            settings.push(((*key).to_owned(), (*value).to_owned()));
        }
        let site = Self {
            authority,
            certs,
            settings,
        };
        for host in ["desk.test", "desktops.test"] {
            site.authority.point(host, plain(), encrypted());
        }
        site
    }

    async fn start(&self) -> TestGateway {
        let settings: Vec<_> = self
            .settings
            .iter()
            .map(|(key, value)| (&**key, &**value))
            .collect();
        TestGateway::start_with(&settings).await
    }

    /// Time passes, for the gateway and for the authority.
    fn advance(&self, gateway: &TestGateway, by: Duration) {
        gateway.clock.advance(by);
        self.authority.clock().advance(by);
    }

    async fn issued(&self, count: usize) {
        eventually("a certificate is issued", || async {
            self.authority.issued() == count
        })
        .await;
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.certs.path().join(name)).unwrap_or_default()
    }

    /// Whether nobody but the owner may read a file.
    fn is_private(&self, name: &str) -> bool {
        let data = std::fs::metadata(self.certs.path().join(name)).unwrap();
        data.permissions().mode().trailing_zeros() >= 6
    }
}

/// Where the gateway is asked in the clear.
fn plain() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], own_ports() + 47))
}

/// Where it is asked by TLS.
fn encrypted() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], own_ports() + 46))
}

/// Whether `host` is vouched for by the authority at the gateway's door.
async fn is_trusted(site: &Site, host: &'static str) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(site.authority.root()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(encrypted()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    match connector.connect(host.try_into().unwrap(), socket).await {
        Ok(stream) => {
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            true
        }
        Err(_) => false,
    }
}

async fn orders(gateway: &TestGateway, outcome: &str) -> u32 {
    let address = gateway.config.server.metrics.unwrap();
    // They are served a moment after the gateway itself.
    eventually("metrics are served", || async {
        TcpStream::connect(address).await.is_ok()
    })
    .await;
    let mut operator = Browser::new(address);
    let text = operator.get("/metrics").await.text();
    let series = format!("deskgate_certificate_orders_total{{outcome=\"{outcome}\"}} ");
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(&series));
    value.expect("the series").parse().expect("a number")
}

async fn ordered(gateway: &TestGateway, outcome: &str, times: u32) {
    let what = format!("{times} orders ended as {outcome}");
    eventually(&what, || async { orders(gateway, outcome).await == times }).await;
}

#[tokio::test]
async fn the_first_start_orders_by_tls_alpn_and_takes_what_is_issued() {
    let site = Site::new("tls-alpn-01", &[]).await;
    site.authority.trouble(|troubles| troubles.bad_nonces = 2);
    let gateway = site.start().await;
    site.issued(1).await;
    eventually("it is used", || is_trusted(&site, "desk.test")).await;
    assert_eq!(
        site.authority.contacts(),
        [json!(["mailto:head@desk.test"])]
    );
    let proofs = [("desk.test".to_owned(), "tls-alpn-01".to_owned())];
    assert_eq!(site.authority.proofs(), proofs);
    assert!(site.is_private("tls.key") && site.is_private("acme-account.json"));
    assert!(site.text("acme-account.json").contains("key_pkcs8"));
    assert!(!site.certs.path().join("tls.key.new").exists());
    ordered(&gateway, "success", 1).await;
    let shown = authority_look::certificate(encrypted(), "desk.test").await;
    assert!(shown.is_err(), "nothing is shown when nothing is ordered");
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(site.authority.orders(), (1, 0), "it is good");
    site.authority.assert_no_faults();
    gateway.stop().await;
}

#[tokio::test]
async fn both_names_are_proven_at_the_plain_door() {
    let origin = [("DESKTOP_ORIGIN", "https://desktops.test")];
    let site = Site::new("http-01", &origin).await;
    let gateway = site.start().await;
    site.issued(1).await;
    for host in ["desk.test", "desktops.test"] {
        eventually("it is used", || is_trusted(&site, host)).await;
    }
    let mut kinds: Vec<_> = site.authority.proofs();
    kinds.sort_unstable();
    let kind = |host: &str| (host.to_owned(), "http-01".to_owned());
    assert_eq!(kinds, [kind("desk.test"), kind("desktops.test")]);
    let mut anybody = Browser::new(plain());
    let unknown = anybody.get("/.well-known/acme-challenge/unknown").await;
    assert_eq!(unknown.status, 404);
    assert_eq!(anybody.get("/x").await.status, 308);
    let shown = authority_look::certificate(encrypted(), "desk.test").await;
    assert!(shown.is_err(), "the other way of proving is off");
    site.authority.assert_no_faults();
    gateway.stop().await;
}

#[tokio::test]
async fn it_is_renewed_in_time_with_the_account_that_was_kept() {
    let site = Site::new("tls-alpn-01", &[]).await;
    let gateway = site.start().await;
    site.issued(1).await;
    ordered(&gateway, "success", 1).await;
    let first = (site.text("tls.crt"), site.text("tls.key"));
    site.advance(&gateway, DAY * 50);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(site.authority.issued(), 1, "more than a third is left");
    site.advance(&gateway, DAY * 11);
    site.issued(2).await;
    ordered(&gateway, "success", 2).await;
    let told = audit::log_of(&gateway, 2).await;
    let expected = [
        "certificate_ordered success first",
        "certificate_ordered success renewal",
    ];
    assert_eq!(audit::words(&told), expected);
    for entry in &told {
        let object = (entry.object_kind.as_deref(), entry.object_id.as_deref());
        assert_eq!(object, (Some("certificate"), Some("desk.test")));
        let actor = (&*entry.actor_kind, entry.actor_name.as_deref());
        assert_eq!(actor, ("system", Some("acme")));
        assert_eq!(entry.details["names"], "desk.test");
        assert_eq!(entry.details["authority"], site.authority.directory());
        let expires: Timestamp = entry.details["expires"].as_str().unwrap().parse().unwrap();
        let lasts = expires.since(entry.at);
        let days = u32::try_from(DAYS).unwrap();
        assert!(
            lasts > DAY * (days - 2) && lasts < DAY * (days + 1),
            "{entry:?}"
        );
    }
    let second = (site.text("tls.crt"), site.text("tls.key"));
    assert!(
        first.0 != second.0 && first.1 != second.1,
        "key and certificate are new"
    );

    let gateway = gateway.killed_and_started_again().await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(site.authority.issued(), 2, "a start alone orders nothing");
    site.advance(&gateway, DAY * 61);
    site.issued(3).await;
    ordered(&gateway, "success", 1).await;
    assert_eq!(site.authority.contacts().len(), 1);

    // An authority that has lost its accounts gets a new one after a pause.
    site.authority
        .trouble(|troubles| troubles.forgets_accounts = true);
    site.advance(&gateway, DAY * 61);
    ordered(&gateway, "failure", 1).await;
    site.advance(&gateway, Duration::from_secs(180));
    site.issued(4).await;
    ordered(&gateway, "success", 2).await;
    assert_eq!(
        site.authority.contacts().len(),
        1,
        "the one after it forgot"
    );
    let told = audit::log_of(&gateway, 5).await;
    let expected = [
        "certificate_ordered failure refused",
        "certificate_ordered success renewal",
    ];
    assert_eq!(audit::words(&told[3..]), expected);
    site.authority.assert_no_faults();
    gateway.stop().await;
}

#[tokio::test]
async fn a_name_that_cannot_be_proven_is_tried_again_after_a_pause() {
    let site = Site::new("tls-alpn-01", &[]).await;
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    site.authority.point("desk.test", nobody, nobody);
    let gateway = site.start().await;
    ordered(&gateway, "failure", 1).await;
    assert!(
        site.text("tls.crt").contains("BEGIN CERTIFICATE"),
        "the self-signed one stays"
    );
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(site.authority.orders().0, 1, "not before the pause is over");
    let told = audit::log_of(&gateway, 1).await;
    let expected = ["certificate_ordered failure unproven"];
    assert_eq!(audit::words(&told), expected, "once");
    let error = told[0].details["error"].as_str().unwrap();
    assert!(error.contains("desk.test is ours"), "{error}");
    assert!(!told[0].details.contains_key("expires"));
    site.authority.point("desk.test", plain(), encrypted());
    // A restart does not shorten the pause.
    let gateway = gateway.killed_and_started_again().await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(site.authority.orders().0, 1, "a restart is no reason");
    site.advance(&gateway, Duration::from_secs(180));
    site.issued(1).await;
    eventually("it is used", || is_trusted(&site, "desk.test")).await;
    site.authority.assert_no_faults();
    gateway.stop().await;
}

#[tokio::test]
async fn an_authority_that_wants_a_pause_gets_it() {
    let site = Site::new("http-01", &[]).await;
    site.authority
        .trouble(|troubles| troubles.limited = Some(3 * 3600));
    let gateway = site.start().await;
    ordered(&gateway, "rate_limited", 1).await;
    site.authority.trouble(|troubles| troubles.limited = None);
    site.advance(&gateway, Duration::from_secs(2 * 3600));
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(site.authority.orders(), (0, 1), "the pause is not over");
    let told = audit::log_of(&gateway, 1).await;
    let expected = ["certificate_ordered failure rate_limited"];
    assert_eq!(audit::words(&told), expected);
    site.advance(&gateway, Duration::from_secs(3700));
    site.issued(1).await;
    ordered(&gateway, "success", 1).await;
    site.authority.assert_no_faults();
    gateway.stop().await;
}

#[tokio::test]
async fn a_good_certificate_is_kept_until_it_is_due() {
    let site = Site::new("tls-alpn-01", &[]).await;
    let (chain, key) = site.authority.certify(&["desk.test"]);
    std::fs::write(site.certs.path().join("tls.crt"), &chain).unwrap();
    std::fs::write(site.certs.path().join("tls.key"), key).unwrap();
    let gateway = site.start().await;
    assert!(is_trusted(&site, "desk.test").await);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(site.authority.orders(), (0, 0));
    let days = u32::try_from(DAYS).unwrap();
    site.advance(&gateway, DAY * (days * 2 / 3 + 1));
    site.issued(1).await;
    eventually("the files are replaced", || async {
        site.text("tls.crt") != chain
    })
    .await;
    site.authority.assert_no_faults();
    gateway.stop().await;
}

#[tokio::test]
async fn a_certificate_from_elsewhere_makes_room_when_the_authority_changes() {
    let site = Site::new("tls-alpn-01", &[]).await;
    let gateway = site.start().await;
    site.issued(1).await;
    ordered(&gateway, "success", 1).await;
    let other = Site::new("tls-alpn-01", &[]).await;
    let (directory, root) = (other.authority.directory(), other.authority.root());
    let root = root.display().to_string();
    let mut settings: Vec<_> = site
        .settings
        .iter()
        .map(|(key, value)| (&**key, &**value))
        .collect();
    settings.extend([("ACME_DIRECTORY", &*directory), ("ACME_CA_FILE", &*root)]);
    let gateway = gateway.killed_and_started_with(&settings, None).await;
    gateway.clock.advance(Duration::from_secs(180));
    other.issued(1).await;
    eventually("both accounts are kept", || async {
        let text = site.text("acme-account.json");
        text.contains(&directory) && text.contains(&site.authority.directory())
    })
    .await;
    for authority in [&site.authority, &other.authority] {
        authority.assert_no_faults();
    }
    gateway.stop().await;
}

#[tokio::test]
async fn an_account_is_bound_to_one_that_exists_elsewhere() {
    let binding = [
        ("ACME_EAB_KID", "customer-7"),
        ("ACME_EAB_KEY", "c2VjcmV0IG9mIGN1c3RvbWVyIDc="),
    ];
    let site = Site::new("http-01", &binding).await;
    let external = ("customer-7", &b"secret of customer 7"[..]);
    site.authority
        .trouble(|troubles| troubles.external = Some(external));
    let gateway = site.start().await;
    site.issued(1).await;
    tokio::time::timeout(PATIENCE, ordered(&gateway, "success", 1))
        .await
        .unwrap();
    site.authority.assert_no_faults();
    gateway.stop().await;
}
