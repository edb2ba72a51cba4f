//! Sets of processors as proc and sysfs write them. cpuset(7) "FORMATS".

use abi::Errno;
use kernel::{Op, fail};

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

/// Reads ranges; those beyond `count` are ERANGE.
pub fn parse(text: &str, count: usize) -> Op<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<usize>().map_err(|_| Errno::EINVAL);
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return fail(Errno::EINVAL);
        }
        if last >= count {
            return fail(Errno::ERANGE);
        }
        cpus.extend(first..=last);
    }
    Ok(cpus)
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
        assert_eq!(parse("0-2,5", 8), Ok(vec![0, 1, 2, 5]));
        assert_eq!(parse("", 8), Ok(vec![]));
        assert_eq!(parse("8", 8), fail(Errno::ERANGE));
        assert_eq!(parse("2-1", 8), fail(Errno::EINVAL));
        assert_eq!(parse("0-4294967295", 8), fail(Errno::ERANGE));
        assert_eq!(parse("x", 8), fail(Errno::EINVAL));
    }
}
