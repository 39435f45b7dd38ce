#![doc = include_str!("../README.md")]

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
