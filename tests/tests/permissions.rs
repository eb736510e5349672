//! The permissions of `docs/deploy/nats`, on a real server that reads those very files: who may
//! speak in whose name, watch and operate (protocol, section 3; O1).

use std::fs;
use std::path::{Path, PathBuf};

use async_nats::{Client, ConnectOptions, Event};
use graft_election::proto::Kind;
use graft_election::{
    ClusterInfo, Config, Connection, MemoryVotes, Mode, NatsTransport, Node, Observer, Operator,
    OperatorError, VoteRecord, VoteStore, VoterList,
};
use graft_election_tests::cluster::{PATIENCE, faults_of, id, wait_for_agreement, wait_until};
use graft_election_tests::nats_server::NatsServer;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/deploy/nats");

/// Once all voters run in Extended mode.
const EXTENDED: &str = "extended.conf";

/// While some are Go nodes, or run in Graft mode.
const WITH_GO: &str = "with-go.conf";

/// The cluster and its voters, as the files name them.
const CLUSTER: &str = "billing";
const VOTERS: [&str; 3] = ["a", "b", "c"];

/// What begins no message, so that every node ignores it (protocol, section 3).
const TRIAL: &[u8] = &[7];

/// Where nobody may publish or subscribe: what the server says of it comes after all else.
const NOWHERE: &str = "nowhere";

/// A server that permits what the file says.
fn start_server(file: &str) -> NatsServer {
    let directory = tempfile::tempdir().unwrap();
    NatsServer::start_with(&write_configuration(directory.path(), file))
}

/// Puts the file and what it includes where the server reads it. A user's password is its name.
fn write_configuration(directory: &Path, file: &str) -> PathBuf {
    let template = fs::read_to_string(Path::new(FOLDER).join(file)).unwrap();
    let named = |user: &&str| template.contains(&format!("user: {user},"));
    let users = VOTERS.into_iter().chain(["go", "observer", "operator"]).filter(named);
    let passwords: String =
        users.map(|user| format!("PASSWORD_OF_{}: \"{user}\"\n", user.to_uppercase())).collect();
    fs::write(directory.join("passwords.conf"), passwords).unwrap();
    let config = directory.join("server.conf");
    fs::write(&config, template).unwrap();
    config
}

async fn transport_of(server: &NatsServer, user: &str) -> NatsTransport {
    let url = server.url().replace("nats://", &format!("nats://{user}:{user}@"));
    NatsTransport::connect(url).await.unwrap()
}

/// All voters, each with its own login and in its mode.
async fn start_voters(server: &NatsServer, modes: [Mode; 3]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (name, mode) in VOTERS.into_iter().zip(modes) {
        let mut votes = MemoryVotes::new();
        votes
            .save(&id(name), &VoteRecord::first(VoterList::declared(&VOTERS.map(id)).unwrap()))
            .unwrap();
        let node = Node::builder(ClusterInfo::new(CLUSTER, VOTERS.len())).id(id(name)).mode(mode);
        let node = node.voters(VOTERS.map(id)).start(transport_of(server, name).await, votes);
        nodes.push(node.await.unwrap());
    }
    nodes
}

async fn agreed_leader(nodes: &[Node]) -> usize {
    wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await
}

/// Somebody with a user's login, who tries what it permits.
struct Trier {
    client: Client,
    errors: UnboundedReceiver<String>,
}

impl Trier {
    async fn connect(server: &NatsServer, user: &str) -> Self {
        let (sender, errors) = unbounded_channel();
        let options = ConnectOptions::with_user_and_password(user.to_owned(), user.to_owned());
        let options = options.event_callback(move |event| {
            if let Event::ServerError(error) = event {
                let _ = sender.send(error.to_string());
            }
            std::future::ready(())
        });
        Self { client: options.connect(server.url()).await.unwrap(), errors }
    }

    async fn may_publish(&mut self, subject: &str) -> bool {
        for subject in [subject, NOWHERE] {
            self.client.publish(subject.to_owned(), TRIAL.into()).await.unwrap();
        }
        self.is_permitted("Publish", subject).await
    }

    async fn may_subscribe(&mut self, subject: &str) -> bool {
        let mut subscriptions = Vec::new();
        for subject in [subject, NOWHERE] {
            subscriptions.push(self.client.subscribe(subject.to_owned()).await.unwrap());
        }
        self.is_permitted("Subscription", subject).await
    }

    /// Whether the server refuses what comes after the subject, and not the subject.
    async fn is_permitted(&mut self, what: &str, subject: &str) -> bool {
        let refusal = |subject| format!("Permissions Violation for {what} to \"{subject}\"");
        let mut is_permitted = true;
        loop {
            let error = timeout(PATIENCE, self.errors.recv()).await.unwrap().unwrap();
            if error.contains(&refusal(NOWHERE)) {
                return is_permitted;
            }
            assert!(error.contains(&refusal(subject)), "{error}");
            is_permitted = false;
        }
    }
}

/// All subjects of the cluster that name `sender`.
fn subjects_of(sender: &str) -> Vec<String> {
    let of = |kind: Kind| {
        let to_everyone = format!("graft.{CLUSTER}.{kind}.{sender}");
        let to_one = VOTERS.map(|receiver| format!("{to_everyone}.{receiver}"));
        [to_everyone].into_iter().chain(to_one)
    };
    Kind::ALL.into_iter().flat_map(of).collect()
}

/// The Go original's subjects, which name no sender.
fn subjects_of_go() -> Vec<String> {
    let to_everyone = ["vote_request", "heartbeat"].map(|kind| format!("graft.{CLUSTER}.{kind}"));
    let to_one =
        |name| ["vote_response", "heartbeat_response"].map(|k| format!("graft.{name}.{k}"));
    to_everyone.into_iter().chain(VOTERS.into_iter().flat_map(to_one)).collect()
}

#[tokio::test]
async fn with_the_permissions_of_the_template_voters_elect_in_each_mode_that_it_is_for() {
    use Mode::{Extended, Graft};
    for (file, modes) in [
        (EXTENDED, [Extended; 3]),
        (WITH_GO, [Extended; 3]),
        (WITH_GO, [Graft; 3]),
        (WITH_GO, [Extended, Graft, Graft]),
        (WITH_GO, [Graft, Extended, Extended]),
    ] {
        let server = start_server(file);
        let mut nodes = start_voters(&server, modes).await;
        let mut events: Vec<_> = nodes.iter().map(Node::events).collect();
        let leader = agreed_leader(&nodes).await;
        nodes.remove(leader).close().await;
        agreed_leader(&nodes).await;
        for events in &mut events {
            assert_eq!(faults_of(events), [""; 0], "{file}, {modes:?}");
        }
    }
}

/// The last step of moving from Go to Extended mode.
#[tokio::test]
async fn shutting_gos_subjects_ends_no_lease_in_extended_mode_and_is_no_fault() {
    let directory = tempfile::tempdir().unwrap();
    let server = NatsServer::start_with(&write_configuration(directory.path(), WITH_GO));
    let nodes = start_voters(&server, [Mode::Extended; 3]).await;
    let leader = agreed_leader(&nodes).await;
    let lease = nodes[leader].wait_for_leadership().await.unwrap();
    let mut events: Vec<_> = nodes.iter().map(Node::events).collect();
    let mut voter = Trier::connect(&server, "a").await;
    let of_go = format!("graft.{CLUSTER}.heartbeat");
    assert!(voter.may_publish(&of_go).await);

    write_configuration(directory.path(), EXTENDED);
    server.reload();
    let shut = async { while voter.may_publish(&of_go).await {} };
    timeout(PATIENCE, shut).await.unwrap();
    tokio::time::sleep(2 * Config::ELECTION_TIMEOUT_MAX).await;
    assert!(lease.is_valid());
    for events in &mut events {
        assert_eq!(faults_of(events), [""; 0]);
    }
}

/// The template without Go's subjects is for Extended mode alone.
#[tokio::test]
async fn a_node_in_graft_mode_does_not_start_where_gos_subjects_are_shut() {
    let server = start_server(EXTENDED);
    let transport = transport_of(&server, "a").await;
    let node = Node::builder(ClusterInfo::new(CLUSTER, 3)).id(id("a")).mode(Mode::Graft);
    let refused = node.start(transport, MemoryVotes::new()).await.unwrap_err();
    let told = graft_election::ErrorChain(&refused).to_string();
    assert!(told.contains("Permissions Violation for"), "{told}");
    assert!(told.contains("graft.billing."), "{told}");
}

#[tokio::test]
async fn n3_each_voter_speaks_in_its_own_name_and_on_gos_subjects_only_where_they_are_open() {
    for (file, speaks_as_go) in [(EXTENDED, false), (WITH_GO, true)] {
        let server = start_server(file);
        for user in VOTERS {
            let mut voter = Trier::connect(&server, user).await;
            for sender in VOTERS {
                for subject in subjects_of(sender) {
                    let is_own = sender == user;
                    assert_eq!(voter.may_publish(&subject).await, is_own, "{user}: {subject}");
                }
            }
            for subject in subjects_of_go() {
                assert_eq!(voter.may_publish(&subject).await, speaks_as_go, "{user}: {subject}");
            }
            for other in VOTERS {
                for kind in ["vote_response", "heartbeat_response"] {
                    let subject = format!("graft.{other}.{kind}");
                    let may = speaks_as_go && other == user;
                    assert_eq!(voter.may_subscribe(&subject).await, may, "{user}: {subject}");
                }
            }
        }
    }
}

#[tokio::test]
async fn whoever_is_permitted_sees_the_cluster_and_an_observer_may_say_nothing() {
    for file in [EXTENDED, WITH_GO] {
        let server = start_server(file);
        let nodes = start_voters(&server, [Mode::Extended; 3]).await;
        let leader = nodes[agreed_leader(&nodes).await].id();
        let sees = |observer: &Observer<_>| {
            let view = observer.view();
            view.nodes.len() == 3 && view.leader.is_some_and(|seen| seen.id == leader)
        };
        for user in ["observer", "operator", "b"] {
            let transport = transport_of(&server, user).await;
            let mut observer = Observer::connect(transport, CLUSTER).await.unwrap();
            while !sees(&observer) {
                timeout(PATIENCE, observer.next()).await.unwrap();
            }
        }

        let mut observer = Trier::connect(&server, "observer").await;
        for subject in VOTERS.into_iter().flat_map(subjects_of) {
            assert!(!observer.may_publish(&subject).await, "{subject}");
        }
        for subject in subjects_of_go() {
            assert!(!observer.may_publish(&subject).await, "{subject}");
        }
    }
}

#[tokio::test]
async fn o1_an_operator_hands_over_and_pauses_and_may_say_nothing_else() {
    for file in [EXTENDED, WITH_GO] {
        let server = start_server(file);
        let nodes = start_voters(&server, [Mode::Extended; 3]).await;
        let leader = agreed_leader(&nodes).await;
        let target = &nodes[(leader + 1) % 3];
        nodes[leader].wait_for_leadership().await.unwrap();
        let transport = transport_of(&server, "operator").await;
        let operator = Operator::connect(transport, CLUSTER).await.unwrap();
        let mut operator = operator.patience(PATIENCE);
        let handed_over = operator.hand_over(Some(&target.id())).await.unwrap();
        assert_eq!(handed_over.to, Some(target.id()));
        operator.pause(&target.id()).await.unwrap();
        wait_until(target, |status| status.is_paused).await;
        operator.resume(&target.id()).await.unwrap();
        wait_until(target, |status| !status.is_paused).await;

        let mut operator = Trier::connect(&server, "operator").await;
        for sender in VOTERS {
            let request = format!("graft.{CLUSTER}.control_request.{sender}");
            for subject in subjects_of(sender) {
                assert_eq!(operator.may_publish(&subject).await, subject == request, "{subject}");
            }
        }
        for subject in subjects_of_go() {
            assert!(!operator.may_publish(&subject).await, "{subject}");
        }
    }
}

/// A voter has itself as its operator, and nobody else.
#[tokio::test]
async fn o1_a_voter_can_not_operate_another() {
    for file in [EXTENDED, WITH_GO] {
        let server = start_server(file);
        let nodes = start_voters(&server, [Mode::Extended; 3]).await;
        agreed_leader(&nodes).await;
        let transport = transport_of(&server, "a").await;
        let operator = Operator::connect(transport, CLUSTER).await.unwrap();
        let mut operator = operator.patience(2 * Config::HEARTBEAT_INTERVAL);
        // A busy server may take longer to say what it refuses.
        let complaint = loop {
            match operator.pause(&id("b")).await.unwrap_err() {
                OperatorError::Connection(Connection::Partial(complaint)) => break complaint,
                OperatorError::NoAnswer { .. } => {}
                other => panic!("{other}"),
            }
        };
        let subject = format!("\"graft.{CLUSTER}.control_request.b\"");
        assert!(complaint.contains(&subject), "{complaint}");
        assert!(nodes.iter().all(|node| !node.status().is_paused));
    }
}

/// Go nodes have a login of their own, which opens none of our subjects.
#[tokio::test]
async fn a_go_node_speaks_and_hears_on_gos_subjects_alone() {
    let server = start_server(WITH_GO);
    let mut go = Trier::connect(&server, "go").await;
    for subject in subjects_of_go() {
        assert!(go.may_publish(&subject).await, "{subject}");
        assert!(go.may_subscribe(&subject).await, "{subject}");
    }
    for subject in VOTERS.into_iter().flat_map(subjects_of) {
        assert!(!go.may_publish(&subject).await, "{subject}");
    }
}
