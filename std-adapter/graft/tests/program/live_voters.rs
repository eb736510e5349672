//! `graft run --join` and `graft voters show`, `add`, `remove` and `replace`: voters come and go
//! while the cluster runs (rules R1 to R12).

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::nats_server::NatsServer;
use crate::process::{Program, graft, text};

const LOCAL: [&str; 2] = ["--local", "d"];

/// A cluster of declared voters, and those that joined it.
struct Voters<'m> {
    directory: tempfile::TempDir,
    medium: Vec<&'m str>,
}

impl<'m> Voters<'m> {
    fn new(medium: &[&'m str]) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), medium: medium.to_vec() }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn start(&self, id: &str, more: &[&str]) -> Program {
        let vote_file = format!("{id}.vote");
        let node = ["run", "--json", "--cluster", "jobs", "--id", id, "--vote-file", &vote_file];
        Program::start(self.path(), &[&node[..], &self.medium, more].concat())
    }

    /// A node that is on the list a, b, c from the beginning.
    fn start_declared(&self, id: &str, more: &[&str]) -> Program {
        let vote_file = format!("{id}.vote");
        let first = ["voters", &vote_file, "--init", "--id", id, "--set", "a,b,c"];
        assert!(graft(self.path(), &first).status.success());
        self.start(id, &[&["--size", "3", "--voters", "a,b,c"], more].concat())
    }

    fn start_all(&self, more: &[&str]) -> Vec<Program> {
        let mut nodes: Vec<_> = ["a", "b", "c"].map(|id| self.start_declared(id, more)).into();
        for node in &mut nodes {
            node.wait_for_leader();
        }
        nodes
    }

    fn voters(&self, words: &[&str]) -> Output {
        graft(self.path(), &[&["voters"], words, &self.medium].concat())
    }

    /// Who votes, as the leader says, and who leads.
    fn shown(&self) -> (Vec<String>, String) {
        let output = self.voters(&["show", "jobs"]);
        assert!(output.status.success(), "{output:?}");
        let shown = text(&output.stdout);
        let line = |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let mut voters: Vec<_> = line("voters  ").split(' ').map(str::to_owned).collect();
        voters.sort();
        (voters, line("leader  ").split(' ').next().unwrap().to_owned())
    }
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

#[track_caller]
fn fails(output: &Output, told: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains(told), "{output:?}");
}

#[test]
fn r7_a_machine_is_replaced_while_the_cluster_runs() {
    let server = NatsServer::start();
    let nats = ["--nats", &server.url()];
    for medium in [&LOCAL[..], &nats] {
        let cluster = Voters::new(medium);
        let mut nodes = cluster.start_all(&["--allow-changes"]);
        assert_eq!(cluster.shown().0, ["a", "b", "c"]);
        let early = cluster.voters(&["add", "jobs", "d", "--timeout", "1s"]);
        fails(&early, "is d running with --join, and the cluster's name?");

        let join = ["--join", "--allow-changes"];
        let mut joined = ["d", "e"].map(|id| cluster.start(id, &join));
        for node in &mut joined {
            node.wait_for_leader();
        }
        let added = cluster.voters(&["add", "jobs", "d"]);
        succeeds(&added);
        assert_eq!(text(&added.stdout), "d is a voter of jobs\n");
        // Once more changes nothing.
        succeeds(&cluster.voters(&["add", "jobs", "d"]));
        assert_eq!(cluster.shown().0, ["a", "b", "c", "d"]);

        // The machine of c is gone for good.
        nodes.pop().unwrap().kill();
        succeeds(&cluster.voters(&["remove", "jobs", "c"]));
        // Whoever leads goes last, and hands over.
        let (_, leader) = cluster.shown();
        succeeds(&cluster.voters(&["replace", "jobs", &leader, "e"]));
        let (voters, leads_now) = cluster.shown();
        assert!(!voters.contains(&leader) && leads_now != leader, "{voters:?}");
        assert!(voters.contains(&"e".to_owned()) && voters.len() == 3, "{voters:?}");

        // A voter that was added comes back with its record, and goes on joining.
        let [mut d, _e] = joined;
        d.terminate();
        assert!(d.wait().success());
        let mut again = cluster.start("d", &join);
        again.wait_for_leader();
        assert_eq!(cluster.shown().0, voters);
    }
}

#[test]
fn o4_nobody_changes_voters_that_do_not_allow_it() {
    let cluster = Voters::new(&LOCAL);
    let _nodes = cluster.start_all(&[]);
    fails(&cluster.voters(&["remove", "jobs", "c"]), "refuses what operators ask");
    assert_eq!(cluster.shown().0, ["a", "b", "c"]);
}

#[test]
fn r7_a_list_that_somebody_else_has_changed_is_left_alone() {
    let cluster = Voters::new(&LOCAL);
    let _nodes = cluster.start_all(&["--allow-changes"]);
    let other = cluster.voters(&["remove", "jobs", "c", "--if", "7.2"]);
    fails(&other, "the list of voters is another, or there is none: see graft voters show");
    let wrong = cluster.voters(&["remove", "jobs", "c", "--if", "7"]);
    assert_eq!(wrong.status.code(), Some(64), "{wrong:?}");
    assert!(text(&wrong.stderr).contains("TERM.VERSION"), "{wrong:?}");
}

/// V6: where too many voters are lost, nobody can change anything while the rest runs.
#[test]
fn v6_a_quorum_that_is_lost_after_changes_is_made_up_for_by_hand() {
    let cluster = Voters::new(&LOCAL);
    let mut nodes = cluster.start_all(&["--allow-changes"]);
    let mut d = cluster.start("d", &["--join", "--allow-changes"]);
    d.wait_for_leader();
    succeeds(&cluster.voters(&["add", "jobs", "d"]));
    // All but a and d are gone for good.
    for node in nodes.iter_mut().skip(1) {
        node.kill();
    }
    nodes[0].terminate();
    assert!(nodes[0].wait().success());
    d.terminate();
    assert!(d.wait().success());

    let files = ["voters", "a.vote", "d.vote", "--set", "a,d", "--yes"];
    let wrong = graft(cluster.path(), &[&files[..], &["--from", "a,b,c"]].concat());
    fails(&wrong, "which is not that of --from");
    succeeds(&graft(cluster.path(), &[&files[..], &["--from", "a,b,c,d"]].concat()));
    let mut a = cluster.start("a", &["--size", "2", "--voters", "a,d"]);
    let mut d = cluster.start("d", &["--join"]);
    a.wait_for_leader();
    d.wait_for_leader();
    assert_eq!(cluster.shown().0, ["a", "d"]);
}

/// R12: a voter without its record could vote twice in one term.
#[test]
fn r12_an_added_voter_that_lost_its_record_takes_no_part() {
    let cluster = Voters::new(&LOCAL);
    let _nodes = cluster.start_all(&["--allow-changes"]);
    let mut d = cluster.start("d", &["--join"]);
    d.wait_for_leader();
    succeeds(&cluster.voters(&["add", "jobs", "d"]));
    d.terminate();
    assert!(d.wait().success());
    fs::remove_file(cluster.path().join("d.vote")).unwrap();
    let mut again = cluster.start("d", &["--join"]);
    again.wait_for(|line| line.is("error", &[("reason", "record_lost")]));
}

#[test]
fn r1_a_node_that_joins_declares_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for more in [&["--size", "3"][..], &["--voters", "a,b"]] {
        let node = ["run", "--cluster", "jobs", "--local", "d", "--join"];
        let output = graft(directory.path(), &[&node[..], more].concat());
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        assert!(text(&output.stderr).contains("--join"), "{output:?}");
    }
}
