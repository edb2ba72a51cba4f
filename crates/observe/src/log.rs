//! The log: levels, one sink, text or JSON lines as runc and containerd write and read them.
//!
//! Lock: the sink's own mutex, a leaf held over one write(2). The sink is a host descriptor (a pipe or file), given once.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::allowance::Allowance;

/// How much a message matters; greater is more talkative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    Error = 1,
    Warn = 2,
    Info = 3,
    Debug = 4,
    Trace = 5,
}

impl Level {
    /// The name as runc writes it ("warning", not "warn").
    pub const fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }

    /// The level of a name; "warn" and "warning" are both known.
    pub fn by_name(name: &str) -> Option<Level> {
        [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace]
            .into_iter()
            .find(|level| level.name() == name || (name == "warn" && *level == Level::Warn))
    }
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `2026-11-23T23:40:01.123456Z info message`
    Text,
    /// `{"level":"info","msg":"message","time":"2026-11-23T23:40:01.123456Z"}`
    Json,
}

struct Sink {
    to: Box<dyn Write + Send>,
    format: Format,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
static SINK: Mutex<Option<Sink>> = Mutex::new(None);
/// Guests can cause warnings.
static WARNINGS: Allowance = Allowance::new();

/// Sets where messages go and their form. Without a sink messages go to standard error as text.
pub fn set_sink(to: Box<dyn Write + Send>, format: Format) {
    if let Ok(mut sink) = SINK.lock() {
        *sink = Some(Sink { to, format });
    }
}

/// Sets the highest level that is written. At first: `Info`.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// True if messages of this level are written. One relaxed load.
#[inline]
pub fn enabled(level: Level) -> bool {
    level as u8 <= LEVEL.load(Ordering::Relaxed)
}

/// Writes a message, whatever the level, unless there were very many warnings just before. Called by the macros. A sink that fails loses the line: there is no one to tell.
#[cold]
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    let mut text = message.to_string();
    if level == Level::Warn {
        let Some(more) = WARNINGS.take() else { return };
        text.push_str(&more);
    }
    let time = rfc3339(SystemTime::now());
    let Ok(mut sink) = SINK.lock() else { return };
    let format = sink.as_ref().map_or(Format::Text, |s| s.format);
    let line = render(format, level, &text, &time);
    let _ = match sink.as_mut() {
        Some(sink) => sink.to.write_all(line.as_bytes()).and_then(|()| sink.to.flush()),
        None => std::io::stderr().write_all(line.as_bytes()),
    };
}

fn render(format: Format, level: Level, text: &str, time: &str) -> String {
    let text = one_line(text);
    match format {
        Format::Text => format!("{time} {} {text}\n", level.name()),
        Format::Json => {
            format!("{{\"level\":\"{}\",\"msg\":\"{}\",\"time\":\"{time}\"}}\n", level.name(), json_escape(&text))
        }
    }
}

/// A text as one line, whatever the names in it hold: they neither begin another line nor talk to the terminal, nor turn the order of what is read.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_active) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_active(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Controls (C0, DEL, C1), ends of lines, and Unicode's marks and overrides of direction.
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
}

/// Of a text that `one_line` has made.
fn json_escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// UTC with microseconds, as RFC 3339 has it.
fn rfc3339(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let secs = since.as_secs();
    let (days, rest) = (secs / 86_400, secs % 86_400);
    // Civil date of a day count: years begin in March, so that the leap day is a year's last.
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60,
        since.subsec_micros()
    )
}

/// Writes a message of a level if that level is on: `log!(Level::Info, "{x}")`.
#[macro_export]
macro_rules! log {
    ($level:expr, $($arg:tt)+) => {{
        let level = $level;
        if $crate::log::enabled(level) {
            $crate::log::write(level, ::std::format_args!($($arg)+));
        }
    }};
}

/// Something failed that someone must mend.
#[macro_export]
macro_rules! error { ($($arg:tt)+) => { $crate::log!($crate::Level::Error, $($arg)+) }; }
/// Something is wrong, but the work goes on.
#[macro_export]
macro_rules! warn { ($($arg:tt)+) => { $crate::log!($crate::Level::Warn, $($arg)+) }; }
/// A step in the life of a sandbox.
#[macro_export]
macro_rules! info { ($($arg:tt)+) => { $crate::log!($crate::Level::Info, $($arg)+) }; }
/// What an engineer looks for after a failure.
#[macro_export]
macro_rules! debug { ($($arg:tt)+) => { $crate::log!($crate::Level::Debug, $($arg)+) }; }
/// Each event.
#[macro_export]
macro_rules! trace { ($($arg:tt)+) => { $crate::log!($crate::Level::Trace, $($arg)+) }; }

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates() {
        assert_eq!(rfc3339(UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(951_782_399)), "2000-02-28T23:59:59.000000Z");
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(951_782_400)), "2000-02-29T00:00:00.000000Z");
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_micros(1_795_476_000_000_001)), "2026-11-23T23:20:00.000001Z");
    }

    #[test]
    fn lines() {
        assert_eq!(
            render(Format::Json, Level::Warn, "a \"b\"\n\u{1}", "T"),
            "{\"level\":\"warning\",\"msg\":\"a \\\"b\\\"\\\\n\\\\u{1}\",\"time\":\"T\"}\n"
        );
        assert_eq!(render(Format::Text, Level::Info, "a\nb", "T"), "T info a\\nb\n");
    }

    #[test]
    fn names_stay_on_their_line() {
        assert_eq!(one_line("grün \\ \"x\""), "grün \\ \"x\"");
        assert_eq!(one_line("a\r\n\tb"), "a\\r\\n\\tb");
        assert_eq!(one_line("\u{1b}]0;x\u{7}\u{9b}2J\u{7f}"), "\\u{1b}]0;x\\u{7}\\u{9b}2J\\u{7f}");
        assert_eq!(one_line("a\u{202e}b\u{2028}"), "a\\u{202e}b\\u{2028}");
    }

    #[test]
    fn levels() {
        assert!(Level::Error < Level::Trace);
        assert_eq!(Level::by_name("warn"), Some(Level::Warn));
        assert_eq!(Level::by_name("loud"), None);
    }
}
