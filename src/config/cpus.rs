//! CPU lists, as typed and as shown: `0`, `0-3`, `0,2`, `0-1,4`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// A set of CPUs, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(pub BTreeSet<usize>);

/// Upper bound of CPU numbers, above those of any machine: a larger number is a typing error.
const MAX_CPUS: usize = 4_096;

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| -> Result<usize, String> {
            let cpu: usize =
                digits.parse().map_err(|_| format!("`{digits}` is not a CPU number"))?;
            if cpu < MAX_CPUS {
                Ok(cpu)
            } else {
                Err(format!("CPU {cpu} is out of range: the highest is {}", MAX_CPUS - 1))
            }
        };
        let mut cpus = BTreeSet::new();
        for range in text.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("`{range}` is reversed: write the lower CPU first"));
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpus: Vec<_> = self.0.iter().copied().collect();
        for (n, run) in cpus.chunk_by(|a, b| a + 1 == *b).enumerate() {
            let comma = if n > 0 { "," } else { "" };
            match run {
                [one] => write!(f, "{comma}{one}")?,
                _ => write!(f, "{comma}{}-{}", run[0], run[run.len() - 1])?,
            }
        }
        Ok(())
    }
}

impl CpuList {
    /// The listed CPUs; an error if one of them is not in `allowed`.
    pub fn within(self, allowed: &[usize]) -> Result<Vec<usize>, String> {
        match self.0.iter().find(|cpu| !allowed.contains(cpu)) {
            None => Ok(self.0.into_iter().collect()),
            Some(cpu) => {
                let allowed = Self(allowed.iter().copied().collect());
                Err(format!("CPU {cpu} is not among those that this process may use ({allowed})"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        let check = |text: &str, want: &[usize], shown: &str| {
            let list: CpuList = text.parse().unwrap();
            assert_eq!(list.to_string(), shown);
            assert_eq!(list.within(&[0, 1, 2, 3, 4, 5]), Ok(want.to_vec()));
        };
        check("0", &[0], "0");
        check("0-3", &[0, 1, 2, 3], "0-3");
        check("2,0", &[0, 2], "0,2");
        check("0-1,4,1", &[0, 1, 4], "0-1,4");
        for bad in ["", ",", "a", "1-", "-1", "3-1", "0,,1", "1.5", "99999", "0-99999"] {
            assert!(bad.parse::<CpuList>().is_err(), "{bad}");
        }
        let refused = "0,7".parse::<CpuList>().unwrap().within(&[0, 1]);
        assert_eq!(
            refused,
            Err("CPU 7 is not among those that this process may use (0-1)".to_owned())
        );
    }
}
