//! What a container takes of its host, in one answer of the engine.

use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerMemoryStats, ContainerStatsResponse};
use bollard::query_parameters::StatsOptionsBuilder;
use futures_util::TryStreamExt;

use super::{EngineError, Stats, within};

/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);
/// What of the memory are files that nobody has used lately, by the names of cgroup versions 2 and 1.
const RECLAIMABLE: [&str; 2] = ["inactive_file", "total_inactive_file"];

/// Looks at a container once. The engine's own percentages would need a second look, and a second of waiting.
pub(super) async fn of(client: &Docker, container: &str) -> Result<Stats, EngineError> {
    let options = StatsOptionsBuilder::new()
        .stream(false)
        .one_shot(true)
        .build();
    let mut answers = std::pin::pin!(client.stats(container, Some(options)));
    let answer = within(LOOK_TIMEOUT, answers.try_next()).await?;
    answer.map(read).ok_or(EngineError::NotFound)
}

fn read(answer: ContainerStatsResponse) -> Stats {
    let cpu = answer.cpu_stats.and_then(|stats| stats.cpu_usage);
    let cpu = cpu.and_then(|usage| usage.total_usage).unwrap_or_default();
    let memory = answer.memory_stats.unwrap_or_default();
    Stats {
        cpu: Duration::from_nanos(cpu),
        memory: in_use(&memory),
        memory_limit: memory.limit.filter(|limit| *limit > 0),
    }
}

/// As the engine's own command line counts it.
fn in_use(memory: &ContainerMemoryStats) -> u64 {
    let details = memory.stats.as_ref();
    let files = RECLAIMABLE
        .iter()
        .find_map(|name| details?.get(*name).copied());
    let usage = memory.usage.unwrap_or_default();
    usage.saturating_sub(files.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_can_be_given_up_do_not_count() {
        for name in RECLAIMABLE {
            let json = format!(
                r#"{{"cpu_stats":{{"cpu_usage":{{"total_usage":1500000000}}}},
                    "memory_stats":{{"usage":700,"limit":1000,"stats":{{"{name}":200,"other":5}}}}}}"#
            );
            let answer = serde_json::from_str(&json).expect("an answer");
            let expected = Stats {
                cpu: Duration::from_millis(1500),
                memory: 500,
                memory_limit: Some(1000),
            };
            assert_eq!(read(answer), expected, "{name}");
        }
        let nothing = serde_json::from_str("{}").expect("an answer");
        assert_eq!(read(nothing), Stats::default());
    }
}
