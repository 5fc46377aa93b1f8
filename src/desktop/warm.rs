//! Keeps containers ready for whoever starts next, and hands them out. A member of the pool has the id, and so the
//! password and the path, of the desktop that it will be; whoever writes the row with that id has it.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::StreamExt;

use super::pool::{Member, Room, Wanted, members, unwanted};
use super::readiness::{self, Answer};
use super::upstream::Upstream;
use super::{DesktopError, Desktops};
use crate::config::Reach;
use crate::engine::spec::{Belongings, ContainerSpec, Waiting, network, reach_of};
use crate::engine::{Container, ContainerState, EngineError};
use crate::model::desktop::{Desktop, State};
use crate::model::failpoint::Failpoint;
use crate::model::hours::Door;
use crate::model::id::{DesktopId, UserId};
use crate::model::template::Template;
use crate::telemetry::ErrorChain;

/// How long the pool is left alone when somebody has taken from it: people come in classes.
const SETTLE: Duration = Duration::from_secs(2);
/// Pause between two questions whether a new one answers. Nobody waits for it.
const ANSWER_PAUSE: Duration = Duration::from_millis(250);
/// Host ports that are tried for a member before the next pass.
const PORT_ATTEMPTS: usize = 8;
/// Members that are asked for an answer at the same time.
const PARALLEL_QUESTIONS: usize = 8;

/// What a look at the pool found.
pub(super) struct Tidied {
    /// Members that are left.
    members: Vec<Member>,
    /// What templates want to have.
    wanted: HashMap<String, Wanted>,
    /// How many were removed.
    pub(super) removed: usize,
    /// How many the engine did not let go.
    pub(super) refused: usize,
}

impl Desktops {
    /// Makes what templates want to have ready, whenever there may be something to do, until the soft stop.
    pub fn spawn_pool(&self) {
        let desktops = self.clone();
        self.inner.parts.tasks.until_soft("pool", async move {
            loop {
                desktops.inner.pool.bell.notified().await;
                tokio::time::sleep(SETTLE).await;
                if let Err(error) = desktops.fill_pool().await {
                    tracing::debug!(error = %ErrorChain(&error), "the pool is not filled");
                }
            }
        });
    }

    pub(super) fn keeps_pool(&self) -> bool {
        self.inner
            .templates
            .iter()
            .any(|template| template.warm > 0)
    }

    /// One pass: makes members, one after the other, until there are enough of each template or people need the room.
    ///
    /// # Errors
    /// Engine or database do not answer; the next pass goes on from there.
    pub async fn fill_pool(&self) -> Result<(), DesktopError> {
        if !self.keeps_pool() {
            return Ok(());
        }
        let mut given_up = HashSet::new();
        loop {
            let (containers, rows) = self.both_sides().await?;
            if !self.inner.leader.is_leading() {
                return self.see_pool(&containers, &rows).await;
            }
            let tidied = self.tidy_pool(&containers, &rows).await?;
            self.prove_members().await?;
            // Whoever waits for a desktop comes first. The end of each start rings the bell again.
            if rows.iter().any(|row| row.status.is_launching()) {
                return Ok(());
            }
            let Some((template, place)) = self.next_place(&tidied, &given_up) else {
                return Ok(());
            };
            let room = self.room(&rows, &tidied.members).await;
            if !room.has(template.memory, self.inner.parts.config.parallel_starts) {
                tracing::debug!(template = %template.id, ?room, "no room to fill the pool");
                return Ok(());
            }
            if !self.try_member(template, place).await? {
                given_up.insert(template.id.clone());
            }
        }
    }

    /// The next place to fill: the lowest over all templates, so that each has its first one soon.
    fn next_place(&self, tidied: &Tidied, given_up: &HashSet<String>) -> Option<(&Template, u32)> {
        let taken: HashSet<(&str, u32)> = tidied
            .members
            .iter()
            .map(|member| (member.template.as_str(), member.place))
            .collect();
        let templates = self.inner.templates.iter();
        let missing = templates.filter_map(|template| {
            let wanted = tidied.wanted.get(&template.id)?;
            let free = (0..wanted.count).find(|place| !taken.contains(&(&template.id, *place)))?;
            (!given_up.contains(&template.id)).then_some((&**template, free))
        });
        missing.min_by_key(|(_, place)| *place)
    }

    /// What templates want to have now. One that is closed wants nothing.
    async fn wanted(&self) -> Result<HashMap<String, Wanted>, DesktopError> {
        let parts = &self.inner.parts;
        let now = parts.clock.timestamp();
        let mut wanted = HashMap::new();
        for template in &self.inner.templates {
            let hours = template.hours.as_ref();
            let closed = hours.is_some_and(|hours| matches!(hours.at(now), Door::Closed(_)));
            if template.warm > 0 && !closed {
                let wish = Wanted {
                    count: template.warm,
                    fingerprint: self.fingerprint(template).await?,
                };
                wanted.insert(template.id.clone(), wish);
            }
        }
        Ok(wanted)
    }

    async fn fingerprint(&self, template: &Template) -> Result<String, DesktopError> {
        let engine = &self.inner.parts.engine;
        let image = engine.image_id(&template.image).await?.unwrap_or_default();
        // What depends on the id differs in the same way for all of them, so any will do.
        let spec = self.member_spec(template, DesktopId::NIL, Some(0));
        Ok(spec.fingerprint(&image))
    }

    /// The description of a container that is nobody's yet.
    fn member_spec(&self, template: &Template, id: DesktopId, port: Option<u16>) -> ContainerSpec {
        let mut desktop = self.intent(template, id, UserId::NIL);
        desktop.host_port = port;
        let password = self.inner.parts.passwords.of(id);
        let nobody = Belongings::default();
        ContainerSpec::new(template, &desktop, password.expose(), self.place(), &nobody)
    }

    /// Takes note of the members there are and removes those that nobody wants any more, or whose room people need.
    pub(super) async fn tidy_pool(
        &self,
        containers: &[Container],
        rows: &[Desktop],
    ) -> Result<Tidied, DesktopError> {
        let parts = &self.inner.parts;
        let found = members(containers, &parts.instance);
        let mut tidied = Tidied {
            wanted: HashMap::new(),
            members: Vec::with_capacity(found.len()),
            removed: 0,
            refused: 0,
        };
        if found.is_empty() && !self.keeps_pool() {
            return Ok(tidied);
        }
        tidied.wanted = self.wanted().await?;
        let (now, mut free) = (parts.clock.timestamp(), Vec::new());
        for member in found {
            let row = rows.iter().find(|row| row.id == member.id);
            let is_given = row.is_some_and(|row| is_before_container(row.status));
            let why = match row {
                Some(_) if is_given => None,
                Some(_) => Some("its desktop has another one"),
                None => unwanted(&member, tidied.wanted.get(&member.template), now),
            };
            if let Some(why) = why {
                tracing::info!(container = %member.name, why, "removing a container from the pool");
                self.cast_out(&member, &mut tidied).await?;
                continue;
            }
            tidied.members.push(member.clone());
            if !is_given {
                if member.is_half_made(now) {
                    let started = self.start_member(&member).await;
                    self.unless_refused(&member.name, started).await?;
                }
                free.push(member);
            }
        }
        while self.room(rows, &tidied.members).await.is_short()
            && let Some(member) = free.pop()
        {
            tracing::info!(container = %member.name, "a container of the pool makes room");
            self.cast_out(&member, &mut tidied).await?;
            tidied.members.retain(|left| left.id != member.id);
        }
        self.inner.pool.note(free);
        self.count_pool();
        Ok(tidied)
    }

    async fn cast_out(&self, member: &Member, tidied: &mut Tidied) -> Result<(), DesktopError> {
        let removed = self.remove_member(member).await;
        match self.unless_refused(&member.name, removed).await? {
            Some(()) => tidied.removed += 1,
            None => tidied.refused += 1,
        }
        Ok(())
    }

    /// Starts one that a gateway made and did not come to start. One that cannot be started gives its place up.
    async fn start_member(&self, member: &Member) -> Result<(), DesktopError> {
        tracing::info!(container = %member.name, "starting a container of the pool that was left half made");
        let started = self.inner.parts.engine.start(&member.container).await;
        match started {
            Ok(()) => Ok(()),
            Err(error @ (EngineError::Unreachable(_) | EngineError::Timeout(_))) => {
                Err(error.into())
            }
            Err(error) => {
                tracing::warn!(container = %member.name, error = %ErrorChain(&error), "it cannot be started");
                self.remove_member(member).await
            }
        }
    }

    /// Takes note of the members that another gateway made, so that people here get them too.
    pub(super) async fn see_pool(
        &self,
        containers: &[Container],
        rows: &[Desktop],
    ) -> Result<(), DesktopError> {
        let mut found = members(containers, &self.inner.parts.instance);
        found.retain(|member| rows.iter().all(|row| row.id != member.id));
        self.inner.pool.note(found);
        self.prove_members().await
    }

    /// Members that nobody wants any more, for whoever cleans up while no gateway runs.
    pub(super) async fn unwanted_members(
        &self,
        containers: &[Container],
    ) -> Result<HashSet<String>, DesktopError> {
        let (wanted, now) = (self.wanted().await?, self.inner.parts.clock.timestamp());
        let found = members(containers, &self.inner.parts.instance);
        let unwanted = found
            .iter()
            .filter(|member| unwanted(member, wanted.get(&member.template), now).is_some());
        Ok(unwanted.map(|member| member.container.clone()).collect())
    }

    /// How much there is of what desktops and members share.
    async fn room(&self, rows: &[Desktop], members: &[Member]) -> Room {
        let config = &self.inner.parts.config;
        let live: Vec<&Desktop> = rows.iter().filter(|row| row.status.is_live()).collect();
        let both = live.iter().map(|row| &row.template);
        let templates = both.chain(members.iter().map(|member| &member.template));
        let (mut count, mut limits) = (0_i64, 0_i128);
        for template in templates {
            count += 1;
            limits += self
                .template(template)
                .map_or(0, |known| known.memory.into());
        }
        let memory = self.free_memory().await.map(i128::from);
        let mut ports: HashSet<u16> = live.iter().filter_map(|row| row.host_port).collect();
        ports.extend(members.iter().filter_map(|member| member.host_port));
        Room {
            places: i64::from(config.max_total) - count,
            limits: config
                .max_memory
                .map_or(i128::MAX, |most| i128::from(most) - limits),
            memory: memory.unwrap_or(i128::MAX),
            ports: match config.reach {
                Reach::Port => config.ports.len().saturating_sub(ports.len()),
                Reach::Network => usize::MAX,
            },
        }
    }

    /// Bytes of this machine above those that have to stay free; negative when they are not. `None` where nothing has to, or
    /// the system does not say. What others use is not in our books, so that the system is asked.
    pub(super) async fn free_memory(&self) -> Option<i64> {
        let parts = &self.inner.parts;
        let reserve = parts.config.min_free_memory?;
        let available = parts.engine.available_memory().await?;
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        Some(signed(available) - signed(reserve))
    }

    /// Asks the members that this gateway has not heard of yet. One that takes far too long is removed.
    async fn prove_members(&self) -> Result<(), DesktopError> {
        let unproven = self.inner.pool.unproven(self.now().steady);
        let asked = futures_util::stream::iter(unproven).map(|member| async move {
            let answers = self.member_answers(&member).await;
            (member, answers)
        });
        let asked: Vec<_> = asked.buffer_unordered(PARALLEL_QUESTIONS).collect().await;
        let now = self.inner.parts.clock.timestamp();
        for (member, answers) in asked {
            let template = self.template(&member.template);
            let patience = template.map(|template| template.ready.timeout);
            if answers? {
                self.inner.pool.add(&member, Some(self.now().steady));
            } else if member.is_overdue(patience.unwrap_or_default(), now) {
                tracing::warn!(container = %member.name, "a container of the pool never answered");
                self.inner.pool.forget(member.id);
                self.remove_member(&member).await?;
            }
        }
        self.count_pool();
        Ok(())
    }

    /// Asks a member.
    pub(super) async fn member_answers(&self, member: &Member) -> Result<bool, DesktopError> {
        let Some(template) = self.template(&member.template) else {
            return Ok(false);
        };
        let way = (member.host_port, template.port);
        let Some(addr) = self.address(template, &member.container, way).await? else {
            return Ok(false);
        };
        let password = self.inner.parts.passwords.of(member.id);
        let upstream = Upstream::new(template, member.id, addr, &password);
        let answer = readiness::ask(self.dialer(), &upstream, &template.ready).await;
        Ok(answer == Answer::Ready)
    }

    /// Makes one member and waits until it answers. `false` when that has to wait for another pass.
    async fn try_member(&self, template: &Template, place: u32) -> Result<bool, DesktopError> {
        match self.make_member(template, place).await {
            Ok(made) => Ok(made),
            Err(DesktopError::Engine(error)) if !error.is_away() => {
                tracing::warn!(template = %template.id, error = %ErrorChain(&error), "no container can be kept ready");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn make_member(&self, template: &Template, place: u32) -> Result<bool, DesktopError> {
        if !self.image_for_pool(&template.image, template.pull).await? {
            return Ok(false);
        }
        let Some(turn) = self.inner.queue.turn_if_free() else {
            return Ok(false);
        };
        let Some(member) = self.member_container(template, place).await? else {
            return Ok(false);
        };
        drop(turn);
        self.reached(Failpoint::PoolStarted).await;
        let begin = self.now().steady;
        while !self.member_answers(&member).await? {
            if self.lasted(begin) > template.ready.timeout || !self.still_waits(&member).await? {
                tracing::warn!(container = %member.name, "a container of the pool does not answer");
                self.inner.pool.forget(member.id);
                self.remove_member(&member).await?;
                return Ok(false);
            }
            tokio::time::sleep(ANSWER_PAUSE).await;
        }
        self.inner.pool.add(&member, Some(self.now().steady));
        self.count_pool();
        tracing::info!(container = %member.name, seconds = self.lasted(begin).as_secs_f64(), "a container is ready for whoever comes");
        Ok(true)
    }

    fn lasted(&self, since: Instant) -> Duration {
        self.now().steady.saturating_duration_since(since)
    }

    /// Makes and starts the container of a member. `None` when another gateway is at that place, or no port is free.
    async fn member_container(
        &self,
        template: &Template,
        place: u32,
    ) -> Result<Option<Member>, DesktopError> {
        let parts = &self.inner.parts;
        let (id, fingerprint) = (DesktopId::random(), self.fingerprint(template).await?);
        let candidates = match reach_of(template, parts.config.reach) {
            Reach::Network => vec![None],
            Reach::Port => self.free_ports(id).await?.into_iter().map(Some).collect(),
        };
        let network = network(self.place(), template.network, id);
        for port in candidates.into_iter().take(PORT_ATTEMPTS) {
            // Each time, because a network goes with the container that had it.
            parts.engine.prepare(&network, &parts.instance).await?;
            self.reached(Failpoint::PoolNetwork).await;
            let spec = self.member_spec(template, id, port).waiting(&Waiting {
                place,
                fingerprint: fingerprint.clone(),
                made_at: parts.clock.timestamp(),
            });
            let container = match parts.engine.create(&spec).await {
                Err(EngineError::NameTaken) => {
                    parts.engine.remove_network(&network.name).await?;
                    return Ok(None);
                }
                made => made?,
            };
            let seen = parts.engine.inspect(&container).await?;
            let Some(member) = seen.and_then(|seen| Member::read(&seen, &parts.instance)) else {
                return Ok(None);
            };
            self.inner.pool.add(&member, None);
            self.reached(Failpoint::PoolCreated).await;
            match parts.engine.start(&container).await {
                Ok(()) => return Ok(Some(member)),
                Err(error) => {
                    self.inner.pool.forget(id);
                    self.remove_member(&member).await?;
                    if !matches!(error, EngineError::PortTaken) {
                        return Err(error.into());
                    }
                }
            }
        }
        Ok(None)
    }

    /// Removes a member, but not a desktop that it has become meanwhile, nor the next member at its place.
    pub(super) async fn remove_member(&self, member: &Member) -> Result<(), DesktopError> {
        let engine = &self.inner.parts.engine;
        let found = engine.inspect(&member.name).await?;
        if found.is_some_and(|found| found.id == member.container) {
            engine.remove(&member.name).await?;
        }
        Ok(())
    }

    /// Whether a container runs and is still a member. By name and not only by id: a desktop that another gateway made of
    /// it runs as well.
    async fn still_waits(&self, member: &Member) -> Result<bool, DesktopError> {
        let found = self.inner.parts.engine.inspect(&member.container).await?;
        Ok(found.is_some_and(|found| {
            found.state == ContainerState::Running && found.name == member.name
        }))
    }

    /// A member for a start of this template, if one is ready and still there, and when it last answered. Who has it is decided by the row that the
    /// caller writes.
    pub(super) async fn take_member(
        &self,
        template: &Template,
    ) -> Result<Option<(Member, Instant)>, DesktopError> {
        while let Some((member, answered)) = self.inner.pool.take(&template.id, self.now().steady) {
            if self.still_waits(&member).await? {
                return Ok(Some((member, answered)));
            }
            tracing::debug!(container = %member.name, "a container of the pool is gone");
        }
        Ok(None)
    }

    /// Takes a port back from the pool, when no other one is left.
    pub(super) async fn take_port_back(&self) -> Result<Option<u16>, DesktopError> {
        let spared = self.spare_member().await?;
        Ok(spared.and_then(|member| member.host_port))
    }

    /// Gives the memory of one member to whoever starts and lacks so many bytes. `false` when all of them would not be
    /// enough.
    pub(super) async fn take_memory_back(&self, missing: i64) -> Result<bool, DesktopError> {
        let counts = self.inner.pool.counts().into_iter();
        let taken = counts.filter_map(|(template, (ready, warming))| {
            let memory = i128::from(self.template(&template)?.memory);
            Some(memory * i128::from(ready + warming))
        });
        if taken.sum::<i128>() < i128::from(missing) {
            return Ok(false);
        }
        let spared = self.spare_member().await?;
        Ok(spared.is_some())
    }

    /// Removes the member that can best be spared for somebody who starts, if there is one.
    async fn spare_member(&self) -> Result<Option<Member>, DesktopError> {
        while let Some(member) = self.inner.pool.take_any() {
            // Another gateway may have handed it out just now.
            if self.get(member.id).await?.is_none() {
                tracing::info!(container = %member.name, "a container of the pool makes room for somebody");
                self.remove_member(&member).await?;
                return Ok(Some(member));
            }
        }
        Ok(None)
    }

    pub(super) fn count_pool(&self) {
        let counts = self.inner.pool.counts();
        for template in self
            .inner
            .templates
            .iter()
            .filter(|template| template.warm > 0)
        {
            let (ready, warming) = counts.get(&template.id).copied().unwrap_or_default();
            self.inner.parts.metrics.pool(&template.id, ready, warming);
        }
    }
}

/// Whether a desktop in this state has no container under its own name yet.
pub(super) fn is_before_container(state: State) -> bool {
    matches!(state, State::Queued | State::Creating)
}
