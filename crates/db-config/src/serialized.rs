//! Serializes a configuration for machines, for example for an endpoint for operators. It contains no
//! secret: URLs are written as they are displayed, with `***` for the password.

use std::fmt::Display;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::config::Config;
use crate::endpoint::{ChannelBinding, Endpoint, Host, TargetSessionAttrs, TlsMode};
use crate::environment::Environment;
use crate::error::ConfigError;
use crate::explained::Explained;
use crate::origin::Origin;
use crate::url::{DirectUrl, PooledUrl};

/// The environment, every value as [`Config::explain`] shows it, and the warnings.
impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values: Vec<Explained> = self.explain().collect();
        let mut fields = serializer.serialize_struct("Config", 3)?;
        fields.serialize_field("environment", self.environment())?;
        fields.serialize_field("values", &values)?;
        fields.serialize_field("warnings", self.warnings())?;
        fields.end()
    }
}

impl Serialize for ConfigError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("ConfigError", 1)?;
        fields.serialize_field("problems", self.problems())?;
        fields.end()
    }
}

macro_rules! as_displayed {
    ($($type:ty),+) => {
        $(impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                displayed(self, serializer)
            }
        })+
    };
}

as_displayed!(
    ChannelBinding,
    DirectUrl,
    Endpoint,
    Environment,
    Host,
    Origin,
    PooledUrl,
    TargetSessionAttrs,
    TlsMode
);

fn displayed<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
