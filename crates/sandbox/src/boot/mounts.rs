//! A container's file system: root, overlay, mounts in their order, devices. `container-filesystem.md` of the design, sections 3 to 12.

use super::mount_options::{self, Options};
use super::origins::Origins;
use super::process::show;
use super::volumes::{self, Volumes};
use crate::machine::{Failure, HostFiles, Kind};
use crate::spec::{
    ContainerSpec, DeviceKind, Mount as MountSpec, Overlay, Peers, Propagation as RootPropagation, Volume as VolumeSpec,
};
use abi::Errno;
use abi::fs as flags;
use filesystems::tmpfs::{self, Disk};
use fsproto::{Client, Gofer, MountId};
use host::HostFd;
use kernel::Kernel;
use kernel::cred::{Cred, UserNs};
use kernel::io::Io;
use kernel::op::{Op, Stop};
use kernel::task::Namespaces;
use kernel::vfs::{self, Base, FileType, Inode, Mount, NewKind, Path, Propagation, WalkFlags};
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What is being built.
pub(super) struct Builder<'a> {
    kernel: &'a Arc<Kernel>,
    gofer: Arc<dyn Gofer>,
    /// `places`.
    places: Vec<usize>,
    how: filesystems::gofer::Options,
    cred: Arc<Cred>,
    namespaces: Arc<Namespaces>,
    pub root: Path,
    origins: RefCell<Origins>,
    volumes: Volumes,
}

/// What a container's file system consists of.
pub struct Built {
    pub root: Path,
    pub origins: Origins,
    pub volumes: Volumes,
}

/// Fills the container's mount namespace and gives its root. `volumes`: those of the sandbox that it joins.
pub fn build(
    kernel: &Arc<Kernel>,
    spec: &ContainerSpec,
    gofer: OwnedFd,
    user_ns: &Arc<UserNs>,
    namespaces: &Namespaces,
    volumes: Option<&Volumes>,
) -> Result<Built, Failure> {
    let client = Client::connect(HostFd::new(gofer))
        .map_err(|e| Failure::from_error(Kind::Other, &e).context("connecting to the gofer"))?;
    let gofer: Arc<dyn Gofer> = Arc::new(client);
    let places = places(spec, &*gofer)?;
    let at = |number: usize| places.get(number).copied().unwrap_or(usize::MAX);
    let cred = Arc::new(Cred::root(user_ns.clone()));
    let wrap = |what: &str| {
        let what = what.to_string();
        move |stop: Stop| Failure::new(Kind::Other, format!("{what}: {}", show(stop)))
    };
    let Peers { fifo, connect, bind } = spec.peers;
    let how = filesystems::gofer::Options { shared: false, direct: spec.directfs, fifo, connect, bind };
    let whole = filesystems::gofer::Options { shared: spec.root.shared, ..how };
    let lower = match spec.root.image {
        true => image(&gofer, at(0), &spec.root.source)?,
        false => filesystems::gofer::mount(gofer.clone(), at(0), whole).map_err(wrap("mounting the root"))?,
    };
    let top = with_overlay(&cred, &gofer, at(0), lower, spec.root.overlay).map_err(wrap("overlay on the root"))?;
    let ns = &namespaces.mount;
    let mount = Mount::new(top.fs.clone(), top.fs.root_dentry(&top), b"none", 0);
    ns.set_root(mount.clone());
    vfs::register_ns(ns);
    let seen = match spec.root.propagation {
        RootPropagation::Private => None,
        RootPropagation::Slave => Some((Propagation::Slave, false)),
        RootPropagation::Shared => Some((Propagation::Shared, false)),
        RootPropagation::Unbindable => Some((Propagation::Unbindable, false)),
    };
    propagate(&mount, seen).map_err(wrap("linux.rootfsPropagation"))?;
    let root = Path::new(mount.clone(), mount.root.clone());
    let namespaces = Arc::new(namespaces.clone());
    let volumes = volumes.cloned().unwrap_or_default();
    let origins = RefCell::new(volumes.origins.clone());
    let mut builder = Builder { kernel, gofer, places, how, cred, namespaces, root: root.clone(), origins, volumes };
    for volume in &spec.volumes {
        let made = builder.volume(volume).map_err(|e| e.context(format!("mount hint {}", volume.name)))?;
        builder.volumes.list.insert(volume.name.clone(), made);
    }
    builder.volumes.origins = builder.origins.borrow().clone();
    builder.remember(&top, &spec.root.source, whole, spec.root.overlay);
    for mount in ordered(spec) {
        builder.mount(&mount)?;
    }
    if spec.own_tmp {
        builder.temporary(spec)?;
    }
    builder.devices(spec)?;
    builder.restrict(spec)?;
    if spec.root.readonly {
        mount.set_flags(mount.flags() | flags::MS_RDONLY);
    }
    Ok(Built { root, origins: builder.origins.into_inner(), volumes: builder.volumes })
}

/// Where the gofer serves what the container calls by number: each of them once, and nothing else.
fn places(spec: &ContainerSpec, gofer: &dyn Gofer) -> Result<Vec<usize>, Failure> {
    let served: Vec<&MountId> = gofer.mounts().iter().map(|mount| &mount.id).collect();
    let places = fsproto::pair(&spec.served, &served).map_err(|e| Failure::new(Kind::Other, e.to_string()))?;
    let numbers = spec.mounts.iter().map(|m| m.gofer).chain(spec.volumes.iter().map(|v| v.gofer)).flatten();
    let mut used: Vec<u32> = numbers.chain([0]).collect();
    used.sort_unstable();
    if !used.iter().copied().eq(0..places.len() as u32) {
        let what = format!("the container uses the mounts {used:?} of its gofer, which serves {}", places.len());
        return Err(Failure::new(Kind::Other, what));
    }
    Ok(places)
}

/// The root of the erofs image that the gofer serves as its `index`th mount.
fn image(gofer: &Arc<dyn Gofer>, index: usize, path: &str) -> Result<Arc<Inode>, Failure> {
    let failed = |why: &dyn std::fmt::Display| Failure::new(Kind::Invalid, format!("erofs image {path}: {why}"));
    let root =
        gofer.mounts().get(index).map(|mount| mount.root).ok_or_else(|| failed(&"the gofer does not serve it"))?;
    let how = fsproto::OpenHow { read: true, ..Default::default() };
    let opened = gofer.open(root, &[], how).map_err(|errno| failed(&errno))?;
    let fd = opened.fd.ok_or_else(|| failed(&"the gofer did not open it"))?;
    filesystems::erofs::mount(fd).map_err(|error| failed(&error))
}

/// What is mounted for `lower`, the gofer's `index`th: itself, or an overlay over it.
fn with_overlay(
    cred: &Arc<Cred>,
    gofer: &Arc<dyn Gofer>,
    index: usize,
    lower: Arc<Inode>,
    how: Overlay,
) -> Op<Arc<Inode>> {
    let options = |size| tmpfs::Options { size, inodes: None, perm: 0o755, uid: 0, gid: 0 };
    let mut upper = match how {
        Overlay::None => return Ok(lower),
        Overlay::Memory { size } => tmpfs::make(options(size)),
        Overlay::Disk { size } => tmpfs::make_on(Disk::new(gofer.clone(), index)?, options(size)),
    };
    let mut done = 0;
    let mut io = Io::kernel(cred.clone(), &mut done);
    if lower.kind == FileType::Regular
        && let Some(dir) = upper.ops.dir()
    {
        let node = vfs::NewNode::plain(NewKind::Regular, 0o644, 0, 0);
        upper = dir.tmpfile(&mut io, &node)?;
    }
    filesystems::overlay::cover(&mut io, lower, upper)
}

/// The root of a tmpfs with the limits that Linux gives by default.
pub(super) fn memory_folder() -> Arc<Inode> {
    tmpfs::make(tmpfs::Options { size: None, inodes: None, perm: 0o755, uid: 0, gid: 0 })
}

/// Where a mount's own mounts and unmounts are seen, mount_namespaces(7): as its options say, or not at all.
fn propagate(mount: &Arc<Mount>, how: Option<(Propagation, bool)>) -> Op<()> {
    let Some((to, recursive)) = how else { return Ok(()) };
    vfs::set_propagation(&Path::new(mount.clone(), mount.root.clone()), to, recursive)
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
    pub fn io<'d>(&self, done: &'d mut u64) -> Io<'d> {
        let mut io = Io::kernel(self.cred.clone(), done);
        io.caller = Some(self.namespaces.clone());
        io
    }

    /// Where the files below `top` come from.
    fn remember(&self, top: &Inode, path: &str, how: filesystems::gofer::Options, overlay: Overlay) {
        let host = HostFiles { path: path.into(), shared: how.shared, direct: how.direct && !how.shared, overlay };
        self.origins.borrow_mut().push((top.fs.dev, host));
    }

    pub fn base(&self) -> Base {
        Base::new(self.root.clone(), self.root.clone())
    }

    fn mount(&self, spec: &MountSpec) -> Result<(), Failure> {
        let at = &spec.destination;
        let failed = |stop: Stop| Failure::new(Kind::Invalid, format!("mount {at} ({}): {}", spec.kind, show(stop)));
        let options = mount_options::read(spec)?;
        let made = match &spec.volume {
            Some(name) => Some(self.volumes.replica(name, spec)?),
            None => self.file_system(spec, &options)?,
        };
        let Some(mount) = made else { return Ok(()) };
        let root = mount.root.inode().ok_or_else(|| failed(Stop::Errno(Errno::EIO)))?;
        let point = self.mount_point(at, root.kind == FileType::Dir)?;
        if options.copies && spec.kind == "tmpfs" && spec.volume.is_none() {
            let mut done = 0;
            let from = point.inode().map_err(failed)?;
            filesystems::overlay::copy_tree(&mut self.io(&mut done), &from, &root)
                .map_err(|stop| failed(stop).context("tmpcopyup: copying what is there"))?;
        }
        vfs::attach(&mount, &point).map_err(failed)?;
        propagate(&mount, options.propagation).map_err(failed)
    }

    /// A volume of the sandbox.
    fn volume(&self, spec: &VolumeSpec) -> Result<Arc<Mount>, Failure> {
        let spec = volumes::as_mount(spec);
        let made = self.file_system(&spec, &mount_options::read(&spec)?)?;
        made.ok_or_else(|| Failure::new(Kind::Invalid, format!("{}: no such type", spec.kind)))
    }

    /// What a mount asks for, not mounted yet; `None` for a type that there is not.
    fn file_system(&self, spec: &MountSpec, options: &Options) -> Result<Option<Arc<Mount>>, Failure> {
        let at = &spec.destination;
        let failed = |stop: Stop| Failure::new(Kind::Invalid, format!("mount {at} ({}): {}", spec.kind, show(stop)));
        let mount_flags = options.flags;
        if let (Some(number), "bind" | "erofs") = (spec.gofer, spec.kind.as_str()) {
            let index = self.places.get(number as usize).copied().unwrap_or(usize::MAX);
            let how = filesystems::gofer::Options { shared: spec.shared, ..self.how };
            let lower = match spec.kind.as_str() {
                "erofs" => image(&self.gofer, index, &spec.source)?,
                _ => filesystems::gofer::mount(self.gofer.clone(), index, how).map_err(failed)?,
            };
            let readonly = mount_flags & flags::MS_RDONLY != 0;
            let top = with_overlay(&self.cred, &self.gofer, index, lower, spec.overlay).map_err(failed)?;
            self.remember(&top, &spec.source, how, spec.overlay);
            let mount = Mount::new(top.fs.clone(), top.fs.root_dentry(&top), spec.source.as_bytes(), mount_flags);
            if readonly {
                mount.fs.read_only.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            return Ok(Some(mount));
        }
        if spec.kind == "bind" || spec.kind == "erofs" {
            return Err(Failure::new(Kind::Invalid, format!("{} mount {at} has no gofer connection", spec.kind)));
        }
        let kind = if spec.kind == "none" { "sysfs" } else { spec.kind.as_str() };
        let Some(fs) = self.kernel.fs_type(kind.as_bytes()) else {
            observe::warn!("mount {at}: file system type {kind} is not known; skipped");
            return Ok(None);
        };
        let mut done = 0;
        let source = if spec.source.is_empty() { "none" } else { &spec.source };
        let (source, data) = (source.as_bytes(), options.data.as_bytes());
        vfs::make_mount(&mut self.io(&mut done), self.kernel, fs, source, mount_flags, data).map_err(failed).map(Some)
    }

    /// A tmpfs on /tmp, where config.json mounts nothing there and nothing lies there (spec section 10).
    fn temporary(&self, spec: &ContainerSpec) -> Result<(), Failure> {
        let below = |at: &str| {
            let mut parts = at.split('/').filter(|p| !p.is_empty() && *p != ".");
            parts.next() == Some("tmp")
        };
        if spec.mounts.iter().any(|mount| below(&mount.destination)) {
            return Ok(());
        }
        let failed = |stop: Stop| Failure::new(Kind::Other, format!("looking at /tmp: {}", show(stop)));
        let mut done = 0;
        let mut io = self.io(&mut done);
        match vfs::walk(&mut io, &self.base(), b"/tmp", WalkFlags::empty()) {
            Ok(place) => {
                let inode = place.inode().map_err(failed)?;
                if inode.kind != FileType::Dir || !filesystems::overlay::is_empty(&mut io, &inode).map_err(failed)? {
                    return Ok(());
                }
            }
            Err(Stop::Errno(Errno::ENOENT)) => {}
            Err(stop) => return Err(failed(stop)),
        }
        self.mount(&MountSpec {
            destination: "/tmp".into(),
            kind: "tmpfs".into(),
            source: "tmpfs".into(),
            options: ["nosuid", "nodev", "mode=1777"].map(String::from).to_vec(),
            ..MountSpec::default()
        })
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
            let now = place.mount.flags() | flags::MS_RDONLY;
            vfs::remount(&mut io, &place, now, true, b"").map_err(failed)?;
        }
        Ok(())
    }
}
