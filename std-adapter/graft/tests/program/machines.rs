//! Three machines, each with a NATS server and a node of its own: the leader's is cut off, rebooted
//! and paused, and nobody is ever told of two leaders.

mod answers;
mod site;

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use serde_json::Value;

use self::answers::{Answer, Answers};
use self::site::{BEATS, CLUSTER, Site};
use crate::process::{Line, PATIENCE, Program, text, wait_until};

/// The machines, and all that is known of who leads.
struct Scene {
    site: Site,
    answers: Answers,
    watch: Program,
    directory: tempfile::TempDir,
}

impl Scene {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let site = Site::start(directory.path());
        let mut answers = Answers::new();
        for (index, machine) in site.machines.iter().enumerate() {
            answers.ask(index, machine);
        }
        let (enter, servers) = (site.words(), Site::servers());
        let watch = ["watch", CLUSTER, "--json", "--nats", &servers];
        let words = [&[&*enter[0], &enter[1], env!("CARGO_BIN_EXE_graft")], &watch[..]].concat();
        let watch = Program::start_words(directory.path(), &words);
        Self { site, answers, watch, directory }
    }

    /// Waits until a machine other than `index` has a lease later than all before, and until that
    /// is seen from outside.
    #[track_caller]
    fn wait_for_other_leader(&mut self, index: usize) {
        let before = self.answers.token();
        let is_new = |token| token > before;
        self.answers.wait_for(|answer| answer.machine != index && answer.token.is_some_and(is_new));
        self.wait_until_watched(before + 1);
    }

    /// Waits until `graft watch` names a leader of this term or a later one.
    #[track_caller]
    fn wait_until_watched(&mut self, term: u64) {
        let is_late = |line: &Line| watched(line).is_some_and(|(seen, _)| seen >= term);
        if !self.watch.lines.iter().any(is_late) {
            self.watch.wait_for(is_late);
        }
    }

    /// Waits until the machine says that another one leads, or leads again itself.
    #[track_caller]
    fn wait_until_it_knows(&mut self, index: usize) {
        let before = self.answers.token();
        self.answers.wait_for(|answer| {
            let follows = answer.follows.as_ref().is_some_and(|leader| *leader != name(index));
            let leads_again = answer.token.is_some_and(|token| token > before);
            answer.machine == index && (follows || leads_again)
        });
    }

    /// Who leads, with a witness at work.
    #[track_caller]
    fn leader(&mut self) -> Answer {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let leader = self.answers.wait_for(|answer| answer.token.is_some());
            if self.beats().iter().any(|(term, _)| leader.token == Some(*term)) {
                return leader;
            }
        }
        panic!("nobody is at work");
    }

    /// The terms and nodes of all that the witnesses wrote, in order.
    fn beats(&self) -> Vec<(u64, String)> {
        // There may be none yet.
        let beats = fs::read_to_string(self.directory.path().join(BEATS)).unwrap_or_default();
        let read = |line: &str| {
            let (term, node) = line.split_once(' ').unwrap();
            (term.parse().unwrap(), node.to_owned())
        };
        beats.lines().map(read).collect()
    }

    /// No two witnesses were at work at once. The kernel puts what they append in one order, so a
    /// line of an older term after one of a newer is a proof. A machine that was `paused` may have
    /// stood still between the witness's last check and its write; which a fencing token is for.
    fn judge_witnesses(&self, paused: u64) {
        let (mut latest, mut nodes) = (0, BTreeMap::new());
        for (term, node) in self.beats() {
            assert_eq!(nodes.entry(term).or_insert_with(|| node.clone()), &node, "in term {term}");
            assert!(term >= latest || term == paused, "{node} works in {term} after {latest}");
            latest = latest.max(term);
        }
        assert!(nodes.len() >= 4, "a witness was at work under each leader: {nodes:?}");
    }

    /// Nor was a second leader of any term seen from outside.
    fn judge_watch(&mut self) {
        self.watch.terminate();
        self.watch.wait();
        let mut leaders = BTreeMap::new();
        for (term, id) in self.watch.lines.iter().filter_map(watched) {
            let first = leaders.entry(term).or_insert_with(|| id.clone());
            assert_eq!(*first, id, "two lead in term {term}");
        }
        assert!(leaders.len() >= 4, "{leaders:?}");
    }

    /// `graft status` names a leader.
    fn judge_status(&self) {
        let (enter, servers) = (self.site.words(), Site::servers());
        let output = std::process::Command::new(&enter[0])
            .args([&*enter[1], env!("CARGO_BIN_EXE_graft"), "status", CLUSTER, "--json"])
            .args(["--nats", &servers])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(status["leader"]["id"].is_string(), "{status}");
    }
}

/// The leader that a line of `graft watch` names, after its term.
fn watched(line: &Line) -> Option<(u64, String)> {
    let Line::Event(object) = line else { return None };
    let leader = &object["seen"]["leader"];
    Some((leader["term"].as_u64()?, leader["id"].as_str()?.to_owned()))
}

fn name(index: usize) -> String {
    format!("m{}", index + 1)
}

/// I1, I4.
#[test]
fn i4_machines_are_cut_off_rebooted_and_paused_and_never_do_two_lead() {
    let mut scene = Scene::start();

    let first = scene.leader();
    scene.wait_until_watched(first.token.unwrap());
    let cut_off = first.machine;
    scene.site.connect(cut_off, false);
    scene.wait_for_other_leader(cut_off);
    scene.site.connect(cut_off, true);
    scene.wait_until_it_knows(cut_off);

    let rebooted = scene.leader().machine;
    scene.site.switch_off(rebooted);
    scene.wait_for_other_leader(rebooted);
    scene.site.switch_on(rebooted);
    scene.answers.ask(rebooted, &scene.site.machines[rebooted]);
    scene.wait_until_it_knows(rebooted);

    let leader = scene.leader();
    let (paused, token) = (leader.machine, leader.token.unwrap());
    scene.site.machines[paused].pause();
    scene.wait_for_other_leader(paused);
    scene.site.machines[paused].resume();
    scene.wait_until_it_knows(paused);
    wait_until(|| !scene.site.machines[paused].has_witness(token));

    scene.leader();
    scene.judge_status();
    scene.judge_witnesses(token);
    scene.judge_watch();
    println!("{} answers told of a lease", scene.answers.judge());
}
