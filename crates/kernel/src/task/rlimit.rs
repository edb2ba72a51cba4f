//! Resource limits, getrlimit(2).

/// RLIMIT_* by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Resource {
    Cpu = 0,
    Fsize = 1,
    Data = 2,
    Stack = 3,
    Core = 4,
    Rss = 5,
    Nproc = 6,
    Nofile = 7,
    Memlock = 8,
    As = 9,
    Locks = 10,
    Sigpending = 11,
    Msgqueue = 12,
    Nice = 13,
    Rtprio = 14,
    Rttime = 15,
}

/// A soft and a hard limit; `u64::MAX` is RLIM_INFINITY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C)]
pub struct Limit {
    pub soft: u64,
    pub hard: u64,
}

/// The limits of a thread group.
#[derive(Clone, Debug)]
pub struct Limits([Limit; 16]);

impl Limits {
    pub const INFINITY: u64 = u64::MAX;
    pub const COUNT: usize = 16;

    /// What Linux gives to its first process.
    pub fn initial() -> Limits {
        let both = |soft, hard| Limit { soft, hard };
        let no = Self::INFINITY;
        let mut limits = [both(no, no); 16];
        for (at, limit) in limits.iter_mut().enumerate() {
            *limit = match at {
                3 => both(8 << 20, no),
                4 => both(0, no),
                6 => both(63_488, 63_488),
                7 => both(1024, 1 << 20),
                8 => both(8 << 20, 8 << 20),
                11 => both(63_488, 63_488),
                12 => both(819_200, 819_200),
                13 | 14 => both(0, 0),
                _ => *limit,
            };
        }
        Limits(limits)
    }
    pub fn get(&self, what: Resource) -> Limit {
        self.by_number(what as usize).unwrap_or(Limit { soft: 0, hard: 0 })
    }
    /// None beyond the last RLIMIT.
    pub fn by_number(&self, number: usize) -> Option<Limit> {
        self.0.get(number).copied()
    }
    pub fn set(&mut self, number: usize, limit: Limit) {
        if let Some(slot) = self.0.get_mut(number) {
            *slot = limit;
        }
    }
}
