//! `weapon status --watch`: the gateways on the whole terminal, again and again.

mod view;

mod drawing;

use std::{
    io::{self, IsTerminal},
    process::{self, ExitCode},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEvent, KeyEventKind},
};

use crate::{
    cli, daemon,
    report::{Report, seconds_now},
    signals::{Signal, Signals},
    status,
};
use view::{Next, View};

/// How often the keyboard makes way for what else has come.
const KEYS_TIME: Duration = Duration::from_millis(100);

/// How long the screen may take to end in order. A terminal that is gone can keep who reads from
/// it for ever.
const END_TIME: Duration = Duration::from_secs(1);

/// What comes from the threads beside the keyboard's.
enum News {
    /// The gateways were asked.
    Looked(anyhow::Result<Vec<Report>>, Instant),
    /// A signal says to end, with this exit code.
    Stop(u8),
}

/// Shows the gateway `target`, or all that run, until somebody has seen enough.
///
/// # Errors
/// This is no terminal, or the gateway does not run to begin with.
pub fn run(target: Option<String>, interval: Duration) -> anyhow::Result<ExitCode> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        bail!("--watch needs a terminal; for a program there is --json");
    }
    // What is wrong at once is said as by `weapon status`.
    let first = status::reports(target.as_deref())?;
    let mut view = View::new(interval, cli::stdout_colour());
    view.note(first, Instant::now());
    let (news, incoming) = mpsc::channel();
    watch_signals(news.clone())?;
    thread::Builder::new()
        .name("looks".into())
        .spawn(move || look_again(target.as_deref(), interval, &news))
        .context("cannot start a thread")?;
    // It is restored in a panic too.
    let mut terminal = ratatui::try_init().context("cannot use the terminal")?;
    let end = show(&mut terminal, &mut view, &incoming);
    let restored = ratatui::try_restore();
    let end = end?;
    restored.context("cannot restore the terminal")?;
    Ok(end)
}

/// Asks the gateways until nobody listens.
fn look_again(target: Option<&str>, interval: Duration, news: &mpsc::Sender<News>) {
    loop {
        thread::sleep(interval);
        let reports = status::reports(target);
        if news.send(News::Looked(reports, Instant::now())).is_err() {
            return;
        }
    }
}

/// From here on a signal ends the screen in order.
fn watch_signals(news: mpsc::Sender<News>) -> anyhow::Result<()> {
    let runtime = daemon::runtime()?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            // The codes that shells report for whom the signal has ended.
            let code = match runtime.block_on(signals.next()) {
                Signal::Stop("SIGINT") => 130,
                Signal::Stop(_) => 143,
                // SIGHUP: a terminal that hangs up is gone.
                Signal::Reload => 129,
            };
            let _ = news.send(News::Stop(code));
            thread::sleep(END_TIME);
            ratatui::restore();
            process::exit(code.into());
        })
        .context("cannot watch for signals")?;
    Ok(())
}

fn show(
    terminal: &mut DefaultTerminal,
    view: &mut View,
    incoming: &mpsc::Receiver<News>,
) -> anyhow::Result<ExitCode> {
    loop {
        terminal.draw(|frame| drawing::draw(view, seconds_now(), frame))?;
        loop {
            let mut is_new = false;
            for news in incoming.try_iter() {
                is_new = true;
                match news {
                    News::Looked(Ok(reports), at) => view.note(reports, at),
                    News::Looked(Err(error), _) => view.miss(format!("{error:#}")),
                    News::Stop(code) => return Ok(ExitCode::from(code)),
                }
            }
            if event::poll(KEYS_TIME)? {
                is_new = true;
                // A new size is drawn too, and a key that is let go is none.
                if let Event::Key(key) = event::read()?
                    && let Next::End = pressed(view, key)
                {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            if is_new {
                break;
            }
        }
    }
}

fn pressed(view: &mut View, key: KeyEvent) -> Next {
    if key.kind == KeyEventKind::Release {
        return Next::GoOn;
    }
    view.press(key.code, key.modifiers)
}
