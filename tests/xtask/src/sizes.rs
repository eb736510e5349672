//! `cargo xtask sizes`: how much of a microcontroller the election takes.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::command::{command, text};
use crate::firmware::{EMULATED_BOARD, TARGETS, Toolchain, Variant};
use crate::workspace::{SIZES, root};

/// Where the project's own numbers are.
const README: &str = "README.md";

/// How far they may be from today's: compilers of neighbouring versions differ by six in a hundred.
const PERCENT: u64 = 10;

/// What a program takes of a microcontroller, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    /// Code and constants, the initial values of variables included.
    flash: u64,
    /// Variables, without the stack.
    ram: u64,
}

/// The sizes of one target.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    target: &'static str,
    /// Whether the cluster has a key.
    variant: Variant,
    /// Core and wire format alone, for seven voters.
    core_proto: Size,
    /// The whole firmware of the emulated board.
    firmware: Size,
}

impl Sizes {
    /// Which line of the table has them.
    fn row(&self) -> String {
        match self.variant {
            Variant::Plain => format!("| `{}` |", self.target),
            Variant::Sealed => format!("| `{}`, with a key |", self.target),
        }
    }
}

/// Prints the sizes for each target.
///
/// # Errors
///
/// A program can't be built or weighed.
pub(crate) fn print(json: bool) -> Result<()> {
    let sizes = weigh(Toolchain::install()?)?;
    print!("{}", if json { as_json(&sizes) } else { as_table(&sizes) });
    Ok(())
}

/// The sizes, as a section of `BENCHMARKS.md`.
///
/// # Errors
///
/// A program can't be built or weighed.
pub(crate) fn section() -> Result<String> {
    let table = as_table(&weigh(Toolchain::install()?)?);
    Ok(format!("Sizes of firmware\n`cargo xtask sizes` weighs the same.\n\n{table}"))
}

/// Checks that the README has the sizes of today, or what another compiler may make of them.
///
/// # Errors
///
/// Shows the table that should be there.
pub(crate) fn check_readme(toolchain: Toolchain) -> Result<()> {
    let sizes = weigh(toolchain)?;
    let readme = std::fs::read_to_string(root()?.join(README))?;
    ensure!(
        sizes.iter().all(|sizes| is_current(&readme, sizes)),
        "the sizes in {README} are out of date; they are\n\n{}",
        as_table(&sizes)
    );
    println!("{README} has the sizes of today");
    Ok(())
}

/// Whether `readme` has a line of the table for this target, with numbers that are close enough.
fn is_current(readme: &str, sizes: &Sizes) -> bool {
    let Some(row) = readme.lines().find_map(|line| line.strip_prefix(&sizes.row())) else {
        return false;
    };
    let written = row.split('|').map_while(|cell| cell.trim().parse::<u64>().ok());
    let Sizes { core_proto, firmware, .. } = sizes;
    let now = [core_proto.flash, core_proto.ram, firmware.flash, firmware.ram];
    let is_close = |(now, written): (u64, u64)| now.abs_diff(written) * 100 <= now * PERCENT;
    written.clone().count() == now.len() && now.into_iter().zip(written).all(is_close)
}

fn weigh(toolchain: Toolchain) -> Result<Vec<Sizes>> {
    let all = TARGETS.iter().flat_map(|target| Variant::ALL.map(|variant| (target, variant)));
    let sizes = all.map(|(target, variant)| {
        let core_proto = size(&toolchain.build_program(SIZES, "sizes", target, variant)?)?;
        let firmware = size(&toolchain.build(EMULATED_BOARD, target, variant)?)?;
        Ok(Sizes { target, variant, core_proto, firmware })
    });
    sizes.collect()
}

/// Weighs a program with the tool of its linker.
fn size(program: &Path) -> Result<Size> {
    let mut size = command("arm-none-eabi-size")?;
    size.arg(program);
    let report = text(size).context("it takes Debian's package binutils-arm-none-eabi")?;
    read_report(&report).with_context(|| format!("arm-none-eabi-size says\n{report}"))
}

/// The numbers that begin the second line: text, data and bss.
fn read_report(report: &str) -> Option<Size> {
    let mut numbers = report.lines().nth(1)?.split_whitespace().map_while(|n| n.parse().ok());
    let [text, data, bss]: [u64; 3] = [numbers.next()?, numbers.next()?, numbers.next()?];
    Some(Size { flash: text + data, ram: data + bss })
}

fn as_table(sizes: &[Sizes]) -> String {
    let mut table = "\
| bytes | core and wire format: flash | RAM | whole firmware: flash | RAM |
|---|---|---|---|---|
"
    .to_owned();
    for sizes in sizes {
        let Sizes { core_proto, firmware, .. } = sizes;
        table += &format!(
            "{} {} | {} | {} | {} |\n",
            sizes.row(),
            core_proto.flash,
            core_proto.ram,
            firmware.flash,
            firmware.ram
        );
    }
    table
}

fn as_json(sizes: &[Sizes]) -> String {
    let size = |Size { flash, ram }: Size| format!(r#"{{"flash": {flash}, "ram": {ram}}}"#);
    let targets = sizes.iter().map(|Sizes { target, variant, core_proto, firmware }| {
        let (core_proto, firmware) = (size(*core_proto), size(*firmware));
        let key = if *variant == Variant::Sealed { " with a key" } else { "" };
        format!(r#""{target}{key}": {{"core_proto": {core_proto}, "firmware": {firmware}}}"#)
    });
    format!("{{{}}}\n", targets.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "   text\t   data\t    bss\t    dec\t    hex\tfilename
  46784\t     44\t   7380\t  54208\t   d3c0\tfirmware
";

    #[test]
    fn initial_values_are_in_flash_and_in_memory() {
        assert_eq!(read_report(REPORT), Some(Size { flash: 46_828, ram: 7_424 }));
    }

    #[test]
    fn what_is_no_report_has_no_size() {
        assert_eq!(read_report(""), None);
        assert_eq!(read_report("text data bss\n1 2\n"), None);
    }

    #[test]
    fn the_readme_may_be_a_little_behind() {
        let (core_proto, firmware) = (Size { flash: 100, ram: 10 }, Size { flash: 1_000, ram: 20 });
        let sizes = Sizes { target: "m3", variant: Variant::Plain, core_proto, firmware };
        assert!(is_current(&as_table(&[sizes]), &sizes));
        assert!(is_current("text\n| `m3` | 110 | 10 | 900 | 20 |\n", &sizes));
        assert!(!is_current("| `m3` | 111 | 10 | 1000 | 20 |\n", &sizes));
        assert!(!is_current("| `m3` | 100 | 10 | 1000 |\n", &sizes));
        assert!(!is_current("| `m0` | 100 | 10 | 1000 | 20 |\n", &sizes));
        assert!(!is_current("| `m3`, with a key | 100 | 10 | 1000 | 20 |\n", &sizes));
        let sealed = Sizes { variant: Variant::Sealed, ..sizes };
        assert!(is_current(&as_table(&[sizes, sealed]), &sealed));
        assert!(!is_current(&as_table(&[sizes]), &sealed));
    }

    #[test]
    fn sizes_are_json() {
        let size = Size { flash: 1, ram: 2 };
        let sizes = Variant::ALL.map(|variant| Sizes {
            target: "m3",
            variant,
            core_proto: size,
            firmware: size,
        });
        assert_eq!(
            as_json(&sizes),
            "{\"m3\": {\"core_proto\": {\"flash\": 1, \"ram\": 2}, \
             \"firmware\": {\"flash\": 1, \"ram\": 2}}, \
             \"m3 with a key\": {\"core_proto\": {\"flash\": 1, \"ram\": 2}, \
             \"firmware\": {\"flash\": 1, \"ram\": 2}}}\n"
        );
    }
}
