//! Responsible for the pages for people: sign-in, start page, account, waiting page, those of teachers and admins and the
//! description of the API, in German and English, with their assets.
//!
//! Every function here is pure: values in, HTML out. Who may see a page, which headers it carries and what its buttons
//! do on the server is decided elsewhere. The pages hold no inline script or style, so they work under the strictest
//! Content-Security-Policy. Error pages are in `respond::page`; all templates are in `portal/templates`.

mod account;
mod admin;
mod assets;
mod class;
mod docs;
mod frame;
mod look;
mod pages;
mod question;
mod shell;
mod texts;
mod tokens;

pub use account::{Account, Device, account};
pub use admin::{
    AdminAsk, AdminOverview, Asked, Section, UsedImage, admin_ask, admin_audit, admin_desktops,
    admin_failures, admin_images, admin_overview, admin_sessions, admin_templates, admin_users,
};
pub use assets::{ASSETS, Asset};
pub use class::{
    Class, ClassFigures, Classes, class, class_address, class_ask, class_failures, classes,
};
pub use docs::docs;
pub use frame::{Frame, frame};
pub use look::{LOOK_PATH, LookPage, look};
pub use pages::{Card, CardDesktop, Home, SignIn, Waiting, home, sign_in, waiting};
pub use shell::{Place, Shell};
pub use tokens::AccountToken;
