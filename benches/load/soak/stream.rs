//! One WebSocket to a desktop, as a VNC client holds it: it watches a picture of which no frame may be missing, and
//! touches keys that must come back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::browser::{Ending, Wire};
use super::daemon::{PICTURE, frame};
use super::ledger::Ledger;
use crate::drive::websocket::{KEY_EVENT, OPENING};

/// A key that goes down.
const KEY: &[u8] = &KEY_EVENT;
const GREETING: &[u8] = b"RFB 003.008\n";
/// How long an echo may take: a desktop that sleeps has to be woken for it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Who watches for so long has seen a frame.
const FIRST_FRAME: Duration = Duration::from_secs(3);
/// How long the other side may take to hear a goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// What a stream is to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long it is held.
    pub hold: Duration,
    /// How often a key is touched; never, until it ends.
    pub touch: Option<Duration>,
    /// How it ends.
    pub ending: Ending,
}

struct Watcher {
    wire: Wire,
    ledger: Arc<Ledger>,
    /// Number of the latest frame.
    latest: Option<u64>,
    frames: u64,
    /// What has not come back.
    sent: VecDeque<(Bytes, Instant)>,
}

/// Watches as planned, or until everybody has to go.
pub async fn watch(
    wire: Wire,
    plan: Plan,
    (stop, ledger): (CancellationToken, Arc<Ledger>),
) -> anyhow::Result<()> {
    let mut watcher = Watcher {
        wire,
        ledger: ledger.clone(),
        latest: None,
        frames: 0,
        sent: VecDeque::new(),
    };
    watcher.open().await?;
    let (begun, end) = (Instant::now(), Instant::now() + plan.hold);
    let mut touch = plan.touch.map(|period| Instant::now() + period);
    loop {
        let until = touch.map_or(end, |touch| touch.min(end));
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep_until(until) => {
                if until == end {
                    break;
                }
                watcher.say(KEY).await?;
                touch = plan.touch.map(|period| until + period);
            }
            message = watcher.wire.next() => watcher.take(message)?,
        }
        watcher.check_patience()?;
    }
    let length = begun.elapsed();
    watcher.say(KEY).await?;
    watcher.settle().await?;
    ensure!(
        watcher.frames > 0 || length < FIRST_FRAME,
        "no picture within {length:?}"
    );
    ledger.done("streams watched");
    match plan.ending {
        Ending::Goodbye => {
            let farewell = async {
                let _ = watcher.wire.close(None).await;
                while let Some(Ok(_)) = watcher.wire.next().await {}
            };
            let _ = timeout(GOODBYE, farewell).await;
            ledger.done("streams closed with a goodbye");
        }
        Ending::Drop => ledger.done("streams dropped"),
        Ending::Reset => ledger.inject("connections reset by clients"),
    }
    Ok(())
}

impl Watcher {
    /// The greeting, and the first words of a client, each of which comes back.
    async fn open(&mut self) -> anyhow::Result<()> {
        let greeting = timeout(PATIENCE, self.wire.next())
            .await
            .context("no greeting")?;
        match greeting {
            Some(Ok(Message::Binary(bytes))) if *bytes == *GREETING => {}
            other => bail!("instead of a greeting came {other:?}"),
        }
        for words in OPENING {
            self.say(words).await?;
            self.settle().await?;
        }
        Ok(())
    }

    async fn say(&mut self, bytes: &'static [u8]) -> anyhow::Result<()> {
        let bytes = Bytes::from_static(bytes);
        let sent = self.wire.send(Message::Binary(bytes.clone()));
        timeout(PATIENCE, sent)
            .await
            .context("a key cannot be sent")??;
        self.sent.push_back((bytes, Instant::now()));
        Ok(())
    }

    /// Waits until everything has come back.
    async fn settle(&mut self) -> anyhow::Result<()> {
        let settled = async {
            while !self.sent.is_empty() {
                let message = self.wire.next().await;
                self.take(message)?;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            settled = settled => settled,
            () = sleep(PATIENCE) => bail!("a key never comes back"),
        }
    }

    fn check_patience(&self) -> anyhow::Result<()> {
        let late = self
            .sent
            .front()
            .is_some_and(|(_, at)| at.elapsed() > PATIENCE);
        ensure!(!late, "a key never comes back");
        Ok(())
    }

    fn take(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> anyhow::Result<()> {
        let bytes = match message
            .context("the stream ended")?
            .context("the stream broke")?
        {
            Message::Binary(bytes) => bytes,
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            other => bail!("the stream says {other:?}"),
        };
        if let Some(rest) = bytes.strip_prefix(PICTURE) {
            let number = rest.first_chunk().map(|number| u64::from_be_bytes(*number));
            let number = number.context("half a frame")?;
            if let Some(latest) = self.latest {
                ensure!(number == latest + 1, "frame {number} came after {latest}");
            }
            ensure!(*bytes == *frame(number), "frame {number} is another");
            self.latest = Some(number);
            self.frames += 1;
            return Ok(());
        }
        let (sent, at) = self
            .sent
            .pop_front()
            .context("something came that was not sent")?;
        ensure!(bytes == sent, "another key came back");
        self.ledger.echo(at.elapsed());
        Ok(())
    }
}
