//! Work shared out to the machine's cores, with results in the order of the items.

use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

/// Calls `work` for each item, on as many threads as there are cores, and gives the results in the items' order. The
/// first error in that order wins; after an error no new item is begun.
pub(crate) fn try_map<I: Sync, T: Send, E: Send>(
    items: &[I],
    work: impl Fn(usize, &I) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(items.len());
    let queue = Mutex::new(items.iter().enumerate());
    let done: Mutex<Vec<(usize, Result<T, E>)>> = Mutex::new(Vec::with_capacity(items.len()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no holder of the lock panics").next();
                    let Some((index, item)) = next else { return };
                    let result = work(index, item);
                    if result.is_err() {
                        queue.lock().expect("no holder of the lock panics").by_ref().for_each(drop);
                    }
                    done.lock().expect("no holder of the lock panics").push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no holder of the lock panics");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();
        let result: Result<Vec<_>, ()> = try_map(&items, |index, item| Ok(index + item));
        assert_eq!(result.unwrap(), items.iter().map(|item| 2 * item).collect::<Vec<_>>());
    }

    #[test]
    fn stops_at_an_error() {
        let items: Vec<usize> = (0..1000).collect();
        let begun = std::sync::atomic::AtomicUsize::new(0);
        let result: Result<Vec<()>, usize> = try_map(&items, |_, item| {
            begun.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Err(*item)
        });
        assert_eq!(result.unwrap_err(), 0);
        assert!(begun.into_inner() <= thread::available_parallelism().unwrap().get());
    }
}
