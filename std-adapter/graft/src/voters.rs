//! `graft voters`: who votes in a cluster that runs, the first record of a declared voter, and
//! another list of voters in the records of nodes that are stopped (rules R7, N6, V6).

mod live;

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use graft_election::core::{ListId, TERM_END};
use graft_election::{
    LoadError, NodeId, OpenError, RecordedList, VoteFile, VoteRecord, VoteStore, VoterList, quorum,
};

use self::live::LiveTask;
use crate::exit_status::{ExitStatus, ExitsWith};
use crate::file_identity::FileIdentity;
use crate::report::print_error;

/// What its help says at the end.
const HELP: &str = "\
Exit statuses:
  0   it is done
  1   it isn't: a record doesn't fit, or --yes is missing
  64  usage: the arguments are wrong";

/// Show or change the voters of a cluster that runs, or write the records of one that is stopped.
///
/// A cluster that runs is asked: its nodes must allow it with --allow-changes. A new voter runs
/// with `graft run --join`:
///
///     graft voters show CLUSTER
///     graft voters add CLUSTER d
///     graft voters remove CLUSTER c
///
/// A node that runs with --voters does not start without its vote record: it could have lost it,
/// and vote twice. So its first one is made by hand, once:
///
///     graft voters FILE --init --id a --set a,b,c
///
/// The list of voters stays in the records. To change it, stop all voters, also those that leave,
/// and change the records of all that stay and are new, here from a,b,c to a,b,d:
///
///     graft voters a.vote b.vote --new d=d.vote --from a,b,c --set a,b,d --yes
///
/// Without --yes it only says what it would do, and what must hold. It can be repeated.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = HELP)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct VotersArgs {
    #[command(subcommand)]
    live: Option<LiveTask>,
    /// The vote files. Their nodes must be stopped.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The ids of all voters from now on, separated by commas.
    #[arg(long, value_name = "IDS", value_delimiter = ',', required = true)]
    set: Vec<NodeId>,
    /// Make the first record of the voter ID. Only for an ID that never voted: one that lost its
    /// record could vote twice in one term, and elect a second leader.
    #[arg(long, requires = "id", conflicts_with_all = ["from", "new", "term", "yes"])]
    init: bool,
    /// Whose first record to make.
    #[arg(long, requires = "init")]
    id: Option<NodeId>,
    /// The ids of all voters so far, separated by commas.
    #[arg(long, value_name = "IDS", value_delimiter = ',', required_unless_present = "init")]
    from: Vec<NodeId>,
    /// The id of a voter that is new and has no record yet, and its vote file.
    #[arg(long, value_name = "ID=FILE")]
    new: Vec<NewVoter>,
    /// The term from which the new list holds, above those of all records. By default the next one;
    /// if the files are on several machines, give the same one on each.
    #[arg(long)]
    term: Option<u64>,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

/// A voter without a record, and where to make it.
#[derive(Clone, Debug)]
struct NewVoter {
    id: NodeId,
    file: PathBuf,
}

impl FromStr for NewVoter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, file) = text.split_once('=').ok_or("it must be ID=FILE")?;
        let id = NodeId::new(id).map_err(|error| error.to_string())?;
        if file.is_empty() {
            return Err("the file is missing".to_owned());
        }
        Ok(Self { id, file: file.into() })
    }
}

impl VotersArgs {
    pub(crate) fn run(mut self) -> Result<ExitCode> {
        if let Some(live) = self.live.take() {
            return live.run();
        }
        self.check().exits_with(ExitStatus::Usage)?;
        match (&self.id, &*self.files) {
            (Some(id), [path]) => self.init(id, path),
            _ => self.change(),
        }
    }

    /// Whether the arguments make sense, before any file is opened.
    fn check(&self) -> Result<()> {
        VoterList::declared(&self.set).context("--set")?;
        if let Some(id) = &self.id {
            ensure!(self.set.contains(id), "{id} is not among the voters of --set");
            let count = self.files.len();
            ensure!(count == 1, "--init takes one vote file, not {count}");
            return Ok(());
        }
        VoterList::declared(&self.from).context("--from")?;
        ensure!(ids(&self.from) != ids(&self.set), "--set has the voters of --from");
        for NewVoter { id, .. } in &self.new {
            ensure!(self.set.contains(id), "{id} is not among the voters of --set");
            ensure!(
                !self.from.contains(id),
                "{id} is a voter of --from, so it had a record: without that it must not vote again"
            );
        }
        if let Some(term) = self.term {
            ensure!((1..TERM_END).contains(&term), "term {term} is out of range");
        }
        ensure!(!(self.files.is_empty() && self.new.is_empty()), "no vote file is given");
        self.check_files_differ()
    }

    fn check_files_differ(&self) -> Result<()> {
        let new = self.new.iter().map(|new| &new.file);
        let mut seen: HashMap<FileIdentity, &PathBuf> = HashMap::new();
        for path in self.files.iter().chain(new) {
            let other = FileIdentity::of(path).and_then(|identity| seen.insert(identity, path));
            if let Some(other) = other {
                bail!("one file is given twice: {}, {}", other.display(), path.display());
            }
        }
        Ok(())
    }

    /// N6: the first record, if there is none.
    fn init(&self, id: &NodeId, path: &Path) -> Result<ExitCode> {
        let list = VoterList::declared(&self.set)?;
        let mut votes = open(path)?;
        let stored = votes.load()?;
        let file = path.display();
        // One of a node that ran without declared voters and never saw an election says nothing.
        let is_empty = stored.record == VoteRecord::default();
        ensure!(is_empty, "{file} has a vote record already, which the node starts from");
        if let Some(kept) = stored.id.filter(|kept| kept != id) {
            bail!("{file} belongs to node {kept}, not to {id}");
        }
        let name = list.id();
        votes.save(id, &VoteRecord::first(list))?;
        print(format_args!("made the first record of voter {id} in {file}, for list {name}"))?;
        Ok(ExitCode::SUCCESS)
    }

    /// V6: another list in the records of all that stay and are new.
    fn change(self) -> Result<ExitCode> {
        let mut voters = Vec::new();
        for path in &self.files {
            voters.push(self.open_voter(path)?);
        }
        for new in &self.new {
            voters.push(self.open_new(new)?);
        }
        for (place, voter) in voters.iter().enumerate() {
            let others = voters.iter().skip(place + 1);
            let id = &voter.id;
            ensure!(others.clone().all(|other| other.id != *id), "{id} has two of the files");
        }
        let term = self.choose_term(&voters)?;
        let list = VoterList::replaced_in(term, &self.set)?;
        self.explain(&voters, list.id())?;
        if !self.yes {
            print_error("nothing was changed; if all that holds, repeat it with --yes");
            return Ok(ExitCode::FAILURE);
        }
        let bound_for = voters.iter().map(|voter| voter.record.bound_for).max().unwrap_or_default();
        for voter in &mut voters {
            if voter.list() == Some(list.id()) {
                continue;
            }
            let record = voter.record.with_list(&voter.id, list.clone(), bound_for);
            voter.votes.save(&voter.id, &record).with_context(
                || "not all records are changed, so start no voter, and repeat this command",
            )?;
        }
        print(format_args!("changed: {}", names(voters.iter().map(|voter| &voter.id))))?;
        Ok(ExitCode::SUCCESS)
    }

    fn open_voter(&self, path: &Path) -> Result<Voter> {
        let file = path.display();
        // Asked first, so that a mistyped name leaves no lock file.
        match VoteFile::inspect(path) {
            Err(LoadError::Missing { .. }) => {
                bail!("{file} does not exist; a voter that is new is given as --new ID=FILE")
            }
            found => drop(found?),
        }
        let mut votes = open(path)?;
        let stored = votes.load()?;
        let Some(id) = stored.id else {
            bail!("{file} is no voter's: it has no node id, as in a Go node's file");
        };
        if !self.set.contains(&id) {
            ensure!(self.from.contains(&id), "{file} is that of {id}, which is on neither list");
            bail!("{file} is that of {id}, which leaves: don't change it, but put it away");
        }
        let record = stored.record;
        let voter = Voter { id, path: path.to_owned(), votes, record };
        if let Some(list) = voter.record.list.as_ref().filter(|list| !self.knows(list)) {
            let (id, name) = (&voter.id, list.id());
            bail!("the record of {id} in {file} is for list {name}, which is not that of --from");
        }
        Ok(voter)
    }

    /// Whether a list is that of --from or --set: a voter may have left, and come back with the
    /// record of that time.
    fn knows(&self, list: &RecordedList) -> bool {
        let mut known = [&self.from, &self.set].into_iter();
        match list {
            RecordedList::Whole(list) => known.any(|known| ids(known) == ids(list.voters())),
            RecordedList::Id(id) => known.any(|known| id.has_voters_of(ListId::declared(known))),
        }
    }

    fn open_new(&self, new: &NewVoter) -> Result<Voter> {
        let NewVoter { id, file: path } = new;
        let file = path.display();
        let mut votes = open(path)?;
        let stored = votes.load()?;
        let voter = Voter { id: id.clone(), path: path.clone(), votes, record: stored.record };
        let wanted = ListId::declared(&self.set);
        let is_new = voter.record == VoteRecord::default()
            || voter.list().is_some_and(|list| list.term > 0 && list.has_voters_of(wanted));
        ensure!(
            is_new && stored.id.as_ref().is_none_or(|kept| kept == id),
            "{file} has a record already: give it without --new"
        );
        Ok(voter)
    }

    /// The term of the new list, above those of all records that have yet to be changed.
    fn choose_term(&self, voters: &[Voter]) -> Result<u64> {
        let wanted = ListId::declared(&self.set);
        let list_term = |voter: &Voter| voter.list().map_or(0, |list| list.term);
        let has_new = |voter: &&Voter| {
            list_term(voter) > 0 && voter.list().is_some_and(|list| list.has_voters_of(wanted))
        };
        let is_above = |term: u64, voter: &Voter| {
            voter.list() == Some(ListId { term, ..wanted }) || term > voter.record.term
        };
        // A run that was interrupted is finished with its own term.
        let begun = voters.iter().filter(has_new).map(list_term).max();
        let begun = begun.filter(|term| voters.iter().all(|voter| is_above(*term, voter)));
        let highest = voters.iter().map(|voter| voter.record.term).max().unwrap_or_default();
        let given = ids(voters.iter().map(|voter| &voter.id));
        let missing: Vec<_> = self.set.iter().filter(|id| !given.contains(id)).collect();
        let term = match self.term.or(begun) {
            Some(term) => term,
            None => {
                ensure!(
                    missing.is_empty(),
                    "the files of {} are missing: give them too or, if they are on other machines, \
                     repeat this on each machine with the same --term, above the terms of all \
                     records; the highest here is {highest}",
                    names(missing)
                );
                highest.saturating_add(1)
            }
        };
        ensure!((1..TERM_END).contains(&term), "term {term} is out of range");
        match voters.iter().find(|voter| !is_above(term, voter)) {
            None => Ok(term),
            Some(Voter { id, record, .. }) => {
                bail!("--term must be above {}, the term of {id}", record.term)
            }
        }
    }

    /// Says what is done, and what must hold.
    fn explain(&self, voters: &[Voter], list: ListId) -> Result<()> {
        print(format_args!("from  {}", names(&self.from)))?;
        print(format_args!("to    {}, as list {list}", names(&self.set)))?;
        for voter in voters {
            let Voter { id, path, record, .. } = voter;
            let state = match record {
                _ if voter.list() == Some(list) => "is changed already".to_owned(),
                record if *record == VoteRecord::default() => "gets its first record".to_owned(),
                VoteRecord { term, .. } => format!("is in term {term}, and changed"),
            };
            print(format_args!("      {id} {state} ({})", path.display()))?;
        }
        let given = ids(voters.iter().map(|voter| &voter.id));
        let both: BTreeSet<_> = self.from.iter().chain(&self.set).collect();
        print("Before any voter starts with the new list:")?;
        print(format_args!("- All of these must be stopped: {}.", names(both)))?;
        let elsewhere: Vec<_> = self.set.iter().filter(|id| !given.contains(id)).collect();
        if !elsewhere.is_empty() {
            let (term, names) = (list.term, names(elsewhere));
            print(format_args!("- Change these where they are, with --term {term}: {names}."))?;
        }
        print(
            "- As long as the longest T_min of the old voters must have passed since they stopped.",
        )?;
        let leaving: Vec<_> = self.from.iter().filter(|id| !self.set.contains(id)).collect();
        if !leaving.is_empty() {
            let leaving = names(leaving);
            print(format_args!("- Put the records of those that leave away: {leaving}."))?;
        }
        let unchanged: Vec<_> = self.from.iter().filter(|id| !given.contains(id)).collect();
        let (count, quorum) = (unchanged.len(), quorum(self.from.len()));
        if count >= quorum {
            print(format_args!(
                "- UNSAFE until then: {} still have the old list, and any {quorum} of them could \
                 elect a second leader. At least {} of them must be changed or put away first.",
                names(unchanged),
                count + 1 - quorum
            ))?;
        }
        Ok(())
    }
}

/// A voter that is stopped, and its file, which is locked.
struct Voter {
    id: NodeId,
    path: PathBuf,
    votes: VoteFile,
    record: VoteRecord,
}

impl Voter {
    /// Which list its record is for, if any.
    fn list(&self) -> Option<ListId> {
        self.record.list.as_ref().map(RecordedList::id)
    }
}

fn open(path: &Path) -> Result<VoteFile> {
    match VoteFile::open(path) {
        Err(OpenError::InUse { path }) => {
            bail!("{} is in use: its node is running, and must be stopped first", path.display())
        }
        opened => Ok(opened?),
    }
}

fn ids<'n>(ids: impl IntoIterator<Item = &'n NodeId>) -> BTreeSet<&'n NodeId> {
    ids.into_iter().collect()
}

fn names<'n>(ids: impl IntoIterator<Item = &'n NodeId>) -> String {
    ids.into_iter().map(NodeId::as_str).collect::<Vec<_>>().join(", ")
}

fn print(words: impl Display) -> io::Result<()> {
    writeln!(io::stdout(), "{words}")
}
