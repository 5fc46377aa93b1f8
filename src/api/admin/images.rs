//! `/api/admin/images`: what the engine has, and how an admin has it fetch more.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use crate::api::extract::JsonBody;
use crate::api::{ApiError, ApiState, answer};
use crate::desktop::images::{Progress, Pull};
use crate::model::audit::{Action, Event, Object};
use crate::respond::error::HttpError;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    image: String,
}

pub(super) async fn list(State(state): State<ApiState>, _: Admin) -> Result<Response, ApiError> {
    let images: Vec<Value> = state
        .desktops
        .images()
        .await?
        .into_iter()
        .map(|image| {
            let templates = state.desktops.templates_of(&image.names);
            json!({
                "id": image.id,
                "names": image.names,
                "size": image.size,
                "created_at": image.created_at,
                "templates": templates,
            })
        })
        .collect();
    let pulls: Vec<Value> = state.desktops.pulls().iter().map(view).collect();
    Ok(answer(
        StatusCode::OK,
        json!({ "images": images, "pulls": pulls }),
    ))
}

/// Begins a pull, or joins the one of the same image that is under way. How it goes on is in the list.
pub(super) async fn pull(
    State(state): State<ApiState>,
    admin: Admin,
    JsonBody(wanted): JsonBody<Wanted>,
) -> Result<Response, ApiError> {
    if !is_reference(&wanted.image) {
        let text = "image is a reference such as registry.example/desktop:1";
        return Err(HttpError::Malformed(text).into());
    }
    let (pull, new) = state.desktops.pull(&wanted.image)?;
    if new {
        let event = Event::new(Action::ImagePulled, &admin.actor);
        state
            .audit
            .record(event.object(Object::Image(wanted.image)));
    }
    Ok(answer(StatusCode::ACCEPTED, json!({ "pull": view(&pull) })))
}

fn view(pull: &Pull) -> Value {
    let (state, percent) = match pull.progress {
        Progress::Running(percent) => ("running", percent),
        Progress::Done => ("done", 100),
        Progress::Failed(percent) => ("failed", percent),
    };
    json!({
        "image": pull.image,
        "state": state,
        "percent": percent,
        "begun_at": pull.begun_at,
        "ended_at": pull.ended_at,
    })
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
