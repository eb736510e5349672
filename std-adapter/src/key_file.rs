//! A cluster's key as a text, and the file that it is in.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use graft_election_proto::seal::{Key, KeyTextError, Keys};
use rustix::process::geteuid;
use zeroize::Zeroizing;

use crate::small_file::SmallFile;

/// The most bytes that a file of keys has.
const FILE_LEN_MAX: usize = 1024;

/// What some editors put before a text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// What users of the file's group and others may not do: the group may read it if it is root's, as
/// services are given secrets.
const FORBIDDEN: u32 = 0o077;
const FORBIDDEN_OF_ROOT: u32 = 0o037;

/// Why a file has no keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It can't be read.
    #[error("could not read the cluster's key in {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// What should be its path is the key itself.
    #[error("the key's file has a key for its name, which others can see by now: make another")]
    IsKey,
    /// Others than its owner may read or change it.
    #[error("others may use the cluster's key in {path}, whose mode is {mode:04o}: chmod 600 it")]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is another user's.
    #[error("the cluster's key in {path} belongs to user {user}, and neither to this one nor root")]
    NotOwned {
        /// The file.
        path: PathBuf,
        /// The number of the user to whom it belongs.
        user: u32,
    },
    /// Its text is not a key, nor two.
    #[error("{path} has no cluster's key: {error}")]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyTextError,
    },
}

/// Reads a cluster's key from a file: one line, or two while the key is replaced, of which the
/// first is the one that seals (rule K4). A key is 64 hexadecimal digits, or its base64.
///
/// The file must be this user's and for nobody else to read, as `chmod 600` makes it, or root's,
/// which its group may read. A pipe may be anybody's, and somebody has to write to it soon.
///
/// # Errors
///
/// [`KeyFileError`] says what is wrong, without a word of the key.
pub fn read_key_file(path: impl AsRef<Path>) -> Result<Keys, KeyFileError> {
    let path = path.as_ref();
    if parse(path.as_os_str().as_bytes()).is_ok() {
        // Its name must not be repeated.
        return Err(KeyFileError::IsKey);
    }
    let failed = |error| KeyFileError::Read { path: path.to_owned(), error };
    let file = SmallFile::open(path).map_err(failed)?;
    // Of the file that is open, so that it can't be another one.
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_file() {
        let (mode, user) = (metadata.mode() & 0o7777, metadata.uid());
        let path = path.to_owned();
        if user != 0 && user != geteuid().as_raw() {
            return Err(KeyFileError::NotOwned { path, user });
        }
        let forbidden = if user == 0 { FORBIDDEN_OF_ROOT } else { FORBIDDEN };
        if mode & forbidden != 0 {
            return Err(KeyFileError::NotPrivate { path, mode });
        }
    }
    // With room for all of it, so that no part is left behind where it grew.
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_LEN_MAX + 1));
    file.read_to_end(FILE_LEN_MAX, &mut text).map_err(failed)?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
    parse(text).map_err(|error| KeyFileError::Text { path: path.to_owned(), error })
}

/// Reads a cluster's key, or two with white space between them, as they are in a
/// [file](read_key_file).
///
/// # Errors
///
/// [`KeyTextError`], which doesn't repeat the text.
pub fn parse_keys(text: &str) -> Result<Keys, KeyTextError> {
    parse(text.as_bytes())
}

fn parse(text: &[u8]) -> Result<Keys, KeyTextError> {
    Keys::from_text(text, |word| Key::from_hex(word).or_else(|| from_base64(word)))
}

fn from_base64(word: &[u8]) -> Option<Key> {
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(word).ok()?);
    Some(Key::new((**bytes).try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use graft_election_core::{Handover, Message, NodeId, Outgoing, Recipient, Round};
    use graft_election_proto::seal::Seals;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    const HEX: &str = "000102030405060708090A0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const OTHER: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

    /// What a key seals is all that there is to see of it.
    fn sealed(key: Key) -> Vec<u8> {
        let (leader, round) = (NodeId::new("a").unwrap(), Round::new(1));
        let handover = Handover { term: 1, leader: leader.clone(), target: None, round };
        let outgoing = Outgoing { to: Recipient::Everyone, message: Message::Handover(handover) };
        let keys = Keys { current: key, other: None };
        let mut seals = Seals::<1>::of_node("c", &keys, leader, 1);
        seals.encode(&outgoing, &mut [0; 100]).unwrap().to_vec()
    }

    #[test]
    fn k4_a_text_has_one_key_or_two_in_hexadecimal_digits_or_base64() {
        let expected = sealed(Key::new(std::array::from_fn(|index| index as u8)));
        for text in [HEX, BASE64, &format!("\n {HEX}\n{OTHER}\n"), &format!("{BASE64} {OTHER}")] {
            let Keys { current, other } = parse_keys(text).unwrap();
            assert_eq!(sealed(current), expected);
            assert_eq!(other.is_some(), text.contains(OTHER));
        }
        let Keys { current, other } = parse_keys(&format!("{OTHER} {HEX}")).unwrap();
        assert_ne!(sealed(current), expected, "the first seals");
        assert_eq!(sealed(other.unwrap()), expected);
    }

    #[test]
    fn what_is_not_a_key_is_refused_and_not_repeated() {
        for (text, error) in [
            ("", KeyTextError::Empty),
            (" \n", KeyTextError::Empty),
            ("secret", KeyTextError::NotAKey { word: 1 }),
            (&HEX[1..], KeyTextError::NotAKey { word: 1 }),
            (&HEX[2..], KeyTextError::NotAKey { word: 1 }),
            (&format!("{HEX}00"), KeyTextError::NotAKey { word: 1 }),
            (&format!("{HEX}\n{HEX}0"), KeyTextError::NotAKey { word: 2 }),
            (&HEX.replace('A', "g"), KeyTextError::NotAKey { word: 1 }),
            (&HEX.replace("0A", "é"), KeyTextError::NotAKey { word: 1 }),
            (&format!("{HEX} {OTHER} {HEX}"), KeyTextError::TooMany),
            (&format!("{HEX}\n{HEX}\n"), KeyTextError::Alike),
            (&format!("{HEX}\n{BASE64}\n"), KeyTextError::Alike),
        ] {
            assert_eq!(parse_keys(text).unwrap_err(), error, "{text:?}");
        }
        let error = parse_keys("secret").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }

    /// A file in a new folder, which only its owner may use.
    fn private_file(text: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        (directory, path)
    }

    #[test]
    fn a_file_may_be_as_an_editor_leaves_it() {
        for text in [
            format!("{HEX}\r\n{OTHER}\r\n"),
            format!("  {HEX}  \n\n{OTHER}"),
            format!("\u{feff}{HEX}\n{OTHER}\n"),
        ] {
            let (_directory, path) = private_file(&text);
            assert!(read_key_file(&path).unwrap().other.is_some(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_file_of_keys_is_refused() {
        let binary: Vec<u8> = (0..=255).collect();
        for (text, expected) in [
            (&b""[..], KeyTextError::Empty),
            (&[0xef, 0xbb, 0xbf], KeyTextError::Empty),
            (&binary, KeyTextError::NotAKey { word: 1 }),
            (&[b'7'; FILE_LEN_MAX], KeyTextError::NotAKey { word: 1 }),
        ] {
            let (_directory, path) = private_file(text);
            let error = read_key_file(&path).unwrap_err();
            assert!(matches!(&error, KeyFileError::Text { error, .. } if *error == expected));
        }
        let (directory, path) = private_file([b'7'; FILE_LEN_MAX + 1]);
        for (path, kind) in [
            (path.as_path(), io::ErrorKind::FileTooLarge),
            (directory.path(), io::ErrorKind::IsADirectory),
        ] {
            let error = read_key_file(path).unwrap_err();
            assert!(matches!(&error, KeyFileError::Read { error, .. } if error.kind() == kind));
        }
    }

    /// Somebody took the option for the key's own.
    #[test]
    fn a_key_in_place_of_a_file_is_not_repeated() {
        for key in [HEX, BASE64] {
            let error = read_key_file(key).unwrap_err();
            assert!(matches!(error, KeyFileError::IsKey), "{error}");
            assert!(!format!("{error} {error:?}").contains(key));
        }
    }

    #[test]
    fn a_pipe_gives_a_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        let reader = std::thread::spawn({
            let path = path.clone();
            move || read_key_file(path)
        });
        fs::write(&path, HEX).unwrap();
        assert!(reader.join().unwrap().is_ok());
    }

    #[test]
    fn a_file_that_others_may_use_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        assert!(matches!(read_key_file(&path), Err(KeyFileError::Read { .. })));
        fs::write(&path, HEX).unwrap();
        let is_root = geteuid().is_root();
        for (mode, is_private) in [
            (0o600, true),
            (0o400, true),
            (0o440, is_root),
            (0o644, false),
            (0o620, false),
            (0o602, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            match read_key_file(&path) {
                Ok(_) => assert!(is_private, "{mode:o}"),
                Err(KeyFileError::NotPrivate { mode: told, .. }) => {
                    assert!(!is_private, "{mode:o}");
                    assert_eq!(told, mode);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
