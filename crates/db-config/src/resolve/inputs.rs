//! Everything that the URLs are made from.

use std::path::Path;

use crate::environment::Environment;
use crate::origin::Origin;
use crate::url::Defaults;
use crate::variables::Variables;

/// The names of the variables that hold the URLs.
pub(crate) struct UrlVariables {
    pub(crate) pooled: String,
    pub(crate) direct: String,
    pub(crate) replica: String,
}

/// Everything that the URLs are made from.
pub(crate) struct Inputs<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) variables: &'a Variables,
    pub(crate) dir: &'a Path,
    pub(crate) url_variables: UrlVariables,
    pub(crate) defaults: Defaults,
    pub(crate) tls_origin: Origin,
}
