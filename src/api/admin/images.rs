//! `/api/admin/images`: what the engine has, and how an admin has it fetch more.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Admin;
use crate::api::extract::JsonBody;
use crate::api::routes::Routes;
use crate::api::{ApiError, ApiState, answer};
use crate::desktop::pulls::{Progress, Pull};
use crate::engine::PullFailure;
use crate::model::audit::{Action, Actor, Event, Object};
use crate::model::time::Timestamp;
use crate::respond::describe::Call;
use crate::respond::error::HttpError;

/// Which image.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// A reference such as `registry.example/desktop:1`.
    #[schema(max_length = 255, pattern = "^[A-Za-z0-9][A-Za-z0-9._/:@-]*$")]
    image: String,
}

/// An image that the engine has.
#[derive(Serialize, ToSchema)]
#[schema(as = Image)]
struct ImageView<'a> {
    id: String,
    names: Vec<String>,
    /// Bytes on disk.
    size: i64,
    created_at: Timestamp,
    /// Templates that use it.
    templates: Vec<&'a str>,
}

/// How far a pull is.
#[derive(Serialize, ToSchema)]
#[schema(as = Pull)]
struct PullView {
    image: String,
    state: PullState,
    percent: u8,
    /// Why it failed, if it did.
    reason: Option<PullReason>,
    begun_at: Timestamp,
    ended_at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum PullState {
    Running,
    Done,
    Failed,
}

/// Why a pull failed: the registry does not give the image to us, or has none; it was not heard; nothing came any more;
/// the filter in front of the engine lets only images of templates through; something else.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum PullReason {
    Denied,
    Unknown,
    Registry,
    Stalled,
    Filtered,
    Other,
}

impl From<PullFailure> for PullReason {
    fn from(failure: PullFailure) -> Self {
        match failure {
            PullFailure::Denied => Self::Denied,
            PullFailure::Unknown => Self::Unknown,
            PullFailure::Registry => Self::Registry,
            PullFailure::Stalled => Self::Stalled,
            PullFailure::Filtered => Self::Filtered,
            PullFailure::Other => Self::Other,
        }
    }
}

/// What the engine has, and what this gateway has it fetch.
#[derive(Serialize, ToSchema)]
struct Images<'a> {
    images: Vec<ImageView<'a>>,
    pulls: Vec<PullView>,
}

/// A pull.
#[derive(Serialize, ToSchema)]
struct OnePull {
    pull: PullView,
}

pub(super) fn routes() -> Routes {
    let list = Call::get("/api/admin/images", "Images that the engine has, and pulls")
        .answers::<Images<'static>>(200, "Both.");
    let pull = Call::post("/api/admin/images/pull", "Has the engine pull an image")
        .about("The list says how it goes on.")
        .body::<Wanted>()
        .answers::<OnePull>(202, "The pull is under way.");
    Routes::default().on(list, self::list).on(pull, self::pull)
}

pub(super) async fn list(State(state): State<ApiState>, _: Admin) -> Result<Response, ApiError> {
    let images = state
        .desktops
        .images()
        .await?
        .into_iter()
        .map(|image| {
            let templates = state.desktops.templates_of(&image.names);
            ImageView {
                id: image.id,
                names: image.names,
                size: image.size,
                created_at: image.created_at,
                templates,
            }
        })
        .collect();
    let pulls = state.desktops.pulls().iter().map(view).collect();
    Ok(answer(StatusCode::OK, Images { images, pulls }))
}

/// Begins a pull, or joins the one of the same image that is under way. How it goes on is in the list.
pub(super) async fn pull(
    State(state): State<ApiState>,
    admin: Admin,
    JsonBody(wanted): JsonBody<Wanted>,
) -> Result<Response, ApiError> {
    let pull = begin(&state, &admin.actor, &wanted.image)?;
    Ok(answer(StatusCode::ACCEPTED, OnePull { pull: view(&pull) }))
}

pub(super) fn begin(state: &ApiState, by: &Actor, image: &str) -> Result<Pull, HttpError> {
    if !is_reference(image) {
        let text = "image is a reference such as registry.example/desktop:1";
        return Err(HttpError::Malformed(text));
    }
    let (pull, new) = state.desktops.pull(image)?;
    if new {
        let event = Event::new(Action::ImagePulled, by);
        let image = Object::Image(image.to_owned());
        state.audit.record(event.object(image));
    }
    Ok(pull)
}

fn view(pull: &Pull) -> PullView {
    let (state, percent, reason) = match pull.progress {
        Progress::Running(percent) => (PullState::Running, percent, None),
        Progress::Done => (PullState::Done, 100, None),
        Progress::Failed(percent, why) => (PullState::Failed, percent, Some(why.into())),
    };
    PullView {
        image: pull.image.clone(),
        state,
        percent,
        reason,
        begun_at: pull.begun_at,
        ended_at: pull.ended_at,
    }
}

/// Whether a text may be the reference of an image, in a request to the engine.
fn is_reference(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    let begins = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    begins && text.len() <= 255 && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_images() {
        let digest = format!("desktop@sha256:{}", "a".repeat(64));
        for good in ["alpine", "localhost:5000/a/b:1.2_3", "kasmweb/x:1", &digest] {
            assert!(is_reference(good), "{good}");
        }
        for bad in [
            "",
            "-x",
            "/x",
            "a b",
            "a?tag=b",
            "a\nb",
            "ä",
            &"a".repeat(256),
        ] {
            assert!(!is_reference(bad), "{bad}");
        }
    }
}
