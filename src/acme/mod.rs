//! The gateway's certificate from an ACME authority (RFC 8555): ordered when there is none or when a third of its lifetime
//! is left, put where an operator would put one, and never ordered more often than authorities like.
//!
//! Gateways that share the files share a lock, so that one of them orders and the others find its certificate. Those
//! with files of their own order for themselves.

mod accounts;
mod client;
mod lock;
mod order;
mod plan;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use instant_acme::{Account, ExternalAccountKey, NewAccount};

use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{AcmeConfig, TlsConfig};
use crate::model::audit::{Action, Actor, Event, Object, Outcome};
use crate::model::time::Timestamp;
use crate::outbound::{HttpClient, TrustError};
use crate::server::certificate::{Certificate, CertificateError, Facts};
use crate::server::challenges::Challenges;
use crate::telemetry::ErrorChain;
use crate::telemetry::metrics::Metrics;
use accounts::Accounts;
use client::Client;
use lock::Lock;

/// How often it is looked whether a certificate is due.
const LOOK_PERIOD: Duration = Duration::from_secs(2);
/// How long one order may take, the authority's questions included.
const ORDER_DEADLINE: Duration = Duration::from_secs(300);
/// Where the accounts are, beside the certificate.
const ACCOUNTS: &str = "acme-account.json";

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// A file beside the certificate cannot be read or written.
    #[error("{} cannot be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file of accounts is not ours.
    #[error("{} does not hold accounts", path.display())]
    Accounts {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The authority says no, or nothing.
    #[error("the authority refuses or cannot be asked")]
    Authority(#[source] instant_acme::Error),
    /// It wants another proof.
    #[error("the authority does not offer {challenge} for {host}")]
    NotOffered {
        /// What we can do.
        challenge: &'static str,
        /// For which name.
        host: String,
    },
    /// It looked and did not find what it should.
    #[error("the authority does not find that {host} is ours")]
    Unproven {
        /// Which name.
        host: String,
        /// What it says.
        source: instant_acme::Problem,
    },
    /// An order ended without a reason.
    #[error("the authority gave the order up ({0:?})")]
    GivenUp(instant_acme::OrderStatus),
    /// The key or the request cannot be made.
    #[error("a request for a certificate cannot be made")]
    Request(#[source] rcgen::Error),
    /// What was issued is not what was ordered, or cannot be put in its place.
    #[error("the certificate cannot be used")]
    Certificate(#[from] CertificateError),
    /// The key of the external account cannot be read.
    #[error("ACME_EAB_KEY is not base64url")]
    ExternalKey(#[source] base64::DecodeError),
    /// It took too long.
    #[error("the order was not done within {} s", ORDER_DEADLINE.as_secs())]
    Deadline,
    /// Ordering again would never end.
    #[error("the certificate that was issued would have to be renewed at once")]
    DueAtOnce,
}

impl AcmeError {
    /// Why, as a word for the audit log.
    fn word(&self) -> &'static str {
        match self {
            _ if client::is_rate_limited(self) => "rate_limited",
            Self::Authority(instant_acme::Error::Api(_)) => "refused",
            Self::Authority(_) => "unreachable",
            Self::NotOffered { .. } | Self::Unproven { .. } | Self::GivenUp(_) => "unproven",
            Self::Deadline => "timeout",
            Self::File { .. }
            | Self::Accounts { .. }
            | Self::Request(_)
            | Self::Certificate(_)
            | Self::ExternalKey(_)
            | Self::DueAtOnce => "unusable",
        }
    }
}

/// What an attempt came to.
enum Attempt {
    /// Somebody else is at it, or was a moment ago.
    NotNow,
    /// Another gateway did it.
    NotNeeded,
    /// There is a new certificate.
    Issued,
}

/// Orders certificates.
#[derive(Debug)]
pub struct Acme {
    config: AcmeConfig,
    directory: PathBuf,
    certificate: Arc<Certificate>,
    challenges: Challenges,
    http: HttpClient,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    audit: Audit,
    /// This gateway's place in what is spread, in thousandths.
    share: u32,
    /// Certificates that other authorities issued.
    foreign: Vec<String>,
}

/// Finishes what the last process was doing with the files. To be called before they are read.
pub fn recover(files: &TlsConfig) {
    let recovered = match Lock::take(&home(files)) {
        Ok(Some(_lock)) => Certificate::finish_replacement(files).map_err(AcmeError::from),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = recovered {
        tracing::warn!(error = %ErrorChain(&error), "certificates cannot be written");
    }
}

/// Whether `directory` has an account at this authority, as far as can be told.
#[must_use]
pub fn has_account(files: &TlsConfig, config: &AcmeConfig) -> bool {
    let accounts = Accounts::read(&home(files).join(ACCOUNTS));
    accounts.is_ok_and(|accounts| accounts.has(config.directory.as_str()))
}

fn home(files: &TlsConfig) -> PathBuf {
    let parent = files.cert.parent();
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

impl Acme {
    /// Orders what `config` says for `certificate`, which is read from `files`.
    ///
    /// # Errors
    /// The trusted roots are unusable.
    pub fn new(
        config: AcmeConfig,
        files: &TlsConfig,
        (certificate, challenges): (Arc<Certificate>, Challenges),
        (clock, metrics, audit): (Arc<dyn Clock>, Metrics, Audit),
    ) -> Result<Self, TrustError> {
        let directory = home(files);
        let accounts = Accounts::read(&directory.join(ACCOUNTS)).unwrap_or_default();
        let mut random = [0; 2];
        // Without randomness all gateways renew at the same time, which is no reason not to.
        let _ = rand::fill(&mut random);
        Ok(Self {
            http: HttpClient::new(config.ca_file.as_deref())?,
            foreign: accounts.issued_elsewhere(config.directory.as_str()),
            config,
            directory,
            certificate,
            challenges,
            clock,
            metrics,
            audit,
            share: u32::from(u16::from_be_bytes(random)) % 1000,
        })
    }

    /// Keeps the certificate good, for ever.
    pub async fn run(self) {
        let (mut failures, mut next) = (0, None::<Instant>);
        loop {
            let may = next.is_none_or(|next| self.clock.instant() >= next);
            if may && self.is_due() {
                let client = Client::new(self.http.clone(), self.clock.clone());
                match self.attempt(&client).await {
                    Ok(Attempt::Issued) => (failures, next) = (0, None),
                    Ok(Attempt::NotNow | Attempt::NotNeeded) => {}
                    Err(error) => {
                        failures += 1;
                        let pause = self.note_failure(&error, failures, &client);
                        next = Some(self.clock.instant() + pause);
                    }
                }
            }
            tokio::time::sleep(LOOK_PERIOD).await;
        }
    }

    /// Whether what is in use should be replaced.
    fn is_due(&self) -> bool {
        let facts = self.certificate.facts();
        let foreign = facts
            .as_ref()
            .is_some_and(|facts| self.foreign.contains(&facts.fingerprint));
        foreign || !self.names_us() || plan::is_due(facts.as_ref(), self.now(), self.share)
    }

    fn names_us(&self) -> bool {
        let mut hosts = self.config.hosts.iter();
        hosts.all(|host| self.certificate.names(host))
    }

    fn now(&self) -> i64 {
        self.clock.now().unix_timestamp()
    }

    /// What is in use, if an authority vouches for all our names with it.
    fn good(&self) -> Option<Facts> {
        let facts = self.certificate.facts();
        facts.filter(|facts| !facts.self_signed && self.names_us())
    }

    async fn attempt(&self, client: &Client) -> Result<Attempt, AcmeError> {
        let Some(mut lock) = Lock::take(&self.directory)? else {
            return Ok(Attempt::NotNow);
        };
        self.certificate.refresh();
        if !self.is_due() {
            return Ok(Attempt::NotNeeded);
        }
        if lock.was_tried_since(self.now(), plan::FIRST_PAUSE) {
            return Ok(Attempt::NotNow);
        }
        lock.note_try(self.now())?;
        let why = match self.good() {
            Some(_) => "renewal",
            None => "first",
        };
        tracing::info!(authority = %self.config.directory, hosts = ?self.config.hosts, "ordering a certificate");
        let ordered = tokio::time::timeout(ORDER_DEADLINE, self.order(client));
        ordered.await.map_err(|_| AcmeError::Deadline)??;
        self.metrics.certificate_ordered("success");
        let expires = self.certificate.expires_at();
        self.note_issued(why, expires);
        tracing::info!(authority = %self.config.directory, expires, "certificate issued");
        if self.is_due() {
            return Err(AcmeError::DueAtOnce);
        }
        Ok(Attempt::Issued)
    }

    async fn order(&self, client: &Client) -> Result<(), AcmeError> {
        let path = self.directory.join(ACCOUNTS);
        let mut accounts = Accounts::read(&path)?;
        let account = self.account(client, &mut accounts, &path).await?;
        let (chain, key) = match order::order(self, &account).await {
            Ok(issued) => issued,
            Err(error) => {
                if client::is_unknown_account(&error) {
                    // The next attempt makes another.
                    accounts.forget(self.config.directory.as_str());
                    accounts.write(&path)?;
                }
                return Err(error);
            }
        };
        let pair = (&*chain, &*key);
        self.certificate
            .replace(pair, &self.config.hosts, self.now())?;
        if let Some(facts) = self.certificate.facts() {
            accounts.note_issued(self.config.directory.as_str(), facts.fingerprint);
            accounts.write(&path)?;
        }
        Ok(())
    }

    /// The account that is kept, or a new one.
    async fn account(
        &self,
        client: &Client,
        accounts: &mut Accounts,
        path: &Path,
    ) -> Result<Account, AcmeError> {
        let directory = self.config.directory.as_str();
        let contact = self.config.email.as_ref().map(|to| format!("mailto:{to}"));
        let contacts: Vec<&str> = contact.iter().map(String::as_str).collect();
        let builder = Account::builder_with_http(Box::new(client.clone()));
        if let Some((credentials, told)) = accounts.of(directory) {
            let account = builder.from_credentials(credentials).await;
            let account = account.map_err(AcmeError::Authority)?;
            if told != contact {
                let updated = account.update_contacts(&contacts).await;
                updated.map_err(AcmeError::Authority)?;
                accounts.note_contact(directory, contact);
                accounts.write(path)?;
            }
            return Ok(account);
        }
        let external = match &self.config.external_account {
            None => None,
            Some(account) => {
                let key = BASE64_URL_SAFE_NO_PAD.decode(account.key.expose());
                let key = key.map_err(AcmeError::ExternalKey)?;
                Some(ExternalAccountKey::new(account.kid.clone(), &key))
            }
        };
        let wanted = NewAccount {
            contact: &contacts,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let made = builder.create(&wanted, directory.to_owned(), external.as_ref());
        let (account, credentials) = made.await.map_err(AcmeError::Authority)?;
        accounts.put(directory, credentials, contact);
        accounts.write(path)?;
        tracing::info!(
            authority = directory,
            account = account.id(),
            "opened an account"
        );
        Ok(account)
    }

    /// Tells the audit log what was ordered and why, and until when it is good, seconds since 1970.
    fn note_issued(&self, why: &'static str, expires: Option<i64>) {
        let mut event = self.event().reason(why);
        if let Some(expires) = expires {
            let expires = Timestamp::from_millis(expires * 1000);
            event = event.detail("expires", &expires.to_string());
        }
        self.audit.record(event);
    }

    /// An order, for the audit log.
    fn event(&self) -> Event {
        let hosts = &self.config.hosts;
        let portal = hosts.first().cloned().unwrap_or_default();
        Event::new(Action::CertificateOrdered, &Actor::system("acme"))
            .object(Object::Certificate(portal))
            .detail("authority", self.config.directory.as_str())
            .detail("names", &hosts.join(", "))
    }

    /// Says what went wrong, and returns for how long nothing is tried.
    fn note_failure(&self, error: &AcmeError, failures: u32, client: &Client) -> Duration {
        let told = client.retry_after();
        let limited = client::is_rate_limited(error);
        let outcome = if limited { "rate_limited" } else { "failure" };
        self.metrics.certificate_ordered(outcome);
        let event = self.event().outcome(Outcome::Failure, error.word());
        let event = event.detail("error", &ErrorChain(error).to_string());
        self.audit.record(event);
        let left = self.good().map(|facts| facts.ends - self.now());
        let pause = plan::pause(failures, left, told, self.share);
        tracing::warn!(
            error = %ErrorChain(error),
            authority = %self.config.directory,
            failures,
            pause_seconds = pause.as_secs(),
            "no certificate could be ordered; the one in use stays"
        );
        pause
    }
}
