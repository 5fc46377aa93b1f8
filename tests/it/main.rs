//! The integration tests: one binary, one file per behaviour, real sockets and strict peers.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "tests are named after what they show, and may panic"
)]

mod support;

mod account;
mod acme;
mod activation;
mod admin;
mod admin_pages;
mod api;
mod audit;
mod backup;
mod check;
mod class_pages;
mod command;
mod conformance;
mod conformance_cases;
mod daemon;
mod data_plane;
mod docker;
mod docker_cleanup;
mod docker_container;
mod docker_filter;
mod docker_home;
mod docker_picture;
mod docker_reach;
mod docker_trouble;
mod door;
mod engine_filter;
mod frame;
mod heads;
mod homes;
mod hours;
mod idle;
mod ids;
mod isolation;
mod life;
mod log_filter;
mod login;
mod looks;
mod lookup;
mod many;
mod metrics;
mod migrations;
mod nap;
mod openapi;
mod people;
mod pictures;
mod pool;
mod portal;
mod provider_faults;
mod provider_word;
mod providers;
mod proxy;
mod pulls;
mod rates;
mod reference;
mod repair;
mod request_ids;
mod rush;
mod second_origin;
mod sessions;
mod silence;
mod smuggling;
mod smuggling_cases;
mod store;
mod store_identity;
mod store_sessions;
mod teacher;
mod template_gone;
mod templates;
mod tokens;
mod traces;
mod transfer;
mod trouble;
mod upgrade;
mod upstream;
mod warning;
mod websocket;
mod wire;
