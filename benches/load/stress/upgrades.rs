//! WebSockets that do not come about, for every reason there is: nothing of them may stay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Trial;
use crate::peer::{KEY, Peer};
use crate::process;
use crate::socket;

/// Handshakes at the same time.
const AT_ONCE: usize = 64;
/// Those that wait for a desktop that never answers cost only time.
const HANGING_AT_ONCE: usize = 1000;
/// Longer than the gateway waits for a desktop's answer to a handshake.
const PATIENCE: Duration = Duration::from_secs(15);
/// A session that nobody has.
const NOBODY: &str =
    "Cookie: __Host-Http-session=bm90IGEgc2Vzc2lvbiwganVzdCBhcyBsb25nIGFzIG9uZQ\r\n";

/// How often, and why.
#[derive(clap::Args)]
pub struct Options {
    /// Handshakes for each reason
    #[arg(long, default_value_t = 500)]
    each: usize,
    /// The reasons
    #[arg(long, value_delimiter = ',', required = true)]
    reasons: Vec<Reason>,
}

/// Why a handshake fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Reason {
    /// `Sec-WebSocket-Key` is no key
    Key,
    /// Nobody is logged in
    Session,
    /// The page is another site's
    Origin,
    /// There is no such desktop
    Desktop,
    /// The desktop answers 403
    Refuse,
    /// The desktop ends the connection instead of an answer
    Close,
    /// The desktop's 101 belongs to another key
    Garbage,
    /// The desktop never answers
    Hang,
    /// The browser leaves while the desktop thinks
    Leave,
    /// Nothing listens at the desktop's port
    Gone,
}

impl Reason {
    /// What has to be answered; `None` where nobody waits for it.
    fn statuses(self) -> Option<&'static [u16]> {
        match self {
            Self::Key => Some(&[400]),
            Self::Session => Some(&[401]),
            Self::Origin => Some(&[403]),
            Self::Desktop => Some(&[404]),
            Self::Refuse | Self::Close | Self::Garbage => Some(&[502]),
            Self::Hang => Some(&[504]),
            Self::Gone => Some(&[502, 503]),
            Self::Leave => None,
        }
    }

    /// Whether the gateway has to ask its database before it can refuse.
    fn asks_database(self) -> bool {
        matches!(self, Self::Session | Self::Desktop)
    }

    fn head(self, peer: &Peer) -> String {
        match self {
            Self::Key => peer.upgrade("echo").replace(KEY, "bm90IGEga2V5"),
            Self::Session => peer.upgrade("echo").replace(&peer.cookie, NOBODY),
            Self::Origin => peer
                .upgrade("echo")
                .replace("Origin: https://", "Origin: https://not-"),
            Self::Desktop => {
                let nobody = "/desktop/00000000-0000-4000-8000-000000000000/";
                peer.upgrade("echo").replace(&peer.path(""), nobody)
            }
            Self::Refuse => peer.upgrade("refuse"),
            Self::Close => peer.upgrade("close"),
            Self::Garbage => peer.upgrade("garbage"),
            Self::Hang | Self::Leave => peer.upgrade("hang"),
            Self::Gone => peer.upgrade("echo"),
        }
    }
}

/// Tries, and counts file descriptors before and after.
pub async fn run(trial: &mut Trial, options: &Options) -> anyhow::Result<()> {
    // What the gateway keeps for good, such as connections to its database, is made before the count begins.
    for reason in options
        .reasons
        .iter()
        .filter(|reason| reason.asks_database())
    {
        try_all(&trial.peer, *reason, options.each).await?;
    }
    // A connection to the desktop may rest for a while before it is used again or closed.
    let before = trial.descriptors_at_most(0, Duration::from_secs(4)).await?;
    let mut tried = 0;
    let mut most = before;
    for &reason in &options.reasons {
        let answers = try_all(&trial.peer, reason, options.each).await?;
        tried += options.each;
        most = most.max(process::descriptors(trial.pid)?);
        let good = match reason.statuses() {
            None => answers.is_empty(),
            Some(statuses) => {
                answers.keys().all(|status| statuses.contains(status))
                    && answers.values().sum::<usize>() == options.each
            }
        };
        trial.check(
            good,
            format_args!(
                "upgrades: {} fail, reason {reason:?}: answers {answers:?}",
                options.each
            ),
        );
    }
    let after = trial
        .descriptors_at_most(before, Duration::from_secs(15))
        .await?;
    trial.check(
        after <= before,
        format_args!("upgrades: {after} descriptors after {tried} failed upgrades (before {before}, {most} seen between)"),
    );
    Ok(())
}

/// The statuses that were answered, each with how often; connections that ended without one are status 0.
async fn try_all(
    peer: &Peer,
    reason: Reason,
    count: usize,
) -> anyhow::Result<BTreeMap<u16, usize>> {
    let hangs = matches!(reason, Reason::Hang | Reason::Leave);
    let gate = Arc::new(Semaphore::new(if hangs {
        HANGING_AT_ONCE
    } else {
        AT_ONCE
    }));
    let mut trying = JoinSet::new();
    for _ in 0..count {
        let (peer, gate) = (peer.clone(), Arc::clone(&gate));
        trying.spawn(async move {
            let _turn = gate.acquire().await?;
            attempt(&peer, reason).await
        });
    }
    let mut answers = BTreeMap::new();
    while let Some(done) = trying.join_next().await {
        if let Some(status) = done.context("a client panicked")?? {
            *answers.entry(status).or_default() += 1;
        }
    }
    Ok(answers)
}

async fn attempt(peer: &Peer, reason: Reason) -> anyhow::Result<Option<u16>> {
    let mut connection = peer.connect(socket::TINY).await?;
    connection.send(reason.head(peer).as_bytes()).await?;
    if reason == Reason::Leave {
        tokio::time::sleep(Duration::from_millis(300)).await;
        return Ok(None);
    }
    let head = tokio::time::timeout(PATIENCE, connection.head()).await;
    Ok(Some(match head {
        Ok(Ok(answer)) => answer.status,
        Ok(Err(_)) | Err(_) => 0,
    }))
}
