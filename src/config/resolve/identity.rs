//! Who may come in: the provider, sessions, and the secret that everything is derived from.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

use super::super::{ClaimsConfig, OidcConfig, OnLogout, Secret, SessionConfig, TeacherLook, parse};
use super::Reader;

impl Reader {
    pub(super) fn secret_key(&mut self) -> Secret {
        let text = self.required("SECRET_KEY", "a random text of at least 32 bytes");
        if !text.is_empty() && text.len() < 32 {
            self.wrong("SECRET_KEY", "is too short; it should have at least 32 bytes, for instance from `openssl rand -hex 32`");
        }
        Secret::new(text)
    }

    pub(super) fn oidc(&mut self, public_url: &Url) -> OidcConfig {
        let issuer = self.required("OAUTH_ISSUER", "the provider's issuer URL");
        let is_web = |url: Url| matches!(url.scheme(), "https" | "http") && url.query().is_none();
        if !issuer.is_empty() && !issuer.parse().is_ok_and(is_web) {
            self.wrong("OAUTH_ISSUER", "an https:// URL without a query");
        }
        let mut scopes: Vec<String> = self
            .text("OAUTH_SCOPES")
            .unwrap_or_default()
            .split([' ', ','])
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned)
            .collect();
        if !scopes.iter().any(|scope| scope == "openid") {
            scopes.insert(0, "openid".into());
        }
        let ca_file = self.text("OAUTH_CA_FILE").map(PathBuf::from);
        if ca_file.as_deref().is_some_and(|file| !has_roots(file)) {
            self.wrong(
                "OAUTH_CA_FILE",
                "a PEM file that can be read, with certificates of trusted roots",
            );
        }
        OidcConfig {
            issuer,
            client_id: self.required("OAUTH_CLIENT_ID", "the client id that the provider gave"),
            client_secret: self.text("OAUTH_CLIENT_SECRET").map(Secret::new),
            prompt: self.prompt(&scopes),
            scopes,
            ca_file,
            redirect_url: with_path(public_url, "/authorize"),
            post_logout_url: with_path(public_url, "/"),
            recheck: self.duration("IDENTITY_RECHECK").unwrap_or_default(),
            claims: self.claims(),
        }
    }

    /// Core 1.0 section 11: who asks for `offline_access` has to ask the person too.
    fn prompt(&self, scopes: &[String]) -> Option<String> {
        let offline = scopes.iter().any(|scope| scope == "offline_access");
        match self.text("OAUTH_PROMPT").as_deref() {
            Some("off") => None,
            None => offline.then(|| "consent".to_owned()),
            Some(said) => Some(said.to_owned()),
        }
    }

    fn claims(&self) -> ClaimsConfig {
        let names = |key| parse::names(&self.text(key).unwrap_or_default());
        ClaimsConfig {
            username: names("CLAIM_USERNAME"),
            name: names("CLAIM_NAME"),
            email: names("CLAIM_EMAIL"),
            groups: names("CLAIM_GROUPS"),
            roles: names("CLAIM_ROLES"),
            groups_only: names("GROUPS_ONLY"),
            groups_strip: names("GROUPS_STRIP"),
            admin_names: names("ROLE_ADMIN"),
            teacher_names: names("ROLE_TEACHER"),
        }
    }

    /// A `*` alone would make every pupil everybody's.
    pub(super) fn teacher_groups(&mut self) -> Vec<String> {
        let expected = "names of groups, or what they begin with and a * behind it (klasse.*), comma-separated";
        let fits = |name: &String| {
            let beginning = name.strip_suffix('*').unwrap_or(name);
            !beginning.is_empty() && !beginning.contains('*')
        };
        let names = self.parsed("TEACHER_GROUPS", expected, |text| {
            let names = parse::names(text);
            names.iter().all(fits).then_some(names)
        });
        names.unwrap_or_default()
    }

    pub(super) fn teacher_look(&mut self) -> TeacherLook {
        let look = self.parsed(
            "TEACHER_LOOK",
            "off, thumbnails or view",
            |text| match text {
                "off" => Some(TeacherLook::Off),
                "thumbnails" => Some(TeacherLook::Thumbnails),
                "view" => Some(TeacherLook::View),
                _ => None,
            },
        );
        look.unwrap_or_default()
    }

    pub(super) fn sessions(&mut self) -> SessionConfig {
        let on_logout = self.parsed(
            "DESKTOP_ON_LOGOUT",
            "keep, stop or remove",
            |text| match text {
                "keep" => Some(OnLogout::Keep),
                "stop" => Some(OnLogout::Stop),
                "remove" => Some(OnLogout::Remove),
                _ => None,
            },
        );
        SessionConfig {
            ttl: self.duration("SESSION_TTL").unwrap_or_default(),
            idle: self.duration("SESSION_IDLE").unwrap_or_default(),
            on_logout: on_logout.unwrap_or(OnLogout::Keep),
        }
    }
}

/// Whether there are certificates in a file, each of which can be trusted. It is looked at whether or not the provider is
/// asked by TLS: a file that is of no use is not what its author meant.
fn has_roots(file: &Path) -> bool {
    let Ok(certificates) = CertificateDer::pem_file_iter(file) else {
        return false;
    };
    let mut roots = RootCertStore::empty();
    let good = certificates
        .into_iter()
        .all(|certificate| certificate.is_ok_and(|der| roots.add(der).is_ok()));
    good && !roots.is_empty()
}

fn with_path(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(path);
    url
}
