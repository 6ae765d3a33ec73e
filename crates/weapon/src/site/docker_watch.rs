//! Docker's networks, followed: made, removed, and Docker itself started again.

use std::time::{Duration, Instant};

use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::docker::{Docker, DockerError, DockerNetwork};
use crate::report::seconds_now;

/// Before Docker is asked again that has ended the conversation; doubled for each further time.
const RETRY_MIN: Duration = Duration::from_millis(200);

/// Between questions to a Docker that is away at most: so long it may be back unnoticed.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// `docker compose` makes and removes several networks at once.
const BURST: Duration = Duration::from_millis(50);

/// What is known of Docker's networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// All of them, as they were last seen; none if they were never.
    pub networks: Option<Vec<DockerNetwork>>,
    /// Why they are not seen at this moment.
    pub away: Option<String>,
}

impl Known {
    /// Whether it is something else now.
    fn note(&mut self, answer: &Result<Vec<DockerNetwork>, DockerError>) -> bool {
        let now = match answer {
            Ok(networks) => Self {
                networks: Some(networks.clone()),
                away: None,
            },
            Err(error) => Self {
                networks: self.networks.take(),
                away: Some(error.to_string()),
            },
        };
        let is_different = *self != now;
        *self = now;
        is_different
    }
}

/// Follows Docker until it is dropped.
#[derive(Debug)]
pub struct DockerWatch {
    known: watch::Receiver<Known>,
    task: AbortHandle,
}

impl DockerWatch {
    /// Asks Docker for its networks, and follows them from then on. What was known `before` holds
    /// as long as Docker is away.
    pub async fn open(docker: Docker, before: Known) -> Self {
        let mut first = before;
        first.note(&docker.networks().await);
        let (tell, known) = watch::channel(first);
        let task = tokio::spawn(follow(docker, tell)).abort_handle();
        Self { known, task }
    }

    /// What is known at this moment.
    pub fn known(&mut self) -> Known {
        self.known.borrow_and_update().clone()
    }

    /// Waits until something else is known than was last asked for. May be dropped and called
    /// again.
    pub async fn changed(&mut self) {
        if self.known.changed().await.is_err() {
            // Whoever follows does so as long as we are there.
            std::future::pending().await
        }
    }
}

impl Drop for DockerWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(docker: Docker, tell: watch::Sender<Known>) {
    let mut retry = RETRY_MIN;
    loop {
        let began = Instant::now();
        match converse(&docker, &tell).await {
            Ok(()) => tracing::debug!("Docker has ended the conversation"),
            Err(error) => tracing::debug!(%error, "no conversation with Docker"),
        }
        if began.elapsed() > RETRY_MAX {
            retry = RETRY_MIN;
        }
        sleep(retry).await;
        retry = (retry * 2).min(RETRY_MAX);
    }
}

/// Tells of Docker's networks until Docker ends the conversation.
async fn converse(docker: &Docker, tell: &watch::Sender<Known>) -> Result<(), DockerError> {
    // Docker repeats what was since then: nothing can happen in between unseen.
    let since = seconds_now();
    look(docker, tell).await?;
    let mut changes = docker.changes(since)?;
    while let Some(change) = changes.next().await {
        change?;
        sleep(BURST).await;
        while let Ok(Some(more)) = timeout(Duration::ZERO, changes.next()).await {
            more?;
        }
        look(docker, tell).await?;
    }
    Ok(())
}

/// Asks for the networks, and tells of what is different.
async fn look(docker: &Docker, tell: &watch::Sender<Known>) -> Result<(), DockerError> {
    let answer = docker.networks().await;
    let was_away = tell.borrow().away.is_some();
    match &answer {
        Err(error) if !was_away => {
            tracing::warn!(%error, "Docker is away; what was known of its networks stays");
        }
        Ok(_) if was_away => tracing::info!("Docker is back"),
        _ => {}
    }
    tell.send_if_modified(|known| known.note(&answer));
    answer.map(drop)
}

#[cfg(test)]
mod tests;
