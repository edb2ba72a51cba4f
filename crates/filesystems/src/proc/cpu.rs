//! Sets of processors as proc and sysfs write them. cpuset(7) "FORMATS".

/// Words of 32 bits in hexadecimal, highest first, commas between.
pub fn mask(cpus: &[usize]) -> String {
    let words = cpus.iter().max().map_or(1, |last| last / 32 + 1);
    let word = |at: usize| cpus.iter().filter(|c| *c / 32 == at).fold(0u32, |word, c| word | 1 << (c % 32));
    let mut parts: Vec<String> = (0..words).rev().map(|at| format!("{:08x}", word(at))).collect();
    // The first word has no leading zeros.
    if let Some(first) = parts.first_mut() {
        let short = first.trim_start_matches('0');
        *first = if short.is_empty() { "0".into() } else { short.into() };
    }
    parts.join(",")
}

/// Ranges: `0-3,8`.
pub fn list(cpus: &[usize]) -> String {
    let mut cpus = cpus.to_vec();
    cpus.sort_unstable();
    cpus.dedup();
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for cpu in cpus {
        match parts.last_mut() {
            Some(last) if last.1 + 1 == cpu => last.1 = cpu,
            _ => parts.push((cpu, cpu)),
        }
    }
    let parts: Vec<String> =
        parts.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") }).collect();
    parts.join(",")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        assert_eq!(mask(&[0, 1]), "3");
        assert_eq!(mask(&[33]), "2,00000000");
        assert_eq!(list(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(list(&[]), "");
    }
}
