//! Numbers of bytes as users write them: with a suffix k, m, g or t for powers of 1,024, in either case, with or without "b" or "ib". Owns no locks.

/// Of what is no such number, or too large, nothing.
pub fn parse(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..)?.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A limit of bytes: -1 for none.
pub fn limit(text: &str) -> Result<i64, String> {
    match text {
        "-1" => Ok(-1),
        _ => parse(text)
            .and_then(|n| i64::try_from(n).ok())
            .ok_or_else(|| "give a number of bytes, such as 67108864 or 64M, or -1 for no limit".to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_powers_of_1024() {
        assert_eq!(
            (parse("0"), parse("12"), parse("3k"), parse("64M")),
            (Some(0), Some(12), Some(3072), Some(64 << 20))
        );
        assert_eq!((parse("1GiB"), parse("2tb")), (Some(1 << 30), Some(2 << 40)));
        for wrong in ["", "k", "-1", "1x", "1.5g", "99999999999t", "1 m"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!((limit("-1").unwrap(), limit("1k").unwrap()), (-1, 1024));
        assert!(limit("-2").is_err());
    }
}
