//! A person: logs in, looks at the portal, has a desktop started, watches and touches it, leaves in one of many ways, and
//! comes back.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::Place;
use super::browser::{Browser, Ending, Wire};
use super::ledger::Ledger;
use super::random::Random;
use super::stream::{self, Plan};
use super::support::fake_desktop::big_body;
use crate::peer::Peer;

/// How long a start may take.
const START: Duration = Duration::from_secs(60);
/// How long a sleeper touches nothing: longer than a desktop stays awake then, and not as long as a session lives.
const SLEEP: Duration = Duration::from_secs(40);
/// What a page needs, at most.
const ASSETS: usize = 8;

/// The name of the person with this number.
pub fn name(number: u16) -> String {
    format!("pupil-{number}")
}

/// States of the person's desktops, by id.
type States = HashMap<String, String>;

/// One person.
pub struct Person {
    name: String,
    browser: Browser,
    random: Random,
    ledger: Arc<Ledger>,
    /// What the events say.
    states: watch::Sender<States>,
    listening: JoinSet<()>,
    /// The desktop that is used.
    desktop: Option<String>,
}

impl Person {
    /// Each has an address of its own, as people at home do. Two of three browsers speak HTTP/2.
    pub fn new(
        number: u16,
        (peer, place): (&Peer, &Place),
        (ledger, seed): (&Arc<Ledger>, u64),
    ) -> anyhow::Result<Self> {
        let [high, low] = number.to_be_bytes();
        let peer = peer.from(Ipv4Addr::new(127, 77, high, low.max(1)));
        Ok(Self {
            name: name(number),
            browser: Browser::new(peer, place.provider_port, !number.is_multiple_of(3))?,
            random: Random::new(seed, u64::from(number)),
            ledger: ledger.clone(),
            states: watch::Sender::default(),
            listening: JoinSet::new(),
            desktop: None,
        })
    }

    /// Comes after a while and stays until everybody has to go.
    pub async fn live(mut self, later: Duration, stop: CancellationToken) {
        rest(later, &stop).await;
        while !stop.is_cancelled() {
            let seen = self.visit(&stop).await;
            if let Err(error) = seen {
                self.complain(&error);
            }
            let pause = self.random.between(1_000, 8_000);
            rest(pause, &stop).await;
        }
        if let Err(error) = self.go_home().await {
            self.complain(&error);
        }
    }

    /// Tells what went wrong, unless it is what was broken on purpose.
    fn complain(&mut self, error: &anyhow::Error) {
        let struck = self
            .desktop
            .take()
            .filter(|desktop| self.ledger.is_struck(desktop));
        match struck {
            Some(_) => self.ledger.suffered("visits cut short"),
            None => self
                .ledger
                .error(&error.to_string(), &format!("{}: {error:#}", self.name)),
        }
        self.listening.abort_all();
        self.browser.hang_up();
    }

    async fn visit(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        self.enter().await?;
        self.start().await?;
        let rounds = 1 + self.random.below(3);
        for _ in 0..rounds {
            self.use_desktop(stop).await?;
            if stop.is_cancelled() {
                return Ok(());
            }
        }
        self.leave().await
    }

    /// Logs in, unless there is a session, and opens the portal.
    async fn enter(&mut self) -> anyhow::Result<()> {
        self.desktop = None;
        let known = self.browser.has_session()
            && self
                .browser
                .get("/session")
                .await
                .context("the session")?
                .status
                == 200;
        if !known {
            self.browser.forget();
            let login = self.browser.log_in(&self.name);
            login.await.context("the login")?;
            self.ledger.done("logins");
        }
        let page = self.browser.page("/").await.context("the portal")?;
        let page = page.with(&[200]).context("the portal")?.text();
        self.ledger.done("portal pages");
        for path in assets(&page) {
            let asset = self
                .browser
                .get(&path)
                .await
                .context("a file of the portal")?;
            asset.with(&[200]).context("a file of the portal")?;
        }
        let inside = self.random.percent(50);
        let events = self
            .browser
            .websocket("/api/container/events", inside, Ending::Drop);
        let events = events.await.context("the events")?;
        self.listening = JoinSet::new();
        self.states.send_replace(States::new());
        self.listening
            .spawn(listen(events, self.states.clone(), self.ledger.clone()));
        Ok(())
    }

    /// Presses the button and waits until the desktop runs.
    async fn start(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        // As programs wait, or as the portal's page does.
        let waits = self.random.percent(50);
        let prefer = if waits { "wait=60" } else { "respond-async" };
        let answer = self
            .browser
            .post("/api/container/start", ("prefer", prefer))
            .await;
        let answer = answer
            .and_then(|answer| answer.with(&[200, 201]))
            .context("a start")?;
        let container = &answer.json()["container"];
        let id = word(&container["id"]).context("a start")?;
        let mut status = word(&container["status"]).context("a start")?;
        self.desktop = Some(id.clone());
        if !waits {
            let mut heard = self.states.subscribe();
            let is_over = |states: &States| {
                let state = states.get(&id).map(String::as_str);
                matches!(state, Some("running" | "paused" | "stopped" | "error"))
            };
            let over = timeout(START, heard.wait_for(is_over)).await;
            let over = over.context("the events tell of no end of the start")??;
            status.clone_from(&over[&id]);
        }
        if answer.status == 201 && status == "running" {
            self.ledger.done("starts");
            self.ledger.start(begun.elapsed());
        } else if answer.status == 200 {
            self.ledger.done("desktops found again");
        }
        ensure!(
            matches!(&*status, "running" | "paused"),
            "a start ended in {status}"
        );
        Ok(())
    }

    /// Loads the desktop's page, and holds one stream or two.
    async fn use_desktop(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        let id = self.desktop.clone().context("no desktop")?;
        let page = format!("/desktop/{id}/");
        let files = [
            ("", 1, 200),
            ("app.js", 1, 200),
            ("missing.png", 20, 404),
            ("big", 60, 200),
        ];
        for (file, one_in, status) in files {
            if self.random.below(one_in) > 0 {
                continue;
            }
            let path = format!("{page}{file}");
            let answer = if file.is_empty() {
                self.browser.page(&path).await
            } else {
                self.browser.get(&path).await
            };
            let answer = answer
                .and_then(|answer| answer.with(&[status]))
                .context("a desktop's page")?;
            ensure!(
                file != "big" || *answer.body == *big_body(),
                "a big file came otherwise"
            );
            self.ledger.done("desktop pages");
        }
        let sleeps = self.random.percent(8);
        let mut streams = JoinSet::new();
        for number in 0..=self.random.below(2) {
            let ending = match self.random.below(10) {
                0..6 => Ending::Goodbye,
                6..8 => Ending::Drop,
                _ => Ending::Reset,
            };
            let inside = self.random.percent(50);
            let path = format!("{page}websockify");
            let wire = self
                .browser
                .websocket(&path, inside, ending)
                .await
                .context("a stream")?;
            let touch = self.random.between(500, 2_000);
            let plan = Plan {
                hold: if sleeps {
                    SLEEP
                } else {
                    self.random.between(5_000, 20_000)
                },
                touch: (number == 0 && !sleeps).then_some(touch),
                ending,
            };
            streams.spawn(stream::watch(
                wire,
                plan,
                (stop.clone(), self.ledger.clone()),
            ));
        }
        while let Some(watched) = streams.join_next().await {
            watched?.context("a stream")?;
        }
        if sleeps {
            self.ledger.done("long pauses");
        }
        Ok(())
    }

    /// Leaves in one of the ways that there are.
    async fn leave(&mut self) -> anyhow::Result<()> {
        match self.random.below(100) {
            0..40 => {
                self.end("/api/container/stop").await?;
                self.log_out().await
            }
            40..60 => {
                self.end("/api/container/remove").await?;
                self.log_out().await
            }
            60..75 => {
                self.desktop = None;
                self.log_out().await
            }
            75..90 => {
                self.browser.hang_up();
                self.listening.abort_all();
                self.ledger.done("tabs closed");
                Ok(())
            }
            _ => {
                self.browser.forget();
                self.listening.abort_all();
                self.ledger.done("walked away");
                Ok(())
            }
        }
    }

    async fn end(&mut self, path: &str) -> anyhow::Result<()> {
        let ended = self
            .browser
            .post(path, ("accept", "application/json"))
            .await;
        ended
            .and_then(|answer| answer.with(&[200]))
            .context("a stop")?;
        self.ledger.done("stops");
        self.desktop = None;
        Ok(())
    }

    async fn log_out(&mut self) -> anyhow::Result<()> {
        let out = self
            .browser
            .post("/logout", ("accept", "application/json"))
            .await;
        out.and_then(|answer| answer.with(&[200]))
            .context("a logout")?;
        ensure!(
            !self.browser.has_session(),
            "a logout that leaves a session"
        );
        self.ledger.done("logouts");
        self.listening.abort_all();
        self.browser.hang_up();
        Ok(())
    }

    /// Removes what there is and logs out.
    async fn go_home(&mut self) -> anyhow::Result<()> {
        if !self.browser.has_session() {
            return Ok(());
        }
        let session = self.browser.get("/session").await.context("the session")?;
        if session.status != 200 {
            return Ok(());
        }
        // The token may be of a page before the login.
        self.browser
            .page("/")
            .await
            .context("the portal")?
            .with(&[200])
            .context("the portal")?;
        let list = self
            .browser
            .get("/api/container/list")
            .await
            .context("the list")?;
        let list = list.with(&[200]).context("the list")?.json();
        let all = list["containers"].as_array().into_iter().flatten();
        if all
            .into_iter()
            .any(|desktop| desktop["status"] == "running" || desktop["status"] == "paused")
        {
            self.end("/api/container/remove").await?;
        }
        self.log_out().await
    }
}

/// Hears what happens to the person's desktops.
async fn listen(mut events: Wire, states: watch::Sender<States>, ledger: Arc<Ledger>) {
    while let Some(Ok(message)) = events.next().await {
        if let Message::Text(text) = message {
            ledger.done("events");
            let event: Value = serde_json::from_str(&text).unwrap_or_default();
            let container = &event["container"];
            if let (Ok(id), Ok(status)) = (word(&container["id"]), word(&container["status"])) {
                states.send_modify(|states| drop(states.insert(id, status)));
            }
        }
    }
}

/// Files that a page names.
fn assets(page: &str) -> BTreeSet<String> {
    let named = page.split('"').filter(|text| text.starts_with("/assets/"));
    named.map(str::to_owned).take(ASSETS).collect()
}

fn word(value: &Value) -> anyhow::Result<String> {
    match value.as_str() {
        Some(word) => Ok(word.to_owned()),
        None => bail!("no word: {value}"),
    }
}

/// Waits, or until everybody has to go.
async fn rest(time: Duration, stop: &CancellationToken) {
    let _ = stop.run_until_cancelled(sleep(time)).await;
}
