//! `GET /api/teacher/containers/{id}/picture`: a small picture of what is on a pupil's screen.

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::routes::Routes;
use super::teacher::Teacher;
use super::{Api, ApiError, ApiState};
use crate::authz::AuthzError;
use crate::authz::policy::Action;
use crate::config::TeacherLook;
use crate::desktop::{DesktopError, Found};
use crate::model::audit::{Action as Audited, Event, Object};
use crate::model::id::DesktopId;
use crate::model::user::{Role, User};
use crate::respond::describe::Call;

/// Bytes of a pupil's making: nothing runs, if somebody opens them as a page.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

impl ApiState {
    /// Refuses a teacher who would see more than the installation allows.
    pub(super) fn may_look(&self, wanted: TeacherLook) -> Result<(), AuthzError> {
        let may = self.look >= wanted;
        may.then_some(()).ok_or(AuthzError::LookOff)
    }
}

impl Api {
    /// What teachers see of screens.
    #[must_use]
    pub fn look(&self) -> TeacherLook {
        self.state.look
    }

    /// What somebody's teachers may see of their screen: nothing, if they are in no class.
    #[must_use]
    pub fn look_at(&self, user: &User) -> TeacherLook {
        let groups = &user.identity.groups;
        let is_pupil = user.identity.role == Role::Student
            && groups
                .iter()
                .any(|group| self.state.classes.contains(group));
        if is_pupil {
            self.state.look
        } else {
            TeacherLook::Off
        }
    }
}

pub(super) fn routes() -> Routes {
    let text =
        "The picture, at most 320 x 240 pixels unless the desktop makes it, and at most 5 s old.";
    let picture = Call::get(
        "/api/teacher/containers/{id}/picture",
        "A small picture of a pupil's screen",
    )
    .about("Where `TEACHER_LOOK` is off, this is 403 `look_off`. A desktop that is paused is not woken for it. The audit log has it once in ten minutes for each teacher and desktop.")
    .shows(200, "image/jpeg", text)
    .shows(200, "image/png", text)
    .refuses(&[409, 502, 504]);
    Routes::default().on(picture, self::picture)
}

async fn picture(
    State(state): State<ApiState>,
    Teacher { grant, actor }: Teacher,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    state.may_look(TeacherLook::Thumbnails)?;
    let id: DesktopId = id.parse().map_err(|_| AuthzError::NotFound)?;
    let desktop = grant.desktop(&state.database, id, Action::Look).await?;
    let Some(Found::Up(entry)) = state.desktops.find(id).await? else {
        return Err(DesktopError::NotUp.into());
    };
    let picture = state.pictures.thumbnail(&entry).await?;
    let seen = (actor.user, id);
    if state.pictures_told.check(&seen).is_ok() {
        let event = Event::new(Audited::PicturesSeen, &actor).subject(desktop.user_id);
        state.audit.record(event.object(Object::Desktop(id)));
    }
    let headers = [
        (CONTENT_TYPE, picture.content_type),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ];
    Ok((headers, picture.bytes).into_response())
}
