//! Patroni, which keeps one of several PostgreSQL servers the primary.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use super::ETCD;
use crate::command::{command, text};

/// The first of the ports of the servers, and of the members' REST interfaces.
const PORT: usize = 14930;
const REST_PORT: usize = 14940;

/// Where Debian has each version of PostgreSQL.
pub(super) const POSTGRESQL: &str = "/usr/lib/postgresql";

/// The user that runs PostgreSQL, which refuses root.
const USER: &str = "postgres";

/// A member's settings: Patroni's usual times, and servers that trust everyone on this machine.
const SETTINGS: &str = r"scope: LOCK
name: NAME
restapi: {listen: '127.0.0.1:REST', connect_address: '127.0.0.1:REST'}
etcd3: {url: 'ETCD'}
bootstrap:
  dcs: {ttl: 30, loop_wait: 10, retry_timeout: 10}
  initdb: [auth: trust, encoding: UTF8]
postgresql:
  listen: 127.0.0.1:PORT
  connect_address: 127.0.0.1:PORT
  data_dir: 'FOLDER/NAME'
  pgpass: 'FOLDER/NAME.pgpass'
  bin_dir: BIN
  authentication: {superuser: {username: postgres}, replication: {username: replicator}}
  parameters: {unix_socket_directories: ''}
  pg_hba: [host all all 127.0.0.1/32 trust, host replication all 127.0.0.1/32 trust]
";

/// A client of one member: as often as other jobs write, and wherever a primary answers, it writes
/// its member's name into the database, and then into the file. The first to write waits for two
/// standbys, since a member without a copy of the data can't take over. Who still copies it streams
/// too, but replays nothing.
const CLIENT: &str = r#"
import psycopg2, sys, time
name, port = sys.argv[1:]
LOOK = """select pg_is_in_recovery(), to_regclass('beats') is not null,
    (select count(*) from pg_stat_replication where replay_lsn is not null)"""
while True:
    try:
        member = psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres")
        member.autocommit = True
        cursor = member.cursor()
        while True:
            cursor.execute(LOOK)
            is_standby, has_table, standbys = cursor.fetchone()
            if not is_standby and has_table:
                cursor.execute("insert into beats values (%s)", [name])
                with open("beats", "a") as beats:
                    print(name, file=beats)
            elif not is_standby and standbys == 2:
                cursor.execute("create table beats (name text)")
            time.sleep(0.01)
    except psycopg2.Error:
        time.sleep(0.01)
"#;

/// What each member runs, and as whom; `NAME` stands for its name.
pub(super) fn words() -> Vec<String> {
    let words: &[&str] = if geteuid().is_root() {
        &["setpriv", "--reuid", USER, "--regid", USER, "--init-groups", "patroni", "NAME.yml"]
    } else {
        &["patroni", "NAME.yml"]
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Writes the settings of the member of this number into the folder of this lock.
///
/// # Errors
///
/// There is no PostgreSQL, or the folder can't be given to its user.
pub(super) fn prepare(folder: &Path, lock: &str, number: usize, name: &str) -> Result<()> {
    let settings = SETTINGS
        .replace("LOCK", lock)
        .replace("NAME", name)
        .replace("PORT", &(PORT + number).to_string())
        .replace("REST", &(REST_PORT + number).to_string())
        .replace("ETCD", ETCD)
        .replace("BIN", &programs()?)
        .replace("FOLDER", &folder.display().to_string());
    fs::write(folder.join(format!("{name}.yml")), settings)?;
    if geteuid().is_root() {
        let mut id = command("id")?;
        id.args(["--user", USER]);
        chown(folder, Some(text(id)?.trim().parse()?), None)?;
    }
    Ok(())
}

/// The client of the member of this number.
pub(super) fn client(number: usize, name: &str) -> Vec<String> {
    // Debian's own Python is the one that has Debian's packages.
    let port = (PORT + number).to_string();
    ["/usr/bin/python3", "-c", CLIENT, name, &port].map(str::to_owned).to_vec()
}

/// The folder with the programs of the newest PostgreSQL.
fn programs() -> Result<String> {
    let folders = fs::read_dir(POSTGRESQL).with_context(|| format!("can't read {POSTGRESQL}"))?;
    let versions = folders.filter_map(|it| it.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let Some(newest) = versions.max() else {
        bail!("there is no PostgreSQL in {POSTGRESQL}");
    };
    Ok(format!("{POSTGRESQL}/{newest}/bin"))
}
