//! What the measuring verbs share: the program that they measure, and the number that counts.

use std::path::PathBuf;

use anyhow::Result;

use crate::{rules, steps};

/// Builds the program as it is installed, and says where it lies.
pub(crate) fn build() -> Result<PathBuf> {
    let arguments = ["build", "--release", "--package", "app", "--bin", "fanfare"];
    steps::run(steps::cargo().args(arguments))?;
    Ok(rules::metadata()?.target_directory.join("release/fanfare").into_std_path_buf())
}

/// The middle of the sorted numbers, or the mean of both middles. There is at least one number.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    if numbers.len() % 2 == 1 { numbers[middle] } else { f64::midpoint(numbers[middle - 1], numbers[middle]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_and_no_mean() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![1.0, 100.0, 2.0, 4.0]), 3.0);
        assert_eq!(median(vec![7.0]), 7.0);
    }
}
