//! `--platform KEY=VALUE`: switches of the platform, fallbacks that tests force, and test hooks.

use crate::machine::{Failure, Kind};
use crate::protocol::BootConfig;
use platform::Config;

/// What the keys add up to.
pub struct Options {
    pub platform: Config,
    /// Every wait point blocks once, although it need not: finds handlers that do something twice.
    pub force_rerun: bool,
    /// As in a container with a limit of memory.
    pub limited: bool,
    /// Every run of this call is held up for twice as long as the watchdog allows.
    pub stall: Option<u32>,
}

/// Refuses what it doesn't know, by name.
pub fn parse(config: &BootConfig) -> Result<Options, Failure> {
    let mut options = Options { platform: Config::default(), force_rerun: false, limited: false, stall: None };
    let p = &mut options.platform;
    for (key, value) in &config.platform {
        match key.as_str() {
            "shards" => p.shards = number(key, value)?,
            "listener" => p.listener = switch(key, value)?,
            "sync-wakeup" => p.sync_wakeup = switch(key, value)?,
            "killable" => p.killable = switch(key, value)?,
            "park" => p.park = switch(key, value)?,
            "memory" => p.memory = switch(key, value)?,
            "local" => p.local = switch(key, value)?,
            "patching" => p.patching = switch(key, value)?,
            "window" => p.window = switch(key, value)?,
            "eager" => p.eager = switch(key, value)?,
            "polling" => p.polling = switch(key, value)?,
            "force-trap" => p.force_trap = switch(key, value)?,
            "trace" => p.trace = switch(key, value)?,
            "force-rerun" => options.force_rerun = switch(key, value)?,
            "limited" => options.limited = switch(key, value)?,
            "stall" => {
                let row = syscalls::table::TABLE.iter().find(|row| row.name == value);
                let row = row.ok_or_else(|| {
                    Failure::new(Kind::Invalid, format!("--platform stall={value}: no such system call"))
                })?;
                options.stall = Some(row.nr);
            }
            _ => {
                let known = "shards, listener, sync-wakeup, killable, park, memory, local, patching, polling, window, eager, force-trap, trace, force-rerun, limited, stall";
                return Err(Failure::new(Kind::Invalid, format!("--platform {key}: unknown; there are {known}")));
            }
        }
    }
    Ok(options)
}

fn switch(key: &str, value: &str) -> Result<bool, Failure> {
    match value {
        "on" | "true" | "1" => Ok(true),
        "off" | "false" | "0" => Ok(false),
        _ => Err(Failure::new(Kind::Invalid, format!("--platform {key}={value}: say on or off"))),
    }
}

fn number(key: &str, value: &str) -> Result<usize, Failure> {
    value.parse().map_err(|_| Failure::new(Kind::Invalid, format!("--platform {key}={value}: say a number")))
}
