//! A user name with its password.

use std::fmt;

use secrecy::SecretString;

use crate::revealed::revealed;

/// What a login needs. `Debug` never shows the password.
#[derive(Clone)]
pub struct Credentials {
    user: String,
    password: SecretString,
}

impl Credentials {
    /// Pairs a user name with its password.
    pub fn new(user: impl Into<String>, password: impl Into<SecretString>) -> Self {
        Credentials {
            user: user.into(),
            password: password.into(),
        }
    }

    /// The role to log in as.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password. Expose it only to send it to the server.
    pub fn password(&self) -> &SecretString {
        &self.password
    }

    /// Whether both are the same user with the same password.
    pub fn are(&self, other: &Self) -> bool {
        self.user == other.user && revealed(&self.password) == revealed(&other.password)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("password", &"***")
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req 4.47, case R49.
    #[test]
    fn debug_shows_the_user_and_not_the_password() {
        let shown = format!("{:#?}", Credentials::new("app", "canary"));
        assert!(
            shown.contains("app") && !shown.contains("canary"),
            "{shown}"
        );
    }
}
