//! What the images that are in use for this job need: the defaults of a template, by name.

use std::collections::BTreeMap;
use std::time::Duration;

use super::template::{
    Auth, HeaderRules, Home, HostHeader, NetworkPolicy, Origin, Prefix, Pull, Ready, Sandbox,
    Scheme, Seccomp, Stop, Template, Texts, TlsVerify, View,
};

/// Images that start as root and change to the user by themselves need these back.
const ROOT_START: [&str; 6] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "KILL",
    "SETGID",
    "SETUID",
];
/// What selkies serves besides the page and its WebSocket: an interface for platforms, and the person's files as pages
/// of the gateway's origin.
const SELKIES_API: [&str; 13] = [
    "/api/apps",
    "/api/files",
    "/api/metrics",
    "/api/print",
    "/api/recording",
    "/api/screenshot",
    "/api/sessions",
    "/api/switch",
    "/api/tokens",
    "/api/turn",
    "/api/upload",
    "/api/webrtc",
    "/api/ws",
];

/// Services of Kasm's images that only its own platform reaches: sound, uploads, microphone, gamepad, camera.
const KASM_SERVICES: [&str; 6] = [
    "KASM_SVC_AUDIO",
    "KASM_SVC_AUDIO_INPUT",
    "KASM_SVC_GAMEPAD",
    "KASM_SVC_UPLOADS",
    "KASM_SVC_WEBCAM",
    "START_PULSEAUDIO",
];
/// What Kasm runs in its images before it stops them, so that browsers close their windows; other images may lack it.
const KASM_PRE_STOP: [&str; 3] = [
    "/bin/sh",
    "-c",
    "[ ! -f /dockerstartup/kasm_pre_shutdown_user.sh ] || exec bash /dockerstartup/kasm_pre_shutdown_user.sh",
];
/// Longest WebSocket frame that KasmVNC takes, bytes: it closes the connection at a longer one.
const KASM_FRAME: u64 = 65_535;

/// KasmVNC's picture of itself, which only its owner may ask for.
const SCREENSHOT: &str = "/api/get_screenshot?width={width}&height={height}&quality=7";

/// A family of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Kasm's images, and those that behave like them.
    Kasm,
    /// The webtop images of linuxserver, on their current base (selkies behind nginx).
    Webtop,
    /// selkies 2 alone.
    Selkies,
    /// websockify with the noVNC client.
    Novnc,
    /// jlesage's baseimage-gui.
    Jlesage,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 5] = [
        Self::Kasm,
        Self::Webtop,
        Self::Selkies,
        Self::Novnc,
        Self::Jlesage,
    ];

    /// Its name in `deskgate.toml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kasm => "kasm",
            Self::Webtop => "webtop",
            Self::Selkies => "selkies",
            Self::Novnc => "novnc",
            Self::Jlesage => "jlesage",
        }
    }

    /// From its name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == word)
    }

    /// A template of this family for `image`.
    #[must_use]
    pub fn template(self, image: String) -> Template {
        let mut template = Template::kasm(image, 6901);
        if self != Self::Kasm {
            template.scheme = Scheme::Http;
            template.entry = "/".into();
            template.deny_paths = Vec::new();
            template.resolution_env = None;
            template.screenshot = None;
            template.view = View::None;
            template.max_message = None;
            template.env = BTreeMap::new();
            template.stop.pre_stop = Vec::new();
        }
        match self {
            Self::Kasm => {}
            Self::Webtop => {
                template.port = 3000;
                template.auth = basic("abc", "CUSTOM_USER");
                template.shm_size = 1 << 30;
                template.home_path = "/config".into();
                template.sandbox.cap_add = ROOT_START.map(str::to_owned).to_vec();
            }
            Self::Selkies => {
                template.port = 8080;
                template.auth = basic("desktop", "CUSTOM_USER");
                template.ws_paths = vec!["/api/websockets".into()];
                template.deny_paths = SELKIES_API.map(str::to_owned).to_vec();
                template.ready.path = "/api/health".into();
                template.ready.auth = false;
                template.home_path = "/home/desktop".into();
            }
            Self::Novnc => {
                template.port = 6080;
                template.auth = Auth::None;
                template.entry =
                    "/vnc.html?path={prefix_bare}/websockify&autoconnect=1&resize=remote".into();
                template.ws_paths = vec!["/websockify".into()];
                template.view = View::Rfb;
                template.ready.path = "/vnc.html".into();
                template.home_path = "/root".into();
            }
            Self::Jlesage => {
                template.port = 5800;
                template.auth = Auth::None;
                template.home_path = "/config".into();
                template.sandbox.cap_add = ROOT_START.map(str::to_owned).to_vec();
            }
        }
        template
    }
}

/// Basic authentication as selkies and its relatives are told of it.
fn basic(user: &str, user_env: &str) -> Auth {
    Auth::Basic {
        user: user.into(),
        password_env: "PASSWORD".into(),
        user_env: Some(user_env.into()),
    }
}

impl Template {
    /// The desktop that `KASM_IMAGE`, `KASM_CONTAINER_PORT` and `VNC_PASSWORD` describe.
    #[must_use]
    pub fn kasm(image: String, port: u16) -> Self {
        Self {
            id: "desktop".into(),
            title: Texts::same("Desktop"),
            description: Texts::default(),
            icon: "desktop".into(),
            image,
            pull: Pull::Missing,
            port,
            scheme: Scheme::Https,
            tls_verify: TlsVerify::None,
            auth: Auth::Basic {
                user: "kasm_user".into(),
                password_env: "VNC_PW".into(),
                user_env: None,
            },
            viewer_auth: None,
            prefix: Prefix::Strip,
            prefix_env: BTreeMap::new(),
            entry: "/?path={prefix_bare}/websockify&reconnect=true&resize=remote".into(),
            ws_paths: Vec::new(),
            host_header: HostHeader::Preserve,
            origin: Origin::Pass,
            deny_paths: vec!["/api".into(), "/Downloads".into()],
            headers: HeaderRules::default(),
            max_message: Some(KASM_FRAME),
            screenshot: Some(SCREENSHOT.into()),
            view: View::Rfb,
            ready: Ready {
                path: "/".into(),
                auth: true,
                expect: None,
                timeout: Duration::from_secs(60),
            },
            stop: Stop {
                signal: None,
                timeout: Duration::from_secs(10),
                pre_stop: KASM_PRE_STOP.map(str::to_owned).to_vec(),
            },
            notice: None,
            shm_size: 512 << 20,
            memory: 2 << 30,
            cpu_millis: 2000,
            pids: 1024,
            sandbox: Sandbox {
                user: None,
                init: false,
                read_only: false,
                tmpfs: BTreeMap::new(),
                cap_drop: vec!["ALL".into()],
                cap_add: Vec::new(),
                no_new_privileges: true,
                seccomp: Seccomp::Default,
                devices: Vec::new(),
            },
            network: NetworkPolicy::Internet,
            env: KASM_SERVICES
                .map(|name| (name.to_owned(), "0".to_owned()))
                .into(),
            resolution_env: Some("VNC_RESOLUTION".into()),
            resolution: None,
            home_path: "/home/kasm-user".into(),
            home: Home::Volume,
            home_quota: None,
            mounts: Vec::new(),
            groups: Vec::new(),
            users: Vec::new(),
            warm: 0,
            hours: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for preset in Preset::ALL {
            assert_eq!(Preset::from_word(preset.as_str()), Some(preset));
        }
        assert_eq!(Preset::from_word("vnc"), None);
    }

    #[test]
    fn selkies_keeps_its_socket_and_its_health_and_hides_the_rest_of_its_api() {
        let template = Preset::Selkies.template("image".into());
        assert!(template.allows_path("/api/websockets") && template.allows_path("/api/health"));
        assert!(template.allows_socket("/api/websockets"));
        assert!(!template.allows_socket("/api/ws"));
        for hidden in ["/api/switch", "/api/files/x", "/api/upload", "/api/tokens"] {
            assert!(!template.allows_path(hidden), "{hidden}");
        }
    }

    #[test]
    fn what_only_kasms_images_know_is_theirs_alone() {
        for preset in Preset::ALL {
            let template = preset.template("image".into());
            let is_kasm = preset == Preset::Kasm;
            assert_eq!(template.max_message, is_kasm.then_some(65_535));
            assert_eq!(template.env.len(), if is_kasm { 6 } else { 0 });
            assert_eq!(!template.stop.pre_stop.is_empty(), is_kasm);
        }
    }

    #[test]
    fn whoever_speaks_rfb_can_be_looked_at() {
        for preset in Preset::ALL {
            let template = preset.template("image".into());
            let speaks = matches!(preset, Preset::Kasm | Preset::Novnc);
            assert_eq!(template.view == View::Rfb, speaks, "{}", preset.as_str());
            assert_eq!(template.screenshot.is_some(), preset == Preset::Kasm);
        }
    }

    #[test]
    fn all_capabilities_are_dropped_first() {
        for preset in Preset::ALL {
            let sandbox = preset.template("image".into()).sandbox;
            assert_eq!(sandbox.cap_drop, ["ALL"], "{}", preset.as_str());
            assert!(sandbox.no_new_privileges);
        }
    }
}
