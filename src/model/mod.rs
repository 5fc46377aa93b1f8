//! Plain values: ids, users, desktops, templates, scopes and the legal moves between states. No I/O.

pub mod audit;
pub mod cidr;
pub mod desktop;
pub mod device;
pub mod failpoint;
pub mod hours;
pub mod id;
pub mod mount;
pub mod notice;
pub mod preset;
pub mod rate;
pub mod reason;
pub mod schema;
pub mod scope;
pub mod site;
pub mod subnet;
pub mod template;
pub mod time;
pub mod user;
