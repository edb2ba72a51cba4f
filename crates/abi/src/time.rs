//! Time: clock_gettime(2), timer_create(2), setitimer(2), adjtimex(2).
//!
//! Structs come from the guest unchecked: `Timespec::to_nanos` says whether one is valid.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use linux_raw_sys::general::{
    CLOCK_AUX, CLOCK_AUX_LAST, CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE,
    CLOCK_MONOTONIC_RAW, CLOCK_PROCESS_CPUTIME_ID, CLOCK_REALTIME, CLOCK_REALTIME_ALARM, CLOCK_REALTIME_COARSE,
    CLOCK_SGI_CYCLE, CLOCK_TAI, CLOCK_THREAD_CPUTIME_ID, ITIMER_PROF, ITIMER_REAL, ITIMER_VIRTUAL, TIMER_ABSTIME,
};

/// adjtimex(2): the clock is not synchronised.
pub const TIME_ERROR: i32 = 5;
/// adjtimex(2): status bit "clock unsynchronised".
pub const STA_UNSYNC: i32 = 0x40;

/// Nanoseconds of a second.
pub const NSEC_PER_SEC: i64 = 1_000_000_000;

/// `struct timespec`.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Timespec {
    pub tv_sec: i64,
    /// 0 to 999,999,999 where valid.
    pub tv_nsec: i64,
}

impl Timespec {
    /// True if nanoseconds are in range and seconds not negative, as timeouts must be (else EINVAL).
    pub const fn valid(self) -> bool {
        self.tv_sec >= 0 && self.tv_nsec >= 0 && self.tv_nsec < NSEC_PER_SEC
    }

    /// Nanoseconds, as large as i64 can hold at most; `None` if not `valid`.
    pub const fn to_nanos(self) -> Option<i64> {
        if !self.valid() {
            return None;
        }
        Some(self.tv_sec.saturating_mul(NSEC_PER_SEC).saturating_add(self.tv_nsec))
    }

    /// The time `nanos` after (or, negative, before) zero.
    pub const fn from_nanos(nanos: i64) -> Timespec {
        Timespec { tv_sec: nanos.div_euclid(NSEC_PER_SEC), tv_nsec: nanos.rem_euclid(NSEC_PER_SEC) }
    }
}

/// `struct timeval`.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Timeval {
    pub tv_sec: i64,
    /// 0 to 999,999 where valid.
    pub tv_usec: i64,
}

impl Timeval {
    /// Nanoseconds, saturating; `None` if a field is negative or the microseconds are a second or more.
    pub const fn to_nanos(self) -> Option<i64> {
        if self.tv_sec < 0 || self.tv_usec < 0 || self.tv_usec >= 1_000_000 {
            return None;
        }
        Some(self.tv_sec.saturating_mul(NSEC_PER_SEC).saturating_add(self.tv_usec * 1000))
    }

    /// The time `nanos` after zero, rounded down to microseconds.
    pub const fn from_nanos(nanos: i64) -> Timeval {
        Timeval { tv_sec: nanos.div_euclid(NSEC_PER_SEC), tv_usec: nanos.rem_euclid(NSEC_PER_SEC) / 1000 }
    }
}

/// `struct timezone`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Timezone {
    pub tz_minuteswest: i32,
    pub tz_dsttime: i32,
}

/// `struct itimerspec`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Itimerspec {
    pub it_interval: Timespec,
    pub it_value: Timespec,
}

/// `struct itimerval`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Itimerval {
    pub it_interval: Timeval,
    pub it_value: Timeval,
}

/// `struct tms` of times(2), in clock ticks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Tms {
    pub tms_utime: i64,
    pub tms_stime: i64,
    pub tms_cutime: i64,
    pub tms_cstime: i64,
}

/// Clock ticks of a second that times(2), /proc and AT_CLKTCK speak of.
pub const USER_HZ: i64 = 100;

/// `struct timex` of adjtimex(2), 208 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Timex {
    pub modes: u32,
    pub pad0: u32,
    pub offset: i64,
    pub freq: i64,
    pub maxerror: i64,
    pub esterror: i64,
    pub status: i32,
    pub pad1: u32,
    pub constant: i64,
    pub precision: i64,
    pub tolerance: i64,
    pub time: Timeval,
    pub tick: i64,
    pub ppsfreq: i64,
    pub jitter: i64,
    pub shift: i32,
    pub pad2: u32,
    pub stabil: i64,
    pub jitcnt: i64,
    pub calcnt: i64,
    pub errcnt: i64,
    pub stbcnt: i64,
    pub tai: i32,
    pub pad3: [u32; 11],
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn layouts() {
        assert_eq!(size_of::<Itimerspec>(), size_of::<linux_raw_sys::general::__kernel_itimerspec>());
        assert_eq!(size_of::<Timex>(), size_of::<libc::timex>());
        assert_eq!(offset_of!(Timex, tai), offset_of!(libc::timex, tai));
        assert_eq!(offset_of!(Timex, stabil), offset_of!(libc::timex, stabil));
        assert_eq!(size_of::<Tms>(), size_of::<libc::tms>());
    }

    #[test]
    fn conversions() {
        assert_eq!(Timespec { tv_sec: 1, tv_nsec: 5 }.to_nanos(), Some(1_000_000_005));
        assert_eq!(Timespec { tv_sec: 1, tv_nsec: NSEC_PER_SEC }.to_nanos(), None);
        assert_eq!(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }.to_nanos(), Some(i64::MAX));
        assert_eq!(Timespec::from_nanos(-1), Timespec { tv_sec: -1, tv_nsec: NSEC_PER_SEC - 1 });
        assert_eq!(Timeval::from_nanos(2_500_000_000), Timeval { tv_sec: 2, tv_usec: 500_000 });
    }
}
