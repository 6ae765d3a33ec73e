//! A matrix of interoperability: each peer, and what is tried with it. Each cell is a tunnel of its
//! own in namespaces of its own.

mod bed;
mod rows;
mod table;
mod versions;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use crate::gateway::Kind;
use rows::{Cost, ROWS, Row};
pub use table::{Cell, Table};

/// The columns: ours for comparison, then all others.
const PEERS: [(&str, Kind); 5] = [
    ("weapon", Kind::Weapon),
    ("wireguard-go", Kind::WireguardGo),
    ("boringtun", Kind::Boringtun),
    ("gotatun", Kind::Gotatun),
    ("kernel", Kind::Kernel),
];

/// How many cells run at a time beside those that sleep: as many as small machines have processors.
const WORKERS: usize = 2;

/// What is run.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// These peers alone, unless it is empty.
    pub peers: Vec<String>,
    /// Rows whose name contains one of these, unless it is empty.
    pub rows: Vec<String>,
}

impl Selection {
    fn columns(&self) -> Vec<(&'static str, Kind)> {
        let wanted = |name: &str| self.peers.is_empty() || self.peers.iter().any(|it| it == name);
        PEERS
            .into_iter()
            .filter(|&(name, _)| wanted(name))
            .collect()
    }

    fn rows(&self) -> Vec<Row> {
        let chosen = |name: &str| self.rows.iter().any(|it| name.contains(it.as_str()));
        let wanted = |row: &Row| self.rows.is_empty() || chosen(row.name);
        ROWS.into_iter().filter(wanted).collect()
    }
}

/// A cell that is to be run: its row, its column, and who it is.
type Task = (usize, usize, Row, Kind);

/// Runs the selected cells, and tells of each when it is through.
pub fn run(selection: &Selection, tell: &(dyn Fn(&str) + Sync)) -> Table {
    let (columns, rows) = (selection.columns(), selection.rows());
    let table = Mutex::new(Table::new(
        columns
            .iter()
            .map(|&(name, kind)| (name, versions::of(kind))),
        rows.iter().map(|row| row.name),
    ));
    let tasks = |cost: Cost| -> Vec<Task> {
        let of_row = |(at, &row): (usize, &Row)| {
            let cell = move |(column, &(_, kind)): (usize, &(&str, Kind))| (at, column, row, kind);
            columns.iter().enumerate().map(cell).collect::<Vec<_>>()
        };
        let chosen = rows.iter().enumerate().filter(|(_, row)| row.cost == cost);
        chosen.flat_map(of_row).collect()
    };
    let note = |(at, column, row, _): Task, cell: Cell| {
        tell(&format!(
            "{}, {}: {}",
            columns[column].0,
            row.name,
            cell.long()
        ));
        lock(&table).set(at, column, cell);
    };
    let short = Mutex::new(tasks(Cost::Short).into_iter());
    std::thread::scope(|scope| {
        for task in tasks(Cost::Sleeps) {
            scope.spawn(move || note(task, attempt(task)));
        }
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    // Not held while the cell runs.
                    let task = lock(&short).next();
                    let Some(task) = task else { return };
                    note(task, attempt(task));
                }
            });
        }
    });
    for task in tasks(Cost::Alone) {
        note(task, attempt(task));
    }
    table
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What a cell that has failed leaves is whole: it is written in one step.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn attempt((_, _, row, kind): Task) -> Cell {
    if let Some(reason) = kind.lacking() {
        return Cell::NotAvailable(reason);
    }
    // On a thread of its own: what it starts ends with the thread.
    std::thread::scope(|scope| {
        let running = scope.spawn(|| catch_unwind(AssertUnwindSafe(|| (row.run)(kind))));
        match running.join() {
            Ok(Ok(note)) => Cell::Good(note),
            Ok(Err(panic)) | Err(panic) => Cell::Failed(crate::panic_text(&*panic)),
        }
    })
}
