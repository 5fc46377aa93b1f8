//! How a desktop looks in JSON.

use std::borrow::Cow;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Serialize;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{ApiError, ApiState};
use crate::authn::Authenticated;
use crate::authz::admin::AdminGrant;
use crate::desktop::{Desktops, Planned, QueuePlace};
use crate::model::desktop::{Desktop, State};
use crate::model::id::{DesktopId, SessionId, UserId};
use crate::model::reason::Reason;
use crate::model::schema;
use crate::model::template::Template;
use crate::model::time::Timestamp;
use crate::model::user::User;
use crate::request::lang::Lang;
use crate::respond::code::CODES;
use crate::respond::reason;

/// Shows desktops to whoever asks.
#[derive(Clone, Debug)]
pub(super) struct Viewer {
    lang: Lang,
    desktops: Desktops,
    /// Who asks.
    user: Option<UserId>,
    /// They ask as an admin.
    administers: bool,
}

impl FromRequestParts<ApiState> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(head: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let lang = head.extensions.get().copied().unwrap_or(Lang::En);
        let desktops = state.desktops.clone();
        let who = head.extensions.get::<Authenticated>();
        Ok(Self {
            lang,
            desktops,
            user: who.map(|who| who.user().id),
            administers: head.extensions.get::<AdminGrant>().is_some(),
        })
    }
}

/// A desktop, and the container that the engine runs for it.
///
/// Times are null where something has not happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Container)]
pub(super) struct ContainerView<'a> {
    id: DesktopId,
    user_id: UserId,
    session_id: Option<SessionId>,
    container_id: Option<&'a str>,
    container_name: &'a str,
    image_name: &'a str,
    template: &'a str,
    #[schema(value_type = Status)]
    status: &'static str,
    /// A sentence for people, in German or English by `Accept-Language`.
    status_reason: Option<Cow<'a, str>>,
    #[schema(value_type = Option<Reason>)]
    status_reason_code: Option<&'static str>,
    /// What is behind it, up to 20 lines of plain text: what the desktop wrote last, for its user and for admins, or what
    /// the container engine said, for admins only.
    status_detail: Option<&'a str>,
    host_port: Option<u16>,
    container_port: u16,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    stopped_at: Option<Timestamp>,
    stops_at: Option<Timestamp>,
    #[schema(value_type = Option<Reason>)]
    stops_because: Option<&'static str>,
    stops_soon: bool,
    last_accessed: Option<Timestamp>,
    last_input: Option<Timestamp>,
    /// What the teacher is called who looks at it at this moment. Only its own user is told.
    watched_by: Option<&'a str>,
}

impl Viewer {
    /// The same for somebody who was found to be an admin.
    pub fn for_admin(mut self, _: AdminGrant) -> Self {
        self.administers = true;
        self
    }

    /// What may be seen of the reason's detail.
    fn detail<'a>(&self, desktop: &'a Desktop) -> Option<&'a str> {
        let reason = desktop
            .status_reason
            .as_deref()
            .and_then(Reason::from_word)?;
        let own = self.user == Some(desktop.user_id) && reason.is_from_inside();
        desktop
            .status_detail
            .as_deref()
            .filter(|_| own || self.administers)
    }

    fn watcher<'a>(&self, desktop: &'a Desktop) -> Option<&'a str> {
        let watcher = self.desktops.watcher(desktop);
        watcher.filter(|_| self.user == Some(desktop.user_id))
    }

    /// What is ahead of this desktop.
    pub fn planned(&self, desktop: &Desktop) -> Option<Planned> {
        self.desktops.planned(desktop)
    }

    /// `container` for this desktop.
    pub fn show<'a>(&self, desktop: &'a Desktop) -> ContainerView<'a> {
        let word = desktop.status_reason.as_deref();
        let planned = self.desktops.planned(desktop);
        ContainerView {
            id: desktop.id,
            user_id: desktop.user_id,
            session_id: desktop.session_id,
            container_id: desktop.container_id.as_deref(),
            container_name: &desktop.container_name,
            image_name: &desktop.image_name,
            template: &desktop.template,
            status: public_status(desktop.status),
            status_reason: word.map(|word| reason::sentence(word, self.lang)),
            status_reason_code: word.and_then(Reason::from_word).map(Reason::as_str),
            status_detail: self.detail(desktop),
            host_port: desktop.host_port,
            container_port: desktop.container_port,
            created_at: desktop.created_at,
            started_at: desktop.started_at,
            stopped_at: desktop.stopped_at,
            stops_at: planned.map(|planned| planned.at),
            stops_because: planned.map(|planned| planned.reason.as_str()),
            stops_soon: planned.is_some_and(|planned| planned.soon),
            last_accessed: desktop.last_accessed,
            last_input: desktop.last_input,
            watched_by: self.watcher(desktop),
        }
    }
}

/// `progress` of a start: which step it is at, and how much of it is done where that can be told.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Progress)]
pub(super) struct ProgressView {
    /// `queued`, `pulling` (its image), `creating` (its container) or `starting` (its container runs, and does not
    /// answer yet).
    #[schema(schema_with = steps)]
    step: &'static str,
    percent: Option<u8>,
}

fn steps() -> RefOr<Schema> {
    schema::words(
        ["queued", "pulling", "creating", "starting"],
        "What is being done.",
    )
}

impl ProgressView {
    /// How far a start is; `None` if none is under way.
    pub fn of(desktop: &Desktop) -> Option<Self> {
        let (step, percent) = match desktop.status {
            State::Queued => ("queued", None),
            State::Creating => match desktop.pull_percent {
                Some(percent) => ("pulling", Some(percent)),
                None => ("creating", None),
            },
            State::Starting => ("starting", None),
            _ => return None,
        };
        Some(Self { step, percent })
    }
}

/// The words of errors, for descriptions.
pub(super) fn codes() -> RefOr<Schema> {
    schema::words(CODES.iter().copied(), "A stable word for programs.")
}

/// The words of `status`, for descriptions.
pub(super) struct Status;

impl PartialSchema for Status {
    fn schema() -> RefOr<Schema> {
        let mut words: Vec<&str> = State::ALL.map(public_status).to_vec();
        words.dedup();
        schema::words(words, "Where a desktop is in its life.")
    }
}

impl ToSchema for Status {}

/// Whose a desktop is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Owner)]
pub(super) struct OwnerView<'a> {
    id: UserId,
    username: &'a str,
    name: Option<&'a str>,
}

impl<'a> From<&'a User> for OwnerView<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            id: user.id,
            username: &user.identity.username,
            name: user.identity.name.as_deref(),
        }
    }
}

/// The status that programs see: for them, a container that runs and does not answer yet is still being
/// created.
pub(super) const fn public_status(state: State) -> &'static str {
    match state {
        State::Starting => State::Creating.as_str(),
        other => other.as_str(),
    }
}

/// Where a desktop is that waits for its turn.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Queue)]
pub(super) struct QueueView {
    /// 1: the next one.
    position: usize,
    /// Until its turn, as far as that can be told.
    estimate_seconds: u64,
}

impl From<QueuePlace> for QueueView {
    fn from(place: QueuePlace) -> Self {
        Self {
            position: place.position,
            estimate_seconds: place.estimate.as_secs().max(1),
        }
    }
}

/// What may be started; texts are in German or English by `Accept-Language`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Template)]
pub(super) struct TemplateView<'a> {
    id: &'a str,
    title: &'a str,
    description: &'a str,
    icon: &'a str,
}

impl<'a> TemplateView<'a> {
    /// With texts in one of its languages.
    pub(super) fn new(template: &'a Template, lang: Lang) -> Self {
        let Template {
            title, description, ..
        } = template;
        Self {
            id: &template.id,
            title: lang.pick(&title.de, &title.en),
            description: lang.pick(&description.de, &description.en),
            icon: &template.icon,
        }
    }
}
