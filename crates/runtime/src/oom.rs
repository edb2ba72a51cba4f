//! Which of stockade's own processes the host kills when memory runs out: as the pod's first container, so that they outlive those of its containers. proc_pid_oom_score_adj(5).
//!
//! Owns no locks.

use std::fs;

const OWN: &str = "/proc/self/oom_score_adj";

/// As long as this lives, what is started has the number; processes that have started keep it.
pub struct Lowered(Option<i32>);

impl Lowered {
    /// Only down: as high as its guests a kernel process would be killed in their place. No effect for who may not (CAP_SYS_RESOURCE).
    pub fn to(number: Option<i32>) -> Lowered {
        let before = of("self");
        let lower = number.zip(before).filter(|(to, before)| to < before);
        Lowered(lower.filter(|(to, _)| fs::write(OWN, to.to_string()).is_ok()).map(|(_, before)| before))
    }
}

impl Drop for Lowered {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            let _ = fs::write(OWN, before.to_string());
        }
    }
}

/// A process' number.
pub fn of(pid: &str) -> Option<i32> {
    fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).ok()?.trim().parse().ok()
}
