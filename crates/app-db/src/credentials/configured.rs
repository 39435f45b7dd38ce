//! The configured source.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use db_config::{Config, ConfigError, CredentialOrigin, CredentialSettings, Refresh};
use db_pool::plumbing::DrainRules;

use crate::credentials::command_source::CommandSource;
use crate::credentials::directory_source::{DirectorySource, Place};
use crate::credentials::fetch::{Delivery, fetch};
use crate::credentials::file_source::FileSource;
use crate::credentials::source::{AnySource, CredentialSource, CredentialsError, ORIGIN};

/// Where the credentials come from, and how they are renewed.
#[derive(Clone)]
pub(crate) struct Configured {
    /// `None` if the credentials are in the URL.
    pub(crate) source: Option<Arc<dyn AnySource>>,
    /// The configured value of `credentials.source`.
    pub(crate) name: &'static str,
    /// The source as error texts name it: ``the file `/run/secrets/db` ``.
    origin: Arc<str>,
    pub(crate) rules: RenewalRules,
}

impl fmt::Debug for Configured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configured")
            .field("name", &self.name)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// How credentials are renewed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RenewalRules {
    pub(crate) timeout: Duration,
    pub(crate) poll: Duration,
    pub(crate) refresh_before: Duration,
    pub(crate) is_lazy: bool,
    /// Whether asking the source again is cheap enough for a lazy renewal to do it before logins.
    pub(crate) is_watched: bool,
    pub(crate) drain: DrainRules,
    pub(crate) attempts: u32,
}

impl Configured {
    /// Reads the configuration; `user` is the user for a secret that names none.
    pub(crate) fn read(config: &Config, user: &str) -> Result<Self, ConfigError> {
        let settings = config.credentials()?;
        let rules = RenewalRules::of(&settings);
        let user = user.to_owned();
        let none = || ORIGIN.to_owned();
        let (name, origin, source): (_, _, Option<Arc<dyn AnySource>>) = match settings.source {
            CredentialOrigin::File(path) => {
                let source = FileSource::new(path, user, rules.poll);
                ("file", source.origin(), Some(Arc::new(source)))
            }
            CredentialOrigin::Directory(path) => {
                let place = Place::At(path);
                let source = DirectorySource::new(place, user, rules.poll);
                ("directory", source.origin(), Some(Arc::new(source)))
            }
            CredentialOrigin::ServiceBinding(root) => {
                let place = Place::BindingIn(root);
                let source = DirectorySource::new(place, user, rules.poll);
                ("directory", source.origin(), Some(Arc::new(source)))
            }
            CredentialOrigin::Command { argv, environment } => {
                let source = CommandSource::new(argv, environment, user);
                ("command", source.origin(), Some(Arc::new(source)))
            }
            CredentialOrigin::Provider => ("provider", none(), None),
            _ => ("static", none(), None),
        };
        Ok(Self {
            source,
            name,
            origin: origin.into(),
            rules,
        })
    }

    /// Replaces the source with one that the service brings.
    pub(crate) fn with(mut self, source: impl CredentialSource) -> Self {
        self.source = Some(Arc::new(source));
        self.name = "provider";
        self.origin = ORIGIN.into();
        self
    }

    /// Fails if the configuration expects the service to bring a source, and the service has brought none.
    pub(crate) fn check(self) -> Result<Self, CredentialsError> {
        if self.name == "provider" && self.source.is_none() {
            let missing = "`credentials.source` is \"provider\"; expected the service to call \
                           `Database::connect_with_credentials`";
            return Err(CredentialsError::missing(missing));
        }
        Ok(self)
    }

    /// Asks the source once; `None` if there is no source.
    pub(crate) async fn fetch(&self) -> Result<Option<Delivery>, CredentialsError> {
        match &self.source {
            Some(source) => fetch(source, &self.origin, self.rules.timeout)
                .await
                .map(Some),
            None => Ok(None),
        }
    }
}

impl RenewalRules {
    fn of(settings: &CredentialSettings) -> Self {
        Self {
            timeout: settings.timeout,
            poll: settings.poll,
            refresh_before: settings.refresh_before,
            is_lazy: settings.refresh == Refresh::Lazy,
            is_watched: matches!(
                settings.source,
                CredentialOrigin::File(_)
                    | CredentialOrigin::Directory(_)
                    | CredentialOrigin::ServiceBinding(_)
            ),
            drain: DrainRules {
                spread: settings.drain_spread,
                limit: settings.drain_limit,
            },
            attempts: settings.attempts,
        }
    }
}
