//! Error numbers, errno(3): the one error type of the kernel crates.
//!
//! `Errno` is a `NonZeroU16`, so that `Result<(), Errno>` is two bytes. The kernel's own restart codes (ERESTARTSYS and the
//! like) are no `Errno`: they are a type of the kernel that cannot reach a guest.

use std::fmt;
use std::num::NonZeroU16;

/// An error number as Linux numbers them on all 64-bit processors that stockade knows; 1 to 4095.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(NonZeroU16);

impl Errno {
    /// The largest number that a system call can return as an error.
    pub const MAX: u16 = 4095;

    /// An error number from 1 to 4095; `None` for anything else.
    pub const fn new(code: u16) -> Option<Errno> {
        match NonZeroU16::new(code) {
            Some(n) if code <= Errno::MAX => Some(Errno(n)),
            _ => None,
        }
    }

    /// The error number that the host gave, as `std::io::Error::raw_os_error` or `rustix` have it. What is no error number becomes EIO.
    pub const fn from_raw(code: i32) -> Errno {
        if code > 0 && code <= Errno::MAX as i32 {
            match Errno::new(code as u16) {
                Some(e) => e,
                None => Errno::EIO,
            }
        } else {
            Errno::EIO
        }
    }

    /// The number, 1 to 4095.
    pub const fn code(self) -> u16 {
        self.0.get()
    }

    /// What a system call returns in its result register: minus the number.
    pub const fn ret(self) -> i64 {
        -(self.0.get() as i64)
    }

    /// Linux' name of the number, such as "ENOENT"; `None` where it has none.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(_, code)| *code == self.code()).map(|(name, _)| *name)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", std::io::Error::from_raw_os_error(self.code().into())),
            None => write!(f, "errno {}", self.code()),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.code()),
        }
    }
}

impl std::error::Error for Errno {}

impl From<std::io::Error> for Errno {
    fn from(e: std::io::Error) -> Errno {
        e.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
    }
}

macro_rules! numbers {
    ($($name:ident = $code:literal),* $(,)?) => {
        impl Errno {
            $(pub const $name: Errno = match NonZeroU16::new($code) {
                Some(n) => Errno(n),
                None => panic!("an error number is never 0"),
            };)*
            /// Another name of EAGAIN.
            pub const EWOULDBLOCK: Errno = Errno::EAGAIN;
            /// Another name of EDEADLK.
            pub const EDEADLOCK: Errno = Errno::EDEADLK;
            /// Another name of EOPNOTSUPP.
            pub const ENOTSUP: Errno = Errno::EOPNOTSUPP;
        }
        const NAMES: &[(&str, u16)] = &[$((stringify!($name), $code)),*];
    };
}

numbers! {
    EPERM = 1, ENOENT = 2, ESRCH = 3, EINTR = 4, EIO = 5, ENXIO = 6, E2BIG = 7, ENOEXEC = 8, EBADF = 9, ECHILD = 10,
    EAGAIN = 11, ENOMEM = 12, EACCES = 13, EFAULT = 14, ENOTBLK = 15, EBUSY = 16, EEXIST = 17, EXDEV = 18,
    ENODEV = 19, ENOTDIR = 20, EISDIR = 21, EINVAL = 22, ENFILE = 23, EMFILE = 24, ENOTTY = 25, ETXTBSY = 26,
    EFBIG = 27, ENOSPC = 28, ESPIPE = 29, EROFS = 30, EMLINK = 31, EPIPE = 32, EDOM = 33, ERANGE = 34, EDEADLK = 35,
    ENAMETOOLONG = 36, ENOLCK = 37, ENOSYS = 38, ENOTEMPTY = 39, ELOOP = 40, ENOMSG = 42, EIDRM = 43, ECHRNG = 44,
    EL2NSYNC = 45, EL3HLT = 46, EL3RST = 47, ELNRNG = 48, EUNATCH = 49, ENOCSI = 50, EL2HLT = 51, EBADE = 52,
    EBADR = 53, EXFULL = 54, ENOANO = 55, EBADRQC = 56, EBADSLT = 57, EBFONT = 59, ENOSTR = 60, ENODATA = 61,
    ETIME = 62, ENOSR = 63, ENONET = 64, ENOPKG = 65, EREMOTE = 66, ENOLINK = 67, EADV = 68, ESRMNT = 69, ECOMM = 70,
    EPROTO = 71, EMULTIHOP = 72, EDOTDOT = 73, EBADMSG = 74, EOVERFLOW = 75, ENOTUNIQ = 76, EBADFD = 77, EREMCHG = 78,
    ELIBACC = 79, ELIBBAD = 80, ELIBSCN = 81, ELIBMAX = 82, ELIBEXEC = 83, EILSEQ = 84, ERESTART = 85, ESTRPIPE = 86,
    EUSERS = 87, ENOTSOCK = 88, EDESTADDRREQ = 89, EMSGSIZE = 90, EPROTOTYPE = 91, ENOPROTOOPT = 92,
    EPROTONOSUPPORT = 93, ESOCKTNOSUPPORT = 94, EOPNOTSUPP = 95, EPFNOSUPPORT = 96, EAFNOSUPPORT = 97,
    EADDRINUSE = 98, EADDRNOTAVAIL = 99, ENETDOWN = 100, ENETUNREACH = 101, ENETRESET = 102, ECONNABORTED = 103,
    ECONNRESET = 104, ENOBUFS = 105, EISCONN = 106, ENOTCONN = 107, ESHUTDOWN = 108, ETOOMANYREFS = 109,
    ETIMEDOUT = 110, ECONNREFUSED = 111, EHOSTDOWN = 112, EHOSTUNREACH = 113, EALREADY = 114, EINPROGRESS = 115,
    ESTALE = 116, EUCLEAN = 117, ENOTNAM = 118, ENAVAIL = 119, EISNAM = 120, EREMOTEIO = 121, EDQUOT = 122,
    ENOMEDIUM = 123, EMEDIUMTYPE = 124, ECANCELED = 125, ENOKEY = 126, EKEYEXPIRED = 127, EKEYREVOKED = 128,
    EKEYREJECTED = 129, EOWNERDEAD = 130, ENOTRECOVERABLE = 131, ERFKILL = 132, EHWPOISON = 133,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_agree_with_the_host_headers() {
        assert_eq!(u32::from(Errno::ENOENT.code()), linux_raw_sys::errno::ENOENT);
        assert_eq!(u32::from(Errno::EHWPOISON.code()), linux_raw_sys::errno::EHWPOISON);
        assert_eq!(Errno::EPIPE.name(), Some("EPIPE"));
        assert_eq!(Errno::EPIPE.ret(), -32);
    }

    #[test]
    fn what_is_no_error_number_is_refused() {
        assert_eq!(Errno::new(0), None);
        assert_eq!(Errno::new(4096), None);
        assert_eq!(Errno::from_raw(-1), Errno::EIO);
        assert_eq!(std::mem::size_of::<Result<(), Errno>>(), 2);
    }
}
