//! Finds out where to connect to PostgreSQL, and with which settings.
//!
//! [`Config::load`] reads the built-in table, `config/*.toml`, `.env` and the process environment,
//! in this order, and remembers where every value came from. The application connects to
//! [`Config::pooled_url`], migrations connect to [`Config::direct_url`]. The two types do not
//! convert into each other. [`keys::KEYS`] and `config/README.md` list every key.
//!
//! ```
//! use std::path::Path;
//!
//! use db_config::Config;
//!
//! let vars = [
//!     ("DATABASE_URL", "postgres://app:secret@localhost/app"),
//!     ("APP_DB__POOLS__WRITE__MAX", "20"),
//! ];
//! let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
//! let config = Config::load_from(Path::new("/nonexistent"), vars)?;
//! assert_eq!(
//!     config.pooled_url()?.to_string(),
//!     "postgres://app:***@localhost:5432/app?sslmode=disable"
//! );
//! let max = config.explain().find(|line| line.key == "database.pools.write.max");
//! assert_eq!(max.map(|line| line.origin.to_string()).as_deref(), Some("APP_DB__POOLS__WRITE__MAX"));
//! # Ok::<(), db_config::ConfigError>(())
//! ```

mod checks;
mod config;
mod config_file;
mod credentials;
mod dotenv;
pub mod duration;
mod endpoint;
mod environment;
mod error;
mod explained;
pub mod keys;
mod layer;
mod layers;
mod libpq;
mod load;
mod nearest;
mod origin;
mod os_user;
mod own_tables;
mod postgres_vars;
mod resolve;
mod secret_file;
mod serialized;
mod url;
mod variables;

pub use config::Config;
pub use credentials::Credentials;
pub use endpoint::{ChannelBinding, Endpoint, Host, TargetSessionAttrs, Tls, TlsMode};
pub use environment::Environment;
pub use error::{ConfigError, Problem};
pub use explained::Explained;
pub use origin::Origin;
pub use secrecy::{ExposeSecret, SecretString};
pub use url::{DirectUrl, PooledUrl};
