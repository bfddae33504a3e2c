//! A row of the table: what was asked, what was measured, and whether that is enough.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

/// Whether a figure was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Met,
    Miss,
    /// It could not be measured, so it is not shown.
    Open,
}

impl Verdict {
    /// Met if this holds.
    pub(crate) const fn of(is_met: bool) -> Self {
        if is_met { Self::Met } else { Self::Miss }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Miss => "MISS",
            Self::Open => "OPEN",
        }
    }
}

/// A figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) figure: String,
    pub(crate) asked: String,
    pub(crate) measured: String,
    pub(crate) verdict: Verdict,
    /// Prints it again.
    pub(crate) command: String,
    /// Everything else that was measured with it.
    pub(crate) details: Value,
}

impl Row {
    /// The head of the table, in Markdown.
    pub(crate) const HEAD: &str =
        "| figure | asked | measured | | command |\n|---|---|---|---|---|";

    /// One line of the table.
    pub(crate) fn line(&self) -> String {
        let mut line = String::new();
        let cells = [&self.figure, &self.asked, &self.measured];
        for cell in cells {
            // Writing to a string does not fail.
            let _ = write!(line, "| {cell} ");
        }
        let _ = write!(line, "| {} | `{}` |", self.verdict.word(), self.command);
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_is_said_plainly() {
        let row = Row {
            figure: "p99".into(),
            asked: "<= 19 ms".into(),
            measured: "25 ms".into(),
            verdict: Verdict::of(false),
            command: "chalkboard-swarm figures latency".into(),
            details: Value::Null,
        };
        assert_eq!(
            row.line(),
            "| p99 | <= 19 ms | 25 ms | MISS | `chalkboard-swarm figures latency` |"
        );
    }
}
