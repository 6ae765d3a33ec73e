//! Ctrl-C.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::gateway::Gateways;
use super::report;

/// Added to a signal's number, the exit code that shells report for whom it ended.
const EXIT_BY_SIGNAL: i32 = 128;

/// A thread that waits for SIGINT, SIGTERM and SIGHUP. Such a signal ends the gateways and then
/// this process, wherever the demo stands; everything else lives in namespaces and goes with it.
pub(super) struct Interrupt {
    /// Somebody who waits for the signal; it ends nothing then.
    waiter: Arc<Mutex<Option<mpsc::Sender<()>>>>,
    /// Held while a signal is dealt with.
    busy: Arc<Mutex<()>>,
}

impl Interrupt {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread, or no signal handlers.
    pub(super) fn watch(gateways: Gateways) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let signals = runtime.block_on(async { kinds.map(signal) });
        let [interrupt, terminate, hangup] = signals;
        let (mut interrupt, mut terminate, mut hangup) = (interrupt?, terminate?, hangup?);
        let waiter: Arc<Mutex<Option<mpsc::Sender<()>>>> = Arc::default();
        let busy: Arc<Mutex<()>> = Arc::default();
        let watch = Self {
            waiter: waiter.clone(),
            busy: busy.clone(),
        };
        let wait = async move {
            tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
                _ = hangup.recv() => SignalKind::hangup(),
            }
        };
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                let kind = runtime.block_on(wait);
                let _busy = lock(&busy);
                if let Some(waiter) = lock(&waiter).take() {
                    // It may have stopped waiting, which ends the process all the same.
                    let _ = waiter.send(());
                    return;
                }
                gateways.stop();
                gateways.end_docker();
                report::say("\nweapon: interrupted; the gateways are stopped, nothing is left");
                std::process::exit(EXIT_BY_SIGNAL + kind.as_raw_value());
            })
            .context("cannot watch for signals")?;
        Ok(watch)
    }

    /// From here on a signal ends nothing, but is what can be received here.
    pub(super) fn hold(&self) -> mpsc::Receiver<()> {
        let (sender, receiver) = mpsc::channel();
        *lock(&self.waiter) = Some(sender);
        receiver
    }

    /// Returns unless a signal is being dealt with, which ends the process.
    pub(super) fn settle(&self) {
        if self.busy.try_lock().is_err() {
            // Longer than the gateways are given to end.
            std::thread::sleep(Duration::from_secs(20));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
