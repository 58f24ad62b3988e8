//! What a command waits for, told at the bottom of a terminal in a line that changes in place, with the reasons below it. Nothing is
//! shown elsewhere.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The line; gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Line(Option<ProgressBar>);

impl Line {
    /// A line that says nothing yet.
    pub(crate) fn start() -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self(Some(bar))
    }

    /// Whether somebody sees it.
    pub(crate) const fn is_shown(&self) -> bool {
        self.0.is_some()
    }

    /// Whether it stands for what would else be printed: a person reads both outputs on one terminal.
    pub(crate) fn replaces_output(&self) -> bool {
        self.is_shown() && io::stdout().is_terminal()
    }

    /// Says something in place of what it said before, and details below it, each cut off at the terminal's edge.
    pub(crate) fn say(&self, text: &str, details: &[String]) {
        let Some(bar) = &self.0 else { return };
        let columns = usize::from(console::Term::stderr().size().1);
        let mut message = cut(text, columns.saturating_sub(SPINNER_COLUMNS));
        for detail in details {
            message.push_str("\n    ");
            message.push_str(&cut(detail, columns.saturating_sub(INDENT_COLUMNS)));
        }
        bar.set_message(message);
    }

    /// Prints text to stdout, above the line.
    ///
    /// # Errors
    /// When stdout is closed.
    pub(crate) fn print(&self, text: &str) -> io::Result<()> {
        match &self.0 {
            Some(bar) => bar.suspend(|| super::print(text)),
            None => super::print(text),
        }
    }

    /// Says something beside the data, above the line.
    pub(crate) fn remark(&self, text: &str) {
        match &self.0 {
            Some(bar) => bar.suspend(|| super::remark(text)),
            None => super::remark(text),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// As much of a text as fits into a line.
fn cut(text: &str, columns: usize) -> String {
    let line = text.replace(['\n', '\t'], " ");
    if line.chars().count() <= columns {
        return line;
    }
    line.chars().take(columns.saturating_sub(2)).chain("..".chars()).collect()
}

/// What the sign of life takes of a line, with the last column, which would wrap.
const SPINNER_COLUMNS: usize = 3;

/// What details are indented by, with the last column.
const INDENT_COLUMNS: usize = 5;

/// Often enough to look alive.
const TICK: Duration = Duration::from_millis(120);

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn lines_fit() {
        assert_eq!(cut("a\nb", 9), "a b");
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcd..");
    }
}
