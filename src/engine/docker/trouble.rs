//! What Docker's errors mean. It has few status codes for what goes wrong, so its words are looked at; those of registries
//! come through it.

use std::time::Duration;

use bollard::errors::Error;

use super::super::{EngineError, PullFailure};

/// A port that is somebody else's.
const PORT_WORDS: [&str; 3] = [
    "port is already allocated",
    "address already in use",
    "ports are not available",
];
/// What the messages of `deskgate engine-filter` begin with.
pub(crate) const FILTER: &str = "deskgate engine-filter: ";
/// No room for an image, a container or its files.
const DISK_WORDS: [&str; 2] = ["no space left on device", "disk quota exceeded"];
/// No volume is kept to a size: as Docker says it since 20.10, as it did before, as Podman does.
const NO_QUOTA_WORDS: [&str; 4] = [
    "no quota support",
    "invalid option: \"size\"",
    "invalid option key: \"size\"",
    "does not support project quota",
];
/// The registry wants somebody else, or nobody, to have the image.
const DENIED_WORDS: [&str; 6] = [
    "pull access denied",
    "access to the resource is denied",
    "unauthorized",
    "authentication required",
    "no basic auth credentials",
    "403 forbidden",
];
/// The registry was not heard, or not to its end.
const AWAY_WORDS: [&str; 13] = [
    "dial tcp",
    "no such host",
    "server misbehaving",
    "connection refused",
    "connection reset",
    "i/o timeout",
    "tls handshake timeout",
    "client.timeout",
    "context deadline exceeded",
    "eof",
    "502 bad gateway",
    "503 service unavailable",
    "504 gateway",
];
/// The registry has no such image, or none for this machine.
const UNKNOWN_WORDS: [&str; 5] = [
    "manifest unknown",
    "name unknown",
    "no matching manifest",
    "not found",
    "invalid reference",
];

/// Sorts the error of a call that may take `limit`.
pub(super) fn sort(error: Error, limit: Duration) -> EngineError {
    match &error {
        Error::RequestTimeoutError => EngineError::Timeout(limit),
        Error::DockerResponseServerError {
            status_code,
            message,
        } => match status_code {
            404 if message.contains("No such image") => EngineError::ImageMissing,
            404 if is_of_docker(message) => EngineError::NotFound,
            409 if message.contains("is already in use by container") => EngineError::NameTaken,
            _ if has(message, &PORT_WORDS) => EngineError::PortTaken,
            _ if has(message, &DISK_WORDS) => EngineError::DiskFull(error),
            _ => EngineError::Refused(error),
        },
        Error::HyperResponseError { .. }
        | Error::HyperLegacyError { .. }
        | Error::IOError { .. }
        | Error::SocketNotFoundError(_) => EngineError::Unreachable(error),
        _ => EngineError::Refused(error),
    }
}

/// Sorts the error of a pull, which is mostly the registry's.
pub(super) fn sort_pull(error: Error, limit: Duration) -> EngineError {
    let (Error::DockerStreamError { error: words }
    | Error::DockerResponseServerError { message: words, .. }) = &error
    else {
        return match sort(error, limit) {
            EngineError::Refused(error) => EngineError::Pull(PullFailure::Other, error),
            other => other,
        };
    };
    let failure = match words {
        words if has(words, &DISK_WORDS) => return EngineError::DiskFull(error),
        words if words.starts_with(FILTER) => PullFailure::Filtered,
        words if has(words, &DENIED_WORDS) => PullFailure::Denied,
        words if has(words, &AWAY_WORDS) => PullFailure::Registry,
        words if has(words, &UNKNOWN_WORDS) => PullFailure::Unknown,
        _ => PullFailure::Other,
    };
    EngineError::Pull(failure, error)
}

/// Whether a volume was refused because this engine keeps none to a size, and for no other reason.
pub(super) fn lacks_quota(error: &EngineError) -> bool {
    let EngineError::Refused(Error::DockerResponseServerError { message, .. }) = error else {
        return false;
    };
    has(message, &NO_QUOTA_WORDS)
}

/// Whether an answer of 404 is about a thing that Docker does not have. Whatever else listens at its address answers 404
/// as well, and must not make desktops look lost.
fn is_of_docker(message: &str) -> bool {
    let message = message.trim().to_ascii_lowercase();
    let names_thing = message.ends_with(" not found") && !message.ends_with("page not found");
    message.contains("no such ") || names_thing
}

fn has(message: &str, words: &[&str]) -> bool {
    let message = message.to_ascii_lowercase();
    words.iter().any(|word| message.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn answer(status_code: u16, message: &str) -> Error {
        Error::DockerResponseServerError {
            status_code,
            message: message.into(),
        }
    }

    /// The name of a variant, with what kind of pull failed.
    fn kind(error: &EngineError) -> String {
        let text = format!("{error:?}");
        let end = text.find([',', '(']).unwrap_or(text.len());
        match error {
            EngineError::Pull(failure, _) => format!("Pull {failure:?}"),
            _ => text[..end].to_owned(),
        }
    }

    #[test]
    fn answers_are_sorted_by_status_and_words() {
        for (status, message, expected) in [
            (404, "No such image: x:latest", "ImageMissing"),
            (404, "No such container: x", "NotFound"),
            (404, "get x: no such volume", "NotFound"),
            (404, "network x not found", "NotFound"),
            (404, "page not found", "Refused"),
            (
                404,
                "<html><body><h1>404 Not Found</h1></body></html>",
                "Refused",
            ),
            (404, "", "Refused"),
            (
                409,
                "Conflict. The container name \"/x\" is already in use by container \"y\".",
                "NameTaken",
            ),
            (
                500,
                "Bind for 127.0.0.1:7000 failed: port is already allocated",
                "PortTaken",
            ),
            (
                500,
                "mkdir /var/lib/docker/overlay2/x: no space left on device",
                "DiskFull",
            ),
            (500, "something else", "Refused"),
        ] {
            assert_eq!(
                kind(&sort(answer(status, message), LIMIT)),
                expected,
                "{message}"
            );
        }
        assert_eq!(kind(&sort(Error::RequestTimeoutError, LIMIT)), "Timeout");
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(
            kind(&sort(Error::IOError { err: broken }, LIMIT)),
            "Unreachable"
        );
    }

    #[test]
    fn only_an_engine_that_keeps_no_volume_to_a_size_is_taken_for_one() {
        for (status, message, expected) in [
            (400, "quota size requested but no quota support", true),
            (400, "create x: invalid option: \"size\"", true),
            (400, "create x: invalid option key: \"size\"", true),
            (
                500,
                "volume options size and inodes not supported. Filesystem does not support Project Quota",
                true,
            ),
            (
                403,
                "deskgate engine-filter: DriverOpts is not as the configuration says",
                false,
            ),
            (
                500,
                "error creating volume root path: permission denied",
                false,
            ),
            (
                500,
                "failed to set quota limit for projid 9: no space left on device",
                false,
            ),
            (400, "create x: invalid size: \"many\"", false),
            (404, "no quota support", true),
        ] {
            let error = sort(answer(status, message), LIMIT);
            assert_eq!(lacks_quota(&error), expected, "{message}");
        }
        assert!(!lacks_quota(&EngineError::NotFound));
    }

    #[test]
    fn what_a_registry_says_is_sorted_by_its_words() {
        for (message, expected) in [
            (
                "pull access denied for x, repository does not exist or may require 'docker login': denied: \
                 requested access to the resource is denied",
                "Pull Denied",
            ),
            (
                "Head \"https://r.test/v2/x/manifests/1\": unauthorized: access token has insufficient scopes",
                "Pull Denied",
            ),
            (
                "Head \"https://r.test/v2/x/manifests/1\": no basic auth credentials",
                "Pull Denied",
            ),
            (
                "manifest for x:1 not found: manifest unknown: manifest unknown",
                "Pull Unknown",
            ),
            (
                "no matching manifest for linux/arm64/v8 in the manifest list entries",
                "Pull Unknown",
            ),
            (
                "Get \"https://r.test/v2/\": dial tcp: lookup r.test on 10.0.0.1:53: no such host",
                "Pull Registry",
            ),
            (
                "Get \"https://r.test/v2/\": net/http: TLS handshake timeout",
                "Pull Registry",
            ),
            (
                "Get \"http://127.0.0.1:5999/v2/\": dial tcp 127.0.0.1:5999: connect: connection refused",
                "Pull Registry",
            ),
            ("unexpected EOF", "Pull Registry"),
            (
                "deskgate engine-filter: no template of this configuration has this image",
                "Pull Filtered",
            ),
            (
                "failed to register layer: write /usr/lib/x: no space left on device",
                "DiskFull",
            ),
            (
                "toomanyrequests: You have reached your pull rate limit.",
                "Pull Other",
            ),
        ] {
            let streamed = Error::DockerStreamError {
                error: message.into(),
            };
            assert_eq!(kind(&sort_pull(streamed, LIMIT)), expected, "{message}");
            assert_eq!(
                kind(&sort_pull(answer(500, message), LIMIT)),
                expected,
                "{message}"
            );
        }
    }
}
