use super::*;

/// Recorded by running the Go original; `tests/golden` says how.
const GOLDEN: &str = include_str!("../../../../tests/golden/logs.jsonl");

/// What Go reads, and this crate refuses: half a surrogate pair. Neither writes it.
const STRICTER_THAN_GO: &str = "logs/inner_lone_surrogate.log";

struct Golden {
    name: String,
    kind: String,
    file: Vec<u8>,
    /// The term and the vote that Go reads, if it reads the file.
    read: Option<(u64, String)>,
}

fn golden() -> Vec<Golden> {
    let lines = GOLDEN.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
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

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2);
    let bytes = digits.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    bytes.collect()
}

/// A file with this data and the right digest.
fn file_of(data: impl AsRef<[u8]>) -> String {
    let sha = BASE64_STANDARD.encode(sha1(&data));
    format!(r#"{{"SHA":"{sha}","Data":"{}"}}"#, BASE64_STANDARD.encode(data))
}

fn decode_data(data: impl AsRef<[u8]>) -> Result<VoteFileContents, Corruption> {
    decode(file_of(data).as_bytes())
}

/// A file as Go writes it.
fn encode_vote(term: u64, voted_for: &str) -> String {
    let voted_for = voted_for.to_owned();
    encode_data(&Data { current_term: term, voted_for, ..Data::default() }).unwrap()
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
        let expected = line.read.filter(|_| line.name != STRICTER_THAN_GO);
        assert_eq!(read.ok(), expected, "{}", line.name);
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
        let file = encode_vote(term, &voted_for);
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

/// I2: damage is found, or it is harmless, as in the case of a key's letter.
#[test]
fn i2_no_flipped_bit_and_no_cut_changes_a_record() {
    let data = r#"{"CurrentTerm":7,"VotedFor":"rack-7","NodeId":"rack-9"}"#;
    let current = file_of(data);
    let copy = [data.as_bytes(), &sha1([])[..]].concat();
    let (sha, data) = (BASE64_STANDARD.encode(copy), BASE64_STANDARD.encode(data));
    let legacy = format!(r#"{{"SHA":"{sha}","Data":"{data}"}}"#);
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
fn the_last_of_equal_keys_counts_whatever_their_case() {
    let contents = decode_data(
        r#"{"CurrentTerm":5,"VotedFor":"x","NodeId":"a","currentTERM":6,"votedfor":"y",
            "nodeid":"b"}"#,
    )
    .unwrap();
    let read = (contents.term, contents.voted_for.as_str(), contents.id.as_deref());
    assert_eq!(read, (6, "y", Some("b")));
}

#[test]
fn keys_may_be_escaped_and_those_without_a_meaning_are_ignored() {
    let data = r#"{"\u0043urrent\u0054erm":5,"Extra":{"CurrentTerm":9,"x":[1,-0]},"a<b":null}"#;
    let file = file_of(data).replace("{\"SHA", "{ \"X\" : \"\\u0041\" , \"SHA");
    assert_eq!(decode(file.as_bytes()).unwrap().term, 5);
}

#[test]
fn base64_is_padded_and_may_be_broken_into_lines() {
    let file = |data: &str| {
        let sha = BASE64_STANDARD.encode(sha1("{}"));
        decode(format!(r#"{{"SHA":"{sha}","Data":"{data}"}}"#).as_bytes())
    };
    for data in ["e30=", r"e3\n0\r=\r\n"] {
        assert!(file(data).is_ok(), "{data}");
    }
    for data in ["e30", "e30==", "e30=e30=", "e3 0=", "e3_="] {
        assert!(matches!(file(data), Err(Corruption::Base64 { .. })), "{data}");
    }
}

/// No node writes any of these, but Go reads them.
#[test]
fn what_is_stricter_than_go() {
    for data in [
        // No record at all, and values that are there in name only.
        "null",
        r#"{"CurrentTerm":null}"#,
        r#"{"VotedFor":null}"#,
        // Half a surrogate pair.
        r#"{"VotedFor":"\ud800"}"#,
        // Go has no such key, and ignores it. Here it is an id that can't be read.
        r#"{"NodeId":5}"#,
        // A number that Go skips, because the key has no meaning.
        r#"{"Extra":1e999}"#,
    ] {
        assert!(matches!(decode_data(data), Err(Corruption::Data(_))), "{data}");
    }
    let sha = BASE64_STANDARD.encode(sha1("{}"));
    // Bytes as an array of numbers.
    let file = format!(r#"{{"SHA":"{sha}","Data":[123,125]}}"#);
    assert!(matches!(decode(file.as_bytes()), Err(Corruption::Envelope(_))));
    // Bits beyond the last byte that are not zero.
    let file = format!(r#"{{"SHA":"{sha}","Data":"e31="}}"#);
    assert!(matches!(decode(file.as_bytes()), Err(Corruption::Base64 { .. })));
    // A letter whose lower case is not in ASCII: the long s.
    let file = file_of("{}").replace("SHA", "\u{17f}ha");
    assert!(matches!(decode(file.as_bytes()), Err(Corruption::Digest)));
}

/// Go refuses a bad value, even if a good one for the same key follows. The digest is right in
/// each of these files, so a writer meant what they say.
#[test]
fn what_is_looser_than_go() {
    for data in [
        r#"{"CurrentTerm":"5","CurrentTerm":5}"#,
        r#"{"VotedFor":5,"CurrentTerm":5,"VotedFor":""}"#,
    ] {
        assert_eq!(decode_data(data).unwrap().term, 5, "{data}");
    }
    let file = file_of("{}").replace("\"Data\"", "\"Data\":\"*\",\"Data\"");
    assert!(decode(file.as_bytes()).is_ok());
    // Go replaces each byte of a character that is cut off, and here they are replaced together.
    let cut_off = decode_data(b"{\"VotedFor\":\"a\xe2\x82b\xff\"}").unwrap();
    assert_eq!(cut_off.voted_for, "a\u{fffd}b\u{fffd}");
}

#[test]
fn integers_are_written_as_integers() {
    let read = |term| decode_data(format!("{{\"CurrentTerm\":{term}}}")).ok().map(|read| read.term);
    assert_eq!(read("18446744073709551615"), Some(u64::MAX));
    for term in ["18446744073709551616", "-0", "-1", "5.0", "5e0", "\"5\"", "true"] {
        assert_eq!(read(term), None, "{term}");
    }
}

#[test]
fn the_id_is_kept_with_the_vote() {
    let record = VoteRecord { term: 7, voted_for: Some(id("rack-7")), ..VoteRecord::default() };
    let file = encode(&record, &id("a&b")).unwrap();
    let contents = decode(file.as_bytes()).unwrap();
    assert_eq!(file, file_of(r#"{"CurrentTerm":7,"VotedFor":"rack-7","NodeId":"a\u0026b"}"#));
    let stored = contents.to_stored_vote().unwrap();
    assert_eq!(stored.id, Some(id("a&b")));
    assert_eq!(stored.record.voted_for, Some(id("rack-7")));
    assert_eq!(stored.warnings, []);
}

/// V1: a Go node may have voted for `*`, and may not vote for another in that term.
#[test]
fn v1_a_vote_for_a_name_that_is_not_a_node_id_is_spent() {
    for name in ["*", "a b", "a.b", "f\u{fc}r", &"n".repeat(5_000)] {
        let contents = decode(encode_vote(7, name).as_bytes()).unwrap();
        assert_eq!(contents.voted_for, name);
        let reason = NodeId::new(name).unwrap_err();
        let term = 8;
        assert_eq!(
            contents.to_stored_vote().unwrap(),
            StoredVote {
                record: VoteRecord { term, ..VoteRecord::default() },
                id: None,
                warnings: vec![LoadWarning::VoteSpent { term: 7, reason }],
            }
        );
    }
}

#[test]
fn t4_no_node_starts_from_a_term_out_of_range() {
    let stored = |term, vote| {
        let contents = decode(encode_vote(term, vote).as_bytes()).unwrap();
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
fn v7_a_stored_id_that_is_malformed_is_refused() {
    for name in ["", "a b", "*"] {
        let contents = decode_data(format!(r#"{{"NodeId":"{name}"}}"#)).unwrap();
        assert_eq!(
            contents.to_stored_vote(),
            Err(Unusable::Id { id: name.to_owned(), reason: NodeId::new(name).unwrap_err() })
        );
    }
}

/// V3, V6, O3, K2: what a node keeps beside its vote, in the words that the documentation gives.
#[test]
fn v6_o3_k2_the_list_of_voters_the_promise_a_pause_and_starts_are_kept_with_the_vote() {
    let root = ListId::declared(&["a", "b", "c"].map(id));
    let list_id = ListId { term: 6, version: 2 };
    let list = VoterList::restored(list_id, root, ["a", "b", "d"].map(id)).unwrap();
    let (voted_for, list) = (Some(id("b")), Some(RecordedList::Whole(list)));
    let (bound_for, is_paused, starts) = (500_000, true, 12);
    let record = VoteRecord { term: 7, voted_for, list, bound_for, is_paused, starts };
    let file = encode(&record, &id("a")).unwrap();
    assert_eq!(
        file,
        file_of(concat!(
            r#"{"CurrentTerm":7,"VotedFor":"b","NodeId":"a","#,
            r#""Voters":{"Term":6,"Version":2,"Root":[0,1425287],"Ids":["a","b","d"]},"#,
            r#""BoundFor":500000,"Paused":true,"Starts":12}"#
        ))
    );
    let stored = decode(file.as_bytes()).unwrap().to_stored_vote().unwrap();
    assert_eq!((stored.record, stored.id), (record, Some(id("a"))));
}

/// As earlier versions stored it, and as a node of Graft mode keeps it that declares nobody.
#[test]
fn v6_a_list_of_which_the_id_alone_is_known_is_kept() {
    let list = Some(RecordedList::Id(ListId { term: 6, version: 1_234 }));
    let record = VoteRecord { term: 7, list, ..VoteRecord::default() };
    let file = encode(&record, &id("a")).unwrap();
    let data = concat!(
        r#"{"CurrentTerm":7,"VotedFor":"","NodeId":"a","#,
        r#""Voters":{"Term":6,"Version":1234}}"#
    );
    assert_eq!(file, file_of(data));
    let stored = decode(file.as_bytes()).unwrap().to_stored_vote().unwrap();
    assert_eq!(stored.record, record);
}

/// A node of Graft mode has neither, and leaves a file in which Go finds what it knows.
#[test]
fn a_file_without_a_list_and_a_promise_has_no_keys_for_them() {
    let record = VoteRecord { term: 7, ..VoteRecord::default() };
    let file = encode(&record, &id("a")).unwrap();
    assert_eq!(file, file_of(r#"{"CurrentTerm":7,"VotedFor":"","NodeId":"a"}"#));
}

#[test]
fn v6_a_malformed_list_or_promise_is_refused() {
    for data in [
        r#"{"Voters":"a,b,c"}"#,
        r#"{"Voters":{"Term":1}}"#,
        r#"{"Voters":{"Term":0,"Version":4294967296}}"#,
        r#"{"Voters":{"Term":-1,"Version":1}}"#,
        r#"{"BoundFor":"500ms"}"#,
        r#"{"BoundFor":1.5}"#,
    ] {
        assert!(matches!(decode_data(data), Err(Corruption::Data(_))), "{data}");
    }
    let unusable = |data: &str| decode_data(data).unwrap().to_stored_vote().unwrap_err();
    let list = |term, version| Unusable::List { list: ListId { term, version } };
    let data = r#"{"CurrentTerm":7,"Voters":{"Term":0,"Version":0}}"#;
    assert_eq!(unusable(data), list(0, 0));
    let data = r#"{"CurrentTerm":7,"Voters":{"Term":8,"Version":1}}"#;
    assert_eq!(unusable(data), list(8, 1), "T1: of a term that the node has never seen");
    let data = |root, ids: &str| {
        let list = format!(r#""Term":7,"Version":2,"Root":{root},"Ids":{ids}"#);
        format!(r#"{{"CurrentTerm":7,"Voters":{{{list}}}}}"#)
    };
    let list = ListId { term: 7, version: 2 };
    let root = "[0,1425287]";
    assert_eq!(unusable(&data("[8,1]", r#"["a"]"#)), Unusable::List { list });
    assert_eq!(unusable(&data("[1,0]", r#"["a"]"#)), Unusable::List { list });
    let twice = VoterListError::Repeated { voter: id("a") };
    assert_eq!(unusable(&data(root, r#"["a","b","a"]"#)), Unusable::Voters { list, reason: twice });
    let many: Vec<_> = (0..65).map(|number| format!(r#""n{number}""#)).collect();
    let too_long = VoterListError::TooLong { capacity: 64 };
    assert_eq!(
        unusable(&data(root, &format!("[{}]", many.join(",")))),
        Unusable::Voters { list, reason: too_long }
    );
    let others = VoterListError::OtherVoters { id: list };
    assert_eq!(
        unusable(&data("[7,2]", r#"["a","b"]"#)),
        Unusable::Voters { list, reason: others },
        "I8"
    );
    let reason = NodeId::new("b c").unwrap_err();
    assert_eq!(
        unusable(&data(root, r#"["a","b c"]"#)),
        Unusable::VoterId { id: "b c".to_owned(), reason }
    );
    for list in [r#"{"Term":7,"Version":2,"Ids":"a,b"}"#, r#"{"Term":7,"Version":2,"Root":[1]}"#] {
        let data = format!(r#"{{"Voters":{list}}}"#);
        assert!(matches!(decode_data(&data), Err(Corruption::Data(_))), "{data}");
    }
    let data = r#"{"BoundFor":4294967296}"#;
    assert_eq!(unusable(data), Unusable::BoundFor { micros: 1 << 32 });
}
