//! What a configuration must look like, and how an error says what is wrong with it.

use std::time::Duration;

use graft_election_core::{Config, ConfigError, NodeId, VoterListError};

use crate::common::*;

const CAPACITY: usize = 7;

fn check(config: Config<'_>) -> Result<(), ConfigError> {
    config.check(CAPACITY)
}

fn named(cluster: &str) -> Result<(), ConfigError> {
    check(Config::new(cluster, 3))
}

#[test]
fn the_defaults_are_those_of_the_go_original() {
    let config = Config::new("health", 3);
    assert_eq!(config.election_timeout_min, Duration::from_millis(500));
    assert_eq!(config.election_timeout_max, Duration::from_millis(1_000));
    assert_eq!(config.heartbeat_interval, Duration::from_millis(100));
    assert!(config.voters.is_empty());
    assert_eq!(check(config), Ok(()));
}

#[test]
fn a_cluster_name_is_one_or_more_subject_tokens() {
    let longest = "n".repeat(Config::CLUSTER_CAPACITY);
    for name in ["c", "health", "eu.north-1.health_2", "~!", longest.as_str()] {
        assert_eq!(named(name), Ok(()), "{name:?}");
    }
    assert_eq!(named(""), Err(ConfigError::ClusterEmpty));
    let too_long = "n".repeat(129);
    assert_eq!(named(&too_long), Err(ConfigError::ClusterTooLong { bytes: 129 }));
    for name in [".", ".a", "a.", "a..b", "a b", "*", "a.>", "a\t", "\u{e9}", "\0"] {
        assert_eq!(named(name), Err(ConfigError::ClusterInvalid), "{name:?}");
    }
}

#[test]
fn a_size_is_at_least_1_and_fits_the_node() {
    let sized = |size| check(Config::new("test", size));
    assert_eq!(sized(0), Err(ConfigError::SizeZero));
    assert_eq!(sized(1), Ok(()));
    assert_eq!(sized(CAPACITY), Ok(()));
    assert_eq!(sized(8), Err(ConfigError::SizeAboveCapacity { size: 8, capacity: CAPACITY }));
    let too_large = Voter::try_start("a", &Config::new("test", 8), VoteRecord::default());
    assert_eq!(too_large.err(), Some(ConfigError::SizeAboveCapacity { size: 8, capacity: 7 }));
}

#[test]
fn g18_a_size_of_minus_one_is_no_size() {
    // A Go program's -1, reinterpreted, is far beyond any capacity.
    let size = usize::MAX;
    assert_eq!(
        check(Config::new("test", size)),
        Err(ConfigError::SizeAboveCapacity { size, capacity: CAPACITY })
    );
}

#[test]
fn a_declared_list_names_every_voter_once() {
    let ids = |names: &[&str]| names.iter().map(|name| node_id(name)).collect::<Vec<NodeId>>();
    let declared = |names| check(Config { voters: &ids(names), ..Config::new("test", 3) });
    assert_eq!(declared(&["a", "b", "c"]), Ok(()));
    let not_size = |declared| Err(ConfigError::VotersNotSize { declared, size: 3 });
    assert_eq!(declared(&["a", "b"]), not_size(2));
    assert_eq!(declared(&["a", "b", "c", "d"]), not_size(4));
    let repeated =
        |voter| Err(ConfigError::Voters(VoterListError::Repeated { voter: node_id(voter) }));
    assert_eq!(declared(&["a", "b", "a"]), repeated("a"));
    assert_eq!(declared(&["a", "b", "b"]), repeated("b"));
    assert_eq!(declared(&["a", "b", "c", "c"]), repeated("c"));
}

#[test]
fn a_node_must_be_among_the_declared_voters() {
    let voters = ["a", "b", "c"].map(node_id);
    let config = Config { voters: &voters, ..Config::new("test", 3) };
    let start = |id| Voter::try_start(id, &config, VoteRecord::first(list(&voters))).err();
    assert_eq!(start("c"), None);
    assert_eq!(start("d"), Some(ConfigError::OwnIdMissing));
}

#[test]
fn the_least_election_timeout_is_below_the_greatest() {
    let range = |min, max| {
        check(Config {
            election_timeout_min: min,
            election_timeout_max: max,
            ..Config::new("test", 3)
        })
    };
    assert_eq!(range(T_MIN, T_MIN + Duration::from_nanos(1)), Ok(()));
    assert_eq!(range(T_MIN, T_MIN), Err(ConfigError::ElectionTimeoutRange));
    assert_eq!(range(T_MAX, T_MIN), Err(ConfigError::ElectionTimeoutRange));
}

#[test]
fn no_time_is_longer_than_time_max() {
    let longest = Config { election_timeout_max: Config::TIME_MAX, ..Config::new("test", 3) };
    assert_eq!(check(longest), Ok(()));
    let election_timeout_max = Config::TIME_MAX + TICK;
    let slow_election = Config { election_timeout_max, ..longest };
    assert_eq!(check(slow_election), Err(ConfigError::TimeTooLong));
}

#[test]
fn the_longest_times_are_kept_to_the_microsecond() {
    let config = Config {
        election_timeout_min: Config::TIME_MAX - TICK,
        election_timeout_max: Config::TIME_MAX,
        ..Config::new("test", 3)
    };
    let mut a = Voter::start("a", &config, record(1, None));
    a.settles(Config::TIME_MAX - TICK);
    a.hears(heartbeat("l", 1)).expect_silence();
    assert_eq!(a.timeout(), Config::TIME_MAX - TICK);
}

#[test]
fn heartbeats_come_at_least_twice_in_an_election_timeout() {
    let every = |heartbeat_interval| check(Config { heartbeat_interval, ..Config::new("test", 3) });
    assert_eq!(every(Duration::ZERO), Err(ConfigError::HeartbeatZero));
    assert_eq!(every(TICK), Err(ConfigError::HeartbeatZero));
    assert_eq!(every(TICK * 2), Ok(()));
    assert_eq!(every(T_MIN / 2), Ok(()));
    assert_eq!(every(T_MIN / 2 + TICK), Err(ConfigError::HeartbeatTooSlow));
    assert_eq!(every(Duration::MAX), Err(ConfigError::HeartbeatTooSlow));
}

#[test]
fn the_first_broken_rule_is_named() {
    let config = Config {
        cluster: "",
        size: 0,
        heartbeat_interval: Duration::ZERO,
        ..Config::new("test", 3)
    };
    assert_eq!(check(config), Err(ConfigError::ClusterEmpty));
    let config = Config { size: 0, heartbeat_interval: Duration::ZERO, ..Config::new("test", 3) };
    assert_eq!(check(config), Err(ConfigError::SizeZero));
}

#[test]
fn errors_say_what_must_be() {
    let texts = [
        (ConfigError::ClusterEmpty, "the cluster name must not be empty"),
        (
            ConfigError::ClusterTooLong { bytes: 129 },
            "the cluster name has at most 128 bytes, not 129",
        ),
        (
            ConfigError::ClusterInvalid,
            "the cluster name must be printable ASCII tokens joined by '.', \
             without spaces, '*' or '>'",
        ),
        (ConfigError::SizeZero, "the cluster size must not be 0"),
        (
            ConfigError::SizeAboveCapacity { size: 9, capacity: 7 },
            "the cluster size is 9, but there is room for 7 voters",
        ),
        (
            ConfigError::VotersNotSize { declared: 2, size: 3 },
            "2 voters are declared for a cluster size of 3",
        ),
        (
            ConfigError::Voters(VoterListError::Repeated { voter: node_id("b") }),
            "voter b is declared twice",
        ),
        (
            ConfigError::ElectionTimeoutRange,
            "the least election timeout must be below the greatest",
        ),
        (ConfigError::TimeTooLong, "election timeouts must not exceed 4294 seconds"),
        (ConfigError::HeartbeatZero, "the heartbeat interval must be at least 2 microseconds"),
        (
            ConfigError::HeartbeatTooSlow,
            "the heartbeat interval must be at most half the least election timeout",
        ),
        (ConfigError::OwnIdMissing, "the node's own id is missing from the declared voters"),
        (
            ConfigError::TermOutOfRange { term: 1 << 63 },
            "the stored term 9223372036854775808 is out of range",
        ),
    ];
    for (error, text) in texts {
        assert_eq!(error.to_string(), text);
    }
}
