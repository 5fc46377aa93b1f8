//! Containers that were made beforehand: what is known of them, and which of them are still wanted. They are read from
//! the engine's labels each time; in memory is only who of them has answered. Making and handing out is [`super::warm`].

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::engine::spec::{
    LABEL_DESKTOP, LABEL_MADE, LABEL_POOL, LABEL_PORT, LABEL_TEMPLATE, pool_prefix,
};
use crate::engine::{Container, ContainerState};
use crate::model::id::DesktopId;
use crate::model::time::Timestamp;

/// How long a container waits for somebody before a fresh one takes its place: what runs for longer collects leaks,
/// and the programs of its image grow old.
const MAX_AGE: Duration = Duration::from_secs(12 * 60 * 60);
/// How long the answer of a container is good for. It is asked again by then, so that nobody waits for an answer when it is
/// handed out: that would double the time of a start.
const TRUST: Duration = Duration::from_secs(5 * 60);
/// How much longer it is good for when somebody comes just then.
const TRUST_MORE: Duration = Duration::from_secs(60);
/// How long a container may take from its making to its start, beyond which nobody is at it any more.
const START_GRACE: Duration = Duration::from_secs(60);
/// How long that is left to whoever made it. To start it twice does no harm.
const START_SOON: Duration = Duration::from_secs(10);

/// A container that waits for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Id of the desktop that it will be.
    pub(super) id: DesktopId,
    /// The engine's id.
    pub(super) container: String,
    /// Its name while it waits.
    pub(super) name: String,
    /// What it was made from.
    pub(super) template: String,
    /// Its place, from 0: a place exists once, whoever fills it.
    pub(super) place: u32,
    /// Where it is published.
    pub(super) host_port: Option<u16>,
    /// Fingerprint of its description.
    fingerprint: String,
    made_at: Timestamp,
    state: ContainerState,
}

impl Member {
    /// Reads a container's labels and name. `None` when it waits for nobody: one that was handed out keeps its labels,
    /// but not its name.
    pub(super) fn read(container: &Container, instance: &str) -> Option<Self> {
        let label = |name: &str| container.labels.get(name);
        let template = label(LABEL_TEMPLATE)?;
        let place = container
            .name
            .strip_prefix(&pool_prefix(instance, template))?;
        Some(Self {
            id: label(LABEL_DESKTOP)?.parse().ok()?,
            container: container.id.clone(),
            name: container.name.clone(),
            template: template.clone(),
            place: place.parse().ok()?,
            host_port: label(LABEL_PORT).and_then(|port| port.parse().ok()),
            fingerprint: label(LABEL_POOL)?.clone(),
            made_at: Timestamp::from_millis(label(LABEL_MADE)?.parse().ok()?),
            state: container.state,
        })
    }

    /// Whether one that may take `patience` to answer will not any more.
    pub(super) fn is_overdue(&self, patience: Duration, now: Timestamp) -> bool {
        now.since(self.made_at) > START_GRACE + patience
    }

    /// Whether whoever made it should have started it by now.
    pub(super) fn is_half_made(&self, now: Timestamp) -> bool {
        self.state == ContainerState::Created && now.since(self.made_at) > START_SOON
    }

    /// Whether its process is there.
    pub(super) fn runs(&self) -> bool {
        self.state == ContainerState::Running
    }
}

/// The members among the containers of an installation.
pub(super) fn members(containers: &[Container], instance: &str) -> Vec<Member> {
    let read = |container| Member::read(container, instance);
    containers.iter().filter_map(read).collect()
}

/// What a template wants to have in the pool.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// How many.
    pub(super) count: u32,
    /// What each is to be like.
    pub(super) fingerprint: String,
}

/// Why a member has to go, if it has.
pub(super) fn unwanted(
    member: &Member,
    wanted: Option<&Wanted>,
    now: Timestamp,
) -> Option<&'static str> {
    let Some(wanted) = wanted.filter(|wanted| member.place < wanted.count) else {
        return Some("no template wants it");
    };
    let age = now.since(member.made_at);
    if member.fingerprint != wanted.fingerprint {
        Some("its template or image has changed")
    } else if age > MAX_AGE {
        Some("it is old")
    } else if !member.runs() && (member.state != ContainerState::Created || age > START_GRACE) {
        Some("it has ended")
    } else {
        None
    }
}

/// How much there is of what desktops and members share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// How many more there may be; negative when there are too many.
    pub(super) places: i64,
    /// Bytes of memory limits that may still be given away; negative when there are too many.
    pub(super) limits: i128,
    /// Bytes of this machine above those that have to stay free; negative when they are not.
    pub(super) memory: i128,
    /// Host ports that nobody has.
    pub(super) ports: usize,
}

impl Room {
    /// Whether one more fits, and leaves `spare` ports to people.
    pub(super) fn has(self, memory: u64, spare: u32) -> bool {
        let memory = i128::from(memory);
        let spare = usize::try_from(spare).unwrap_or(usize::MAX);
        self.places > 0 && self.limits >= memory && self.memory >= memory && self.ports > spare
    }

    /// Whether one has to make room.
    pub(super) fn is_short(self) -> bool {
        self.places < 0 || self.limits < 0 || self.memory < 0 || self.ports == 0
    }
}

#[derive(Debug)]
struct Known {
    member: Member,
    /// When it last answered.
    answered: Option<Instant>,
}

impl Known {
    fn is_ready(&self) -> bool {
        self.answered.is_some()
    }
}

/// What one gateway knows of the pool.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// As many as templates want at the most.
    known: Mutex<Vec<Known>>,
    /// There may be something to make.
    pub(super) bell: Notify,
}

impl Pool {
    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of all members there are.
    pub(super) fn note(&self, members: Vec<Member>) {
        let mut known = self.known();
        let answers: HashMap<DesktopId, Option<Instant>> = known
            .iter()
            .map(|known| (known.member.id, known.answered))
            .collect();
        *known = members
            .into_iter()
            .map(|member| Known {
                answered: answers
                    .get(&member.id)
                    .copied()
                    .flatten()
                    .filter(|_| member.runs()),
                member,
            })
            .collect();
    }

    /// Takes note of one more, so that nobody else gets its port, or that it has answered.
    pub(super) fn add(&self, member: &Member, answered: Option<Instant>) {
        self.forget(member.id);
        self.known().push(Known {
            member: member.clone(),
            answered,
        });
    }

    /// A member is there no more.
    pub(super) fn forget(&self, id: DesktopId) {
        self.known().retain(|known| known.member.id != id);
    }

    /// Members that run and have not answered yet, or not for a while.
    pub(super) fn unproven(&self, now: Instant) -> Vec<Member> {
        let fresh = |known: &Known| {
            known
                .answered
                .is_some_and(|at| now.saturating_duration_since(at) < TRUST)
        };
        let known = self.known();
        let unproven = known
            .iter()
            .filter(|known| known.member.runs() && !fresh(known));
        unproven.map(|known| known.member.clone()).collect()
    }

    /// The oldest member of a template that has answered, and when it did. Nobody else in this process gets it.
    pub(super) fn take(&self, template: &str, now: Instant) -> Option<(Member, Instant)> {
        let mut known = self.known();
        let fits = |known: &Known| {
            known.member.template == template
                && known
                    .answered
                    .is_some_and(|at| now.saturating_duration_since(at) < TRUST + TRUST_MORE)
        };
        let ready = known.iter().enumerate().filter(|(_, known)| fits(known));
        let (at, _) = ready.min_by_key(|(_, known)| known.member.made_at)?;
        let known = known.remove(at);
        Some((known.member, known.answered?))
    }

    /// The member that can best be spared: the youngest, which may not even answer yet.
    pub(super) fn take_any(&self) -> Option<Member> {
        let mut known = self.known();
        let all = known.iter().enumerate();
        let (at, _) = all.max_by_key(|(_, known)| known.member.made_at)?;
        Some(known.remove(at).member)
    }

    /// Host ports that members have.
    pub(super) fn ports(&self) -> Vec<u16> {
        let known = self.known();
        known
            .iter()
            .filter_map(|known| known.member.host_port)
            .collect()
    }

    /// Members of each template: ready, and not yet.
    pub(super) fn counts(&self) -> HashMap<String, (i64, i64)> {
        let mut counts = HashMap::new();
        for known in self.known().iter() {
            let count: &mut (i64, i64) = counts.entry(known.member.template.clone()).or_default();
            if known.is_ready() {
                count.0 += 1;
            } else {
                count.1 += 1;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn container(name: &str, id: DesktopId) -> Container {
        let labels = [
            (LABEL_DESKTOP, id.to_string()),
            (LABEL_TEMPLATE, "exam".to_owned()),
            (LABEL_POOL, "print".to_owned()),
            (LABEL_PORT, "7003".to_owned()),
            (LABEL_MADE, NOW.millis().to_string()),
        ];
        Container {
            id: format!("engine {id}"),
            name: name.to_owned(),
            state: ContainerState::Running,
            labels: labels.map(|(name, value)| (name.to_owned(), value)).into(),
            exit_code: None,
            oom_killed: false,
            address: None,
            made_at: None,
        }
    }

    fn member() -> Member {
        let container = container("deskgate-school-pool-exam-1", DesktopId::random());
        Member::read(&container, "school").expect("a member")
    }

    #[test]
    fn a_member_is_what_has_its_labels_and_still_its_name() {
        let id = DesktopId::random();
        let read = |name: &str| Member::read(&container(name, id), "school");
        let member = read("deskgate-school-pool-exam-1").expect("a member");
        assert_eq!((member.id, member.place), (id, 1));
        assert_eq!(member.host_port, Some(7003));
        for other in [
            format!("deskgate-school-{id}"),
            "deskgate-school-pool-exam-x".to_owned(),
            "deskgate-other-pool-exam-1".to_owned(),
            "deskgate-school-pool-exam-1-1".to_owned(),
        ] {
            assert_eq!(read(&other), None, "{other}");
        }
    }

    #[test]
    fn a_member_that_is_not_started_soon_is_half_made() {
        let mut member = member();
        let after = |age: Duration| member.made_at.after(age);
        let (soon, late) = (
            after(START_SOON),
            after(START_SOON + Duration::from_secs(1)),
        );
        assert!(!member.is_half_made(late), "it runs");
        member.state = ContainerState::Created;
        assert!(!member.is_half_made(soon) && member.is_half_made(late));
    }

    #[test]
    fn a_member_stays_while_it_is_what_its_template_wants() {
        let wanted = |count, fingerprint: &str| Wanted {
            count,
            fingerprint: fingerprint.into(),
        };
        let why = |member: &Member, wanted: Option<&Wanted>, seconds: u64| {
            unwanted(member, wanted, NOW.after(Duration::from_secs(seconds)))
        };
        let (member, right) = (member(), wanted(2, "print"));
        assert_eq!(why(&member, Some(&right), 3600), None);
        for (wanted, seconds) in [
            (None, 0),
            (Some(&wanted(1, "print")), 0),
            (Some(&wanted(2, "other")), 0),
            (Some(&right), 13 * 3600),
        ] {
            let reason = why(&member, wanted, seconds);
            assert!(reason.is_some(), "{wanted:?} after {seconds} s");
        }
        let (created, ended) = (ContainerState::Created, ContainerState::Exited);
        let state = |state| Member {
            state,
            ..member.clone()
        };
        assert_eq!(why(&state(created), Some(&right), 30), None);
        assert!(why(&state(created), Some(&right), 61).is_some());
        assert!(why(&state(ended), Some(&right), 0).is_some());
        let late = |seconds| NOW.after(Duration::from_secs(seconds));
        assert!(!member.is_overdue(Duration::from_secs(30), late(89)));
        assert!(member.is_overdue(Duration::from_secs(30), late(91)));
    }

    #[test]
    fn members_give_way_to_people() {
        let room = Room {
            places: 1,
            limits: 100,
            memory: 100,
            ports: 5,
        };
        assert!(room.has(100, 4) && !room.is_short());
        for (tight, short) in [
            (Room { places: 0, ..room }, false),
            (Room { places: -1, ..room }, true),
            (Room { limits: 99, ..room }, false),
            (Room { limits: -1, ..room }, true),
            (Room { memory: 99, ..room }, false),
            (Room { memory: -1, ..room }, true),
            (Room { ports: 4, ..room }, false),
            (Room { ports: 0, ..room }, true),
        ] {
            assert!(!tight.has(100, 4), "{tight:?}");
            assert_eq!(tight.is_short(), short, "{tight:?}");
        }
    }

    #[test]
    fn one_that_is_taken_is_taken_once_and_only_when_it_has_answered() {
        let pool = Pool::default();
        let (first, second, now) = (member(), member(), Instant::now());
        pool.note(vec![first.clone(), second.clone()]);
        assert_eq!(pool.take("exam", now), None, "nobody has answered");
        assert_eq!(pool.unproven(now).len(), 2);
        pool.add(&first, Some(now));
        assert_eq!(pool.counts()["exam"], (1, 1));
        pool.note(vec![first.clone(), second]);
        assert_eq!(pool.counts()["exam"], (1, 1), "it has answered before");
        assert_eq!(pool.unproven(now).len(), 1);
        let (soon, late) = (now + TRUST, now + TRUST + TRUST_MORE);
        assert_eq!(pool.unproven(soon).len(), 2, "it is asked again");
        assert_eq!(
            pool.take("exam", late),
            None,
            "who knows whether it still does"
        );
        assert_eq!(pool.take("other", soon), None);
        assert_eq!(pool.take("exam", soon), Some((first, now)));
        assert_eq!(pool.take("exam", soon), None);
        assert_eq!(pool.ports(), [7003], "that of the other one");
        assert!(pool.take_any().is_some(), "it has to go, answer or not");
        assert_eq!(pool.take_any(), None);
    }
}
