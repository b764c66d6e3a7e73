//! Kubernetes' quantities: `100m`, `64Mi`, `1e3`.
//!
//! Format: <https://pkg.go.dev/k8s.io/apimachinery/pkg/api/resource#Quantity>

/// An amount in billionths, the finest that Kubernetes keeps. What is finer is rounded up, what is too large is capped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quantity {
    pub(super) nanos: i128,
    /// Written with `Ki`, `Mi`, …
    is_binary: bool,
}

const BILLION: i128 = 1_000_000_000;

impl Quantity {
    /// Nothing of it.
    pub(super) const ZERO: Quantity = Quantity { nanos: 0, is_binary: false };

    /// Reads a quantity without space around it.
    pub(crate) fn parse(text: &str) -> Option<Quantity> {
        let (sign, rest) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        if text.is_empty() {
            return None;
        }
        let is_digit = |character: char| character.is_ascii_digit();
        let after_whole = rest.trim_start_matches(is_digit);
        let whole = &rest[..rest.len() - after_whole.len()];
        let (fraction, suffix) = match after_whole.strip_prefix('.') {
            Some(behind) => {
                let suffix = behind.trim_start_matches(is_digit);
                (&behind[..behind.len() - suffix.len()], suffix)
            }
            None => ("", after_whole),
        };
        // Nothing but a sign is 0 there, and a unit without a number is 0 of it, as is `.`.
        let (base, exponent, is_binary) = unit(suffix)?;
        let mut digits = format!("{whole}{fraction}");
        let mut shift = 9 - i64::try_from(fraction.len()).ok()?;
        if base == 10 {
            shift = shift.saturating_add(exponent);
        }
        let mut round = 0;
        if shift >= 0 {
            let zeros = usize::try_from(shift).ok()?.min(40);
            digits.extend(std::iter::repeat_n('0', zeros));
        } else {
            let cut = usize::try_from(-shift).ok()?.min(digits.len());
            let rest = digits.split_off(digits.len() - cut);
            round = i128::from(rest.bytes().any(|digit| digit != b'0'));
        }
        let digits = digits.trim_start_matches('0');
        let mut nanos = match digits {
            "" => round,
            digits => digits.parse::<i128>().unwrap_or(i128::MAX / 2).saturating_add(round),
        };
        if base == 2 {
            nanos = nanos.saturating_mul(1 << exponent);
        }
        Some(Quantity { nanos: nanos.saturating_mul(sign), is_binary })
    }

    /// Whether it is a whole number.
    pub(super) fn is_whole(self) -> bool {
        self.thousandths() % 1000 == 0
    }

    /// In thousandths, rounded up: as fine as the kubelet keeps amounts of resources.
    pub(crate) fn thousandths(self) -> i128 {
        let rest = self.nanos % 1_000_000;
        self.nanos / 1_000_000 + i128::from(rest > 0)
    }

    /// Whether it is one of a unit of bytes, as the kubelet prints it: `1`, `1k`, `1Mi`.
    pub(super) fn is_unit_of_bytes(self) -> bool {
        let is_power =
            |base: i128, most: u32| (0..=most).any(|n| self.nanos == base.pow(n) * BILLION);
        if self.is_binary { is_power(1024, 6) } else { is_power(1000, 6) }
    }
}

/// Base, exponent, and whether the unit is a binary one.
fn unit(suffix: &str) -> Option<(u32, i64, bool)> {
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    if let Some(index) = decimal.iter().position(|unit| *unit == suffix) {
        return Some((10, (i64::try_from(index).ok()? - 3) * 3, false));
    }
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(index) = binary.iter().position(|unit| *unit == suffix) {
        return Some((2, (i64::try_from(index).ok()? + 1) * 10, true));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((10, exponent.parse().ok()?, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, nanos: i128) {
        assert_eq!(Quantity::parse(text).map(|quantity| quantity.nanos), Some(nanos), "{text}");
    }

    #[test]
    fn amounts() {
        check("0", 0);
        check("100m", 100_000_000);
        check("1.5", 1_500_000_000);
        check("1Ki", 1024 * BILLION);
        check("-2", -2 * BILLION);
        check("1e3", 1000 * BILLION);
        check("12E", 12 * BILLION * BILLION * BILLION);
        check(".5Mi", 512 * 1024 * BILLION);
        check("0.1n", 1);
        for text in ["", "1 Gi", "64MB", "1ki", "one", "1e", "1.2.3", "0x10", "1_000"] {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
    }

    #[test]
    fn units() {
        for text in ["1", "1k", "1000", "1Mi", "1024Ki"] {
            assert!(Quantity::parse(text).unwrap().is_unit_of_bytes(), "{text}");
        }
        for text in ["2", "1024", "10k"] {
            assert!(!Quantity::parse(text).unwrap().is_unit_of_bytes(), "{text}");
        }
    }
}
