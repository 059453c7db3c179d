//! How processes that are to train together find each other, before anything is compiled.
//!
//! Rank 0 listens and the others call it. Each shows that it knows the token (`LOCKSTEP_MASTER_TOKEN`; none is one, too, where only
//! machines of a private network can call), hears what rank 0 has made of its command line, makes the same of its own, and says what it trains
//! on. When all have come and agree, each connects with each. Whatever is amiss is told everywhere, with the rank and the machine that it is
//! amiss on; whoever does not come in time is named.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use sha2::{Digest, Sha256};

use crate::config::Place;
use crate::files;
use crate::output::tell;
use crate::runtime::{Mpi, World};
use crate::trainer::status::host_name;

use super::Team;
use super::wire::{Hello, Line, Word};

/// The variable with the secret that all processes share.
pub const TOKEN: &str = "LOCKSTEP_MASTER_TOKEN";

/// How long a process that has called may take for a word.
const WORD: Duration = Duration::from_secs(10);
/// The same where it reads its command line, or a plugin.
const READING: Duration = Duration::from_secs(60);
/// How long to wait before people are told whom for.
const QUIET: Duration = Duration::from_secs(3);
/// How long between two looks, or two calls.
const LOOK: Duration = Duration::from_millis(50);

/// What rank 0 tells all: what it has made of its command line, and where the run is.
#[derive(Clone, Debug)]
pub struct Lead {
    pub settings: String,
    pub directory: String,
}

/// The number of a process among those on its machine, and how many these are.
type Here = (usize, usize);

/// Processes that have found each other and have not agreed yet.
pub struct Meeting {
    place: Place,
    lead: Lead,
    /// At rank 0 those to the others, by rank, with what they have said of themselves; else the one to rank 0.
    lines: Vec<(Line, Hello)>,
    /// Where other ranks connect with this one.
    listener: TcpListener,
    own: Hello,
    patience: Duration,
}

impl Meeting {
    /// Waits for all others at rank 0, which has something to tell them; calls rank 0 elsewhere.
    ///
    /// # Errors
    /// One line: who has not come within `patience`, who is refused and why.
    pub fn open(place: &Place, lead: Option<Lead>, patience: Duration) -> Result<Meeting> {
        let addresses = resolved(place)?;
        let token = std::env::var(TOKEN).unwrap_or_default();
        ensure!(
            !token.is_empty() || addresses.iter().all(|address| is_private(address.ip())),
            "{} is no address of a private network, so anybody could call; set {TOKEN} to a secret, the same for all ranks",
            place.address
        );
        match lead {
            Some(lead) => Meeting::wait(place, lead, &addresses, &token, patience),
            None => Meeting::call(place, &addresses, &token, patience),
        }
    }

    fn wait(
        place: &Place,
        lead: Lead,
        addresses: &[SocketAddr],
        token: &str,
        patience: Duration,
    ) -> Result<Meeting> {
        let door = listen(addresses, place)?;
        let listener = TcpListener::bind((door.local_addr()?.ip(), 0)).context("cannot listen")?;
        let own = hello(place, &listener, String::new())?;
        let mut waiting = Waiting { place, token, door, came: (0..place.size).map(|_| None).collect() };
        let lines = waiting.wait(patience)?;
        Ok(Meeting { place: place.clone(), lead, lines, listener, own, patience })
    }

    fn call(place: &Place, addresses: &[SocketAddr], token: &str, patience: Duration) -> Result<Meeting> {
        let stream = dial(place, addresses, patience)?;
        stream.set_read_timeout(Some(patience))?; // rank 0 says nothing until all have come
        let listener = TcpListener::bind((stream.local_addr()?.ip(), 0)).context("cannot listen")?;
        let line = Line::new(stream)?;
        let first = |error: io::Error| {
            let Place { address, port, .. } = place;
            anyhow!("{address}:{port} answers, but not as rank 0 of lockstep does: {error}")
        };
        let Word::Challenge(nonce) = line.hear_stranger().map_err(first)? else {
            bail!(first(io::ErrorKind::InvalidData.into()));
        };
        let own = hello(place, &listener, proof(token, &nonce, place.rank))?;
        line.say(&Word::Hello(own.clone())).map_err(|error| lost_first(&error))?;
        let (settings, directory) = match line.hear().map_err(|error| lost_first(&error))?.0 {
            Word::Welcome { settings, directory } => (settings, directory),
            Word::Refused(why) => bail!(why),
            _ => bail!("rank 0 speaks out of turn, which is a fault of lockstep"),
        };
        let lead = Lead { settings, directory };
        let lines = vec![(line, own.clone())];
        Ok(Meeting { place: place.clone(), lead, lines, listener, own, patience })
    }

    /// What rank 0 has made of its command line.
    pub fn lead(&self) -> &Lead {
        &self.lead
    }

    /// Tells rank 0 why this process cannot take part.
    pub fn refuse(self, why: &anyhow::Error) {
        let word = Word::Ready { problem: Some(format!("{why:#}")), facts: Vec::new() };
        let _ = self.lines[0].0.say(&word); // it may have gone
    }

    /// Agrees on what to train on (`facts`: what must be the same everywhere), and connects each with each. Where lockstep `sums_itself` and
    /// MPI started the processes, that is joined, too.
    ///
    /// # Errors
    /// One line: who differs in what, who has gone.
    pub fn begin(self, facts: Vec<(String, String)>, sums_itself: bool) -> Result<Team> {
        let (peers, here) = match self.place.rank {
            0 => self.agree(facts)?,
            _ => self.follow(facts)?,
        };
        let mpi = match self.place.is_of_mpi() && sums_itself {
            true => Some(Mpi::join(self.place.size).map_err(|error| anyhow!("MPI: {error}"))?),
            false => None,
        };
        let world = World::new(self.place.rank, here, peers, mpi).context("a rank has gone")?;
        Team::new(self.place, self.lead.directory.into(), self.lines, world)
    }

    /// At rank 0: hears what all others say, tells all where the others are, and takes their connections.
    fn agree(&self, facts: Vec<(String, String)>) -> Result<(Vec<Option<TcpStream>>, Here)> {
        let Lead { settings, directory } = self.lead.clone();
        let welcome = Word::Welcome { settings, directory };
        for (line, hello) in &self.lines {
            line.say(&welcome).map_err(|error| lost(hello, &error))?;
        }
        let mut problem = None;
        for (line, hello) in &self.lines {
            line.stream().set_read_timeout(Some(READING))?;
            let Word::Ready { problem: theirs, facts: own } =
                line.hear().map_err(|error| lost(hello, &error))?.0
            else {
                bail!("{} speaks out of turn, which is a fault of lockstep", named(hello));
            };
            let differs = || {
                let other = facts.iter().zip(&own).find(|(ours, theirs)| ours != theirs);
                other.map(|((what, ours), (_, theirs))| {
                    format!("{what} is {theirs} there and {ours} at rank 0")
                })
            };
            let theirs = theirs.or_else(differs).map(|problem| format!("{}: {problem}", named(hello)));
            problem = problem.or(theirs);
        }
        if let Some(problem) = problem {
            for (line, _) in &self.lines {
                let _ = line.say(&Word::Refused(problem.clone())); // it may have gone
            }
            bail!(problem);
        }
        let session = format!("{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?);
        let address = |(line, hello): &(Line, Hello)| {
            Ok::<String, io::Error>(
                SocketAddr::new(line.stream().peer_addr()?.ip().to_canonical(), hello.port).to_string(),
            )
        };
        let others = self.lines.iter().map(address).collect::<Result<Vec<_>, _>>()?;
        let all = [&self.own].into_iter().chain(self.lines.iter().map(|(_, hello)| hello));
        let here = |hello: &Hello| {
            let those = all.clone().filter(|other| other.machine == hello.machine);
            (those.clone().filter(|other| other.rank < hello.rank).count(), those.count())
        };
        for (line, hello) in &self.lines {
            let first =
                SocketAddr::new(line.stream().local_addr()?.ip().to_canonical(), self.own.port).to_string();
            let addresses = [vec![first], others.clone()].concat();
            let word = Word::Peers { addresses, here: here(hello), session: session.clone() };
            line.say(&word).map_err(|error| lost(hello, &error))?;
        }
        let mut peers: Vec<Option<TcpStream>> = (0..self.place.size).map(|_| None).collect();
        self.take_connections(&session, &mut peers)?;
        Ok((peers, here(&self.own)))
    }

    /// At another rank: says what it trains on, hears where the others are, connects with those before it and is connected with by those
    /// after it.
    fn follow(&self, facts: Vec<(String, String)>) -> Result<(Vec<Option<TcpStream>>, Here)> {
        let line = &self.lines[0].0;
        line.say(&Word::Ready { problem: None, facts }).map_err(|error| lost_first(&error))?;
        let (addresses, here, session) = match line.hear().map_err(|error| lost_first(&error))?.0 {
            Word::Peers { addresses, here, session } => (addresses, here, session),
            Word::Refused(why) => bail!(why),
            _ => bail!("rank 0 speaks out of turn, which is a fault of lockstep"),
        };
        let mut peers: Vec<Option<TcpStream>> = (0..self.place.size).map(|_| None).collect();
        for (rank, address) in addresses.iter().enumerate().take(self.place.rank) {
            let connect = || -> io::Result<TcpStream> {
                let address: SocketAddr = address.parse().map_err(|_| io::ErrorKind::InvalidData)?;
                let mut stream = TcpStream::connect_timeout(&address, WORD)?;
                stream.write_all(greeting(&session, self.place.rank).as_bytes())?;
                Ok(stream)
            };
            let failed = || format!("rank {rank} cannot be reached at {address} from {}", self.own.host);
            peers[rank] = Some(connect().with_context(failed)?);
        }
        self.take_connections(&session, &mut peers)?;
        Ok((peers, here))
    }

    /// Takes the connections of the ranks after this one.
    fn take_connections(&self, session: &str, peers: &mut [Option<TcpStream>]) -> Result<()> {
        let deadline = Instant::now() + self.patience.min(READING);
        let first = self.place.rank + 1;
        self.listener.set_nonblocking(true)?;
        while let Some(missing) = (first..peers.len()).find(|&rank| peers[rank].is_none()) {
            ensure!(
                Instant::now() < deadline,
                "rank {missing} does not connect with rank {}",
                self.place.rank
            );
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Some((rank, stream)) = greeted(stream, session)
                        && let Some(peer) = peers.get_mut(rank).filter(|_| rank >= first)
                    {
                        *peer = Some(stream);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(LOOK / 10),
                Err(error) => return Err(error).context("cannot take connections"),
            }
        }
        Ok(())
    }
}

/// Rank 0, until all others have come.
struct Waiting<'a> {
    place: &'a Place,
    token: &'a str,
    door: TcpListener,
    came: Vec<Option<(Line, Hello)>>,
}

impl Waiting<'_> {
    fn wait(&mut self, patience: Duration) -> Result<Vec<(Line, Hello)>> {
        let (begin, mut told) = (Instant::now(), false);
        let (sender, receiver) = channel();
        self.door.set_nonblocking(true)?;
        loop {
            self.take_in(&sender)?;
            self.receive(&receiver)?;
            let missing: Vec<String> = (1..self.place.size)
                .filter(|&rank| self.came[rank].is_none())
                .map(|rank| rank.to_string())
                .collect();
            if missing.is_empty() {
                return Ok(self.came.drain(..).flatten().collect());
            }
            let ranks = if missing.len() == 1 { "rank" } else { "ranks" };
            let (missing, Place { size, address, port, .. }) = (missing.join(", "), self.place);
            if begin.elapsed() > patience {
                bail!(
                    "{ranks} {missing} of {size} did not come to {address}:{port} within {} s; see what became of them, and start all \
                     again",
                    patience.as_secs()
                );
            }
            if !told && begin.elapsed() > QUIET {
                told = true;
                tell(&format!("waiting at {address}:{port} for {ranks} {missing} of {size}"));
            }
            std::thread::sleep(LOOK / 5);
        }
    }

    /// Opens the door to whoever stands there; they are heard in threads, so that one who is silent keeps no other waiting.
    fn take_in(&self, sender: &Sender<(Line, Hello, String)>) -> Result<()> {
        loop {
            match self.door.accept() {
                Ok((stream, _)) => {
                    let sender = sender.clone();
                    std::thread::spawn(move || {
                        if let Ok(heard) = introduced(stream) {
                            let _ = sender.send(heard); // nobody may wait for it any more
                        }
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("cannot take calls of the other ranks"),
            }
        }
    }

    fn receive(&mut self, receiver: &Receiver<(Line, Hello, String)>) -> Result<()> {
        while let Ok((line, hello, nonce)) = receiver.try_recv() {
            if hello.proof != proof(self.token, &nonce, hello.rank) {
                let who = line
                    .stream()
                    .peer_addr()
                    .map_or_else(|_| "a process".into(), |address| address.to_string());
                tell(&format!("warning: {who} calls with another {TOKEN} and is refused"));
                let _ = line
                    .say(&Word::Refused(format!("rank 0 has another {TOKEN}; give all ranks the same one")));
                continue;
            }
            if let Some(problem) = self.problem(&hello) {
                let _ = line.say(&Word::Refused(problem.clone())); // it may have gone
                self.came.iter().flatten().for_each(|(line, _)| {
                    let _ = line.say(&Word::Refused(problem.clone()));
                });
                bail!(problem);
            }
            let rank = hello.rank;
            self.came[rank] = Some((line, hello));
        }
        Ok(())
    }

    /// Why a process that knows the token cannot take part.
    fn problem(&self, hello: &Hello) -> Option<String> {
        let (who, size) = (named(hello), self.place.size);
        let version = env!("CARGO_PKG_VERSION");
        if hello.version != version {
            return Some(format!(
                "{who} is lockstep {}, and rank 0 is {version}; install the same everywhere",
                hello.version
            ));
        }
        if hello.size != size {
            return Some(format!(
                "{who} is one of {} processes, and rank 0 of {size}; start all with the same numbers",
                hello.size
            ));
        }
        let Some(place) = self.came.get(hello.rank).filter(|_| hello.rank > 0) else {
            return Some(format!(
                "{who} is a second rank 0; give each process another rank, from 0 to {}",
                size - 1
            ));
        };
        let (line, other) = place.as_ref()?;
        let gone = line.stream().set_nonblocking(true).is_ok()
            && !matches!(line.stream().peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        let _ = line.stream().set_nonblocking(false);
        (!gone).then(|| format!("{who} and {} have the same rank; give each another one", named(other)))
    }
}

/// Who has called, and what it was asked.
fn introduced(stream: TcpStream) -> Result<(Line, Hello, String)> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(WORD))?;
    stream.set_write_timeout(Some(WORD))?;
    let (line, nonce) = (Line::new(stream)?, format!("{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?));
    line.say(&Word::Challenge(nonce.clone()))?;
    match line.hear_stranger()? {
        Word::Hello(hello) => Ok((line, hello, nonce)),
        _ => bail!("no hello"),
    }
}

/// What a rank says first on a connection with another one.
fn greeting(session: &str, rank: usize) -> String {
    format!("{session}{rank:08x}")
}

/// The rank at the other end of a new connection, if it is one of this session.
fn greeted(stream: TcpStream, session: &str) -> Option<(usize, TcpStream)> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(WORD)).ok()?;
    let mut text = vec![0; session.len() + 8];
    (&stream).read_exact(&mut text).ok()?;
    let rank = std::str::from_utf8(&text).ok()?.strip_prefix(session)?;
    stream.set_read_timeout(None).ok()?;
    Some((usize::from_str_radix(rank, 16).ok()?, stream))
}

/// That a process knows the token, without saying it.
fn proof(token: &str, nonce: &str, rank: usize) -> String {
    let digest = Sha256::new().chain_update(format!("{}:{token}:{nonce}:{rank}", token.len())).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hello(place: &Place, listener: &TcpListener, proof: String) -> Result<Hello> {
    let boot = files::read_text(Path::new("/proc/sys/kernel/random/boot_id")).unwrap_or_default();
    let host = host_name();
    Ok(Hello {
        version: env!("CARGO_PKG_VERSION").into(),
        rank: place.rank,
        size: place.size,
        proof,
        machine: format!("{host} {}", boot.trim()),
        host,
        process: std::process::id(),
        port: listener.local_addr()?.port(),
    })
}

/// A process for people: `rank 1 on gpu-7 (process 4711)`.
pub(super) fn named(hello: &Hello) -> String {
    format!("rank {} on {} (process {})", hello.rank, hello.host, hello.process)
}

fn lost(hello: &Hello, error: &io::Error) -> anyhow::Error {
    anyhow!("{} has gone before training began: {error}", named(hello))
}

fn lost_first(error: &io::Error) -> anyhow::Error {
    anyhow!("rank 0 has gone before training began, and says why where it ran ({error})")
}

fn resolved(place: &Place) -> Result<Vec<SocketAddr>> {
    let Place { address, port, .. } = place;
    let found = (address.as_str(), *port).to_socket_addrs();
    let found: Vec<SocketAddr> = found.with_context(|| format!("there is no host {address}"))?.collect();
    ensure!(!found.is_empty(), "there is no host {address}");
    Ok(found)
}

/// Listens at the address that others call, or, where that is one which only others see, at all of this machine.
fn listen(addresses: &[SocketAddr], place: &Place) -> Result<TcpListener> {
    let is_foreign = |error: &io::Error| error.kind() == io::ErrorKind::AddrNotAvailable;
    let all = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    let all = all.map(|address| SocketAddr::new(address, place.port));
    TcpListener::bind(addresses).or_else(|error| if is_foreign(&error) { TcpListener::bind(&all[..]) } else { Err(error) }).with_context(
        || {
            let Place { address, port, .. } = place;
            format!("rank 0 cannot listen at {address}:{port}; choose another --master-port, the same for all ranks")
        },
    )
}

/// Calls rank 0 until it answers.
fn dial(place: &Place, addresses: &[SocketAddr], patience: Duration) -> Result<TcpStream> {
    let (begin, mut told) = (Instant::now(), false);
    loop {
        let mut problem = None;
        for address in addresses {
            match TcpStream::connect_timeout(address, WORD) {
                Ok(stream) => return Ok(stream),
                Err(error) => problem = Some(error),
            }
        }
        let Place { address, port, .. } = place;
        if begin.elapsed() > patience {
            let problem = problem.map_or_else(String::new, |error| format!(": {error}"));
            bail!("rank 0 does not answer at {address}:{port} within {} s{problem}", patience.as_secs());
        }
        if !told && begin.elapsed() > QUIET {
            told = true;
            tell(&format!("{} calls rank 0 at {address}:{port}", place.words()));
        }
        std::thread::sleep(LOOK);
    }
}

/// Whether only machines of a private network can be at an address.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What rank 0 of 2 says of a process that introduces itself so, and what it tells that process.
    fn refusal(change: impl FnOnce(&mut Hello)) -> (String, String) {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = |rank| Place {
            rank,
            size: 2,
            address: "127.0.0.1".into(),
            port: free.local_addr().unwrap().port(),
            engine: "flags",
        };
        let (first, second) = (place(0), place(1));
        drop(free);
        let lead = Lead { settings: String::new(), directory: String::new() };
        let patience = Duration::from_secs(20);
        let waiting = std::thread::spawn(move || Meeting::open(&first, Some(lead), patience));
        let line = Line::new(dial(&second, &resolved(&second).unwrap(), patience).unwrap()).unwrap();
        let Word::Challenge(nonce) = line.hear().unwrap().0 else { panic!("no question") };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut hello = hello(&second, &listener, proof("", &nonce, 1)).unwrap();
        hello.host = "b".into();
        hello.process = 7;
        change(&mut hello);
        hello.proof = proof("", &nonce, hello.rank);
        line.say(&Word::Hello(hello)).unwrap();
        let Word::Refused(told) = line.hear().unwrap().0 else { panic!("it is taken") };
        (waiting.join().unwrap().err().unwrap().to_string(), told)
    }

    #[test]
    fn who_cannot_take_part_hears_why_and_so_does_rank_0() {
        let version = env!("CARGO_PKG_VERSION");
        let told = |change: fn(&mut Hello), message: &str| {
            let (here, there) = refusal(change);
            assert_eq!((here.as_str(), there.as_str()), (message, message));
        };
        told(
            |hello| hello.version = "9.9.9".into(),
            &format!(
                "rank 1 on b (process 7) is lockstep 9.9.9, and rank 0 is {version}; install the same everywhere"
            ),
        );
        told(
            |hello| hello.size = 3,
            "rank 1 on b (process 7) is one of 3 processes, and rank 0 of 2; start all with the same numbers",
        );
        told(
            |hello| hello.rank = 0,
            "rank 0 on b (process 7) is a second rank 0; give each process another rank, from 0 to 1",
        );
    }

    #[test]
    fn private_addresses() {
        for (address, private) in [
            ("127.0.0.1", true),
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("192.168.7.7", true),
            ("100.100.1.1", true),
            ("::1", true),
            ("fd00::1", true),
            ("::ffff:10.0.0.1", true),
            ("8.8.8.8", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_private(address.parse().unwrap()), private, "{address}");
        }
    }

    #[test]
    fn a_proof_depends_on_token_question_and_rank() {
        let all = [("a", "n", 1), ("b", "n", 1), ("a", "m", 1), ("a", "n", 2), ("a:n", "", 1)];
        let mut proofs: Vec<String> =
            all.iter().map(|(token, nonce, rank)| proof(token, nonce, *rank)).collect();
        proofs.sort();
        proofs.dedup();
        assert_eq!(proofs.len(), all.len());
    }
}
