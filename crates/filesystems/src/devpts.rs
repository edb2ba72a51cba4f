//! devpts: /dev/pts with the slaves of pseudo terminals and a ptmx. pts(4).
//!
//! Each mount is an instance of its own (as with `newinstance`, which is all there is since Linux 4.7). The terminals are in the kernel's
//! `PtsInstance`, which the driver fills. Locks: that table's.

use crate::pseudo::{Body, Folder, Kind, Listed, Node, Owned, PseudoFs};
use abi::Errno;
use abi::fs::{DEVPTS_SUPER_MAGIC, makedev};
use kernel::locks::Leaf;
use kernel::task::Task;
use kernel::vfs::{Attr, FileType, FsType, Inode, MountArgs, PtsInstance, PtsOptions, SetAttr};
use kernel::{Io, Kernel, Op, fail};
use lock::Mutex;
use std::sync::Arc;

static TYPE: FsType = FsType { name: "devpts", user_mountable: true, nodev: true, option, mount };

pub fn register(kernel: &Arc<Kernel>) {
    kernel.register_fs(&TYPE);
}

fn mount(io: &mut Io<'_>, args: &MountArgs<'_>) -> Op<Arc<Inode>> {
    // What a container is started with is what engines ask for; a guest's own mount has Linux' defaults.
    let defaults = match Task::of(io) {
        None => PtsOptions { gid: Some(5), perm: 0o620, ptmx_perm: 0o666, ..PtsOptions::default() },
        Some(_) => PtsOptions::default(),
    };
    let options = parse(args.data, defaults)?;
    let instance = PtsInstance::new(options);
    let mut shown = String::new();
    if let Some(uid) = options.uid {
        shown.push_str(&format!(",uid={uid}"));
    }
    if let Some(gid) = options.gid {
        shown.push_str(&format!(",gid={gid}"));
    }
    shown.push_str(&format!(",mode={:03o},ptmxmode={:03o}", options.perm, options.ptmx_perm));
    if options.max < PtsOptions::default().max {
        shown.push_str(&format!(",max={}", options.max));
    }
    let kind = Kind {
        name: "devpts",
        magic: DEVPTS_SUPER_MAGIC.into(),
        file_size: 0,
        options: shown,
        pts: Some(instance.clone()),
    };
    let ptmx = Arc::new(Ptmx { attr: Mutex::new((options.ptmx_perm, 0, 0)) });
    Ok(PseudoFs::mount(kind, Node::folder(0o755, Root { instance, ptmx })))
}

fn option(option: &[u8]) -> Op<()> {
    parse(option, PtsOptions::default()).map(|_| ())
}

/// Mount options: uid, gid, mode, ptmxmode, max, newinstance. EINVAL for others.
fn parse(data: &[u8], defaults: PtsOptions) -> Op<PtsOptions> {
    let mut options = defaults;
    let text = std::str::from_utf8(data).map_err(|_| Errno::EINVAL)?;
    for option in text.split(',').filter(|o| !o.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let decimal = || value.parse::<u32>().map_err(|_| Errno::EINVAL);
        let octal = || u32::from_str_radix(value, 8).map(|mode| mode & 0o7777).map_err(|_| Errno::EINVAL);
        match key {
            "uid" => options.uid = Some(decimal()?),
            "gid" => options.gid = Some(decimal()?),
            "mode" => options.perm = octal()?,
            "ptmxmode" => options.ptmx_perm = octal()?,
            "max" => options.max = decimal()?.min(PtsOptions::default().max),
            "newinstance" if value.is_empty() => {}
            _ => return fail(Errno::EINVAL),
        }
    }
    Ok(options)
}

struct Root {
    instance: Arc<PtsInstance>,
    ptmx: Arc<Ptmx>,
}

/// The key of ptmx in a listing; terminals follow.
const PTMX_KEY: u64 = 0;

impl Folder for Root {
    fn lookup(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<Option<Node>> {
        if name == b"ptmx" {
            let body = Body::Device(makedev(5, 2), self.ptmx.clone());
            return Ok(Some(Node { perm: 0, uid: 0, gid: 0, body, identity: 0 }));
        }
        let number = std::str::from_utf8(name).ok().and_then(|n| n.parse::<u32>().ok());
        let Some(number) = number.filter(|n| n.to_string().as_bytes() == name) else { return Ok(None) };
        let Some(pts) = self.instance.get(number) else { return Ok(None) };
        let slave = Slave { instance: self.instance.clone(), number };
        let identity = Arc::as_ptr(&pts.terminal).cast::<()>() as u64;
        let body = Body::Device(makedev(136, number), Arc::new(slave));
        Ok(Some(Node { perm: 0, uid: 0, gid: 0, body, identity }))
    }

    fn entries(&self, _io: &mut Io<'_>) -> Op<Vec<Listed>> {
        let listed = |key, name: String, identity| Listed { key, name: name.into(), kind: FileType::Char, identity };
        let mut all = vec![listed(PTMX_KEY, "ptmx".into(), 0)];
        for number in self.instance.numbers() {
            if let Some(pts) = self.instance.get(number) {
                let identity = Arc::as_ptr(&pts.terminal).cast::<()>() as u64;
                all.push(listed(u64::from(number) + 1, number.to_string(), identity));
            }
        }
        Ok(all)
    }

    fn volatile(&self) -> bool {
        true
    }
}

/// Attributes of a slave's node, kept in the instance's table.
struct Slave {
    instance: Arc<PtsInstance>,
    number: u32,
}

impl Owned for Slave {
    fn attr(&self, attr: &mut Attr) -> Op<()> {
        // The name is gone, but somebody has it open.
        let Some(pts) = self.instance.get(self.number) else { return Ok(()) };
        (attr.uid, attr.gid, attr.perm) = (pts.uid, pts.gid, pts.perm);
        (attr.atime, attr.mtime) = pts.terminal.times();
        attr.ctime = pts.born;
        Ok(())
    }
    fn set_attr(&self, change: &SetAttr) -> Op<()> {
        self.instance.change(self.number, |pts| {
            pts.uid = change.uid.unwrap_or(pts.uid);
            pts.gid = change.gid.unwrap_or(pts.gid);
            pts.perm = change.perm.unwrap_or(pts.perm);
        })
    }
}

/// Permissions, owner and group of ptmx.
struct Ptmx {
    attr: Mutex<(u32, u32, u32), Leaf>,
}

impl Owned for Ptmx {
    fn attr(&self, attr: &mut Attr) -> Op<()> {
        (attr.perm, attr.uid, attr.gid) = *self.attr.lock();
        Ok(())
    }
    fn set_attr(&self, change: &SetAttr) -> Op<()> {
        let mut attr = self.attr.lock();
        let (perm, uid, gid) = *attr;
        *attr = (change.perm.unwrap_or(perm), change.uid.unwrap_or(uid), change.gid.unwrap_or(gid));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::option_strings;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in option_strings(&[
            "uid=0", "gid=5", "mode=620", "mode=77777777777", "ptmxmode=666", "max=10", "max=4294967295", "newinstance", "newinstance=1",
        ])) {
            if let Ok(options) = parse(&text, PtsOptions::default()) {
                prop_assert!(options.max <= PtsOptions::default().max && options.perm <= 0o7777 && options.ptmx_perm <= 0o7777);
            }
        }
    }
}
