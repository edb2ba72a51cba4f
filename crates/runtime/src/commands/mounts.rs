//! `debug --mounts`: what is mounted in a container, from which folder of the host, and how its files are used. Owns no locks.

use std::fmt::Write;

use anyhow::Result;
use observe::log::one_line;
use sandbox::machine::{HostFiles, Mounted};
use sandbox::spec::Overlay;
use serde_json::{Value, json};

use crate::cli::Format;
use crate::commands::{Context, print};

pub fn show(context: &Context, id: &str, format: Format) -> Result<u8> {
    let folder = context.root.folder(id)?;
    folder.read_whole()?;
    let list = folder.connect()?.mounts(id)?;
    print(&match format {
        Format::Json => serde_json::to_string_pretty(&list.iter().map(as_json).collect::<Vec<_>>())? + "\n",
        Format::Table => table(&list),
    })
}

/// Where changes go: what the second word of a table's last column is.
fn changes(mount: &Mounted, host: &HostFiles) -> &'static str {
    match host.overlay {
        Overlay::Memory { .. } => "memory",
        Overlay::Disk { .. } => "nameless files",
        Overlay::None if mount.options.iter().any(|o| o == "ro") => "none",
        Overlay::None => "the host",
    }
}

fn as_json(mount: &Mounted) -> Value {
    let host = mount.host.as_ref().map(|host| {
        json!({
            "path": host.path,
            "access": if host.shared { "shared" } else { "exclusive" },
            "opens": if host.direct { "kernel" } else { "gofer" },
            "changes": match host.overlay {
                Overlay::Memory { .. } => "memory",
                Overlay::Disk { .. } => "disk",
                Overlay::None if mount.options.iter().any(|o| o == "ro") => "none",
                Overlay::None => "host",
            },
            "size": match host.overlay {
                Overlay::Memory { size } | Overlay::Disk { size } => size,
                Overlay::None => None,
            },
        })
    });
    json!({
        "destination": mount.destination,
        "type": mount.kind,
        "source": mount.source,
        "root": mount.root,
        "options": mount.options,
        "host": host,
    })
}

fn shown(mount: &Mounted) -> Mounted {
    let line = |text: &String| one_line(text).into_owned();
    Mounted {
        destination: line(&mount.destination),
        kind: line(&mount.kind),
        root: line(&mount.root),
        options: mount.options.iter().map(line).collect(),
        ..mount.clone()
    }
}

/// Guests choose the names of their mounts and folders.
fn table(list: &[Mounted]) -> String {
    let list: Vec<Mounted> = list.iter().map(shown).collect();
    let widest = |of: fn(&Mounted) -> usize, least: usize| list.iter().map(of).max().unwrap_or(0).max(least);
    let (first, second) = (widest(|m| m.destination.len(), 11), widest(|m| m.kind.len(), 4));
    let third = widest(|m| m.options.join(",").len(), 7);
    let mut text = format!("{:first$}  {:second$}  {:third$}  FILES\n", "DESTINATION", "TYPE", "OPTIONS");
    for mount in &list {
        let files = match &mount.host {
            None => "the sandbox's own".to_string(),
            Some(host) => format!(
                "{}; {}, opened by the {}, changes to {}",
                one_line(&host.path),
                if host.shared { "shared with the host" } else { "the container's alone" },
                if host.direct { "kernel or the gofer" } else { "gofer" },
                changes(mount, host),
            ),
        };
        let options = mount.options.join(",");
        let part = if mount.root == "/" { String::new() } else { format!(" (its {})", mount.root) };
        let _ = writeln!(text, "{:first$}  {:second$}  {options:third$}  {files}{part}", mount.destination, mount.kind);
    }
    text
}
