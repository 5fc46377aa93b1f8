//! Lets go of what has rested for too long.

use crate::gateway::Gateway;
use crate::{picture, proxy};

/// Looks after it until the gateway stops.
pub(super) fn spawn(gateway: &Gateway) {
    let tasks = &gateway.tasks;
    let proxy = gateway.proxy.clone();
    tasks.every("link sweep", proxy::SWEEP_PERIOD, move || {
        proxy.sweep();
        std::future::ready(())
    });
    let pictures = gateway.api.pictures().clone();
    tasks.every("picture sweep", picture::SWEEP_PERIOD, move || {
        pictures.sweep();
        std::future::ready(())
    });
}
