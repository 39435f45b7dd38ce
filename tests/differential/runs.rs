//! The results of all parties for one script.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::corpus::File;
use crate::failed::Failed;
use crate::form::Form;
use crate::lane::{Route, Run};
use crate::split::Statement;

/// The results of all parties for one script.
pub(crate) struct Runs {
    pub(crate) form: Form,
    pub(crate) file: Arc<File>,
    pub(crate) statements: Arc<Vec<Statement>>,
    pub(crate) stock: Run,
    pub(crate) shaken: Run,
    /// If ours could not run the script at all, that is a difference of its own.
    pub(crate) ours: BTreeMap<Route, Result<Run, Failed>>,
}
