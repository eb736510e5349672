//! Draws what happens in a world: a lane for each node, a column for each step.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use graft_election_core::{Message, State};

use crate::{Condition, Event, Moment, Setup, Step, World};

const LEFT: usize = 70;
const TOP: usize = 60;
const COLUMN: usize = 48;
const LANE: usize = 90;
const BAR: usize = 22;
const FOOT: usize = 230;

const LEGEND: [(&str, &str); 4] = [
    ("#a8c5da", "follower"),
    ("#f4a261", "candidate"),
    ("#52b788", "leader"),
    ("#d9d9d9", "paused"),
];

const MARKERS: &str = "<defs>\
<marker id='head' viewBox='0 0 8 8' refX='8' refY='4' markerWidth='7' markerHeight='7' \
orient='auto'>\
<path d='M0 0L8 4L0 8z' fill='#444444'/></marker>\
<marker id='lost' viewBox='0 0 8 8' refX='4' refY='4' markerWidth='7' markerHeight='7'>\
<path d='M1 1L7 7M7 1L1 7' stroke='#c1121f' stroke-width='2'/></marker></defs>";

/// Draws what comes of the steps, as an SVG image. A step that can't happen is left out.
pub fn draw(setup: &Setup, steps: &[Step]) -> String {
    let mut drawing = Drawing { lanes: setup.nodes.len(), ..Drawing::default() };
    let mut world = World::new(setup.clone(), &mut ());
    let mut elapsed = Duration::ZERO;
    for step in steps {
        // Time passes between two columns, and needs no column of its own.
        if let Step::Advance(span) = step {
            elapsed += *span;
        }
        let heard = drawing.taken(&world, step);
        let before = world.now();
        let applied = world.apply(step, &mut |event: Event<'_>| drawing.mark(&event));
        if applied.is_err() || matches!(step, Step::Advance(_)) {
            continue;
        }
        elapsed += world.now().since(before);
        drawing.end_column(&mut world, step, heard, elapsed);
        elapsed = Duration::ZERO;
    }
    drawing.finish(&world)
}

#[derive(Default)]
struct Drawing {
    lanes: usize,
    columns: usize,
    /// Bars first, arrows and words above them.
    bars: String,
    arrows: String,
    words: String,
    /// Where each message in flight was sent.
    sent: BTreeMap<u64, Sent>,
    terms: BTreeMap<usize, u64>,
    broken: Option<String>,
}

struct Sent {
    column: usize,
    from: usize,
    to: usize,
    label: String,
    colour: &'static str,
}

impl Drawing {
    /// The message that the step takes from the network.
    fn taken(&self, world: &World, step: &Step) -> Option<u64> {
        let (Step::Deliver(pick) | Step::Drop(pick)) = step else { return None };
        let network = world.network();
        let key = *network.link(pick.from?, pick.to?).get(pick.older)?;
        network.flight(key).map(|flight| flight.number)
    }

    fn mark(&mut self, event: &Event<'_>) {
        let mark = match event {
            Event::Saved(node) => Some((node, "\u{25cf}", "#2d6a4f")),
            Event::SaveFailed(node) => Some((node, "\u{25cf}", "#c1121f")),
            Event::Crashed(node, _) => Some((node, "crash", "#c1121f")),
            Event::Ended(node) => Some((node, "closed", "#555555")),
            Event::Violated(violation) => {
                self.broken = Some(violation.to_string());
                None
            }
            _ => None,
        };
        if let Some((node, what, colour)) = mark {
            let (x, y) = (centre(self.columns), lane(node.get()) + BAR + 12);
            self.word(x, y, "middle", colour, what);
        }
    }

    fn end_column(&mut self, world: &mut World, step: &Step, taken: Option<u64>, span: Duration) {
        for node in world.nodes() {
            let colour = match (world.condition(node), world.view(node)) {
                (_, None) => None,
                (Condition::Paused, _) => Some("#d9d9d9"),
                (_, Some((State::Leader, ..))) => Some("#52b788"),
                (_, Some((State::Candidate, ..))) => Some("#f4a261"),
                (_, Some(_)) => Some("#a8c5da"),
            };
            let (x, y) = (LEFT + self.columns * COLUMN, lane(node.get()));
            if let Some(colour) = colour {
                let _ = write!(
                    self.bars,
                    "<rect x='{x}' y='{y}' width='{COLUMN}' height='{BAR}' fill='{colour}'/>"
                );
            }
            let term = world.view(node).map(|(_, term, _)| term);
            if let Some(term) = term
                && self.terms.insert(node.get(), term) != Some(term)
            {
                self.word(x + 3, y + 15, "start", "#000000", &format!("{term}"));
            }
        }
        if let Some(sent) = taken.and_then(|number| self.sent.remove(&number)) {
            let is_lost = matches!(step, Step::Drop(_));
            self.arrow(&sent, self.columns, is_lost);
            let (x, y) = middle(&sent, self.columns);
            self.word(x, y, "middle", sent.colour, &sent.label);
        }
        let mut departures = Vec::new();
        world.take_departures(&mut departures);
        for flight in departures.iter().filter_map(|key| world.network().flight(*key)) {
            let (label, colour) = label(&flight.message);
            let (from, to) = (flight.from.get(), flight.to.get());
            let sent = Sent { column: self.columns, from, to, label, colour };
            self.sent.insert(flight.number, sent);
        }
        self.foot(step, span);
        self.columns += 1;
    }

    fn foot(&mut self, step: &Step, span: Duration) {
        let (x, y) = (centre(self.columns), lane(self.lanes) + 10);
        let text = escape(&step.to_string());
        let _ = write!(
            self.words,
            "<text x='{x}' y='{y}' transform='rotate(60 {x} {y})' fill='#333333'>{text}</text>"
        );
        if span >= Duration::from_millis(1) {
            let time = format!("+{}", span.as_millis());
            self.word(LEFT + self.columns * COLUMN, TOP - 18, "middle", "#777777", &time);
        }
    }

    fn arrow(&mut self, sent: &Sent, column: usize, is_lost: bool) {
        let down = sent.to > sent.from;
        let (x1, y1) = (centre(sent.column), lane(sent.from) + if down { BAR } else { 0 });
        let (x2, y2) = (centre(column), lane(sent.to) + if down { 0 } else { BAR });
        let (dashes, end) =
            if is_lost { ("stroke-dasharray='3 4'", "url(#lost)") } else { ("", "url(#head)") };
        let colour = sent.colour;
        let _ = write!(
            self.arrows,
            "<line x1='{x1}' y1='{y1}' x2='{x2}' y2='{y2}' stroke='{colour}' stroke-width='1.3' \
             {dashes} marker-end='{end}'/>"
        );
    }

    fn word(&mut self, x: usize, y: usize, anchor: &str, colour: &str, text: &str) {
        let text = escape(text);
        let _ = write!(
            self.words,
            "<text x='{x}' y='{y}' text-anchor='{anchor}' fill='{colour}'>{text}</text>"
        );
    }

    fn finish(mut self, world: &World) -> String {
        for node in world.nodes() {
            let name = world.identity(node).to_string();
            self.word(LEFT - 14, lane(node.get()) + 16, "end", "#000000", &name);
        }
        let width = (LEFT + self.columns * COLUMN + 120).max(620);
        let height = lane(self.lanes) + FOOT;
        let broken = self.broken.take().unwrap_or_default();
        let end = Moment::since(world.now(), Moment::default()).as_millis();
        self.word(LEFT, 20, "start", "#c1121f", &broken);
        let mut x = LEFT;
        for (colour, word) in LEGEND {
            let _ = write!(
                self.words,
                "<rect x='{x}' y='{}' width='12' height='12' fill='{colour}'/>",
                height - 22
            );
            self.word(x + 17, height - 12, "start", "#333333", word);
            x += 110;
        }
        let total = format!(
            "bars: terms; above them: ms passed, {end} in all; dots: saves, red if failed; \
                             dashed: lost"
        );
        self.word(x, height - 12, "start", "#333333", &total);
        let width = width.max(x + 520);
        let Self { bars, arrows, words, .. } = self;
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' \
             font-family='sans-serif' font-size='11'>{MARKERS}\
             <rect width='100%' height='100%' fill='#ffffff'/>{bars}{arrows}{words}</svg>\n"
        )
    }
}

/// Where a message's arrow is labelled.
fn middle(sent: &Sent, column: usize) -> (usize, usize) {
    let y = (lane(sent.from) + lane(sent.to) + BAR) / 2;
    ((centre(sent.column) + centre(column)) / 2, y)
}

/// What is written on a message's arrow, and its colour.
fn label(message: &Message) -> (String, &'static str) {
    let (kind, colour) = match message {
        Message::VoteRequest(_) => ("vote?", "#b5651d"),
        Message::VoteResponse(response) if response.granted => ("yes", "#2d6a4f"),
        Message::VoteResponse(_) => ("no", "#9d0208"),
        Message::Heartbeat(_) => ("lead", "#1d3557"),
        Message::HeartbeatResponse(_) => ("ack", "#457b9d"),
        Message::PreVoteRequest(_) => ("pre-vote?", "#b5651d"),
        Message::PreVoteResponse(_) => ("pre-vote", "#2d6a4f"),
        Message::Handover(_) => ("hand over", "#6a4c93"),
        Message::Who(_) => ("who?", "#7f5539"),
        Message::Here(_) => ("here", "#7f5539"),
        Message::ControlRequest(_) => ("operator", "#b56576"),
        Message::ControlResponse(_) => ("answer", "#b56576"),
        Message::ListRequest(_) => ("list?", "#457b9d"),
        Message::ListPart(_) => ("list", "#457b9d"),
    };
    (format!("{kind} {}", message.term()), colour)
}

fn centre(column: usize) -> usize {
    LEFT + column * COLUMN + COLUMN / 2
}

fn lane(node: usize) -> usize {
    TOP + node * LANE
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
