//! Amounts as people read them.

/// Bytes in the largest unit that leaves a number of at least one, with one decimal below ten.
pub(crate) fn bytes_text(bytes: u64) -> String {
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10 * 1024 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if unit == 0 || tenths >= 100 {
        format!("{}{}", tenths / 10, UNITS[unit])
    } else {
        format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

#[cfg(test)]
mod tests {
    use super::bytes_text;

    #[test]
    fn units() {
        let check = |bytes, expected| assert_eq!(bytes_text(bytes), expected);
        check(0, "0B");
        check(1_023, "1023B");
        check(1_024, "1.0KiB");
        check(1_900, "1.8KiB");
        check(52_480, "51KiB");
        check(12_884_901_888, "12GiB");
        check(u64::MAX, "16383PiB");
    }
}
