//! The collector that traces are sent to. It gets a message without spans. The gateway works without it, so nothing that is
//! wrong with it is more than a warning.

use hyper::StatusCode;

use super::report::Report;
use crate::config::{Config, TraceConfig};
use crate::outbound::HttpClient;
use crate::telemetry::{ErrorChain, traces};

pub(super) async fn look(config: &Config, report: &mut Report) {
    let Some(traces) = &config.traces else {
        return;
    };
    let at = &traces.endpoint;
    match ask(traces).await {
        Ok(status) if status.is_success() => {
            report.ok("collector", format!("{at} takes traces"));
        }
        Ok(status) => report.warn(
            "collector",
            format!("{at} answers {status}, so traces would be lost"),
            remedy(status),
        ),
        Err(why) => report.warn(
            "collector",
            format!("{at}: {why}; traces would be lost"),
            "see that it runs and that OTLP_ENDPOINT is its address for OTLP over HTTP (port 4318 as a rule, not that for gRPC), reached from here; an https:// one needs a certificate that this machine trusts",
        ),
    }
}

async fn ask(config: &TraceConfig) -> Result<StatusCode, String> {
    let said = |error: &(dyn std::error::Error + 'static)| ErrorChain(error).to_string();
    let http = HttpClient::new(None).map_err(|error| said(&error))?;
    let question = traces::empty_export(config).map_err(|error| said(&error))?;
    let answer = http.send(question).await.map_err(|error| said(&error))?;
    Ok(answer.status())
}

/// What to do about a collector that answers, but not that it took something.
fn remedy(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "it wants to know who sends, and Deskgate shows no credentials: let in this machine, or send to a collector beside the gateway that passes traces on"
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            "OTLP_ENDPOINT is the address below which /v1/traces is; see that the collector has a receiver for OTLP over HTTP there"
        }
        _ => "see in the collector's own log why it does not take them",
    }
}
