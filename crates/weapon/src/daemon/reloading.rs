//! A gateway becomes what its file says now, and goes back if nobody confirms.

use std::{future::pending, path::Path, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{Daemon, End, system};
use crate::{
    api::{Answer, Reloaded},
    config::{self, Config, Loaded},
    difference::{Difference, Sockets},
    interface::{Fittings, Replacement},
    left_out::connected,
    site::{Lookout, Site, Wanted},
};

/// Where to go back to, and when.
pub(super) struct WayBack {
    pub(super) at: Instant,
    /// What was confirmed last; nothing if that is no gateway at all.
    pub(super) to: Option<Box<Config>>,
}

/// After which time it is tried again to go back.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Until it is time to go back; for ever if there is no way.
pub(super) async fn until(way_back: Option<&WayBack>) {
    match way_back {
        Some(back) => sleep_until(back.at).await,
        None => pending().await,
    }
}

impl Daemon {
    /// As [`Daemon::reload`], of the file that is used already.
    pub(super) async fn reload_by_signal(&mut self) {
        let path = self.config.source.path.clone();
        if let Err(error) = self.reload(&path, None).await {
            let error = format!("{error:#}");
            tracing::error!(error, "the file is not used; nothing has changed");
        }
    }

    /// Keeps what would go back.
    pub(super) fn confirm(&mut self) -> Answer {
        match self.way_back.take() {
            Some(_) => {
                tracing::info!("confirmed");
                Answer::Confirmed
            }
            None => Answer::Error("there is nothing to confirm".into()),
        }
    }

    /// Becomes what the file says. If something is wrong with it, nothing changes.
    pub(super) async fn reload(
        &mut self,
        path: &Path,
        confirm: Option<Duration>,
    ) -> anyhow::Result<Answer> {
        let answer = self.try_reload(path, confirm).await;
        if let Err(error) = &answer {
            self.record_refusal(&path.display().to_string(), error);
        }
        answer
    }

    async fn try_reload(
        &mut self,
        path: &Path,
        confirm: Option<Duration>,
    ) -> anyhow::Result<Answer> {
        let Loaded {
            config: new,
            warnings,
        } = config::load(path)?;
        for warning in warnings {
            tracing::warn!(%warning, "in the file");
        }
        let old = self.config.clone();
        let lookout = self.look_out(&new).await?;
        if let Some(lookout) = &lookout {
            lookout.ensure_good(&new, &self.entries)?;
        }
        let changes = self.become_as(new, lookout).await?;
        self.record_change("reload", &changes, &old);
        tracing::info!(file = %path.display(), changes = changes.len(), "loaded again");
        for change in &changes {
            tracing::info!(change, "is different");
        }
        if let Some(time) = confirm {
            // What was never confirmed is not what to go back to.
            let to = match self.way_back.take() {
                Some(before) => before.to,
                None => Some(Box::new(old)),
            };
            let at = Instant::now() + time;
            self.way_back = Some(WayBack { at, to });
        }
        let left = self.way_back.as_ref();
        let left = left.map(|back| back.at.saturating_duration_since(Instant::now()));
        Ok(Answer::Reloaded(Reloaded {
            changes,
            // To the nearest one, so that 60 s are 60.
            confirm_seconds: left.map(|left| left.as_secs_f64().round() as u64),
        }))
    }

    /// Looks for what lies behind us by `new`, if that may be something else than now.
    async fn look_out(&self, new: &Config) -> anyhow::Result<Option<Lookout>> {
        if Wanted::of(new) == Wanted::of(&self.config) {
            return Ok(None);
        }
        Ok(Some(Lookout::open(new, Some(&self.site_watch)).await?))
    }

    /// Becomes what `new` says, or stays what it is. Returns what was different.
    async fn become_as(
        &mut self,
        new: Config,
        lookout: Option<Lookout>,
    ) -> anyhow::Result<Vec<String>> {
        let running = self.engine.dump()?;
        let sockets = Sockets {
            port: self.port.number(),
            fwmark: self.port.fwmark(),
        };
        let connected = connected(&self.netlink, self.watch.name()).await?;
        let fittings = Fittings::of(&new, &connected);
        let Difference {
            lines,
            change,
            moved,
        } = Difference::between(
            &self.config,
            &new,
            &running,
            sockets,
            (&self.fittings, &fittings),
        )?;
        let telling = self.telling.other(&new)?;
        // It may have been moved to another namespace. Its addresses and routes are somebody else's
        // then.
        let replacement = match self.watch.index() {
            Some(index) => {
                let (before, after) = ((&self.config, &self.fittings), (&new, &fittings));
                Some(Replacement::begin(index, before, after, &self.netlink).await?)
            }
            None => None,
        };
        let mut watch = match lookout {
            Some(lookout) => Some(lookout.follow(self.watch.index()).await),
            None => None,
        };
        let before = Site::of(&self.entries);
        let site = match &mut watch {
            Some(watch) => Site::of(&watch.entries()),
            None => before.clone(),
        };
        let from = (&self.config, &before, &*self.fittings.kept);
        let to = (&new, &site, &*fittings.kept);
        let (name, port) = (self.watch.name(), (&self.port, &self.engine));
        if let Err(error) = system::change(&mut self.keeper, (from, to), name, port) {
            if let Some(replacement) = replacement {
                replacement.undo().await;
            }
            return Err(error);
        }
        if let Some(replacement) = replacement {
            replacement.finish().await;
        }
        self.engine.change(change);
        self.fittings = fittings;
        self.telling.become_as(telling);
        self.follow_names(&new.peers, &moved);
        self.facts.config = new.source.path.display().to_string();
        self.config = new;
        if let Some(mut watch) = watch {
            let entries = watch.entries();
            self.site_watch = watch;
            self.take_entries(entries);
        }
        // By the port that it has now.
        self.follow_system();
        Ok(lines)
    }

    /// Nobody has confirmed.
    pub(super) async fn go_back(&mut self) -> Option<End> {
        // It stays until it was gone: what was not confirmed is not to stay because of a failure.
        let Some(to) = self.way_back.as_ref()?.to.clone() else {
            self.keeper.lift_at_end();
            return Some(End::Asked("nobody, as nobody has confirmed"));
        };
        // What was good once is gone back to, even if something of it is not there now.
        let before = self.config.clone();
        let lookout = self.look_out(&to).await;
        let went = match lookout {
            Ok(lookout) => self.become_as(*to, lookout).await,
            Err(error) => Err(error),
        };
        match went {
            Ok(changes) => {
                self.way_back = None;
                self.record_change("nobody, as nobody has confirmed", &changes, &before);
                let file = &self.facts.config;
                tracing::warn!(?changes, "nobody has confirmed: all goes back");
                tracing::warn!(file, "still says what was not confirmed");
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(
                    error,
                    "nobody has confirmed, but the way back is barred; it is tried again"
                );
                if let Some(back) = &mut self.way_back {
                    back.at = Instant::now() + RETRY_INTERVAL;
                }
            }
        }
        None
    }
}
