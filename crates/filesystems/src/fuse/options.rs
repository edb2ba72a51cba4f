//! Options of a FUSE mount: mount.fuse(8), fuse(4). Pure; no locks.

use abi::Errno;
use kernel::op::{Op, fail};

/// What is asked of a mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub fd: Option<i32>,
    /// S_IFMT bits of the root.
    pub root_mode: Option<u32>,
    /// As the mounting user namespace has them.
    pub user_id: Option<u32>,
    pub group_id: Option<u32>,
    pub default_permissions: bool,
    pub allow_other: bool,
    pub max_read: Option<u32>,
    pub block_size: Option<u32>,
    pub subtype: Option<String>,
}

impl Options {
    /// EINVAL for what is unknown or malformed.
    pub fn parse(data: &[u8]) -> Op<Options> {
        let mut options = Options::default();
        for option in data.split(|b| *b == b',').filter(|o| !o.is_empty()) {
            options.take(option)?;
        }
        Ok(options)
    }

    fn take(&mut self, option: &[u8]) -> Op<()> {
        let text = std::str::from_utf8(option).map_err(|_| Errno::EINVAL)?;
        let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
        let number = |radix| value.and_then(|v| u32::from_str_radix(v, radix).ok()).ok_or(Errno::EINVAL);
        match (key, value) {
            ("fd", _) => self.fd = Some(number(10)?.try_into().map_err(|_| Errno::EINVAL)?),
            ("rootmode", _) => self.root_mode = Some(number(8)?),
            ("user_id", _) => self.user_id = Some(number(10)?),
            ("group_id", _) => self.group_id = Some(number(10)?),
            ("max_read", _) => self.max_read = Some(number(10)?),
            ("blksize", _) => self.block_size = Some(number(10)?),
            ("default_permissions", None) => self.default_permissions = true,
            ("allow_other", None) => self.allow_other = true,
            ("subtype", Some(name)) => {
                if self.subtype.is_some() || name.is_empty() {
                    return fail(Errno::EINVAL);
                }
                self.subtype = Some(name.to_owned());
            }
            _ => return fail(Errno::EINVAL),
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::hostile::option_strings;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in option_strings(&[
            "fd=3", "rootmode=40000", "user_id=0", "group_id=0", "default_permissions", "allow_other", "max_read=0",
            "max_read=4294967295", "blksize=512", "subtype=x", "fd=2147483648",
        ])) {
            if let Ok(options) = Options::parse(&text) {
                prop_assert!(options.fd.is_none_or(|fd| fd >= 0) && options.subtype.as_deref() != Some(""));
            }
        }
    }

    #[test]
    fn all_options() {
        let text = b"fd=3,rootmode=40000,user_id=1,group_id=2,default_permissions,allow_other,max_read=65536,subtype=x";
        let options = Options::parse(text).unwrap();
        assert_eq!(
            (options.fd, options.root_mode, options.user_id, options.group_id),
            (Some(3), Some(0o40000), Some(1), Some(2))
        );
        assert_eq!((options.max_read, options.subtype.as_deref()), (Some(65536), Some("x")));
        assert!(options.default_permissions && options.allow_other);
        assert_eq!(Options::parse(b"").unwrap(), Options::default());
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for text in [
            "fd",
            "fd=",
            "fd=-1",
            "fd=4294967295",
            "rootmode=9",
            "user_id=x",
            "allow_other=1",
            "subtype=",
            "nonsense",
            "source=x",
        ] {
            assert!(Options::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
