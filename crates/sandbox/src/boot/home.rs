//! The home folder of a user by the container's /etc/passwd (passwd(5)): HOME of programs that are given none, as runc sets it.

use super::container::Container;
use abi::fs::OpenFlags;
use kernel::cred::Cred;
use kernel::io::{Io, VecSink};
use kernel::vfs::{self, Base, OpenHow};
use std::sync::Arc;

/// More of the file is not looked at: it is the image's, so its length is anybody's choice.
const MAX: usize = 1 << 20;

/// `/` for a user that is not listed, or where there is no such file.
pub fn of(container: &Container, uid: u32) -> Vec<u8> {
    let text = passwd(container).unwrap_or_default();
    let found = text.split(|b| *b == b'\n').find_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let id = std::str::from_utf8(fields.nth(2)?).ok()?;
        (id.parse() == Ok(uid)).then(|| fields.nth(2)).flatten().filter(|home| !home.is_empty())
    });
    found.unwrap_or(b"/").to_vec()
}

fn passwd(container: &Container) -> Option<Vec<u8>> {
    let cred = Arc::new(Cred::root(container.namespaces.uts.owner.clone()));
    let base = Base::new(container.root.clone(), container.root.clone());
    let mut done = 0;
    let mut io = Io::kernel(cred, &mut done);
    let flags = OpenFlags::NONBLOCK;
    let file = vfs::open_file(&mut io, &base, b"/etc/passwd", OpenHow::new(flags)).ok()?;
    let mut sink = VecSink { data: Vec::new(), max: MAX };
    while file.read(&mut io, Some(sink.data.len() as u64), &mut sink).ok()? > 0 {}
    Some(sink.data)
}
