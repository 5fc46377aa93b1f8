//! The stable words for programs that errors come with, as one list for the description of the API. The table in
//! `error` gives them their meaning; a test compares the two.

/// Every `code` of a problem document.
pub const CODES: &[&str] = &[
    "bad_handshake",
    "bad_path",
    "body_too_large",
    "capacity_exhausted",
    "cookies_too_large",
    "csrf_token_missing",
    "database_unavailable",
    "desktop_asleep",
    "desktop_ended",
    "desktop_failed",
    "desktop_not_running",
    "desktop_not_up",
    "desktop_origin",
    "desktop_paused",
    "desktop_stopping",
    "desktop_timeout",
    "engine_unavailable",
    "foreign_origin",
    "internal",
    "invalid_duration",
    "invalid_json",
    "invalid_name",
    "invalid_query",
    "invalid_scope",
    "login_denied",
    "login_expired",
    "login_failed",
    "look_elsewhere",
    "look_off",
    "look_taken",
    "malformed_request",
    "memory_exhausted",
    "method_not_allowed",
    "no_notice",
    "no_picture",
    "not_extendable",
    "not_found",
    "not_signed_in",
    "not_told",
    "outside_hours",
    "prefetch_refused",
    "provider_unavailable",
    "queue_full",
    "quota_exceeded",
    "rate_limited",
    "scope_missing",
    "scope_not_allowed",
    "service_worker_refused",
    "session_invalid",
    "session_required",
    "target_too_long",
    "template_not_allowed",
    "ticket_invalid",
    "token_in_browser",
    "token_invalid",
    "too_many_pictures",
    "too_many_pulls",
    "too_many_requests",
    "too_many_streams",
    "too_many_tokens",
    "unknown_host",
    "unknown_template",
    "wrong_role",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::CODES;

    #[test]
    fn the_list_is_that_of_the_table() {
        let tables = [include_str!("error.rs"), include_str!("look.rs")];
        let tables = tables.map(|file| file.split("#[cfg(test)]").next().unwrap_or_default());
        let texts = tables
            .iter()
            .flat_map(|table| table.split('"').skip(1).step_by(2));
        let word = |text: &&str| {
            text.bytes()
                .all(|byte| byte == b'_' || byte.is_ascii_lowercase())
        };
        let used: BTreeSet<&str> = texts.filter(word).collect();
        let listed: BTreeSet<&str> = CODES.iter().copied().collect();
        assert_eq!(listed, used);
        assert_eq!(CODES.len(), listed.len(), "none is there twice");
    }
}
