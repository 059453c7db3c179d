//! Which process of several this one is: what flags say, or what the engine that started it has left in the environment.
//!
//! The first of these that says something decides: flags and their variables (LOCKSTEP_NNODES, ...), torchrun, a step of SLURM, Open MPI, another
//! MPI with PMI's variables, the machines of a slice of TPUs, an Indexed Job of Kubernetes. Processes are counted as torchrun counts them: each of `nnodes` machines has
//! `nproc_per_node` of them, and rank 0 is the one that the others call.

use anyhow::{Result, bail, ensure};
use clap::Args;

use super::usage;

/// Where rank 0 listens if nobody says.
const PORT: u16 = 29500;

/// The number of the process on its machine, which the process that starts the others gives each of them.
pub const LOCAL_RANK: &str = "LOCKSTEP_LOCAL_RANK";

const OPEN_MPI: &str = "Open MPI";
const PMI: &str = "mpirun";

/// The most processes.
const MOST: usize = 4096;

/// Several processes that train together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Several processes")]
#[group(skip)]
pub struct Nodes {
    /// Machines that train together [default: as torchrun, SLURM, MPI, TPUs or Kubernetes say, else 1]
    #[arg(long, value_name = "N")]
    pub nnodes: Option<usize>,
    /// Which of them this is, from 0
    #[arg(long, value_name = "R")]
    pub node_rank: Option<usize>,
    /// Processes to start on this machine
    #[arg(long, value_name = "N")]
    pub nproc_per_node: Option<usize>,
    /// Host name or address of the machine of rank 0
    #[arg(long, value_name = "HOST")]
    pub master_addr: Option<String>,
    /// Port on which rank 0 listens [default: 29500]
    #[arg(long, value_name = "PORT")]
    pub master_port: Option<u16>,
    /// Seconds to wait for processes that have not come
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub join_timeout: u64,
}

/// One process of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub rank: usize,
    /// All of them.
    pub size: usize,
    /// Where rank 0 listens.
    pub address: String,
    pub port: u16,
    /// Who says so, for messages.
    pub engine: &'static str,
}

/// What the environment says under a name.
type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How this process is to train.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// By itself.
    Alone,
    /// As one of several.
    Of(Place),
    /// By starting so many processes on this machine, of `size` on all, of which each gets these variables besides its [`LOCAL_RANK`].
    Start { processes: usize, size: usize, variables: Vec<(&'static str, String)> },
}

impl Nodes {
    /// How this process is to train, by the flags and the environment of the process.
    ///
    /// # Errors
    /// A [`UsageError`](super::UsageError) that says what is missing or contradicts itself.
    pub fn part(&self) -> Result<Part> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        self.part_by(&variable).map_err(usage)
    }

    fn part_by(&self, variable: Variable) -> Result<Part> {
        let local_rank = number(variable, LOCAL_RANK)?;
        let of_engine = match local_rank {
            Some(_) => None,
            None => engine(variable)?,
        };
        if self.nnodes.is_none() && self.nproc_per_node.is_none() {
            let Some(place) = of_engine else {
                let flag = [
                    ("--node-rank", self.node_rank.is_some()),
                    ("--master-addr", self.master_addr.is_some()),
                    ("--master-port", self.master_port.is_some()),
                ];
                if let Some((flag, _)) = flag.into_iter().find(|(_, given)| *given) {
                    bail!("{flag} is for several processes; say with --nnodes how many machines there are");
                }
                return Ok(Part::Alone);
            };
            return Ok(self.corrected(place));
        }
        let (nnodes, nproc) = (self.nnodes.unwrap_or(1), self.nproc_per_node.unwrap_or(1));
        ensure!(nnodes >= 1 && nproc >= 1, "--nnodes and --nproc-per-node must be at least 1");
        ensure!(
            nnodes <= MOST && nproc <= MOST / nnodes,
            "{nnodes} machines of {nproc} processes are more than {MOST} processes"
        );
        let node_rank = self.node_rank.or(number(variable, "JOB_COMPLETION_INDEX")?);
        let Some(node_rank) = node_rank.or((nnodes == 1).then_some(0)) else {
            bail!("which of the {nnodes} machines is this? Say --node-rank 0 to {}", nnodes - 1);
        };
        ensure!(
            node_rank < nnodes,
            "--node-rank is {node_rank}; of {nnodes} machines it is from 0 to {}",
            nnodes - 1
        );
        if nnodes * nproc == 1 {
            return Ok(Part::Alone);
        }
        let first = || (nnodes == 1).then(|| "127.0.0.1".to_owned());
        let Some(address) = self.master_addr.clone().or_else(first).or_else(|| first_pod(variable)) else {
            bail!("where is rank 0? Say --master-addr HOST, the same on all machines");
        };
        let port = self.master_port.unwrap_or(PORT);
        match (nproc, local_rank) {
            (1, _) | (_, Some(_)) => {
                let local = local_rank.unwrap_or(0);
                ensure!(local < nproc, "{LOCAL_RANK} is {local}; of {nproc} processes it is below that");
                let rank = node_rank * nproc + local;
                Ok(Part::Of(Place { rank, size: nnodes * nproc, address, port, engine: "flags" }))
            }
            (processes, None) => {
                let port = match (self.master_port, nnodes) {
                    (None, 1) => free_port()?,
                    _ => port,
                };
                let variables = vec![
                    ("LOCKSTEP_NODE_RANK", node_rank.to_string()),
                    ("LOCKSTEP_MASTER_ADDR", address),
                    ("LOCKSTEP_MASTER_PORT", port.to_string()),
                ];
                Ok(Part::Start { processes, size: nnodes * nproc, variables })
            }
        }
    }

    /// What an engine says, with what flags say otherwise.
    fn corrected(&self, place: Place) -> Part {
        if place.size == 1 {
            return Part::Alone;
        }
        let address = self.master_addr.clone().unwrap_or(place.address);
        Part::Of(Place { address, port: self.master_port.unwrap_or(place.port), ..place })
    }
}

/// A port of this machine that nobody listens on.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn number(variable: Variable, name: &str) -> Result<Option<usize>> {
    let Some(value) = variable(name) else { return Ok(None) };
    match value.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => bail!("{name} is {value:?} in the environment, which is no number"),
    }
}

/// What the engine that started this process says, if one did.
fn engine(variable: Variable) -> Result<Option<Place>> {
    for ask in [torchrun, slurm, open_mpi, pmi, tpus] {
        if let Some(place) = ask(variable)? {
            let Place { rank, size, engine, .. } = place;
            ensure!(rank < size && size <= MOST, "{engine} says that this is rank {rank} of {size}");
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// `torchrun --no-python`. Its agent may listen on the port itself; the next one is free then.
fn torchrun(variable: Variable) -> Result<Option<Place>> {
    let (rank, size) = (number(variable, "RANK")?, number(variable, "WORLD_SIZE")?);
    let address = variable("MASTER_ADDR");
    let (Some((rank, size)), Some(address)) = (rank.zip(size), address) else { return Ok(None) };
    let port = number(variable, "MASTER_PORT")?.map_or(PORT, |port| port as u16);
    let agent_listens = variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value == "True");
    let port = if agent_listens { port.wrapping_add(1) } else { port };
    Ok(Some(Place { rank, size, address, port, engine: "torchrun" }))
}

/// `srun`: the variables of a step, which a shell of `salloc` or the script of `sbatch` has not.
fn slurm(variable: Variable) -> Result<Option<Place>> {
    let (rank, size) = (number(variable, "SLURM_PROCID")?, number(variable, "SLURM_STEP_NUM_TASKS")?);
    let nodes = variable("SLURM_STEP_NODELIST");
    let (Some((rank, size)), Some(nodes)) = (rank.zip(size), nodes) else { return Ok(None) };
    if size == 1 {
        return Ok(None); // one task of its own, such as a shell
    }
    let job = number(variable, "SLURM_JOB_ID")?.unwrap_or(0);
    let address = if number(variable, "SLURM_STEP_NUM_NODES")? == Some(1) {
        "127.0.0.1".to_owned()
    } else {
        first_host(&nodes)
    };
    Ok(Some(Place { rank, size, address, port: port_of(job), engine: "SLURM" }))
}

/// The first host of a list as SLURM writes it: `gpu[007-009,012],login`.
fn first_host(list: &str) -> String {
    let (name, rest) = list.split_at(list.find(['[', ',']).unwrap_or(list.len()));
    let Some(inside) = rest.strip_prefix('[') else { return name.to_owned() };
    let (numbers, after) = inside.split_once(']').unwrap_or((inside, ""));
    let number = numbers.split(['-', ',']).next().unwrap_or_default();
    let after = after.split(',').next().unwrap_or_default();
    format!("{name}{number}{after}")
}

/// A port that jobs of different numbers do not share, in general.
fn port_of(job: usize) -> u16 {
    61440 + (job % 4096) as u16
}

/// `mpirun` of Open MPI.
fn open_mpi(variable: Variable) -> Result<Option<Place>> {
    let of = |name: &str| number(variable, &format!("OMPI_COMM_WORLD_{name}"));
    let Some((rank, size)) = of("RANK")?.zip(of("SIZE")?) else { return Ok(None) };
    // "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911"
    let launcher = variable("OMPI_MCA_orte_hnp_uri").or_else(|| variable("PMIX_SERVER_URI41"));
    let job = variable("PMIX_NAMESPACE").or_else(|| launcher.clone());
    let host = || {
        let (_, uri) = launcher.as_deref()?.split_once("://")?;
        Some(uri.split([',', ':']).next()?.to_owned())
    };
    mpi_place(rank, size, of("LOCAL_SIZE")?, host(), job, OPEN_MPI).map(Some)
}

/// `mpirun` of MPICH and its relatives.
fn pmi(variable: Variable) -> Result<Option<Place>> {
    let Some((rank, size)) = number(variable, "PMI_RANK")?.zip(number(variable, "PMI_SIZE")?) else {
        return Ok(None);
    };
    let local = number(variable, "MPI_LOCALNRANKS")?;
    mpi_place(rank, size, local, None, None, PMI).map(Some)
}

/// The machines of a slice of TPUs, as Kubernetes tells them.
fn tpus(variable: Variable) -> Result<Option<Place>> {
    let Some((rank, hosts)) = number(variable, "TPU_WORKER_ID")?.zip(variable("TPU_WORKER_HOSTNAMES")) else {
        return Ok(None);
    };
    let address = first_host(&hosts);
    Ok(Some(Place { rank, size: hosts.split(',').count(), address, port: PORT, engine: "TPU_WORKER_ID" }))
}

/// The place in a job of MPI. The processes of one machine have one parent, whose number tells jobs apart; others have `job`.
fn mpi_place(
    rank: usize,
    size: usize,
    local: Option<usize>,
    host: Option<String>,
    job: Option<String>,
    engine: &'static str,
) -> Result<Place> {
    if local == Some(size) {
        let port = port_of(std::os::unix::process::parent_id() as usize);
        return Ok(Place { rank, size, address: "127.0.0.1".into(), port, engine });
    }
    let Some(address) = host else { bail!("{engine} does not say where rank 0 is; say --master-addr HOST") };
    let hash = |job: String| job.bytes().fold(0usize, |hash, byte| (hash * 31 + byte as usize) % 4096);
    Ok(Place { rank, size, address, port: job.map_or(PORT, |job| port_of(hash(job))), engine })
}

/// The pod of index 0 of an Indexed Job, whose pods are called by their indices.
fn first_pod(variable: Variable) -> Option<String> {
    let index = variable("JOB_COMPLETION_INDEX")?;
    let host = variable("HOSTNAME")?;
    let (name, domain) = host.split_at(host.find('.').unwrap_or(host.len()));
    let job = name.strip_suffix(&index)?.strip_suffix('-')?;
    Some(format!("{job}-0{domain}"))
}

impl Place {
    /// Whether `mpirun` started the processes, so that MPI can be used.
    pub fn is_of_mpi(&self) -> bool {
        [OPEN_MPI, PMI].contains(&self.engine)
    }

    /// What a process says of itself: `rank 1 of 4`.
    pub fn words(&self) -> String {
        format!("rank {} of {}", self.rank, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(flags: &[&str]) -> Nodes {
        let command = Nodes::augment_args(clap::Command::new("train").no_binary_name(true));
        let matches = command.try_get_matches_from(flags).unwrap();
        clap::FromArgMatches::from_arg_matches(&matches).unwrap()
    }

    fn part(flags: &str, variables: &str) -> Result<Part> {
        let flags: Vec<&str> = flags.split_whitespace().collect();
        let variable = |name: &str| {
            let mut pairs = variables.split_whitespace().filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        nodes(&flags).part_by(&variable)
    }

    /// `rank/size@address:port`, by whom.
    fn place(flags: &str, variables: &str) -> String {
        match part(flags, variables) {
            Ok(Part::Of(Place { rank, size, address, port, engine })) => {
                format!("{rank}/{size}@{address}:{port} by {engine}")
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn flags_say_it() {
        let two = "--nnodes 2 --node-rank 1 --master-addr a";
        assert_eq!(place(two, ""), "1/2@a:29500 by flags");
        assert_eq!(place(&format!("{two} --master-port 7"), "RANK=3 WORLD_SIZE=4"), "1/2@a:7 by flags");
        let child = "LOCKSTEP_LOCAL_RANK=1";
        assert_eq!(place(&format!("{two} --nproc-per-node 3"), child), "4/6@a:29500 by flags");
        assert_eq!(place("--nproc-per-node 3 --master-port 5", child), "1/3@127.0.0.1:5 by flags");
        assert_eq!(place("", ""), "Ok(Alone)");
        assert_eq!(place("--nnodes 1", ""), "Ok(Alone)");
    }

    #[test]
    fn one_process_starts_the_others() {
        let part = part("--nproc-per-node 4 --nnodes 2 --node-rank 1 --master-addr h", "").unwrap();
        let Part::Start { processes, size, variables } = part else { panic!() };
        let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
        assert_eq!((processes, size), (4, 8));
        assert_eq!(names, ["LOCKSTEP_NODE_RANK", "LOCKSTEP_MASTER_ADDR", "LOCKSTEP_MASTER_PORT"]);
    }

    #[test]
    fn engines_say_it() {
        let torchrun = "RANK=1 WORLD_SIZE=2 MASTER_ADDR=h MASTER_PORT=29400";
        assert_eq!(place("", torchrun), "1/2@h:29400 by torchrun");
        let agent = format!("{torchrun} TORCHELASTIC_USE_AGENT_STORE=True");
        assert_eq!(place("", &agent), "1/2@h:29401 by torchrun");
        assert_eq!(place("--master-port 8 --master-addr b", torchrun), "1/2@b:8 by torchrun");
        let slurm =
            "SLURM_PROCID=3 SLURM_STEP_NUM_TASKS=4 SLURM_STEP_NODELIST=n[07-09,11].x,z SLURM_JOB_ID=4097";
        assert_eq!(place("", slurm), "3/4@n07.x:61441 by SLURM");
        assert_eq!(place("", &format!("{slurm} SLURM_STEP_NUM_NODES=1")), "3/4@127.0.0.1:61441 by SLURM");
        let mpi = "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2";
        assert!(place("", &format!("{mpi} OMPI_COMM_WORLD_LOCAL_SIZE=2")).starts_with("1/2@127.0.0.1:6"));
        let uri = "OMPI_MCA_orte_hnp_uri=15.0;tcp://10.96.0.1,10.148.0.1:34911";
        assert!(place("", &format!("{mpi} {uri}")).starts_with("1/2@10.96.0.1:6"));
        assert!(place("", "PMI_RANK=0 PMI_SIZE=2 MPI_LOCALNRANKS=2").starts_with("0/2@127.0.0.1:6"));
        assert_eq!(
            place("", "TPU_WORKER_ID=1 TPU_WORKER_HOSTNAMES=a.x,b.x"),
            "1/2@a.x:29500 by TPU_WORKER_ID"
        );
        let pod = "JOB_COMPLETION_INDEX=2 HOSTNAME=train-2.workers";
        assert_eq!(place("--nnodes 3", pod), "2/3@train-0.workers:29500 by flags");
    }

    #[test]
    fn a_shell_of_an_allocation_is_no_step() {
        assert_eq!(place("", "SLURM_PROCID=0 SLURM_NTASKS=4 SLURM_JOB_NODELIST=n[1-2]"), "Ok(Alone)");
        assert_eq!(place("", "RANK=0 WORLD_SIZE=1 MASTER_ADDR=h"), "Ok(Alone)");
        assert_eq!(place("", "TPU_WORKER_ID=0 TPU_WORKER_HOSTNAMES=localhost"), "Ok(Alone)");
    }

    #[test]
    fn hosts_of_a_list() {
        for (list, first) in [("a,b", "a"), ("n[3,5]", "n3"), ("n[007-9]-ib,b", "n007-ib"), ("solo", "solo")]
        {
            assert_eq!(first_host(list), first);
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        for (flags, variables, told) in [
            ("--nnodes 2", "", "which of the 2 machines is this? Say --node-rank 0 to 1"),
            ("--nnodes 2 --node-rank 2", "", "--node-rank is 2; of 2 machines it is from 0 to 1"),
            (
                "--nnodes 2 --node-rank 1",
                "",
                "where is rank 0? Say --master-addr HOST, the same on all machines",
            ),
            (
                "--node-rank 1",
                "",
                "--node-rank is for several processes; say with --nnodes how many machines there are",
            ),
            ("--nnodes 0", "", "--nnodes and --nproc-per-node must be at least 1"),
            ("--nnodes 5000", "", "5000 machines of 1 processes are more than 4096 processes"),
            ("", "RANK=2 WORLD_SIZE=2 MASTER_ADDR=h", "torchrun says that this is rank 2 of 2"),
            ("", "PMI_RANK=x PMI_SIZE=2", "PMI_RANK is \"x\" in the environment, which is no number"),
            ("", "PMI_RANK=0 PMI_SIZE=2", "mpirun does not say where rank 0 is; say --master-addr HOST"),
        ] {
            assert_eq!(part(flags, variables).unwrap_err().to_string(), told);
        }
    }
}
