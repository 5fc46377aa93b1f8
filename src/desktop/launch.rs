//! One start, from the recorded intent to a desktop that answers. Every step can be repeated: after a
//! crash the next process runs the same function again and goes on from wherever the last one stood.

use std::time::Duration;

use tokio::time::Instant;

use super::pool::Member;
use super::pulls::Waited;
use super::queue::Turn;
use super::readiness::{self, Answer};
use super::start::PORT_ATTEMPTS;
use super::trouble::Failure;
use super::upstream::{DialError, Fingerprint, Upstream};
use super::{DesktopError, Desktops};
use tracing::Instrument as _;

use crate::engine::EngineError;
use crate::engine::spec::{Belongings, ContainerSpec, LABEL_DESKTOP, network};
use crate::model::desktop::{Desktop, State};
use crate::model::failpoint::Failpoint;
use crate::model::id::RequestId;
use crate::model::reason::Reason;
use crate::model::template::{Template, TlsVerify};
use crate::store::StoreError;
use crate::store::containers::Change;
use crate::telemetry::ErrorChain;
use crate::telemetry::traces::{Span, within};

/// Pause between two questions whether it is ready.
const PROBE_PAUSE: Duration = Duration::from_millis(50);
/// How long a turn lasts beyond the start of the container while the desktop does not answer yet. Thirty that boot at
/// once share the processors, so that none is there before all are, or before it is given up.
const BOOT_TURN: Duration = Duration::from_secs(5);
/// How often the container itself is looked at meanwhile.
const INSPECT_PAUSE: Duration = Duration::from_secs(1);
/// How long a start that is under way waits for an engine that does not answer: as long as a restart takes.
const ENGINE_PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two questions whether it answers again.
const ENGINE_PAUSE: Duration = Duration::from_secs(1);
/// Answers that refuse our password before the start fails; KasmVNC locks us out at five.
const MAX_REFUSALS: u32 = 3;

/// Why a start did not end in a running desktop.
#[derive(Debug, thiserror::Error)]
enum LaunchError {
    /// Somebody stopped the desktop meanwhile, or another process has it.
    #[error("the start was overtaken")]
    Overtaken,
    /// The configuration changed between the start and now.
    #[error("the template is not configured any more")]
    TemplateGone,
    /// Something else on this host has every port that was tried.
    #[error("no host port could be published")]
    NoPort,
    #[error("the container ended while starting")]
    Ended(Failure),
    #[error("the container disappeared while starting")]
    Vanished,
    /// Asking again would lock this gateway out of the desktop.
    #[error("the desktop refuses our password")]
    Refused,
    #[error("the desktop did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the desktop's certificate could not be looked at")]
    Certificate(#[from] DialError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Desktop(#[from] DesktopError),
}

impl LaunchError {
    /// What is recorded.
    fn failure(&self) -> Failure {
        match self {
            Self::Overtaken => Failure::bare(Reason::StartCancelled),
            Self::TemplateGone => Failure::bare(Reason::TemplateGone),
            Self::NoPort => Failure::bare(Reason::NoPort),
            Self::Ended(failure) => failure.clone(),
            Self::Vanished => Failure::bare(Reason::Disappeared),
            Self::Refused => Failure::bare(Reason::Refused),
            Self::Silent(_) | Self::Certificate(_) => Failure::bare(Reason::Silent),
            Self::Engine(error) => Failure::of_engine(error),
            Self::Desktop(error) => Failure::of_desktop(error),
            Self::Store(_) => Failure::bare(Reason::Database),
        }
    }

    /// Whether it is the engine that is not there, so that the same may go well when it is.
    fn is_away(&self) -> bool {
        match self {
            Self::Engine(error) | Self::Desktop(DesktopError::Engine(error)) => error.is_away(),
            _ => false,
        }
    }
}

impl Desktops {
    /// Brings a recorded desktop up in the background, with a container of the pool if it has one.
    /// `request` is the one that asked for it, if one did.
    pub(super) fn spawn_launch(
        &self,
        desktop: Desktop,
        member: Option<Member>,
        request: Option<RequestId>,
    ) {
        let Some(in_hand) = self.take_in_hand(desktop.id) else {
            return;
        };
        let desktops = self.clone();
        // It outlives the request that asked for it, and belongs to it all the same.
        let traced = self.inner.parts.traces.child("launch");
        if let Some(traced) = &traced {
            traced.set("deskgate.desktop", desktop.id.to_string());
            traced.set("deskgate.template", desktop.template.clone());
            traced.set("deskgate.warm", member.is_some());
        }
        // Within the span of the request that asks for it, if one does: the lines of both have its id.
        let span = tracing::error_span!("launch", desktop = %desktop.id);
        let launch = async move {
            let _in_hand = in_hand;
            desktops.launch(desktop, member, (request, traced)).await;
        };
        let tasks = &self.inner.parts.tasks;
        tasks.spawn("launch", launch.instrument(span));
    }

    async fn launch(
        &self,
        desktop: Desktop,
        member: Option<Member>,
        (request, span): (Option<RequestId>, Option<Span>),
    ) {
        let id = desktop.id;
        let row = desktop.clone();
        let attempt = Box::pin(self.launch_patiently(desktop, member));
        let outcome = within(span.as_ref(), attempt).await;
        if let (Some(span), Err(error)) = (&span, &outcome) {
            span.fail(error.failure().reason.as_str());
        }
        drop(span);
        // The pool has a free place, or room was taken that it has to give back.
        self.inner.pool.bell.notify_one();
        match outcome {
            Ok(took) => {
                self.inner.parts.metrics.started(took);
                tracing::info!(desktop = %id, seconds = took.as_secs_f64(), "desktop running");
            }
            Err(LaunchError::Overtaken) => tracing::info!(desktop = %id, "start overtaken"),
            Err(error) => {
                let mut failure = error.failure();
                // A desktop that runs and does not answer has written why, perhaps.
                if failure.detail.is_none() && failure.reason.is_from_inside() {
                    failure.detail = self.last_lines(&row, &row.container_name).await;
                }
                self.inner.parts.metrics.start_failed(failure.reason);
                let log = failure.detail.as_deref();
                let log = log.filter(|_| failure.reason.is_from_inside());
                tracing::warn!(desktop = %id, error = %ErrorChain(&error), log, "start failed");
                self.fail_start(id, &failure, request).await;
            }
        }
    }

    /// Tries again when the engine was away for a moment: what it did of the last attempt is found by the next.
    async fn launch_patiently(
        &self,
        mut desktop: Desktop,
        mut member: Option<Member>,
    ) -> Result<Duration, LaunchError> {
        let id = desktop.id;
        let mut first = None;
        loop {
            let error = match self.try_launch(desktop, member.take()).await {
                Err(error) if error.is_away() => error,
                other => return other,
            };
            let until = *first.get_or_insert_with(|| Instant::now() + ENGINE_PATIENCE);
            tracing::warn!(desktop = %id, error = %ErrorChain(&error), "a start waits for the container engine");
            tokio::time::sleep(ENGINE_PAUSE).await;
            while self.engine_ready().await.is_err() && Instant::now() < until {
                tokio::time::sleep(ENGINE_PAUSE).await;
            }
            if Instant::now() >= until {
                return Err(error);
            }
            let row = self.inner.parts.database.find_desktop(id).await?;
            let row = row.filter(|row| row.status.is_launching());
            desktop = row.ok_or(LaunchError::Overtaken)?;
        }
    }

    /// Returns the time from the request to the first answer.
    async fn try_launch(
        &self,
        mut desktop: Desktop,
        member: Option<Member>,
    ) -> Result<Duration, LaunchError> {
        let template = self
            .template(&desktop.template)
            .ok_or(LaunchError::TemplateGone)?
            .clone();
        let is_warm = match member {
            Some(member) => self.hand_over(&mut desktop, &template, &member).await?,
            None => false,
        };
        if !is_warm {
            self.bring_up(&mut desktop, &template).await?;
        }
        self.reached(Failpoint::StartAnswered).await;
        let now = self.inner.parts.clock.timestamp();
        let change = Change {
            started_at: Some(now),
            ..Change::default()
        };
        self.step(&mut desktop, State::Starting, State::Running, change)
            .await?;
        self.reached(Failpoint::StartRunning).await;
        if is_warm {
            self.reached(Failpoint::WarmRunning).await;
            self.clear_ended(&desktop).await;
        }
        let took = now.millis() - desktop.created_at.millis();
        Ok(Duration::from_millis(
            u64::try_from(took).unwrap_or_default(),
        ))
    }

    /// Makes the container and waits until it answers.
    async fn bring_up(
        &self,
        desktop: &mut Desktop,
        template: &Template,
    ) -> Result<(), LaunchError> {
        let traces = &self.inner.parts.traces;
        let turn = within(traces.child("queue").as_ref(), self.inner.queue.turn()).await;
        let turn = turn.ok_or(LaunchError::Overtaken)?;
        let begun = self
            .step(desktop, State::Queued, State::Creating, Change::default())
            .await;
        if let Err(error) = begun {
            // Whoever left the queue did nothing with their turn, which must not count as a short one.
            turn.give_back();
            return Err(error);
        }
        self.clear_ended(desktop).await;
        self.reached(Failpoint::StartCreating).await;
        self.announce_queue().await;
        let turn = self.image_first(desktop, template, turn).await?;
        let turn = turn.ok_or(LaunchError::Overtaken)?;
        if desktop.status == State::Creating {
            let container = self.make_container(desktop, template).await?;
            self.reached(Failpoint::StartStarted).await;
            self.note_container(desktop, &container).await?;
            self.reached(Failpoint::StartNoted).await;
        } else {
            let engine = &self.inner.parts.engine;
            // It may be one that ran and was frozen, and had lost its row.
            engine.unpause(&desktop.container_name).await?;
            engine.start(&desktop.container_name).await?;
        }
        let span = traces.child("readiness");
        let ready = within(span.as_ref(), self.wait_ready(desktop, template));
        tokio::pin!(ready);
        if let Ok(ready) = tokio::time::timeout(BOOT_TURN, &mut ready).await {
            return ready;
        }
        drop(turn);
        ready.await
    }

    /// Sees to the image of a desktop whose container is to be made. Whoever waits for one gives the turn back meanwhile:
    /// others need it, whose images are there. `None` when it was stopped, or nobody has turns any more.
    async fn image_first<'a>(
        &'a self,
        desktop: &Desktop,
        template: &Template,
        turn: Turn<'a>,
    ) -> Result<Option<Turn<'a>>, LaunchError> {
        let image = &desktop.image_name;
        if desktop.status != State::Creating {
            return Ok(Some(turn));
        }
        if !self.wants_pull(image, template.pull).await? {
            if desktop.pull_percent.is_some() {
                // A gateway that is gone waited for it.
                self.inner
                    .parts
                    .database
                    .await_pull(desktop.id, None)
                    .await?;
            }
            return Ok(Some(turn));
        }
        turn.give_back();
        match self.wait_for_image(desktop).await? {
            Waited::There => Ok(self.inner.queue.turn().await),
            Waited::Overtaken => Ok(None),
        }
    }

    /// Gives a container of the pool to the desktop whose id it has. `false` when it is lost, and the desktop has to
    /// have one made.
    async fn hand_over(
        &self,
        desktop: &mut Desktop,
        template: &Template,
        member: &Member,
    ) -> Result<bool, LaunchError> {
        let engine = &self.inner.parts.engine;
        let name = desktop.container_name.clone();
        match engine.rename(&member.container, &name).await {
            Ok(()) => {}
            Err(EngineError::NotFound | EngineError::NameTaken) => return Ok(false),
            // An earlier attempt, or another gateway's, may have come so far. Engines refuse a name that a container has.
            Err(error @ EngineError::Refused(_)) => {
                let seen = engine.inspect(&member.container).await?;
                if seen.is_none_or(|seen| seen.name != name) {
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
        self.reached(Failpoint::WarmRenamed).await;
        self.step(desktop, State::Queued, State::Creating, Change::default())
            .await?;
        self.note_container(desktop, &member.container).await?;
        if template.tls_verify == TlsVerify::Pin
            && let Some(upstream) = self.upstream(desktop, template).await?
        {
            self.pin(desktop, template, &upstream).await?;
        }
        Ok(true)
    }

    /// Records the container that a desktop has now.
    async fn note_container(
        &self,
        desktop: &mut Desktop,
        container: &str,
    ) -> Result<(), LaunchError> {
        let change = Change {
            container_id: Some(container),
            ..Change::default()
        };
        let step = self
            .step(desktop, State::Creating, State::Starting, change)
            .await;
        if matches!(step, Err(LaunchError::Overtaken)) {
            // Whoever stopped the desktop did not see this container yet. Another gateway that took this start for
            // forgotten needs it.
            let row = self.inner.parts.database.find_desktop(desktop.id).await?;
            if row.is_none_or(|row| !row.status.is_launching() && !row.status.is_up()) {
                let engine = &self.inner.parts.engine;
                engine.remove(&desktop.container_name).await?;
            }
        }
        step
    }

    /// Moves on from `from`; does nothing when the desktop is past it already (a resumed start).
    async fn step(
        &self,
        desktop: &mut Desktop,
        from: State,
        to: State,
        change: Change<'_>,
    ) -> Result<(), LaunchError> {
        if desktop.status != from {
            return Ok(());
        }
        if !self
            .inner
            .parts
            .database
            .transition(desktop.id, from, to, change)
            .await?
        {
            return Err(LaunchError::Overtaken);
        }
        if let Some(row) = self.inner.parts.database.find_desktop(desktop.id).await? {
            *desktop = row;
        }
        self.announce(super::Change::To(desktop.clone()));
        Ok(())
    }

    /// Makes and starts the container, on another port where the first one turns out to be taken.
    async fn make_container(
        &self,
        desktop: &mut Desktop,
        template: &Template,
    ) -> Result<String, LaunchError> {
        let parts = &self.inner.parts;
        let network = network(self.place(), template.network, desktop.id);
        let owner = self.belongings(desktop).await?;
        let password = parts.passwords.of(desktop.id);
        for _ in 0..PORT_ATTEMPTS {
            // Each time, because a network goes with the container that had it.
            parts.engine.prepare(&network, &parts.instance).await?;
            self.reached(Failpoint::StartNetwork).await;
            let (secret, place) = (password.expose(), self.place());
            let spec = ContainerSpec::new(template, desktop, secret, place, &owner);
            let container = match parts.engine.create(&spec).await {
                Err(EngineError::NameTaken) => self.adopt(desktop).await?,
                made => made?,
            };
            self.reached(Failpoint::StartCreated).await;
            match parts.engine.start(&container).await {
                Ok(()) => return Ok(container),
                Err(EngineError::PortTaken) => {
                    tracing::debug!(desktop = %desktop.id, port = desktop.host_port, "port taken, trying another");
                    parts.engine.remove(&container).await?;
                    self.move_port(desktop).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(LaunchError::NoPort)
    }

    async fn belongings(&self, desktop: &Desktop) -> Result<Belongings, StoreError> {
        let database = &self.inner.parts.database;
        let (user, template) = (desktop.user_id, &desktop.template);
        Ok(Belongings {
            groups: database.groups_of(user).await?,
            home_generation: database.home_generation(user, template).await?,
        })
    }

    /// The container that an earlier attempt at this very desktop left behind.
    async fn adopt(&self, desktop: &Desktop) -> Result<String, LaunchError> {
        let container = self
            .inner
            .parts
            .engine
            .inspect(&desktop.container_name)
            .await?;
        let container = container.ok_or(EngineError::NameTaken)?;
        if container.labels.get(LABEL_DESKTOP) != Some(&desktop.id.to_string()) {
            return Err(EngineError::NameTaken.into());
        }
        Ok(container.id)
    }

    /// Records another port for a desktop whose port something else on this host has taken.
    async fn move_port(&self, desktop: &mut Desktop) -> Result<(), LaunchError> {
        let taken = desktop.host_port;
        let free = self.free_ports(desktop.id).await?;
        // Onwards from the one that is taken, then from the start: no port is tried twice in a row.
        let (after, before): (Vec<u16>, Vec<u16>) =
            free.into_iter().partition(|port| Some(*port) > taken);
        for port in after.into_iter().chain(before) {
            let free = Some(port) != taken;
            if free
                && self
                    .inner
                    .parts
                    .database
                    .change_port(desktop.id, port)
                    .await?
            {
                desktop.host_port = Some(port);
                return Ok(());
            }
        }
        Err(LaunchError::NoPort)
    }

    /// Asks until the desktop answers, its container ends, or the time is up.
    async fn wait_ready(&self, desktop: &Desktop, template: &Template) -> Result<(), LaunchError> {
        let Some(upstream) = self.upstream(desktop, template).await? else {
            // A container that has ended has no address any more.
            self.still_starting(desktop).await?;
            return Err(LaunchError::NoPort);
        };
        let begin = Instant::now();
        let (mut refusals, mut inspected) = (0, begin);
        loop {
            match readiness::ask(self.dialer(), &upstream, &template.ready).await {
                Answer::Ready => return self.pin(desktop, template, &upstream).await,
                Answer::Refused if refusals + 1 >= MAX_REFUSALS => {
                    return Err(LaunchError::Refused);
                }
                Answer::Refused => refusals += 1,
                Answer::NotYet => {}
            }
            if begin.elapsed() > template.ready.timeout {
                return Err(LaunchError::Silent(template.ready.timeout));
            }
            if inspected.elapsed() > INSPECT_PAUSE {
                inspected = Instant::now();
                self.still_starting(desktop).await?;
            }
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    }

    /// Remembers the certificate of a desktop whose template wants no other one from now on.
    async fn pin(
        &self,
        desktop: &Desktop,
        template: &Template,
        upstream: &Upstream,
    ) -> Result<(), LaunchError> {
        if template.tls_verify == TlsVerify::Pin {
            let shown = self.dialer().certificate(upstream).await?;
            if let Some(shown) = shown.map(Fingerprint::to_base64) {
                let database = &self.inner.parts.database;
                database.pin_certificate(desktop.id, &shown).await?;
            }
        }
        Ok(())
    }

    async fn still_starting(&self, desktop: &Desktop) -> Result<(), LaunchError> {
        let parts = &self.inner.parts;
        let row = parts.database.find_desktop(desktop.id).await?;
        if row.is_none_or(|row| row.status != State::Starting) {
            return Err(LaunchError::Overtaken);
        }
        match parts.engine.inspect(&desktop.container_name).await? {
            // Somebody may have paused it; then it is waited for.
            Some(container) if container.state.is_alive() => Ok(()),
            Some(container) => {
                let ending = self.ending(desktop, &container, Reason::EndedStarting);
                Err(LaunchError::Ended(ending.await))
            }
            None => Err(LaunchError::Vanished),
        }
    }

    /// Removes what earlier desktops of this user and template left: the new one takes their place. It stays itself, if it
    /// has ended meanwhile: its user is to read why.
    async fn clear_ended(&self, desktop: &Desktop) {
        let Ok(rows) = self
            .inner
            .parts
            .database
            .list_desktops(desktop.user_id)
            .await
        else {
            return;
        };
        let old = rows.iter().filter(|row| {
            row.id != desktop.id && row.template == desktop.template && !row.status.is_live()
        });
        for row in old {
            if let Err(error) = self.forget_ended(row).await {
                tracing::warn!(desktop = %row.id, error = %ErrorChain(&error), "an ended desktop could not be removed");
            }
        }
    }
}
