//! Connection parameters as texts, under libpq's names, each with its origin.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::split;
use super::treatment::Treatment;
use crate::error::Problem;
use crate::origin::Origin;
use crate::revealed::revealed;

/// The parameters of one URL, and of the layers that fill in what it leaves out.
///
/// Every value is treated as a secret until it is interpreted: a URL can have one anywhere.
#[derive(Clone, Debug)]
pub(crate) struct Params {
    /// The variable that the problems name.
    pub(crate) key: String,
    /// Where the URL itself was found.
    pub(crate) origin: Origin,
    /// Things that are allowed but probably a mistake.
    pub(crate) warnings: Vec<String>,
    given: BTreeMap<String, (SecretString, Origin)>,
}

impl Params {
    pub(crate) fn new(key: impl Into<String>, origin: Origin) -> Self {
        Params {
            key: key.into(),
            origin,
            warnings: Vec::new(),
            given: BTreeMap::new(),
        }
    }

    /// Splits a URL.
    pub(crate) fn parse(
        key: impl Into<String>,
        origin: Origin,
        url: &str,
    ) -> Result<Self, Vec<Problem>> {
        let mut params = Params::new(key, origin);
        let gathered = split::split(url).map_err(|messages| {
            let problem = |message| Problem::new(&params.key, params.origin.clone(), message);
            messages.into_iter().map(problem).collect::<Vec<_>>()
        })?;
        params.warnings = gathered.warnings;
        for (name, value) in gathered.params {
            params
                .given
                .insert(name, (value.into(), params.origin.clone()));
        }
        Ok(params)
    }

    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// Replaces a parameter.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<SecretString>, origin: Origin) {
        self.given.insert(name.to_owned(), (value.into(), origin));
    }

    /// Fills in missing parameters from the layer below.
    ///
    /// Host and address are filled in together or not at all. Otherwise the address of one server
    /// could be paired with the name of another.
    pub(crate) fn fill(&mut self, lower: &Params) -> Vec<Problem> {
        let has_host = self.is_given("host") || self.is_given("hostaddr");
        let mut problems = Vec::new();
        for (name, (value, origin)) in &lower.given {
            if self.is_given(name) || (has_host && (name == "host" || name == "hostaddr")) {
                continue;
            }
            match Treatment::of(name, revealed(value)) {
                Treatment::Keep => {
                    self.given
                        .insert(name.clone(), (value.clone(), origin.clone()));
                }
                Treatment::Refuse(message) => {
                    problems.push(Problem::new(origin.as_str(), origin.clone(), message));
                }
                Treatment::Ignore | Treatment::Unknown { .. } => {}
            }
        }
        problems
    }

    /// The value of a parameter, unless it is empty. For a name or a file that counts as not given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.even_empty(name).filter(|value| !value.is_empty())
    }

    /// The value of a parameter, even if it is empty. As in libpq, an empty text is no word and no
    /// number.
    pub(crate) fn even_empty(&self, name: &str) -> Option<&str> {
        let (value, _) = self.given.get(name)?;
        Some(revealed(value))
    }

    pub(crate) fn origin_of(&self, name: &str) -> Option<&Origin> {
        self.given.get(name).map(|(_, origin)| origin)
    }

    /// Whether the URL itself has the parameter, and no layer below it.
    pub(crate) fn is_of_url(&self, name: &str) -> bool {
        (self.given.get(name)).is_some_and(|(_, origin)| *origin == self.origin)
    }

    /// A problem with a parameter. It names the variable of the URL.
    pub(crate) fn problem(&self, name: &str, message: impl std::fmt::Display) -> Problem {
        let origin = match self.given.get(name) {
            Some((_, origin)) => origin,
            None => &self.origin,
        };
        Problem::new(&self.key, origin.clone(), format!("`{name}`: {message}"))
    }

    /// The parameters that did not come from the URL itself, with their origins.
    pub(crate) fn filled(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.given
            .iter()
            .filter(|(_, (_, origin))| *origin != self.origin)
            .map(|(name, (_, origin))| (name.as_str(), origin))
    }
}
