//! A series of kernels, such as 6.12, and which of Debian's packages is its newest. Debian's "cloud"
//! flavour is the smallest: it lacks drivers of real machines and nothing that filters frames.

use std::fmt;
use std::str::FromStr;

/// What the names of all kernels' packages begin with.
pub(crate) const PREFIX: &str = "linux-image-";
/// What they end with, but for those of debugging symbols and the unsigned ones.
const SUFFIX: &str = "-cloud-amd64";

/// A kernel's version up to the second number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Series {
    major: u32,
    minor: u32,
}

impl Series {
    pub(crate) const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// How the names of this series' packages look.
    pub(crate) fn pattern(self) -> String {
        format!("{PREFIX}{self}.*{SUFFIX}")
    }

    /// The newest of packages, of those that are this series' kernel.
    pub(crate) fn newest<'a>(self, packages: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let prefix = format!("{PREFIX}{self}.");
        packages
            .filter(|package| package.starts_with(&prefix) && package.ends_with(SUFFIX))
            .max_by_key(|package| numbers(package))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Series {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (major, minor) = text.split_once('.')?;
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            (digits(major) && digits(minor))
                .then(|| Some(Self::new(major.parse().ok()?, minor.parse().ok()?)))?
        };
        parse().ok_or("a series of kernels is two numbers, such as 6.12")
    }
}

/// All numbers in a name, by which versions are compared.
fn numbers(name: &str) -> Vec<u64> {
    let numbers = name.split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 9] = [
        "linux-image-6.1.0-9-cloud-amd64",
        "linux-image-6.1.0-56-cloud-amd64",
        "linux-image-6.1.0-47-cloud-amd64",
        "linux-image-6.1.0-57-cloud-amd64-unsigned",
        "linux-image-6.1.0-58-cloud-amd64.partial",
        "linux-image-6.1.0-59-amd64",
        "linux-image-6.12-cloud-amd64",
        "linux-image-6.12.107+deb12-cloud-amd64",
        "linux-image-6.12.48+deb13-cloud-amd64",
    ];

    #[test]
    fn the_newest_kernel_of_a_series_is_found_by_number() {
        let newest = |major, minor| Series::new(major, minor).newest(NAMES.into_iter());
        assert_eq!(newest(6, 1), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(
            newest(6, 12),
            Some("linux-image-6.12.107+deb12-cloud-amd64")
        );
        assert_eq!(newest(6, 2), None);
        assert_eq!(newest(6, 18), None);
    }

    #[test]
    fn a_series_is_two_numbers() {
        for series in ["6.1", "6.12"] {
            assert_eq!(series.parse::<Series>().unwrap().to_string(), series);
        }
        for bad in [
            "",
            "6",
            "6.",
            ".1",
            "6.1.0",
            "6.x",
            "+6.1",
            "6.-1",
            "6.1 ",
            "99999999999.1",
        ] {
            assert!(bad.parse::<Series>().is_err(), "{bad:?}");
        }
    }
}
