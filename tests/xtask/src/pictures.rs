//! `cargo xtask pictures`: the pictures of the documentation that are computed.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use graft_election_core::Config;

use crate::workspace::root;

/// The lease on a time line, for ARCHITECTURE.md.
const LEASE: &str = "docs/pictures/lease.svg";

/// How long a message takes, in milliseconds: longer than on most networks, so that it can be seen.
const DELIVERY: i64 = 20;

/// When the last heartbeat that still arrives is sent, in milliseconds.
const LAST_HEARTBEAT: i64 = 200;

/// How long after the last heartbeat b asks, in milliseconds: T_min, H/20, and what it drew from 0
/// to H/4 (rule C1).
const ASKS_AFTER: i64 = 520;

/// Where the picture ends, in milliseconds.
const END: i64 = 1_200;

/// The nodes, by their lanes.
const A: i64 = 0;
const B: i64 = 1;
const C: i64 = 2;

/// Lengths in the picture, in pixels.
const LEFT: i64 = 50;
const TOP: i64 = 100;
const LANE: i64 = 90;
const BAR: i64 = 24;
const WIDTH: i64 = 1_000;
const HEIGHT: i64 = TOP + 3 * LANE - 10;

/// Writes every picture to its file.
///
/// # Errors
///
/// A file can't be written.
pub(crate) fn pictures() -> Result<()> {
    let path = root()?.join(LEASE);
    std::fs::write(&path, lease()).with_context(|| format!("can't write {}", path.display()))?;
    println!("wrote {LEASE}");
    Ok(())
}

/// How a lease ends and the next one begins, in milliseconds: node a leads until it is cut off, and
/// b is elected by c. All of it follows from the defaults of [`Config`] and the constants above.
fn lease() -> String {
    let t_min = millis(Config::ELECTION_TIMEOUT_MIN);
    let heartbeat = millis(Config::HEARTBEAT_INTERVAL);
    // Rules L3 and V2; a clock tick is too short to be seen.
    let sure = t_min - t_min * i64::from(Config::CLOCK_DRIFT_PERCENT) / 100;

    let cut_off = LAST_HEARTBEAT + heartbeat / 2;
    let heard = LAST_HEARTBEAT + DELIVERY;
    let (lease_end, bound_end) = (LAST_HEARTBEAT + sure, heard + t_min);
    let pre_vote = heard + ASKS_AFTER;
    let campaign = pre_vote + 2 * DELIVERY;
    let elected = campaign + 2 * DELIVERY;
    let next_lease = elected + 2 * DELIVERY;

    let mut picture = Picture::default();
    for sent in (0..lease_end).step_by(to_step(heartbeat)) {
        if sent <= LAST_HEARTBEAT {
            for follower in [B, C] {
                picture.arrow("message", (A, sent), (follower, sent + DELIVERY));
                picture.arrow("message", (follower, sent + DELIVERY), (A, sent + 2 * DELIVERY));
            }
        } else {
            picture.lost(A, sent);
        }
    }
    for asked in [pre_vote, campaign, elected] {
        picture.arrow("message", (B, asked), (C, asked + DELIVERY));
        picture.arrow("message", (C, asked + DELIVERY), (B, asked + 2 * DELIVERY));
    }

    picture.bar("lease", A, 2 * DELIVERY, lease_end, "a's lease");
    picture.bar("bound", B, DELIVERY, bound_end, "b has promised to help elect no one");
    picture.bar("bound", C, DELIVERY, bound_end, "c has promised the same");
    for follower in [B, C] {
        picture.bar("early", follower, heard + sure, bound_end, "");
    }
    let early = format!("ends {} ms earlier if the clock is fast by rho", t_min - sure);
    picture.text("start", x(heard + sure), y(B) - 20, &early);
    picture.bar("asks", B, pre_vote, next_lease, "");
    picture.bar("lease", B, next_lease, END, "b's lease");
    picture.bar("bound", C, elected + DELIVERY, END, "bound again");

    picture.moment(cut_off, "a is cut off");
    picture.moment(lease_end, "a stops");
    picture.moment(next_lease, "b may act");
    picture.span(A, LAST_HEARTBEAT, lease_end, &format!("T_min × (1 − rho) = {sure} ms"));
    picture.span(B, heard, pre_vote, &format!("b asks after {ASKS_AFTER} ms"));
    picture.span(C, heard, bound_end, &format!("T_min = {t_min} ms, by c's own clock"));
    picture.span(A, lease_end, next_lease, "no lease");
    picture.span(C, pre_vote, next_lease, "pre-vote, vote, heartbeat");
    picture.finish()
}

/// The lines and words of a picture, in the order in which they cover each other.
#[derive(Default)]
struct Picture {
    arrows: String,
    bars: String,
    words: String,
}

impl Picture {
    fn bar(&mut self, class: &str, lane: i64, from: i64, until: i64, label: &str) {
        let (left, right, top) = (x(from), x(until), y(lane) - BAR / 2);
        let width = right - left;
        let _ = writeln!(
            self.bars,
            r#"<rect class="{class}" x="{left}" y="{top}" width="{width}" height="{BAR}"/>"#
        );
        self.text("middle", (left + right) / 2, y(lane) + 5, label);
    }

    fn arrow(&mut self, class: &str, (from, sent): (i64, i64), (to, heard): (i64, i64)) {
        let side = (to - from).signum() * BAR / 2;
        let (from_y, to_y) = (y(from) + side, y(to) - side);
        let _ = writeln!(
            self.arrows,
            r#"<line class="{class}" x1="{}" y1="{from_y}" x2="{}" y2="{to_y}"/>"#,
            x(sent),
            x(heard)
        );
    }

    /// A message that reaches nobody.
    fn lost(&mut self, lane: i64, sent: i64) {
        let (left, top) = (x(sent), y(lane) + BAR / 2);
        let _ = writeln!(
            self.arrows,
            r#"<line class="lost" x1="{left}" y1="{top}" x2="{}" y2="{}"/>"#,
            left + 4,
            top + 16
        );
        self.text("middle", left + 6, top + 28, "×");
    }

    /// An instant, across all lanes.
    fn moment(&mut self, at: i64, label: &str) {
        let (top, bottom) = (TOP - 50, y(C) + BAR);
        let _ = writeln!(
            self.arrows,
            r#"<line class="moment" x1="{0}" y1="{top}" x2="{0}" y2="{bottom}"/>"#,
            x(at)
        );
        self.text("middle", x(at), top - 20, label);
        self.text("middle", x(at), top - 5, &format!("{at} ms"));
    }

    /// A length of time: above the first lane, below another.
    fn span(&mut self, lane: i64, from: i64, until: i64, label: &str) {
        let (line_y, label_y) =
            if lane == A { (y(A) - 22, y(A) - 27) } else { (y(lane) + 26, y(lane) + 42) };
        let _ = writeln!(
            self.arrows,
            r#"<line class="span" x1="{}" y1="{line_y}" x2="{}" y2="{line_y}"/>"#,
            x(from),
            x(until)
        );
        self.text("middle", (x(from) + x(until)) / 2, label_y, label);
    }

    fn text(&mut self, anchor: &str, left: i64, base: i64, words: &str) {
        let _ = writeln!(
            self.words,
            r#"<text x="{left}" y="{base}" text-anchor="{anchor}">{words}</text>"#
        );
    }

    fn finish(mut self) -> String {
        for (lane, name) in [(A, "a"), (B, "b"), (C, "c")] {
            self.text("middle", LEFT / 2, y(lane) + 5, name);
        }
        let Self { arrows, bars, words } = self;
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="13">
<!-- Made by `cargo xtask pictures`. -->
<style>
text {{ font-family: sans-serif; fill: #1b1b1b }}
.lease {{ fill: #8fd19e }} .bound {{ fill: #a9c9ee }} .asks {{ fill: #f3d38a }}
.early {{ fill: #6ea4e0 }}
.message {{ stroke: #777; marker-end: url(#tip) }}
.lost {{ stroke: #c1121f }} .moment {{ stroke: #555; stroke-dasharray: 4 3 }}
.span {{ stroke: #1b1b1b; marker-start: url(#end); marker-end: url(#end) }}
</style>
<marker id="tip" markerWidth="6" markerHeight="6" refX="5" refY="3" orient="auto">
<path d="M0 0 6 3 0 6z" fill="#777"/></marker>
<marker id="end" markerWidth="2" markerHeight="8" refX="1" refY="4" orient="auto">
<path d="M1 0V8" stroke="#1b1b1b"/></marker>
<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>
{arrows}{bars}{words}</svg>
"##
        )
    }
}

/// Where an instant is: a millisecond is three quarters of a pixel.
fn x(millis: i64) -> i64 {
    LEFT + millis * 3 / 4
}

/// Where the middle of a lane is.
fn y(lane: i64) -> i64 {
    TOP + lane * LANE + BAR / 2
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn to_step(millis: i64) -> usize {
    usize::try_from(millis).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pictures_are_current() {
        let committed = std::fs::read_to_string(root().unwrap().join(LEASE)).unwrap();
        assert!(committed == lease(), "run `cargo xtask pictures`");
    }
}
