//! The JSON form of health: times in seconds, errors as their reports.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::error::Error;
use crate::health::{Health, PoolHealth};

/// Whether the service is ready, and each pool.
impl Serialize for Health {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Health", 3)?;
        fields.serialize_field("ready", &self.is_ready())?;
        fields.serialize_field("write", &self.write)?;
        fields.serialize_field("others", &self.others)?;
        fields.end()
    }
}

/// The fields, `latency` in seconds and `error` with its causes.
impl Serialize for PoolHealth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("PoolHealth", 4)?;
        fields.serialize_field("pool", &self.pool)?;
        fields.serialize_field("status", &self.status)?;
        fields.serialize_field("latency", &self.latency.as_secs_f64())?;
        fields.serialize_field("error", &self.error.as_ref().map(Error::report))?;
        fields.end()
    }
}
