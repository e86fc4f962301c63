//! How a command ends when it does not end well: exit code, error chain, hint.

use std::error::Error;
use std::process::ExitCode;

/// Exit codes of every Hallmark binary (0 is success).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The job failed or was refused.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// A server that is needed cannot be reached: retry later.
    Unreachable = 3,
    /// `hallmark rebuild`: nothing can be said here, for or against.
    CannotTell = 4,
}

/// The end of a command: printed once, by `main`.
#[derive(Debug)]
pub struct Failure {
    /// The process's exit code.
    pub exit: Exit,
    error: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
}

impl Failure {
    /// The job failed or was refused.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Exit::Failed, error)
    }

    /// The command or the configuration is wrong.
    pub fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Exit::Usage, error)
    }

    /// As `exit` says.
    pub fn new(exit: Exit, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            exit,
            error: error.into(),
            hint: None,
        }
    }

    /// What to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// `error: outer: cause: cause`, and `hint: …` on a line of its own when there is one.
    pub fn message(&self) -> String {
        let mut text = format!("error: {}", chain(self.error.as_ref()));
        if let Some(hint) = &self.hint {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        text
    }

    /// The exit code for `main`.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }
}

/// An error and its causes in one line. A cause that its parent already spells out is left out.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(words.trim_end());
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the box")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_follow_in_one_line_and_the_hint_on_its_own() {
        let failure =
            Failure::failed(Outer(std::io::Error::other("no key"))).with_hint("ask for it");
        assert_eq!(
            failure.message(),
            "error: cannot open the box: no key\nhint: ask for it"
        );
        assert_eq!(failure.exit, Exit::Failed);
    }
}
