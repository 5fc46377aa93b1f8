//! `deskgate check`: looks at everything that a gateway needs and says what is wrong, and what to do about it. It changes
//! nothing, but for containers, networks and a volume of its own that it removes again.

mod authority;
mod collector;
mod host;
mod reach;
mod report;
mod services;

use crate::config::raw::Raw;
use crate::config::{Config, ConfigError, TeacherLook};
use crate::engine::docker::DockerEngine;
use report::Report;

/// What to do about a file that cannot be used.
const FILE_REMEDY: &str = "name a file with --config that is there, that this user may read and that is TOML; without --config ./deskgate.toml is read if it is there. Nothing else was checked";
/// What to do about a setting.
const SETTING_REMEDY: &str = "set it in the environment or in deskgate.toml; .env.example lists all settings. Nothing else was checked";

pub(super) async fn run(raw: Raw, as_json: bool) -> anyhow::Result<()> {
    let mut report = Report::default();
    let file = raw.file.clone();
    match Config::resolve(raw) {
        Ok(config) => everything(&config, &mut report).await,
        Err(ConfigError(mistakes)) => {
            for mistake in mistakes {
                let remedy = if file.as_ref() == Some(&mistake.key) {
                    FILE_REMEDY
                } else {
                    SETTING_REMEDY
                };
                report.fail("configuration", mistake.to_string(), remedy);
            }
        }
    }
    report.finish(as_json)
}

async fn everything(config: &Config, report: &mut Report) {
    report.ok("configuration", "complete");
    notices(config, report);
    let instance = services::database(config, report).await;
    host::doors(&config.server, report);
    host::certificate(&config.server, report);
    authority::look(&config.server, report).await;
    services::provider(config, report).await;
    collector::look(config, report).await;
    let engine = DockerEngine::new(config.engine.clone());
    if !services::engine(config, &engine, report).await {
        return;
    }
    services::images(&config.desktops, &engine, report).await;
    services::quotas(&config.desktops, &engine, &instance, report).await;
    if config.engine.is_here() {
        host::desktop_ports(&config.desktops, &engine, &instance, report).await;
        host::subnets(&config.desktops, report);
    }
    reach::try_out(config, &engine, &instance, report).await;
}

/// Where teachers may look at desktops, whether those can say so.
fn notices(config: &Config, report: &mut Report) {
    if config.teacher_look < TeacherLook::View {
        return;
    }
    let templates = config.desktops.templates.iter();
    for template in templates.filter(|one| one.has_pictures() && one.notice.is_none()) {
        let found = format!(
            "TEACHER_LOOK=view, but nobody can look at desktops of template {}: they cannot show it",
            template.id
        );
        let remedy =
            "have the image show a notice, and name the command for it in the template (notice)";
        report.warn("configuration", found, remedy);
    }
}
