//! Whether a file is the one that was applied.

use sha2::{Digest, Sha256};

/// The SHA-256 of a file, in hexadecimal digits.
///
/// Line ends and blanks at the end of a line do not count: editors and Git change them unasked.
pub(super) fn checksum(text: &str) -> String {
    let mut digest = Sha256::new();
    for line in text.trim_end().lines() {
        digest.update(line.trim_end());
        digest.update("\n");
    }
    let bytes = digest.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_and_trailing_blanks_do_not_count_and_everything_else_does() {
        let sum = checksum("select 1;\nselect 2;\n");
        assert_eq!(sum.len(), 64);
        for same in [
            "select 1;\r\nselect 2;\r\n",
            "select 1; \t\nselect 2;",
            "select 1;\nselect 2;\n\n\n",
        ] {
            assert_eq!(checksum(same), sum, "{same:?}");
        }
        for other in [
            "select 1;\nselect 3;\n",
            " select 1;\nselect 2;\n",
            "select 1;\n\nselect 2;\n",
            "select 1;select 2;",
            "",
        ] {
            assert_ne!(checksum(other), sum, "{other:?}");
        }
    }
}
