//! The commands: one file each, and the arguments they share.

mod check;
mod cleanup;
mod demo;
mod engine_filter;
mod health;
mod migrate;
mod output;
mod papers;
mod secret_key;
mod serve;
mod token;
mod transfer;
mod user;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::config::raw::Raw;
use crate::config::{ConfigError, LogConfig};
use crate::demo::DemoError;
use crate::telemetry::LogFilter;

/// Exit code for a configuration that cannot be used.
const BAD_CONFIGURATION: u8 = 2;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "deskgate", version, about)]
pub struct Cli {
    /// Read settings from this file instead of ./deskgate.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Serve,
    /// Run a gateway on this machine with a built-in login and nothing to configure
    Demo {
        /// Address to listen on; loopback only
        #[arg(long, default_value = "127.0.0.1:8443", value_name = "ADDR")]
        listen: SocketAddr,
        /// Directory for database, key and certificate
        #[arg(long, default_value = "data/demo", value_name = "DIR")]
        data: PathBuf,
    },
    /// Look at everything that the gateway needs, and say what is wrong and what to do about it
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Bring the database up to date and say what was done
    Migrate,
    /// Remove what is past its time: sessions, desktops, containers that nobody owns
    Cleanup {
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Write everything that is in the database to a new file, for deskgate import
    Export {
        /// The file, or - for standard output
        file: PathBuf,
    },
    /// Read what deskgate export wrote into an empty database, all of it or nothing
    Import {
        /// The file, or - for standard input
        file: PathBuf,
    },
    /// Make, list and revoke API tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// See who is known, hand out what is stored about a person, or delete it
    User {
        #[command(subcommand)]
        command: user::Command,
    },
    /// Ask the running gateway whether it is ready
    Health,
    /// Print all settings with their defaults and what they are for
    Settings {
        /// As a file of environment variables, as deskgate.toml, or as tables
        #[arg(long, value_enum, default_value = "env")]
        format: papers::Format,
    },
    /// Make the file with the key that everything secret is derived from, unless it is there
    SecretKey {
        /// The file
        #[arg(value_name = "FILE")]
        path: PathBuf,
    },
    /// Stand between gateway and engine, and let through only what a gateway of this configuration needs
    EngineFilter(engine_filter::Sockets),
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page, for man -l
    Man,
}

impl Cli {
    /// The settings that file and environment give.
    #[must_use]
    pub fn raw(&self) -> Raw {
        Raw::load(self.config.as_deref(), &|key| std::env::var(key).ok())
    }

    /// How to log.
    #[must_use]
    pub fn log(&self, raw: &Raw) -> LogConfig {
        LogConfig::resolve(raw)
    }

    /// Runs the command and says how it ended. `log` is what has begun to log.
    pub async fn run(self, raw: Raw, log: LogFilter) -> ExitCode {
        let done = match self.command {
            Command::Serve => serve::run(raw, log).await,
            Command::Demo { listen, data } => demo::run(raw, (listen, data), log).await,
            Command::Check { json } => check::run(raw, json).await,
            Command::Migrate => migrate::run(raw).await,
            Command::Cleanup { dry_run } => cleanup::run(raw, dry_run).await,
            Command::Export { file } => transfer::export(raw, &file).await,
            Command::Import { file } => transfer::import(raw, &file).await,
            Command::Token(command) => token::run(raw, command).await,
            Command::User { command } => user::run(raw, command).await,
            Command::Health => health::run(raw).await,
            Command::Settings { format } => papers::settings(format),
            Command::SecretKey { path } => secret_key::run(&path),
            Command::EngineFilter(sockets) => engine_filter::run(raw, sockets).await,
            Command::Completions { shell } => papers::completions(shell),
            Command::Man => papers::man(),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                output::tell(format_args!("deskgate: {error:#}\n"));
                let configuration = error.is::<ConfigError>()
                    || matches!(
                        error.downcast_ref(),
                        Some(DemoError::Config(_) | DemoError::NotLoopback(_))
                    );
                if configuration {
                    ExitCode::from(BAD_CONFIGURATION)
                } else {
                    ExitCode::FAILURE
                }
            }
        }
    }
}
