use std::fmt::Write;

use super::*;

/// Recorded by running the Go original; `tests/golden` says how.
const GOLDEN: &str = include_str!("../../../../tests/golden/logs.jsonl");

const NOTHING_UNKNOWN: UnknownKeys = UnknownKeys { data: Vec::new(), envelope: Vec::new() };

struct Golden {
    name: String,
    kind: String,
    file: Vec<u8>,
    /// The term and the vote that Go reads, if it reads the file.
    read: Option<(u64, String)>,
}

fn golden() -> Vec<Golden> {
    let lines = GOLDEN.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let read = &line["readState"];
        Golden {
            name: text(&line["file"]),
            kind: text(&line["kind"]),
            file: unhex(&text(&line["hex"])),
            read: read["ok"].as_bool().unwrap().then(|| {
                let vote = unhex(&text(&read["voteHex"]));
                let term = text(&read["term"]).parse().unwrap();
                (term, String::from_utf8(vote).unwrap())
            }),
        }
    });
    lines.collect()
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2);
    let bytes = digits.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    bytes.collect()
}

/// A file with this data and the right digest.
fn file_of(data: impl AsRef<[u8]>) -> String {
    let sha = BASE64.encode(sha1(&data));
    format!(r#"{{"SHA":"{sha}","Data":"{}"}}"#, BASE64.encode(data))
}

fn decode_data(data: impl AsRef<[u8]>) -> Result<VoteFileContents, Corruption> {
    decode(file_of(data).as_bytes())
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

#[test]
fn files_read_as_in_go() {
    let golden = golden();
    assert!(golden.len() > 100);
    for line in golden {
        let read = decode(&line.file).map(|contents| (contents.term, contents.voted_for));
        assert_eq!(read.ok(), line.read, "{}", line.name);
    }
}

#[test]
fn files_are_written_as_in_go() {
    let mut written = 0;
    for line in golden() {
        if line.kind != "written_by_go" {
            continue;
        }
        let (term, voted_for) = line.read.unwrap();
        let file = encode(term, &voted_for, None, &NOTHING_UNKNOWN);
        assert_eq!(file.as_bytes(), line.file, "{}", line.name);
        written += 1;
    }
    assert!(written > 10);
}

#[test]
fn both_digests_are_known_by_their_names() {
    for line in golden() {
        let digest = match line.kind.as_str() {
            "written_by_go" => Digest::Sha1,
            "legacy_digest" => Digest::Legacy,
            _ => continue,
        };
        assert_eq!(decode(&line.file).unwrap().digest, digest, "{}", line.name);
    }
}

/// I2: damage is found, or harmless: of a key's case or of the bits that base64 leaves over.
#[test]
fn i2_no_flipped_bit_and_no_cut_changes_a_record() {
    let data = r#"{"CurrentTerm":7,"VotedFor":"rack-7","NodeId":"rack-9"}"#;
    let current = file_of(data);
    let copy = [data.as_bytes(), &sha1([])[..]].concat();
    let legacy = format!(r#"{{"SHA":"{}","Data":"{}"}}"#, BASE64.encode(copy), BASE64.encode(data));
    for file in [current, legacy] {
        let intact = decode(file.as_bytes()).unwrap();
        for bit in 0..file.len() * 8 {
            let mut damaged = file.clone().into_bytes();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(contents) = decode(&damaged) {
                assert_eq!(contents, intact, "bit {bit}");
            }
        }
        for len in 0..file.len() {
            assert!(decode(&file.as_bytes()[..len]).is_err(), "cut to {len}");
        }
    }
}

#[test]
fn the_last_of_equal_keys_counts_but_null_does_not() {
    let contents = decode_data(
        r#"{"CurrentTerm":5,"VotedFor":"x","NodeId":"a","currentTERM":6,"votedfor":"y",
            "nodeid":"b","CurrentTerm":null,"VotedFor":null,"NodeId":null}"#,
    )
    .unwrap();
    let read = (contents.term, contents.voted_for.as_str(), contents.id.as_deref());
    assert_eq!(read, (6, "y", Some("b")));
    assert_eq!(contents.unknown, NOTHING_UNKNOWN);
}

#[test]
fn keys_may_be_escaped() {
    assert_eq!(decode_data(r#"{"\u0043urrent\u0054erm":5}"#).unwrap().term, 5);
}

#[test]
fn null_is_a_new_record() {
    let contents = decode_data("null").unwrap();
    assert_eq!((contents.term, contents.voted_for.as_str()), (0, ""));
    assert!(matches!(decode(b"null"), Err(Corruption::Digest)));
}

/// As in Go, where null makes a byte slice nil, but leaves a string alone.
#[test]
fn null_undoes_data_that_came_before() {
    let file = file_of("{}");
    let undone = file.replace('}', r#","Data":null}"#);
    assert!(decode(file.as_bytes()).is_ok());
    assert!(matches!(decode(undone.as_bytes()), Err(Corruption::Digest)));
}

#[test]
fn bytes_may_be_an_array() {
    let sha = BASE64.encode(sha1("{}"));
    let file = format!(r#"{{"SHA":"{sha}","Data":[123,125]}}"#);
    assert_eq!(decode(file.as_bytes()).unwrap().term, 0);
}

#[test]
fn base64_is_padded_but_its_spare_bits_do_not_matter() {
    let file = |data: &str| {
        let sha = BASE64.encode(sha1("{}"));
        decode(format!(r#"{{"SHA":"{sha}","Data":"{data}"}}"#).as_bytes())
    };
    for data in ["e30=", "e31=", r"e3\n0\r=\r\n"] {
        assert!(file(data).is_ok(), "{data}");
    }
    for data in ["e30", "e30==", "e30=e30=", "e3 0=", "e3_="] {
        assert!(matches!(file(data), Err(Corruption::Base64 { .. })), "{data}");
    }
}

/// Go, too, refuses a file for one bad value, even if a good one for the same key follows.
#[test]
fn a_bad_value_is_not_made_good_by_a_later_one() {
    for data in [r#"{"CurrentTerm":"5","CurrentTerm":5}"#, r#"{"VotedFor":5,"VotedFor":"x"}"#] {
        assert!(matches!(decode_data(data), Err(Corruption::Value { .. })), "{data}");
    }
    let file = file_of("{}").replace("\"Data\"", "\"Data\":\"*\",\"Data\"");
    assert!(matches!(decode(file.as_bytes()), Err(Corruption::Base64 { key: DATA, .. })));
}

/// Go ignores the key whatever its value. Stricter here: an id that can't be told is none to go on
/// from.
#[test]
fn an_id_that_is_no_string_is_refused() {
    assert!(matches!(decode_data(r#"{"NodeId":5}"#), Err(Corruption::Value { key: NODE_ID, .. })));
}

#[test]
fn the_id_is_kept_with_the_vote() {
    let file = encode(7, "rack-7", Some(&id("a&b")), &NOTHING_UNKNOWN);
    let contents = decode(file.as_bytes()).unwrap();
    assert_eq!(file, file_of(r#"{"CurrentTerm":7,"VotedFor":"rack-7","NodeId":"a\u0026b"}"#));
    let stored = contents.to_stored_vote().unwrap();
    assert_eq!(stored.id, Some(id("a&b")));
    assert_eq!(stored.record.voted_for, Some(id("rack-7")));
    assert_eq!(stored.warnings, []);
}

#[test]
fn unknown_keys_are_written_again_as_they_stood() {
    let data =
        r#"{"a<b":1.10, "CurrentTerm":5,"Extra":{"CurrentTerm":9,"x":[1e999,-0]},"Extra":2}"#;
    let file = file_of(data).replace("{\"SHA", "{ \"X\" : \"\\u0041\" , \"SHA");
    let contents = decode(file.as_bytes()).unwrap();
    assert_eq!(contents.unknown_keys().collect::<Vec<_>>(), ["a<b", "Extra", "Extra", "X"]);

    let written = encode(6, "x", Some(&id("y")), &contents.unknown);
    let data = concat!(
        r#"{"CurrentTerm":6,"VotedFor":"x","NodeId":"y","#,
        r#""a\u003cb":1.10,"Extra":{"CurrentTerm":9,"x":[1e999,-0]},"Extra":2}"#
    );
    let mut expected = file_of(data);
    expected.truncate(expected.len() - 1);
    write!(expected, r#","X":"\u0041"}}"#).unwrap();
    assert_eq!(written, expected);

    let reread = decode(written.as_bytes()).unwrap();
    assert_eq!((reread.term, reread.voted_for.as_str(), reread.id.as_deref()), (6, "x", Some("y")));
    assert_eq!(reread.unknown, contents.unknown);
}

#[test]
fn no_unknown_key_can_pass_for_one_of_ours_once_written() {
    let file =
        file_of(r#"{"CurrentTerm":5,"currentterm":6,"VotedFor":"x","NODEID":"z","votedFor":""}"#)
            .replace(
                "\"Data\"",
                "\"data\":\"\",\"\u{17f}ha\":\"\",\"SHA\":\"\",\"sha\":null,\"Data\"",
            );
    assert!(matches!(decode(file.as_bytes()), Err(Corruption::Digest)));

    let sha = "\"sHa\":\"AAAA\",\"SHA\"";
    let file = file_of(r#"{"CurrentTerm":5,"currentterm":6,"VotedFor":"x","NODEID":"z"}"#)
        .replace("\"SHA\"", sha);
    let contents = decode(file.as_bytes()).unwrap();
    let written = encode(8, "", Some(&id("y")), &contents.unknown);
    assert_eq!(written, encode(8, "", Some(&id("y")), &NOTHING_UNKNOWN));
}

/// V1: a Go node may have voted for `*`, and may not vote for another in that term.
#[test]
fn v1_a_vote_for_no_node_id_is_spent() {
    for name in ["*", "a b", "a.b", "f\u{fc}r", &"n".repeat(5_000)] {
        let contents = decode(encode(7, name, None, &NOTHING_UNKNOWN).as_bytes()).unwrap();
        assert_eq!(contents.voted_for, name);
        let reason = NodeId::new(name).unwrap_err();
        let term = 8;
        assert_eq!(
            contents.to_stored_vote().unwrap(),
            StoredVote {
                record: VoteRecord { term, voted_for: None },
                id: None,
                warnings: vec![LoadWarning::VoteSpent { term: 7, reason }],
            }
        );
    }
}

#[test]
fn t4_no_node_starts_from_a_term_out_of_range() {
    let stored = |term, vote| {
        let contents = decode(encode(term, vote, None, &NOTHING_UNKNOWN).as_bytes()).unwrap();
        contents.to_stored_vote().map(|stored| stored.record.term)
    };
    let last = TERM_END - 1;
    assert_eq!(stored(last, "x"), Ok(last));
    assert_eq!(stored(last, "*"), Err(Unusable::NoTermLeft { term: last }));
    for term in [TERM_END, u64::MAX] {
        assert_eq!(stored(term, ""), Err(Unusable::TermOutOfRange { term }));
        assert_eq!(stored(term, "*"), Err(Unusable::TermOutOfRange { term }));
    }
}

#[test]
fn v7_a_kept_id_that_is_none_is_refused() {
    for name in ["", "a b", "*"] {
        let contents = decode_data(format!(r#"{{"NodeId":"{name}"}}"#)).unwrap();
        assert_eq!(
            contents.to_stored_vote(),
            Err(Unusable::Id { id: name.to_owned(), reason: NodeId::new(name).unwrap_err() })
        );
    }
}
