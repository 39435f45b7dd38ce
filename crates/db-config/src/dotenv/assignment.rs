//! One variable of the file `.env`.

/// One variable of the file.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    /// The value, or the reason why there is none. The reason never quotes the line.
    pub(crate) value: Result<String, String>,
    pub(crate) line: usize,
}
