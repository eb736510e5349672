//! Lines in a plane, as SVG.

use std::fmt::Write;

/// Lengths, in pixels.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 620.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 360.0;
const LEGEND: f64 = 640.0;
const LINE: f64 = 20.0;

/// The colours of the lines.
const COLOURS: [&str; 7] =
    ["#1b6ca8", "#c1121f", "#2a9d4a", "#b5651d", "#6a4c93", "#0a9396", "#777777"];

/// How many ticks an evenly divided axis has.
const TICKS: u32 = 6;

/// How an axis is divided.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scale {
    /// Evenly, between two numbers.
    Linear(f64, f64),
    /// By factors, between two positive numbers.
    Logarithmic(f64, f64),
}

/// A line, through points in their order.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// Which of the colours it has.
    pub(super) colour: usize,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) is_dashed: bool,
}

/// Lines with their axes.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) x: (&'static str, Scale),
    pub(super) y: (&'static str, Scale),
    pub(super) series: Vec<Series>,
}

impl Scale {
    /// Where a number is, between 0 and 1; beyond the ends it is at them.
    fn place(self, number: f64) -> f64 {
        let place = match self {
            Self::Linear(from, to) => (number - from) / (to - from),
            Self::Logarithmic(from, to) => (number / from).ln() / (to / from).ln(),
        };
        place.clamp(0.0, 1.0)
    }

    /// The numbers at the axis.
    fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear(from, to) => {
                let step = (to - from) / f64::from(TICKS - 1);
                (0..TICKS).map(|tick| from + step * f64::from(tick)).collect()
            }
            Self::Logarithmic(from, to) if to / from < 100.0 => {
                let double = |number: &f64| Some(number * 2.0).filter(|it| *it < to);
                std::iter::successors(Some(from), double).chain([to]).collect()
            }
            Self::Logarithmic(from, to) => {
                let tenfold = |number: &f64| Some(number * 10.0).filter(|it| *it <= to * 1.001);
                std::iter::successors(Some(from), tenfold).collect()
            }
        }
    }
}

impl Plot {
    /// The picture.
    pub(super) fn draw(&self) -> String {
        let mut drawing = String::new();
        self.draw_axes(&mut drawing);
        for (number, series) in self.series.iter().enumerate() {
            self.draw_series(&mut drawing, number, series);
        }
        let title = self.title;
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="13">
<!-- Made by `cargo xtask bench`. -->
<style>
text {{ font-family: sans-serif; fill: #1b1b1b }}
.grid {{ stroke: #dddddd }} .axis {{ stroke: #1b1b1b; fill: none }}
polyline {{ fill: none; stroke-width: 2 }} .dashed {{ stroke-dasharray: 6 4 }}
</style>
<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>
<text x="{LEFT}" y="28" font-size="15">{title}</text>
{drawing}</svg>
"##
        )
    }

    fn draw_axes(&self, drawing: &mut String) {
        let (x_name, x) = self.x;
        let (y_name, y) = self.y;
        for tick in x.ticks() {
            let at = horizontal(x.place(tick));
            let (label, base) = (label(tick), BOTTOM + LINE);
            let _ = writeln!(
                drawing,
                r#"<line class="grid" x1="{at:.1}" y1="{TOP}" x2="{at:.1}" y2="{BOTTOM}"/>
<text x="{at:.1}" y="{base}" text-anchor="middle">{label}</text>"#
            );
        }
        for tick in y.ticks() {
            let at = vertical(y.place(tick));
            let (label, right, base) = (label(tick), LEFT - 8.0, at + 4.0);
            let _ = writeln!(
                drawing,
                r#"<line class="grid" x1="{LEFT}" y1="{at:.1}" x2="{RIGHT}" y2="{at:.1}"/>
<text x="{right}" y="{base:.1}" text-anchor="end">{label}</text>"#
            );
        }
        let (middle, base) = (f64::midpoint(LEFT, RIGHT), BOTTOM + 2.0 * LINE);
        let (left, centre) = (20.0, f64::midpoint(TOP, BOTTOM));
        let _ = writeln!(
            drawing,
            r#"<polyline class="axis" points="{LEFT},{TOP} {LEFT},{BOTTOM} {RIGHT},{BOTTOM}"/>
<text x="{middle}" y="{base}" text-anchor="middle">{x_name}</text>
<text x="{left}" y="{centre}" text-anchor="middle"
transform="rotate(-90 {left} {centre})">{y_name}</text>"#
        );
    }

    fn draw_series(&self, drawing: &mut String, number: usize, series: &Series) {
        let (_, x) = self.x;
        let (_, y) = self.y;
        let point = |(at, height): &(f64, f64)| {
            format!("{:.1},{:.1}", horizontal(x.place(*at)), vertical(y.place(*height)))
        };
        let mut points: Vec<String> = series.points.iter().map(point).collect();
        points.dedup();
        let (points, colour) = (points.join(" "), COLOURS[series.colour % COLOURS.len()]);
        let class = if series.is_dashed { "dashed" } else { "solid" };
        let base = TOP + (number as f64 + 1.0) * LINE;
        let (line_y, to, words, name) = (base - 4.0, LEGEND + 30.0, LEGEND + 38.0, &series.name);
        let _ = writeln!(
            drawing,
            r#"<polyline class="{class}" stroke="{colour}" points="{points}"/>
<line class="{class}" x1="{LEGEND}" y1="{line_y}" x2="{to}" y2="{line_y}"
stroke="{colour}" stroke-width="2"/>
<text x="{words}" y="{base}">{name}</text>"#
        );
    }
}

fn horizontal(place: f64) -> f64 {
    LEFT + place * (RIGHT - LEFT)
}

fn vertical(place: f64) -> f64 {
    BOTTOM - place * (BOTTOM - TOP)
}

fn label(number: f64) -> String {
    if number >= 1_000.0 { super::table::short(number) } else { format!("{number}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_axis_is_at_its_end() {
        let scale = Scale::Logarithmic(100.0, 100_000.0);
        assert_eq!(scale.place(10.0), 0.0);
        assert_eq!(scale.place(f64::INFINITY), 1.0);
        assert!((scale.place(1_000.0) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(scale.ticks().len(), 4);
        assert_eq!(Scale::Linear(0.0, 600.0).place(300.0), 0.5);
    }
}
