//! `kill`, `pause` and `resume`. Owns no locks.

use anyhow::{Result, anyhow, bail};
use sandbox::machine::{INIT, Target};

use crate::cli::Kill;
use crate::commands::Context;
use crate::state::Life;

pub fn run(context: &Context, args: Kill) -> Result<u8> {
    let signal = signal_number(&args.signal)
        .ok_or_else(|| anyhow!("unknown signal {:?} (give a number up to 64, or a name such as TERM)", args.signal))?;
    let folder = context.root.folder(&args.id)?;
    let state = folder.read_whole()?;
    if matches!(state.life(&folder), Life::Stopped | Life::Creating) {
        bail!("container not running");
    }
    let target = match (args.all, args.pid) {
        (true, _) => Target::All,
        (false, Some(pid)) => Target::Process(pid),
        (false, None) => Target::Process(INIT),
    };
    folder.connect()?.signal(&args.id, target, signal)?;
    Ok(0)
}

pub fn pause(context: &Context, id: &str, paused: bool) -> Result<u8> {
    let folder = context.root.folder(id)?;
    let _lock = folder.lock()?;
    let state = folder.read_whole()?;
    match (state.life(&folder), paused) {
        (Life::Running | Life::Created, true) | (Life::Paused, false) => {}
        (Life::Paused, true) => bail!("container is already paused"),
        (Life::Running | Life::Created, false) => bail!("container not paused"),
        _ => bail!("container not running"),
    }
    folder.connect()?.pause(id, paused)?;
    Ok(0)
}

/// A number (0 only asks whether the container runs), or a name with or without SIG.
pub fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (0..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    if let Some(at) = NAMES.iter().position(|n| *n == name) {
        return Some(at as i32 + 1);
    }
    match name {
        "IOT" => Some(6),
        "CLD" => Some(17),
        "POLL" => Some(29),
        "RTMIN" => Some(34),
        "RTMAX" => Some(64),
        _ => {
            let plus = name.strip_prefix("RTMIN+").and_then(|n| n.parse::<i32>().ok()).map(|n| 34 + n);
            let minus = name.strip_prefix("RTMAX-").and_then(|n| n.parse::<i32>().ok()).map(|n| 64 - n);
            plus.or(minus).filter(|n| (34..=64).contains(n))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::signal_number;

    #[test]
    fn signals_have_names() {
        for (text, n) in
            [("TERM", 15), ("SIGKILL", 9), ("sigsys", 31), ("9", 9), ("0", 0), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)]
        {
            assert_eq!(signal_number(text), Some(n), "{text}");
        }
        for text in ["65", "NOPE", "", "RTMIN+31", "-1"] {
            assert_eq!(signal_number(text), None, "{text}");
        }
    }
}
