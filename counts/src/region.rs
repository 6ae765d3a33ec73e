//! The measured region: the one function inside which callgrind counts.

use core::hint::black_box;

/// How often an operation is measured. Enough that what happens now and then, as a new word of the
/// replay window, weighs what it weighs in the long run.
const ROUNDS: u64 = 64;

/// Calls `operation` on `state` again and again, each time after an uncounted `prepare`. One more
/// round before all others is not counted either: it makes what is made once in a thread's life.
///
/// Returns how many rounds were counted.
pub(crate) fn repeat<S>(
    state: &mut S,
    mut prepare: impl FnMut(&mut S),
    mut operation: impl FnMut(&mut S),
) -> u64 {
    prepare(state);
    let once: &mut dyn FnMut(&mut S) = black_box(&mut operation);
    once(state);
    for _ in 0..ROUNDS {
        prepare(state);
        measured(&mut || operation(state));
    }
    ROUNDS
}

/// Callgrind is told to count in here, by this name.
#[inline(never)]
fn measured(operation: &mut dyn FnMut()) {
    operation();
    // Not a call in the tail: the operation must return to here, where counting ends.
    black_box(());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_comes_after_its_preparation() {
        let mut log = Vec::new();
        let rounds = repeat(&mut log, |log| log.push('p'), |log| log.push('o'));
        assert_eq!(rounds, ROUNDS);
        assert_eq!(log, ['p', 'o'].repeat(ROUNDS as usize + 1));
    }
}
