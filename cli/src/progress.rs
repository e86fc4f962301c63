//! Progress of long steps: bars when stderr is a terminal, a line at the end of each step otherwise.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use repo_server::{createrepo, repocheck};
use std::fmt::Display;
use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::Duration;

/// One long step.
pub struct Progress {
    bar: ProgressBar,
    visible: bool,
}

impl Progress {
    /// A step over a known number of bytes.
    pub fn bytes(total: u64) -> Self {
        let style = "{msg:28!} {wide_bar} {binary_bytes:>11} / {binary_total_bytes:11} {binary_bytes_per_sec:>13} {eta:>4}";
        Self::with_style(ProgressBar::new(total), style)
    }

    /// A step over a known number of things.
    pub fn items(total: u64) -> Self {
        Self::with_style(
            ProgressBar::new(total),
            "{msg:28!} {wide_bar} {pos:>5} / {len:5} {eta:>4}",
        )
    }

    /// A step of unknown length.
    pub fn spinner() -> Self {
        Self::with_style(
            ProgressBar::new_spinner(),
            "{spinner} {elapsed:>4} {wide_msg}",
        )
    }

    fn with_style(bar: ProgressBar, template: &str) -> Self {
        let visible = std::io::stderr().is_terminal();
        if visible {
            // The templates are constants above; a wrong one falls back to the plain style.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { bar, visible }
    }

    /// Names what is being worked on.
    pub fn message(&self, text: impl Display) {
        self.bar.set_message(text.to_string());
    }

    /// Adds to what is done.
    pub fn add(&self, count: u64) {
        self.bar.inc(count);
    }

    /// Takes back what has to be done again.
    pub fn take_back(&self, count: u64) {
        self.bar
            .set_position(self.bar.position().saturating_sub(count));
    }

    /// Writes a line to stderr above the bar.
    pub fn note(&self, text: impl Display) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// Writes a line to stderr when there is no bar that shows the same.
    pub fn plain(&self, text: impl Display) {
        if !self.visible {
            eprintln!("{text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A bar that begins when the number of packages is known.
pub struct PackageBar {
    message: &'static str,
    progress: OnceLock<Progress>,
}

impl PackageBar {
    /// `message`: what is done with the packages.
    pub fn new(message: &'static str) -> Self {
        let progress = OnceLock::new();
        Self { message, progress }
    }

    fn begin(&self, count: u64) {
        self.progress
            .get_or_init(|| Progress::items(count))
            .message(self.message);
    }

    fn step(&self) {
        if let Some(progress) = self.progress.get() {
            progress.add(1);
        }
    }
}

impl createrepo::Watch for PackageBar {
    fn packages(&self, count: u64) {
        self.begin(count);
    }

    fn package_done(&self) {
        self.step();
    }

    fn writing(&self) {
        if let Some(progress) = self.progress.get() {
            progress.message("writing metadata");
        }
    }
}

impl repocheck::Watch for PackageBar {
    fn packages(&self, count: u64) {
        self.begin(count);
    }

    fn package_done(&self) {
        self.step();
    }
}
