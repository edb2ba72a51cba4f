//! Where the files of a container's mounts come from: what `debug --mounts` shows.

use super::container::Container;
use crate::machine::{HostFiles, Mounted};
use kernel::vfs::{MountLine, mount_lines};

/// The host's part of each file system, by its device number.
pub type Origins = Vec<(u64, HostFiles)>;

/// What the container's first program sees mounted.
pub fn mounted(container: &Container) -> Vec<Mounted> {
    let lines = mount_lines(&container.namespaces.mount, &container.root);
    lines.iter().map(|line| show(&container.origins, line)).collect()
}

fn show(origins: &Origins, line: &MountLine) -> Mounted {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fs = &line.mount.fs;
    let options = filesystems::shown_options(&line.mount).split(',').map(str::to_string).collect();
    Mounted {
        destination: text(&line.point),
        kind: fs.type_name().to_string(),
        options,
        source: text(&line.mount.source),
        root: text(&line.root),
        host: origins.iter().find(|(dev, _)| *dev == fs.dev).map(|(_, host)| host.clone()),
    }
}
