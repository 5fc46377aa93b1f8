//! What the tests stand on: a whole gateway on a free port, a browser that keeps cookies, an engine
//! whose containers are strict fake desktops, and the demo's OpenID provider.
#![allow(
    dead_code,
    reason = "not every helper is used by every build of the tests"
)]

pub mod authority;
pub mod authority_look;
pub mod authority_rules;
pub mod browser;
pub mod collector;
pub mod contract;
pub mod docker;
pub mod echo;
pub mod fake_daemon;
pub mod fake_desktop;
pub mod fake_desktop_wire;
pub mod fake_engine;
mod fake_engine_hands;
pub mod fake_rfb;
pub mod firewall;
pub mod gateway;
pub mod h2;
pub mod logs;
pub mod lookup;
pub mod manual_clock;
pub mod oidc_keys;
pub mod oidc_provider;
pub mod postgres;
pub mod relay;
pub mod scripted;
pub mod socket;
pub mod wire_engine;
