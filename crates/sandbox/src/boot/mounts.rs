//! A container's file system: root, overlay, mounts in their order, devices. `container-filesystem.md` of the design, sections 3 to 12.

use super::origins::Origins;
use super::process::show;
use crate::machine::{Failure, HostFiles, Kind};
use crate::spec::{ContainerSpec, DeviceKind, Mount as MountSpec, Overlay, Peers};
use abi::Errno;
use abi::fs as flags;
use filesystems::tmpfs::{Disk, Options};
use fsproto::{Client, Gofer};
use host::HostFd;
use kernel::Kernel;
use kernel::cred::{Cred, UserNs};
use kernel::io::Io;
use kernel::op::{Op, Stop};
use kernel::task::Namespaces;
use kernel::vfs::{self, Base, FileType, Inode, Mount, NewKind, Path, WalkFlags};
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What is being built.
struct Builder<'a> {
    kernel: &'a Arc<Kernel>,
    gofer: Arc<dyn Gofer>,
    how: filesystems::gofer::Options,
    cred: Arc<Cred>,
    namespaces: Arc<Namespaces>,
    root: Path,
    origins: RefCell<Origins>,
}

/// What a container's file system consists of.
pub struct Built {
    pub root: Path,
    pub origins: Origins,
}

/// Fills the container's mount namespace and gives its root.
pub fn build(
    kernel: &Arc<Kernel>,
    spec: &ContainerSpec,
    gofer: OwnedFd,
    user_ns: &Arc<UserNs>,
    namespaces: &Namespaces,
) -> Result<Built, Failure> {
    let client = Client::connect(HostFd::new(gofer))
        .map_err(|e| Failure::from_error(Kind::Other, &e).context("connecting to the gofer"))?;
    let gofer: Arc<dyn Gofer> = Arc::new(client);
    check_connections(spec, gofer.mounts().len())?;
    let cred = Arc::new(Cred::root(user_ns.clone()));
    let wrap = |what: &str| {
        let what = what.to_string();
        move |stop: Stop| Failure::new(Kind::Other, format!("{what}: {}", show(stop)))
    };
    let Peers { fifo, connect, bind } = spec.peers;
    let how = filesystems::gofer::Options { shared: false, direct: spec.directfs, fifo, connect, bind };
    let whole = filesystems::gofer::Options { shared: spec.root.shared, ..how };
    let lower = filesystems::gofer::mount(gofer.clone(), 0, whole).map_err(wrap("mounting the root"))?;
    let top = with_overlay(&cred, &gofer, 0, lower, spec.root.overlay).map_err(wrap("overlay on the root"))?;
    let ns = &namespaces.mount;
    let mount = Mount::new(top.fs.clone(), top.fs.root_dentry(&top), b"none", 0);
    ns.set_root(mount.clone());
    vfs::register_ns(ns);
    let root = Path::new(mount.clone(), mount.root.clone());
    let namespaces = Arc::new(namespaces.clone());
    let builder = Builder { kernel, gofer, how, cred, namespaces, root: root.clone(), origins: RefCell::default() };
    builder.remember(&top, &spec.root.source, whole, spec.root.overlay);
    for mount in ordered(spec) {
        builder.mount(&mount)?;
    }
    builder.devices(spec)?;
    builder.restrict(spec)?;
    if spec.root.readonly {
        mount.flags.fetch_or(flags::MS_RDONLY, std::sync::atomic::Ordering::Relaxed);
    }
    Ok(Built { root, origins: builder.origins.into_inner() })
}

/// The gofer must serve as many mounts as the spec names: one for the root and one for each bind mount.
fn check_connections(spec: &ContainerSpec, served: usize) -> Result<(), Failure> {
    let wanted = 1 + spec.mounts.iter().filter(|m| m.gofer.is_some()).count();
    if served < wanted {
        let what = format!("the gofer serves {served} mounts, the container has {wanted}: one is missing");
        return Err(Failure::new(Kind::Other, what));
    }
    if served > wanted {
        return Err(Failure::new(
            Kind::Other,
            format!("not all gofer files were consumed: {served} served, {wanted} wanted"),
        ));
    }
    Ok(())
}

/// What is mounted for `lower`, the gofer's `index`th: itself, or an overlay over it.
fn with_overlay(
    cred: &Arc<Cred>,
    gofer: &Arc<dyn Gofer>,
    index: usize,
    lower: Arc<Inode>,
    how: Overlay,
) -> Op<Arc<Inode>> {
    let options = |size| Options { size, inodes: None, perm: 0o755, uid: 0, gid: 0 };
    let mut upper = match how {
        Overlay::None => return Ok(lower),
        Overlay::Memory { size } => filesystems::tmpfs::make(options(size)),
        Overlay::Disk { size } => filesystems::tmpfs::make_on(Disk::new(gofer.clone(), index)?, options(size)),
    };
    let mut done = 0;
    let mut io = Io::kernel(cred.clone(), &mut done);
    if lower.kind == FileType::Regular
        && let Some(dir) = upper.ops.dir()
    {
        let node = vfs::NewNode { kind: NewKind::Regular, perm: 0o644, uid: 0, gid: 0, masked: 0 };
        upper = dir.tmpfile(&mut io, &node)?;
    }
    filesystems::overlay::cover(&mut io, lower, upper)
}

/// The root of a tmpfs with the limits that Linux gives by default.
fn memory_folder() -> Arc<Inode> {
    filesystems::tmpfs::make(Options { size: None, inodes: None, perm: 0o755, uid: 0, gid: 0 })
}

/// Mounts in the order in which they are made: mandatory ones first, then the spec's, shorter destinations before longer ones.
fn ordered(spec: &ContainerSpec) -> Vec<MountSpec> {
    let clean = |path: &str| {
        let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
        format!("/{}", parts.join("/"))
    };
    let mut mounts: Vec<MountSpec> = spec
        .mounts
        .iter()
        .cloned()
        .map(|mut m| {
            m.destination = clean(&m.destination);
            // There is one hierarchy, whichever version the host has.
            if m.kind == "cgroup" {
                m.kind = "cgroup2".into();
            }
            match m.destination.as_str() {
                "/dev" => (m.kind, m.gofer) = ("devtmpfs".into(), m.gofer),
                "/dev/pts" => (m.kind, m.gofer) = ("devpts".into(), m.gofer),
                _ => {}
            }
            m
        })
        .collect();
    let mandatory = [("/proc", "proc"), ("/sys", "sysfs"), ("/dev", "devtmpfs"), ("/dev/pts", "devpts")];
    let missing: Vec<MountSpec> = mandatory
        .iter()
        .filter(|(at, _)| !mounts.iter().any(|m| m.destination == *at))
        .map(|(at, kind)| MountSpec {
            destination: (*at).into(),
            kind: (*kind).into(),
            source: (*kind).into(),
            options: Vec::new(),
            ..MountSpec::default()
        })
        .collect();
    mounts.splice(0..0, missing);
    // Stable: the spec's order stays among equals.
    mounts.sort_by_key(|m| m.destination.split('/').filter(|p| !p.is_empty()).count());
    mounts
}

impl Builder<'_> {
    fn io<'d>(&self, done: &'d mut u64) -> Io<'d> {
        let mut io = Io::kernel(self.cred.clone(), done);
        io.caller = Some(self.namespaces.clone());
        io
    }

    /// Where the files below `top` come from.
    fn remember(&self, top: &Inode, path: &str, how: filesystems::gofer::Options, overlay: Overlay) {
        let host = HostFiles { path: path.into(), shared: how.shared, direct: how.direct && !how.shared, overlay };
        self.origins.borrow_mut().push((top.fs.dev, host));
    }

    fn base(&self) -> Base {
        Base::new(self.root.clone(), self.root.clone())
    }

    fn mount(&self, spec: &MountSpec) -> Result<(), Failure> {
        let at = &spec.destination;
        let failed = |stop: Stop| Failure::new(Kind::Invalid, format!("mount {at} ({}): {}", spec.kind, show(stop)));
        let (mount_flags, data) = options(spec)?;
        if let (Some(index), "bind") = (spec.gofer, spec.kind.as_str()) {
            let how = filesystems::gofer::Options { shared: spec.shared, ..self.how };
            let lower = filesystems::gofer::mount(self.gofer.clone(), index as usize, how).map_err(failed)?;
            let readonly = mount_flags & flags::MS_RDONLY != 0;
            let top = with_overlay(&self.cred, &self.gofer, index as usize, lower, spec.overlay).map_err(failed)?;
            self.remember(&top, &spec.source, how, spec.overlay);
            let point = self.mount_point(at, top.kind == FileType::Dir)?;
            let mount = Mount::new(top.fs.clone(), top.fs.root_dentry(&top), spec.source.as_bytes(), mount_flags);
            if readonly {
                mount.fs.read_only.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            return vfs::attach(&mount, &point).map_err(failed);
        }
        if spec.kind == "bind" {
            return Err(Failure::new(Kind::Invalid, format!("bind mount {at} has no gofer connection")));
        }
        let kind = if spec.kind == "none" { "sysfs" } else { spec.kind.as_str() };
        let Some(fs) = self.kernel.fs_type(kind.as_bytes()) else {
            observe::warn!("mount {at}: file system type {kind} is not known; skipped");
            return Ok(());
        };
        let point = self.mount_point(at, true)?;
        let mut done = 0;
        let mut io = self.io(&mut done);
        vfs::mount_new(&mut io, self.kernel, fs, spec.source.as_bytes(), &point, mount_flags, data.as_bytes())
            .map(drop)
            .map_err(failed)
    }

    /// The place to mount on; made, with the folders on the way, where it is missing (spec section 9).
    fn mount_point(&self, at: &str, folder: bool) -> Result<Path, Failure> {
        let failed = |stop: Stop| Failure::new(Kind::Invalid, format!("mount point {at}: {}", show(stop)));
        let base = self.base();
        let parts: Vec<&str> = at.split('/').filter(|p| !p.is_empty()).collect();
        let mut name = String::new();
        let mut place = self.root.clone();
        for (index, part) in parts.iter().enumerate() {
            name.push('/');
            name.push_str(part);
            let last = index + 1 == parts.len();
            let mut done = 0;
            let mut io = self.io(&mut done);
            place = match vfs::walk(&mut io, &base, name.as_bytes(), WalkFlags::FOLLOW) {
                Ok(place) => place,
                Err(Stop::Errno(Errno::ENOENT)) => {
                    let (kind, perm) = if last && !folder { (NewKind::Regular, 0o644) } else { (NewKind::Dir, 0o755) };
                    match vfs::namei::create(&mut io, &base, name.as_bytes(), kind, perm) {
                        Ok(place) => place,
                        // A read-only root: a folder that only this sandbox has stands in.
                        Err(Stop::Errno(Errno::EROFS | Errno::EACCES | Errno::EPERM)) => {
                            self.synthetic(&place, part.as_bytes(), last && !folder).map_err(failed)?
                        }
                        Err(stop) => return Err(failed(stop)),
                    }
                }
                Err(stop) => return Err(failed(stop)),
            };
        }
        let is_folder = place.inode().map_err(failed)?.kind == FileType::Dir;
        if is_folder != folder {
            let (has, wants) = if folder { ("a file", "a folder") } else { ("a folder", "a file") };
            return Err(Failure::new(
                Kind::Invalid,
                format!("mount point {at} is {has}, but what is mounted is {wants}"),
            ));
        }
        Ok(place)
    }

    /// A name that exists in the sandbox alone.
    fn synthetic(&self, parent: &Path, name: &[u8], file: bool) -> Op<Path> {
        let mut done = 0;
        let mut io = self.io(&mut done);
        let root = memory_folder();
        let inode = if file {
            let node = vfs::NewNode { kind: NewKind::Regular, perm: 0o644, uid: 0, gid: 0, masked: 0 };
            let dir = root.ops.dir().ok_or(Errno::ENOTDIR)?;
            dir.create(&mut io, b"file", &node)?
        } else {
            root
        };
        let dentry = parent.dentry.adopt(name, Some(inode));
        dentry.pin();
        Ok(Path::new(parent.mount.clone(), dentry))
    }

    /// `linux.devices`: one that is there is left as it is (spec section 12).
    fn devices(&self, spec: &ContainerSpec) -> Result<(), Failure> {
        for device in &spec.devices {
            let at = &device.path;
            let failed = |stop: Stop| Failure::new(Kind::Invalid, format!("device {at}: {}", show(stop)));
            let base = self.base();
            let mut done = 0;
            let mut io = self.io(&mut done);
            if vfs::walk(&mut io, &base, at.as_bytes(), WalkFlags::empty()).is_ok() {
                continue;
            }
            if let Some((folder, _)) = at.rsplit_once('/').filter(|(folder, _)| !folder.is_empty()) {
                self.mount_point(folder, true)?;
            }
            let number = flags::makedev(device.major, device.minor);
            let kind = match device.kind {
                DeviceKind::Character => NewKind::Char(number),
                DeviceKind::Block => NewKind::Block(number),
                DeviceKind::Fifo => NewKind::Fifo,
            };
            let place =
                vfs::namei::create(&mut io, &base, at.as_bytes(), kind, device.mode & 0o7777).map_err(failed)?;
            let owner = vfs::SetAttr { uid: Some(device.uid), gid: Some(device.gid), ..Default::default() };
            place.inode().and_then(|inode| inode.ops.set_attr(&mut io, &owner)).map_err(failed)?;
        }
        Ok(())
    }

    /// `linux.maskedPaths` and `linux.readonlyPaths`, where they exist.
    fn restrict(&self, spec: &ContainerSpec) -> Result<(), Failure> {
        let base = self.base();
        for at in &spec.masked_paths {
            let failed = |stop: Stop| Failure::new(Kind::Invalid, format!("masked path {at}: {}", show(stop)));
            let mut done = 0;
            let mut io = self.io(&mut done);
            let Ok(place) = vfs::walk(&mut io, &base, at.as_bytes(), WalkFlags::FOLLOW) else { continue };
            if place.inode().map_err(failed)?.kind == FileType::Dir {
                let empty = memory_folder();
                let mount = Mount::new(empty.fs.clone(), empty.fs.root_dentry(&empty), b"tmpfs", flags::MS_RDONLY);
                vfs::attach(&mount, &place).map_err(failed)?;
            } else {
                let null = vfs::walk(&mut io, &base, b"/dev/null", WalkFlags::FOLLOW).map_err(failed)?;
                vfs::bind(&null, &place, false).map_err(failed)?;
            }
        }
        for at in &spec.readonly_paths {
            let failed = |stop: Stop| Failure::new(Kind::Invalid, format!("read-only path {at}: {}", show(stop)));
            let mut done = 0;
            let mut io = self.io(&mut done);
            let Ok(place) = vfs::walk(&mut io, &base, at.as_bytes(), WalkFlags::FOLLOW) else { continue };
            vfs::bind(&place, &place, true).map_err(failed)?;
            let place = vfs::walk(&mut io, &base, at.as_bytes(), WalkFlags::FOLLOW).map_err(failed)?;
            vfs::remount(&mut io, &place, flags::MS_RDONLY, true, b"").map_err(failed)?;
        }
        Ok(())
    }
}

/// General options as mount flags, the rest as the file system's data (spec section 8).
fn options(spec: &MountSpec) -> Result<(u32, String), Failure> {
    let mut bits = 0;
    let mut data = Vec::new();
    for option in &spec.options {
        match option.as_str() {
            "ro" => bits |= flags::MS_RDONLY,
            "rw" => bits &= !flags::MS_RDONLY,
            "nosuid" => bits |= flags::MS_NOSUID,
            "suid" => bits &= !flags::MS_NOSUID,
            "nodev" => bits |= flags::MS_NODEV,
            "dev" => bits &= !flags::MS_NODEV,
            "noexec" => bits |= flags::MS_NOEXEC,
            "exec" => bits &= !flags::MS_NOEXEC,
            "noatime" => bits |= flags::MS_NOATIME,
            "nodiratime" => bits |= flags::MS_NODIRATIME,
            "relatime" => bits |= flags::MS_RELATIME,
            "strictatime" => bits |= flags::MS_STRICTATIME,
            "atime" | "diratime" | "bind" | "rbind" | "defaults" | "sync" | "async" | "norelatime" => {}
            "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" | "unbindable" | "runbindable" => {}
            other => {
                let key = other.split('=').next().unwrap_or_default();
                let passes = match spec.kind.as_str() {
                    "tmpfs" => matches!(key, "mode" | "size" | "uid" | "gid" | "nr_inodes"),
                    "devpts" => matches!(key, "newinstance" | "ptmxmode" | "mode" | "gid" | "max"),
                    _ => false,
                };
                if other.matches('=').count() > 1 {
                    let what = format!("mount {}: invalid option {other:?}", spec.destination);
                    return Err(Failure::new(Kind::Invalid, what));
                }
                if passes {
                    data.push(other.to_string());
                } else {
                    observe::warn!("mount {}: option {other} is not known; skipped", spec.destination);
                }
            }
        }
    }
    Ok((bits, data.join(",")))
}
