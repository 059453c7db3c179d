//! What libtpu is told of several processes, by variables: it takes no options, and what is wrong in them it answers by waiting.
//!
//! With one process on each machine of a slice the machines' own service says it all, or Kubernetes does with TPU_WORKER_ID and
//! TPU_WORKER_HOSTNAMES. Several processes on one machine share its chips as the other variables say. lockstep sets none of them; it compares them
//! with what it knows, before libtpu is loaded, and what libtpu makes of them after that (`Client::open_together`).

use super::Processes;

/// The number of the process; the first that is set counts.
const NUMBERS: [&str; 2] = ["CLOUD_TPU_TASK_ID", "TPU_WORKER_ID"];
/// A place for each process; the first that is set counts.
const LISTS: [&str; 2] = ["TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES"];
const BOUNDS: &str = "TPU_PROCESS_BOUNDS";
const ADDRESSES: &str = LISTS[0];
const PORT: &str = "TPU_PROCESS_PORT";

/// What several processes on one machine need: one of each of these.
const SHARED: [&[&str]; 6] = [
    &[BOUNDS],
    &["TPU_CHIPS_PER_PROCESS_BOUNDS"],
    &[ADDRESSES],
    &[PORT],
    &["TPU_VISIBLE_CHIPS", "TPU_VISIBLE_DEVICES"],
    &[NUMBERS[0]],
];

/// What the environment says under a name.
type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Compares libtpu's variables with the rank of this process and the number of all.
///
/// # Errors
/// One line that names the variable which is missing or says something else.
pub fn check(rank: usize, processes: Processes) -> Result<(), String> {
    check_by(rank, processes, &|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

fn check_by(rank: usize, Processes { total, here }: Processes, variable: Variable) -> Result<(), String> {
    if here > 1
        && let Some(missing) = missing(variable)
    {
        return Err(format!(
            "{here} processes share the TPUs of this machine and {missing} is not set; set {} for each of them, or start one process on \
             each machine",
            SHARED.map(|names| names[0]).join(", ")
        ));
    }
    if let Some((name, number)) = first(variable, &NUMBERS)
        && number.trim().parse() != Ok(rank)
    {
        return Err(format!("{name} is {number} and this is rank {rank}; libtpu wants the same number"));
    }
    if let Some((name, list)) = first(variable, &LISTS)
        && list.split(',').count() != total
    {
        return Err(format!(
            "{name} is {list:?}, {} processes, and {total} train together",
            list.split(',').count()
        ));
    }
    if let Some((name, bounds)) = first(variable, &[BOUNDS]) {
        let product =
            bounds.split(',').map(|size| size.trim().parse::<usize>()).product::<Result<usize, _>>();
        if product != Ok(total) {
            return Err(format!(
                "{name} is {bounds:?}, whose product is not {total}, the number of processes that train together"
            ));
        }
    }
    let (addresses, port) = (variable(ADDRESSES), variable(PORT));
    if let Some((addresses, port)) = addresses.zip(port)
        && let Some((_, own)) = addresses.split(',').nth(rank).and_then(|address| address.rsplit_once(':'))
        && own != port
    {
        return Err(format!("{PORT} is {port}, and {ADDRESSES} has {own} for rank {rank}"));
    }
    Ok(())
}

/// What several processes on one machine lack.
fn missing(variable: Variable) -> Option<&'static str> {
    SHARED.into_iter().find(|names| first(variable, names).is_none()).map(|names| names[0])
}

/// The first of these that is set.
fn first<'a>(variable: Variable, names: &[&'a str]) -> Option<(&'a str, String)> {
    names.iter().find_map(|name| Some((*name, variable(name)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(rank: usize, (total, here): (usize, usize), variables: &str) -> Result<(), String> {
        check_by(rank, Processes { total, here }, &|name| {
            let mut pairs = variables.split_whitespace().filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        })
    }

    /// Of the second of four processes on one machine, each with a chip.
    const SECOND: &str = "TPU_PROCESS_BOUNDS=2,2,1 TPU_CHIPS_PER_PROCESS_BOUNDS=1,1,1 TPU_PROCESS_PORT=8477 CLOUD_TPU_TASK_ID=1 \
         TPU_PROCESS_ADDRESSES=localhost:8476,localhost:8477,localhost:8478,localhost:8479 TPU_VISIBLE_DEVICES=1";

    #[test]
    fn what_fits_is_taken() {
        assert_eq!(checked(2, (4, 1), ""), Ok(())); // the service of the machine says it
        assert_eq!(checked(1, (2, 1), "TPU_WORKER_ID=1 TPU_WORKER_HOSTNAMES=a,b"), Ok(()));
        assert_eq!(checked(1, (4, 4), SECOND), Ok(()));
    }

    #[test]
    fn what_is_missing_or_differs_is_named() {
        let told = |outcome: Result<(), String>, start: &str| {
            let problem = outcome.unwrap_err();
            assert!(problem.starts_with(start), "{problem}");
        };
        told(
            checked(0, (2, 2), ""),
            "2 processes share the TPUs of this machine and TPU_PROCESS_BOUNDS is not set",
        );
        for name in SECOND.split_whitespace().map(|pair| pair.split('=').next().unwrap()) {
            let others = SECOND.replace(name, "OTHER");
            let name = name.replace("DEVICES", "CHIPS");
            told(
                checked(1, (4, 4), &others),
                &format!("4 processes share the TPUs of this machine and {name} is not set"),
            );
        }
        told(checked(2, (4, 4), SECOND), "CLOUD_TPU_TASK_ID is 1 and this is rank 2");
        told(
            checked(0, (2, 1), "TPU_WORKER_ID=1 TPU_WORKER_HOSTNAMES=a,b"),
            "TPU_WORKER_ID is 1 and this is rank 0",
        );
        told(
            checked(0, (2, 1), "TPU_WORKER_HOSTNAMES=a,b,c"),
            "TPU_WORKER_HOSTNAMES is \"a,b,c\", 3 processes, and 2 train",
        );
        told(
            checked(1, (4, 4), &SECOND.replace("2,2,1", "2,1,1")),
            "TPU_PROCESS_BOUNDS is \"2,1,1\", whose product is not 4",
        );
        told(
            checked(1, (4, 4), &SECOND.replace("PORT=8477", "PORT=8476")),
            "TPU_PROCESS_PORT is 8476, and TPU_PROCESS_ADDRESSES has 8477",
        );
    }
}
