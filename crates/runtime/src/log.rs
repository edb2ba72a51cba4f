//! The log as engines read it: lines like runc's, as text or JSON, to a file or standard error.
//!
//! An error goes to the log and, when that is a file, to standard error as well. Names of config.json and of guests are in both: here they are kept on
//! their line. Owns no locks.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use observe::log::one_line;
use serde::Serialize;

use crate::cli::{Global, LogFormat};

/// Where lines go.
pub struct Log {
    file: Option<File>,
    format: LogFormat,
    debug: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    msg: &'a str,
    time: String,
}

impl Log {
    /// A log file that cannot be opened is an error: an engine would wait for its lines in vain.
    pub fn open(global: &Global) -> anyhow::Result<Log> {
        let file = match &global.log {
            None => None,
            Some(path) => Some(
                OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)
                    .map_err(|e| anyhow::anyhow!("cannot open the log file {}: {e}", path.display()))?,
            ),
        };
        Ok(Log { file, format: global.log_format, debug: global.debug })
    }

    /// Only to standard error, as text: before the flags are known.
    pub fn plain() -> Log {
        Log { file: None, format: LogFormat::Text, debug: false }
    }

    pub fn error(&self, text: &str) {
        self.line("error", text);
        if self.file.is_some() {
            let _ = writeln!(std::io::stderr(), "{}", one_line(text));
        }
    }

    pub fn warning(&self, text: &str) {
        self.line("warning", text);
    }

    pub fn debug(&self, text: &str) {
        if self.debug {
            self.line("debug", text);
        }
    }

    /// For the kernel process' own lines, when it outlives this command.
    pub fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    fn line(&self, level: &str, text: &str) {
        let line = self.render(level, text, timestamp(SystemTime::now()));
        // One write, so that lines of two commands do not mix. A log that is full or closed must not stop the work.
        let _ = match &self.file {
            Some(file) => {
                let mut file: &File = file;
                file.write_all(line.as_bytes())
            }
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }

    fn render(&self, level: &str, text: &str, time: String) -> String {
        let msg = &*one_line(text);
        let line = match self.format {
            LogFormat::Json => serde_json::to_string(&Line { level, msg, time }).unwrap_or_default(),
            LogFormat::Text if self.file.is_none() => {
                format!("stockade: {}{msg}", if level == "error" { String::new() } else { format!("{level}: ") })
            }
            LogFormat::Text => format!("time=\"{time}\" level={level} msg={msg:?}"),
        };
        line + "\n"
    }
}

/// RFC 3339 in UTC with nanoseconds, as in state.json.
pub fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Civil date from days since 1970-01-01: years that start in March make leap days come last.
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_nanos()
    )
}

/// A message in every form that it can take.
#[cfg(test)]
pub fn forms(text: &str) -> Vec<String> {
    let file = || File::open("/dev/null").ok();
    let log = |format, file| Log { file, format, debug: false }.render("error", text, "T".into());
    vec![log(LogFormat::Text, None), log(LogFormat::Text, file()), log(LogFormat::Json, file())]
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_message_is_one_line_in_every_form() {
        assert_eq!(
            forms("no \"a\nb\""),
            [
                "stockade: no \"a\\nb\"\n",
                "time=\"T\" level=error msg=\"no \\\"a\\\\nb\\\"\"\n",
                "{\"level\":\"error\",\"msg\":\"no \\\"a\\\\nb\\\"\",\"time\":\"T\"}\n",
            ]
        );
    }

    #[test]
    fn dates_are_right() {
        let at = |s| timestamp(UNIX_EPOCH + Duration::from_secs(s));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(at(1_795_476_198), "2026-11-23T23:23:18.000000000Z");
    }
}
