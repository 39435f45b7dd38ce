//! What all parties made of a script.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::corpus::File;
use crate::failed::Failed;
use crate::form::Form;
use crate::lane::{Route, Run};
use crate::split::Statement;

/// What all parties made of a script.
pub(crate) struct Runs {
    pub(crate) form: Form,
    pub(crate) file: Arc<File>,
    pub(crate) statements: Arc<Vec<Statement>>,
    pub(crate) stock: Run,
    pub(crate) shaken: Run,
    /// What ours could not even be asked is a difference of its own.
    pub(crate) ours: BTreeMap<Route, Result<Run, Failed>>,
}
