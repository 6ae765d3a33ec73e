//! Between the gateway and the writer of its log: a queue one way, how it goes the other way. Here
//! both are threads of one process. What goes over it can be serialised, and neither end knows
//! more of the other: a socket to another process takes the place of this file.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, TrySendError, channel, sync_channel},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    entry::Entry,
    folder::Store,
    sender::{OnFailure, Sender},
    writer::Writer,
};

/// Records that wait for the writer at most: at 500 bytes each, 2 MB.
const QUEUE_MAX: usize = 4096;

/// Records that are written and synced at once at most.
const BATCH_MAX: usize = 1024;

/// How long the writer gathers after it has written: so a disk is not asked to sync all the time.
const GATHER_TIME: Duration = Duration::from_millis(20);

/// What goes to the writer.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToWriter {
    /// Something happened.
    Entry(Box<Entry>),
    /// Nothing more will: what is there is written and sealed.
    Close,
}

/// The writer's thread, seen from the gateway.
#[derive(Debug)]
pub struct Link {
    ended: Receiver<()>,
}

impl Link {
    /// Starts the writer's thread.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn start<S: Store + 'static>(
        writer: Writer<S>,
        on_failure: OnFailure,
    ) -> io::Result<(Sender, Self)> {
        let (queue, entries) = sync_channel(QUEUE_MAX);
        let sender = Sender::new(on_failure, move |what| {
            queue.try_send(what).map_err(|error| match error {
                TrySendError::Full(what) | TrySendError::Disconnected(what) => what,
            })
        });
        sender.note_state(writer.state());
        let (end, ended) = channel::<()>();
        let told = sender.clone();
        thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || {
                run(writer, &entries, &told);
                drop(end);
            })?;
        Ok((sender, Self { ended }))
    }

    /// Waits until all is written that was sent, so long at most; whether it is.
    pub fn wait(&self, time: Duration) -> bool {
        !matches!(
            self.ended.recv_timeout(time),
            Err(RecvTimeoutError::Timeout)
        )
    }
}

fn run<S: Store>(mut writer: Writer<S>, queue: &Receiver<ToWriter>, told: &Sender) {
    loop {
        let first = match writer.due() {
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(time) => queue.recv_timeout(time),
        };
        let mut batch = Vec::new();
        let mut is_closed = false;
        match first {
            Err(RecvTimeoutError::Disconnected) => is_closed = true,
            Err(RecvTimeoutError::Timeout) => told.note_state(writer.tick()),
            Ok(first) => {
                for what in std::iter::once(first).chain(queue.try_iter()) {
                    match what {
                        ToWriter::Entry(entry) => batch.push(*entry),
                        ToWriter::Close => is_closed = true,
                    }
                    if batch.len() == BATCH_MAX {
                        break;
                    }
                }
            }
        }
        if !batch.is_empty() {
            told.note_state(writer.take(batch));
        }
        if is_closed {
            told.note_state(writer.close());
            return;
        }
        if writer.due() == Some(Duration::ZERO) {
            told.note_state(writer.tick());
        }
        thread::sleep(GATHER_TIME);
    }
}
