//! All contents of a config at once.
//!
//! One thing's form depends on nothing else, so several threads take them from one list, the largest first; the results
//! are put back in the order of the config. The bytes are the same on any number of threads.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::choice::{Chooser, Effort};
use super::{Data, Forms, Packed, Source, Waiting};
use crate::local::{self, LocalError};
use crate::lower::sort;
use crate::tree::{Findings, Tree, Value};

/// What is small: it is compressed in an instant, and starting a thread for it is not worth it.
const SMALL_BYTES: u64 = 256 * 1024;

thread_local! {
    // Who compiles a thousand small configs would make a thousand compressors otherwise, at several times their work.
    static WORKSHOP: RefCell<Workshop> = RefCell::default();
}

/// Contents in their final form, with what `compression` becomes.
type Outcome = Result<Choice, LocalError>;

type Choice = (Arc<Packed>, Option<&'static str>);

/// How much of what was compressed is remembered, in bytes before compression.
const REMEMBERED_BYTES: usize = 1024 * 1024;

/// A compressor for small configs, and what it did last: the configs of a cluster's nodes have most files in common.
#[derive(Default)]
struct Workshop {
    chooser: Chooser,
    known: HashMap<Arc<[u8]>, Choice>,
    known_bytes: usize,
}

impl Workshop {
    fn one(&mut self, job: &Waiting) -> Outcome {
        let Source::Bytes(bytes) = &job.source else { return one(job, &mut self.chooser) };
        if job.forms != Forms::All {
            return one(job, &mut self.chooser);
        }
        if let Some(choice) = self.known.get(bytes) {
            return Ok(choice.clone());
        }
        if self.known_bytes + bytes.len() > REMEMBERED_BYTES {
            self.known.clear();
            self.known_bytes = 0;
        }
        let choice = one(job, &mut self.chooser)?;
        self.known_bytes += bytes.len();
        self.known.insert(Arc::clone(bytes), choice.clone());
        Ok(choice)
    }
}

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
    for (resource, outcome) in resources.into_iter().zip(run(&jobs)) {
        let Some(source) = resource.get_mut("source") else { continue };
        let origin = source.origin.clone();
        match outcome {
            Ok((packed, compression)) => {
                source.value = Value::Data(Data::Packed(packed));
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

/// Does all jobs, and gives what came out in their order.
fn run(jobs: &[Waiting]) -> Vec<Outcome> {
    if jobs.iter().map(|job| job.source.bytes()).sum::<u64>() < SMALL_BYTES {
        let run = |workshop: &mut Workshop| jobs.iter().map(|job| workshop.one(job)).collect();
        return WORKSHOP.with_borrow_mut(run);
    }
    let threads =
        if jobs.len() > 1 { thread::available_parallelism().map_or(1, NonZero::get) } else { 1 };
    run_on(threads.min(jobs.len()), jobs)
}

fn run_on(threads: usize, jobs: &[Waiting]) -> Vec<Outcome> {
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(jobs[*index].source.bytes()));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut chooser = Chooser::default();
        chooser.effort = Effort::Enough;
        let mut outcomes = Vec::new();
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
    let contents: Cow<[u8]> = match &job.source {
        Source::Bytes(bytes) => (&**bytes).into(),
        Source::File(found) => local::contents(found)?.into(),
    };
    let (packed, compression) = chooser.choose(contents, job.forms);
    Ok((packed.into(), compression))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let outcomes = run_on(threads, &jobs()).into_iter().map(Result::unwrap);
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
