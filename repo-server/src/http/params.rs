//! Query parameters of a question: taken one by one, and what is left over is refused by name.

use super::error::ApiError;
use axum::http::StatusCode;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// Longest value of a parameter, bytes.
const MAX_BYTES: usize = 8192;

/// What a client asked with.
#[derive(Debug)]
pub struct Params {
    given: BTreeMap<String, String>,
    known: Vec<&'static str>,
}

impl Params {
    /// All parameters of a request.
    pub fn new(given: BTreeMap<String, String>) -> Self {
        Self {
            given,
            known: Vec::new(),
        }
    }

    /// The parameter as text; an empty one counts as not given.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, ApiError> {
        self.known.push(name);
        let value = self.given.remove(name).filter(|value| !value.is_empty());
        if value.as_ref().is_some_and(|value| value.len() > MAX_BYTES) {
            let why = format!("`{name}` is longer than {MAX_BYTES} bytes");
            return Err(bad(why));
        }
        Ok(value)
    }

    /// The parameter as text; without it the question makes no sense.
    pub fn required(&mut self, name: &'static str) -> Result<String, ApiError> {
        self.text(name)?
            .ok_or_else(|| bad(format!("the parameter `{name}` is missing")))
    }

    /// The parameter as what it stands for.
    pub fn parsed<T>(&mut self, name: &'static str) -> Result<Option<T>, ApiError>
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let parsed = text.parse().map(Some);
        parsed.map_err(|error| bad(format!("`{name}`: {error}")))
    }

    /// Refuses what nobody has asked for: a misspelt filter must not be passed over.
    pub fn finish(self) -> Result<(), ApiError> {
        match self.given.keys().next() {
            None => Ok(()),
            Some(other) => {
                let other: String = other.chars().take(80).collect();
                let why = format!("there is no parameter `{other}` here");
                Err(bad(why).hint(format!("this question knows {}", self.known.join(", "))))
            }
        }
    }
}

/// A parameter that cannot be used.
pub fn bad(why: impl Into<String>) -> ApiError {
    ApiError::client(StatusCode::BAD_REQUEST, "bad-question", why)
        .hint("the protocol reference describes each question")
}
