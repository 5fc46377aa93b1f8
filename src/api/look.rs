//! `GET /api/teacher/containers/{id}/look`: a WebSocket on which a teacher sees what is on a pupil's screen, once the
//! desktop has shown that they do. It carries pictures one way; what a teacher sends is not read.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use utoipa::ToSchema;

use super::routes::Routes;
use super::socket::{self, Socket};
use super::teacher::Teacher;
use super::{Api, ApiError, ApiState};
use crate::authn::Authenticated;
use crate::authz::AuthzError;
use crate::authz::classes::TeacherGrant;
use crate::authz::policy::Action;
use crate::config::TeacherLook;
use crate::desktop::{DesktopError, Found, HOLD_PERIOD, Look};
use crate::model::audit::Actor;
use crate::model::desktop::{Desktop, State as DesktopState};
use crate::model::id::DesktopId;
use crate::picture::{Bound, PictureError, View};
use crate::request::lang::Lang;
use crate::respond::describe::Call;
use crate::respond::error::HttpError;
use crate::respond::german;

/// Longest look. Whoever wants to go on looks anew, which the pupil and the audit log are told.
pub const LOOK_LIMIT: Duration = Duration::from_secs(15 * 60);
/// Largest picture.
const BOUND: Bound = Bound {
    width: 1280,
    height: 1280,
};
/// From one picture to the next, at least.
const PICTURE_PERIOD: Duration = Duration::from_millis(500);
/// How long a picture may take to a teacher before they count as gone.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// Where a look is; the messages that are bytes are pictures, JPEG or PNG.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
enum LookMessage<'a> {
    /// Where the look is.
    Look {
        /// `begun`, `ended`, or `refused`.
        #[schema(value_type = String)]
        state: &'static str,
        /// Why it has ended: `limit`, `desktop_stopped`, `desktop_paused`, `no_picture`, `revoked`, `gateway_stops`; or the
        /// code of the error that it was refused for.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        reason: Option<&'a str>,
        /// What a refusal means, for people.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        detail: Option<&'a str>,
    },
}

/// Why a look has ended, in the word that the teacher and the audit log get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Left,
    Limit,
    Stopped,
    Paused,
    NoPicture,
    Revoked,
    GatewayStops,
}

impl End {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Limit => "limit",
            Self::Stopped => "desktop_stopped",
            Self::Paused => "desktop_paused",
            Self::NoPicture => "no_picture",
            Self::Revoked => "revoked",
            Self::GatewayStops => "gateway_stops",
        }
    }

    const fn close_code(self) -> CloseCode {
        match self {
            Self::Revoked => CloseCode::Policy,
            Self::GatewayStops => CloseCode::Restart,
            _ => CloseCode::Normal,
        }
    }
}

impl From<PictureError> for End {
    fn from(error: PictureError) -> Self {
        match error {
            PictureError::Asleep => Self::Paused,
            PictureError::Gone => Self::Stopped,
            _ => Self::NoPicture,
        }
    }
}

pub(super) fn routes() -> Routes {
    let call = Call::get(
        "/api/teacher/containers/{id}/look",
        "A WebSocket with what is on a pupil's screen",
    )
    .about("The desktop shows its pupil who looks before anything is seen (`notice` of its template), the audit log has the beginning and the end, and a look ends after 15 minutes. A teacher looks at one desktop at a time, and a desktop is looked at by one. Texts are `LookMessage`; bytes are pictures, of at most 1280 pixels a side unless the desktop makes them. What is sent to it is not read. Where `TEACHER_LOOK` is not `view`, this is 403 `look_off`.")
    .takes("header", "Origin", "The gateway's own origin; browsers send it by themselves.")
    .says(101, "The WebSocket is open.")
    .messages::<LookMessage<'static>>()
    .refuses(&[409]);
    Routes::default().on(call, look)
}

impl Api {
    /// A pupil's desktop that a teacher may look at, and what the pupil is called.
    pub async fn to_look_at(
        &self,
        grant: &TeacherGrant,
        id: &str,
    ) -> Result<(Desktop, String), HttpError> {
        let desktop = self.state.to_look_at(grant, id).await?;
        let pupil = self.state.database.find_user(desktop.user_id).await?;
        let pupil = pupil.ok_or(AuthzError::NotFound)?;
        Ok((desktop, pupil.identity.display_name().to_owned()))
    }
}

/// Somebody who wants to see a desktop, and may.
struct Spectator {
    who: Authenticated,
    grant: TeacherGrant,
    actor: Actor,
    lang: Lang,
    desktop: Desktop,
}

async fn look(
    State(state): State<ApiState>,
    Teacher { grant, actor }: Teacher,
    Extension(who): Extension<Authenticated>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (desktop, view) = state.view_of(&grant, &id).await?;
    let spectator = Spectator {
        lang: request.extensions().get().copied().unwrap_or(Lang::En),
        who,
        grant,
        actor,
        desktop,
    };
    let tasks = state.tasks.clone();
    let serve = move |socket| serve(state, spectator, view, socket);
    Ok(socket::accept(&tasks, "look", request, serve)?)
}

impl ApiState {
    /// A desktop that somebody may see, and could see now, as far as that can be told without telling anybody.
    async fn view_of(&self, grant: &TeacherGrant, id: &str) -> Result<(Desktop, View), HttpError> {
        let desktop = self.to_look_at(grant, id).await?;
        let Some(Found::Up(entry)) = self.desktops.find(desktop.id).await? else {
            return Err(DesktopError::NotUp.into());
        };
        Ok((desktop, self.pictures.view(entry)))
    }

    /// The same without a way to see it.
    pub(super) async fn to_look_at(
        &self,
        grant: &TeacherGrant,
        id: &str,
    ) -> Result<Desktop, HttpError> {
        self.may_look(TeacherLook::View)?;
        let id: DesktopId = id.parse().map_err(|_| AuthzError::NotFound)?;
        let desktop = grant.desktop(&self.database, id, Action::Look).await?;
        match desktop.status {
            DesktopState::Running => {}
            DesktopState::Paused => return Err(PictureError::Asleep.into()),
            _ => return Err(DesktopError::NotUp.into()),
        }
        let template = self.desktops.template(&desktop.template);
        if !template.is_some_and(|template| template.has_pictures()) {
            return Err(PictureError::NoWay.into());
        }
        let can = self.desktops.can_be_looked_at(&desktop);
        can.map_err(DesktopError::from)?;
        Ok(desktop)
    }
}

async fn serve(state: ApiState, spectator: Spectator, mut view: View, mut socket: Socket) {
    let teacher = (spectator.who.user(), &spectator.actor);
    let begun = state.desktops.begin_look(&spectator.desktop, teacher).await;
    let mut look = match begun {
        Ok(look) => look,
        Err(error) => {
            let error = HttpError::from(error);
            let row = error.row();
            let detail = german::detail(&error, &row, spectator.lang);
            let _ = say(&mut socket, "refused", Some(row.code), Some(&detail)).await;
            return socket::close(&mut socket, CloseCode::Normal).await;
        }
    };
    let end = tokio::select! {
        end = show(&state, &spectator, (&mut look, &mut view), &mut socket) => end,
        () = spectator.who.principal.ended().cancelled() => End::Revoked,
        () = state.tasks.soft().cancelled() => End::GatewayStops,
        () = tokio::time::sleep(LOOK_LIMIT) => End::Limit,
    };
    // The notice goes first, while nothing is sent any more: the goodbye may wait for a teacher who does not read.
    state.desktops.end_look(look, end.as_str()).await;
    let goodbye = async {
        let _ = say(&mut socket, "ended", Some(end.as_str()), None).await;
        socket::close(&mut socket, end.close_code()).await;
    };
    let _ = timeout(SEND_LIMIT, goodbye).await;
}

/// Sends pictures until there is a reason to end.
async fn show(
    state: &ApiState,
    spectator: &Spectator,
    (look, view): (&mut Look, &mut View),
    socket: &mut Socket,
) -> End {
    if say(socket, "begun", None, None).await.is_err() {
        return End::Left;
    }
    let mut hold = interval_at(Instant::now() + HOLD_PERIOD, HOLD_PERIOD);
    hold.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next_at = Instant::now();
    loop {
        let picture = async {
            sleep_until(next_at).await;
            view.next(BOUND).await
        };
        tokio::select! {
            picture = picture => match picture {
                Ok(picture) => {
                    next_at = Instant::now() + PICTURE_PERIOD;
                    // The next one is not even made before this one is on its way.
                    let sent = timeout(SEND_LIMIT, socket.send(Message::Binary(picture.bytes)));
                    if !matches!(sent.await, Ok(Ok(()))) {
                        return End::Left;
                    }
                }
                Err(error) => return error.into(),
            },
            sent = socket.next() => match sent {
                None | Some(Err(_) | Ok(Message::Close(_))) => return End::Left,
                Some(Ok(_)) => {}
            },
            _ = hold.tick() => if let Some(end) = go_on(state, spectator, look, socket).await {
                return end;
            },
        }
    }
}

/// Asks whether the look may go on, and says so to whoever waits for its end.
async fn go_on(
    state: &ApiState,
    spectator: &Spectator,
    look: &mut Look,
    socket: &mut Socket,
) -> Option<End> {
    let id = spectator.desktop.id;
    let may = spectator.grant.desktop(&state.database, id, Action::Look);
    match may.await {
        Ok(_) => {}
        Err(AuthzError::NotFound) => return Some(End::Revoked),
        // The database may be back before the look runs out.
        Err(_) => return None,
    }
    if matches!(state.desktops.hold_look(look).await, Ok(false)) {
        return Some(End::Stopped);
    }
    let ping = socket.send(Message::Ping(bytes::Bytes::new()));
    let alive = matches!(timeout(SEND_LIMIT, ping).await, Ok(Ok(())));
    (!alive).then_some(End::Left)
}

async fn say(
    socket: &mut Socket,
    state: &'static str,
    reason: Option<&str>,
    detail: Option<&str>,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let message = LookMessage::Look {
        state,
        reason,
        detail,
    };
    // Words are always JSON.
    let text = serde_json::to_string(&message).unwrap_or_default();
    socket.send(Message::text(text)).await
}
