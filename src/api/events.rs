//! `GET /api/container/events`: a WebSocket that tells of each change of one's own desktops, or with `?all=1`
//! an admin of everybody's, one JSON object per change, beginning with how they are.

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use utoipa::ToSchema;

use super::routes::Routes;
use super::socket::{self, Socket};
use super::view::{ContainerView, ProgressView, QueueView, Viewer};
use super::{ApiError, ApiState};
use crate::authn::Authenticated;
use crate::authz::admin::authorize_admin;
use crate::authz::policy::Area;
use crate::desktop::{Change, DesktopError, Desktops};
use crate::model::desktop::Desktop;
use crate::model::reason::Reason;
use crate::model::time::Timestamp;
use crate::respond::describe::Call;

/// How often a silent connection is asked whether it still exists.
const PING_PERIOD: std::time::Duration = std::time::Duration::from_secs(30);

/// One message: a JSON object.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
enum EventMessage<'a> {
    /// How a desktop is now.
    Container {
        container: ContainerView<'a>,
        queue: Option<QueueView>,
        progress: Option<ProgressView>,
    },
    /// A desktop will be stopped by itself soon.
    Warning {
        #[schema(value_type = Reason)]
        reason: &'static str,
        stops_at: Timestamp,
        container: ContainerView<'a>,
    },
    /// A desktop was removed.
    Removed { container: ContainerView<'a> },
}

pub(super) fn routes() -> Routes {
    let call = Call::get("/api/container/events", "A WebSocket that tells of each change of one's own desktops")
        .about("It begins with how they are. Every message is one JSON object, `EventMessage`. The handshake is that of RFC 6455, or of RFC 8441 over HTTP/2, where the answer is 200.")
        .takes("query", "all", "`1` for everybody's; admins only.")
        .takes("header", "Origin", "The gateway's own origin; browsers send it by themselves.")
        .says(101, "The WebSocket is open.")
        .messages::<EventMessage<'static>>();
    Routes::default().on(call, events)
}

pub(super) async fn events(
    State(state): State<ApiState>,
    Extension(who): Extension<Authenticated>,
    mut viewer: Viewer,
    request: Request,
) -> Result<Response, ApiError> {
    let all = request.uri().query().is_some_and(|query| {
        url::form_urlencoded::parse(query.as_bytes())
            .any(|(name, value)| name == "all" && value == "1")
    });
    if all {
        viewer = viewer.for_admin(authorize_admin(&who.principal, Area::Desktops)?);
    }
    let tasks = state.tasks.clone();
    let serve = move |socket| serve(state, Listener { who, viewer, all }, socket);
    Ok(socket::accept(&tasks, "events", request, serve)?)
}

/// Who listens, and to what.
struct Listener {
    who: Authenticated,
    viewer: Viewer,
    /// Everybody's desktops, not just their own.
    all: bool,
}

impl Listener {
    /// The desktops that they hear of, as they are now.
    async fn desktops(&self, desktops: &Desktops) -> Result<Vec<Desktop>, DesktopError> {
        if self.all {
            desktops.list_all().await
        } else {
            desktops.list(self.who.user()).await
        }
    }

    fn hears_of(&self, desktop: &Desktop) -> bool {
        self.all || desktop.user_id == self.who.user().id
    }
}

async fn serve(state: ApiState, listener: Listener, mut socket: Socket) {
    let code = tokio::select! {
        told = tell(&state, &listener, &mut socket) => match told {
            Ok(()) => CloseCode::Normal,
            Err(_) => CloseCode::Error,
        },
        () = listener.who.principal.ended().cancelled() => CloseCode::Policy,
        () = state.tasks.soft().cancelled() => CloseCode::Restart,
    };
    socket::close(&mut socket, code).await;
}

/// Tells what happens until the connection ends.
async fn tell(
    state: &ApiState,
    listener: &Listener,
    socket: &mut Socket,
) -> Result<(), EventsError> {
    let viewer = &listener.viewer;
    let mut changes = state.desktops.changes();
    for desktop in listener.desktops(&state.desktops).await? {
        for message in now(state, desktop, viewer).await? {
            socket.send(message).await?;
        }
    }
    loop {
        tokio::select! {
            change = changes.recv() => match change {
                Ok(change) if listener.hears_of(change.desktop()) => socket.send(message(state, &change, viewer).await?).await?,
                Ok(_) => {}
                // Too slow to hear all of it: tell how everything is now.
                Err(RecvError::Lagged(_)) => {
                    for desktop in listener.desktops(&state.desktops).await? {
                        for message in now(state, desktop, viewer).await? {
                            socket.send(message).await?;
                        }
                    }
                }
                Err(RecvError::Closed) => return Ok(()),
            },
            sent = socket.next() => match sent {
                None | Some(Err(_) | Ok(Message::Close(_))) => return Ok(()),
                Some(Ok(_)) => {}
            },
            () = tokio::time::sleep(PING_PERIOD) => socket.send(Message::Ping(bytes::Bytes::new())).await?,
        }
    }
}

async fn message(
    state: &ApiState,
    change: &Change,
    viewer: &Viewer,
) -> Result<Message, DesktopError> {
    let desktop = change.desktop();
    let container = viewer.show(desktop);
    let message = match (change, viewer.planned(desktop)) {
        (Change::Removed(_), _) => EventMessage::Removed { container },
        (Change::Warning(_), Some(planned)) => EventMessage::Warning {
            reason: planned.reason.as_str(),
            stops_at: planned.at,
            container,
        },
        (Change::Moved(_, place), _) => EventMessage::Container {
            container,
            queue: Some(QueueView::from(*place)),
            progress: ProgressView::of(desktop),
        },
        (Change::To(_) | Change::Warning(_), _) => {
            let queue = state.desktops.queue_place(desktop).await?;
            EventMessage::Container {
                container,
                queue: queue.map(QueueView::from),
                progress: ProgressView::of(desktop),
            }
        }
    };
    // Ids, words and times are always JSON.
    let text = serde_json::to_string(&message).unwrap_or_default();
    Ok(Message::text(text))
}

/// How a desktop is now, with the warning that is out.
async fn now(
    state: &ApiState,
    desktop: Desktop,
    viewer: &Viewer,
) -> Result<Vec<Message>, DesktopError> {
    let soon = viewer.planned(&desktop).is_some_and(|planned| planned.soon);
    let mut messages = vec![message(state, &Change::To(desktop.clone()), viewer).await?];
    if soon {
        messages.push(message(state, &Change::Warning(desktop), viewer).await?);
    }
    Ok(messages)
}

/// Why the telling ended.
#[derive(Debug, thiserror::Error)]
enum EventsError {
    #[error(transparent)]
    Desktop(#[from] DesktopError),
    #[error("the connection broke")]
    Socket(#[from] tokio_tungstenite::tungstenite::Error),
}
