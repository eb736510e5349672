//! Files that users name and that are read whole: settings, contexts and logins of NATS.

use std::io;
use std::path::Path;

use graft_election::SmallFile;

/// The most bytes of one: far more than the certificates of all authorities of the world.
const LEN_MAX: usize = 4 << 20;

/// What is in the file at `path`. It may be a pipe, if that ends soon.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    SmallFile::open(path)?.read_to_string(LEN_MAX)
}

/// The same of a file that a library reads again, which it could not if it were a pipe.
pub(crate) fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let file = SmallFile::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(LEN_MAX, &mut bytes)?;
    Ok(bytes)
}
