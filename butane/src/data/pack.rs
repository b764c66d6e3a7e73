//! All contents of a config at once.
//!
//! One thing's form depends on nothing else, so several threads take them from one list, the largest first; the results
//! are put back in the order of the config. The bytes are the same on any number of threads.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::choice::Chooser;
use super::{Data, Packed, Source, Waiting};
use crate::local::{self, LocalError};
use crate::lower::sort;
use crate::tree::{Findings, Tree, Value};

/// Starting a thread costs about as much as compressing some tens of kilobytes.
const ALONE_BELOW_BYTES: u64 = 256 * 1024;

/// Contents in their final form, with what `compression` becomes.
type Outcome = Result<(Packed, Option<&'static str>), LocalError>;

/// Turns everything that waits in `config` into data URLs, and says which compression they have. What cannot be read is
/// reported where it was asked for.
pub(crate) fn pack(config: &mut Tree, findings: &mut Findings) {
    let mut resources = Vec::new();
    gather(config, &mut resources);
    let mut jobs = Vec::with_capacity(resources.len());
    for resource in &mut resources {
        let Some(source) = resource.get_mut("source") else { continue };
        // It is broken for as long as its contents are away.
        if let Value::Data(Data::Waiting(waiting)) =
            std::mem::replace(&mut source.value, Value::Broken)
        {
            jobs.push(waiting);
        }
    }
    for (resource, outcome) in resources.into_iter().zip(run(jobs, threads)) {
        let Some(source) = resource.get_mut("source") else { continue };
        let origin = source.origin.clone();
        match outcome {
            Ok((packed, compression)) => {
                source.value = Value::Data(Data::Packed(packed.into()));
                if let Some(compression) = compression {
                    resource.set("compression", Tree::text_at(&origin, compression));
                    sort(resource);
                }
            }
            Err(error) => local::report(&error, &origin, findings),
        }
    }
}

/// The resources that wait, in the order of the config.
fn gather<'t>(tree: &'t mut Tree, resources: &mut Vec<&'t mut Tree>) {
    let source = tree.get("source").map(|source| &source.value);
    if matches!(source, Some(Value::Data(Data::Waiting(_)))) {
        resources.push(tree);
        return;
    }
    match &mut tree.value {
        Value::Map(entries) => {
            entries.iter_mut().for_each(|(_, value)| gather(value, resources));
        }
        Value::List(items) => items.iter_mut().for_each(|item| gather(item, resources)),
        _ => {}
    }
}

/// How many threads there is work for.
fn threads(jobs: &[Waiting]) -> usize {
    let bytes: u64 = jobs.iter().map(|job| job.source.bytes()).sum();
    if bytes < ALONE_BELOW_BYTES || jobs.len() < 2 {
        return 1;
    }
    thread::available_parallelism().map_or(1, NonZero::get).min(jobs.len())
}

/// Does all jobs, and gives what came out in their order.
fn run(jobs: Vec<Waiting>, threads: impl Fn(&[Waiting]) -> usize) -> Vec<Outcome> {
    let threads = threads(&jobs);
    if threads == 1 {
        let mut chooser = Chooser::default();
        return jobs.iter().map(|job| one(job, &mut chooser)).collect();
    }
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(jobs[*index].source.bytes()));
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut chooser, mut outcomes) = (Chooser::default(), Vec::new());
        while let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            outcomes.push((*index, one(&jobs[*index], &mut chooser)));
        }
        outcomes
    };
    let mut outcomes = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut outcomes = work();
        for other in others {
            outcomes.extend(other.join().expect("a form can be chosen for any bytes"));
        }
        outcomes
    });
    outcomes.sort_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn one(job: &Waiting, chooser: &mut Chooser) -> Outcome {
    match &job.source {
        Source::Bytes(bytes) => Ok(chooser.choose((&**bytes).into(), job.forms)),
        Source::File(found) => Ok(chooser.choose(local::contents(found)?.into(), job.forms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Forms;

    #[test]
    fn any_number_of_threads_gives_the_same() {
        let jobs = || {
            let text = |n: usize| format!("{} {n}\n", n * n * n).repeat(n * 7 % 50);
            let job = |n| Waiting {
                source: Source::Bytes(text(n).into_bytes().into()),
                forms: Forms::All,
            };
            (0..200).map(job).collect::<Vec<_>>()
        };
        let urls = |threads| {
            let outcomes = run(jobs(), |_| threads).into_iter().map(Result::unwrap);
            outcomes.map(|(packed, word)| (packed.url().to_owned(), word)).collect::<Vec<_>>()
        };
        let alone = urls(1);
        assert!(alone.iter().any(|(_, compression)| *compression == Some("gzip")));
        assert!(alone.iter().any(|(_, compression)| *compression == Some("")));
        for threads in [2, 3, 8] {
            assert_eq!(urls(threads), alone);
        }
    }
}
