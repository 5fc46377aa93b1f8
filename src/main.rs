//! The program: arguments, settings, logging, one command, exit code. Nothing else.

use std::process::ExitCode;

use clap::Parser as _;
use deskgate::cli::Cli;
use deskgate::telemetry;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let raw = cli.raw();
    let log = telemetry::init(&cli.log(&raw));
    // Connections have threads of their own; what is left needs no more than this one.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(cli.run(raw, log)),
        Err(error) => {
            eprintln!("deskgate: the runtime does not start: {error}");
            ExitCode::FAILURE
        }
    }
}
