//! Deskgate: a personal Linux desktop in the browser for everybody in a school, a lab or a company.
//!
//! One program is the only door. A request arrives at [`server`], [`gateway`] finds its route,
//! [`authn`] says who asks, [`authz`] whether they may, and [`proxy`] carries it to the container that
//! [`desktop`] keeps alive through [`engine`]; [`api`] and [`portal`] are how people and programs start
//! and stop it. `docs/ARCHITECTURE.md` tells the whole journey.
//!
//! **The order of the modules below is the layering: a module uses only modules below it.**
//! `tests/tidy.rs` proves it.

// They panic when nobody reads on. Commands print with `cli::output`, and everything else logs.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod cli;

pub mod demo;

pub mod app;

pub mod acme;

pub mod server;

pub mod gateway;

pub mod api;

pub mod portal;

pub mod respond;

pub mod picture;

pub mod proxy;

pub mod authz;

pub mod people;

pub mod overview;

pub mod authn;

pub mod desktop;

pub mod engine_filter;

pub mod engine;

pub mod audit;

pub mod store;

pub mod request;

pub mod telemetry;

pub mod outbound;

pub mod rate;

pub mod tasks;

pub mod stream;

pub mod config;

pub mod clock;

pub mod model;
