//! Numbers in tables.

use std::fmt::Display;

/// A table of Markdown.
#[derive(Debug)]
pub(super) struct Table(String);

impl Table {
    /// A table with these heads.
    pub(super) fn new<T: Display>(heads: &[T]) -> Self {
        let mut table = Self(String::new());
        table.row(heads);
        table.row(&vec!["---"; heads.len()]);
        table
    }

    pub(super) fn row<T: Display>(&mut self, cells: &[T]) {
        let cells: Vec<String> = cells.iter().map(T::to_string).collect();
        self.0 += &format!("| {} |\n", cells.join(" | "));
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// What was aimed at, and whether it was reached. All of them are upper bounds.
#[derive(Debug)]
pub(super) struct Aims(Table);

impl Aims {
    pub(super) fn new() -> Self {
        Self(Table::new(&["aim", "measured", "limit", ""]))
    }

    pub(super) fn at_most(&mut self, aim: &str, measured: f64, limit: f64, unit: &str) {
        let verdict = if measured <= limit { "held" } else { "**missed**" };
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        let shown = |number| format!("{}{unit}", short(number));
        self.0.row(&[aim.to_owned(), shown(measured), shown(limit), verdict.to_owned()]);
    }

    pub(super) fn finish(self) -> String {
        self.0.finish()
    }
}

/// A number with as many digits as mean something.
pub(super) fn short(number: f64) -> String {
    let digits = match number.abs() {
        0.0 => 0,
        below if below < 1.0 => 2,
        below if below < 10.0 => 1,
        _ => 0,
    };
    let text = format!("{number:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), ""), |(it, rest)| (it, rest));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 && digit.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() { grouped } else { format!("{grouped}.{rest}") }
}

/// The least of the numbers that this share of them don't exceed; they are sorted.
pub(super) fn share(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let numbers = [0.0, 0.123, 1.25, 12.5, 999.9, 1_234.5, 1_234_567.0];
        let texts = ["0", "0.12", "1.2", "12", "1,000", "1,234", "1,234,567"];
        assert_eq!(numbers.map(short), texts);
    }

    #[test]
    fn an_aim_is_held_up_to_its_limit() {
        let mut aims = Aims::new();
        aims.at_most("a heartbeat", 50.0, 50.0, "ns");
        aims.at_most("an election", 51.0, 50.0, "ns");
        let table = aims.finish();
        assert!(table.ends_with(
            "| a heartbeat | 50 ns | 50 ns | held |\n| an election | 51 ns | 50 ns | **missed** |\n"
        ));
    }

    #[test]
    fn a_share_is_a_number_that_was_measured() {
        assert_eq!(share(&[1.0, 2.0, 3.0, 4.0], 0.5), 2.0);
        assert_eq!(share(&[1.0, 2.0, 3.0, 4.0], 0.95), 4.0);
        assert_eq!(share(&[1.0], 0.0), 1.0);
    }
}
