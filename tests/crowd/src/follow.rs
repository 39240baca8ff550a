//! What a crowd of agents sees of one controller: how soon a change is there, and how soon all are
//! in sync again.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use reqwest::{Client, Method};
use rustls::ClientConfig;
use serde_json::{Value, json};
use sillon::pki::HTTP;
use tokio::{
    task::JoinSet,
    time::{interval, timeout},
};

use crate::{
    agents::{self, Board},
    fabric::{OPERATORS, Size, Visit, Visits},
    site::{self, Loaded, Process, Site},
};

/// What takes longer than this will not come.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The `sillon` binary
    #[arg(long, env = "SILLON_BIN", value_name = "FILE")]
    sillon: PathBuf,
    /// Nodes, an agent each
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// Attachments
    #[arg(long, default_value_t = 100_000)]
    attachments: u32,
    /// Attachments that come and go: two changes each
    #[arg(long, default_value_t = 1_000)]
    visits: u32,
    /// So many of them begin in a second
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// How often the controller is killed and started again
    #[arg(long, default_value_t = 3)]
    restarts: u32,
}

/// Clients of the API, an operator each, and the owner.
struct Askers {
    operators: Vec<Client>,
    owner: Client,
    base: String,
}

/// Measures.
///
/// # Errors
/// The controller can't be started, or does not do what it is asked.
pub fn run(options: &Options) -> anyhow::Result<Value> {
    // A connection and a file of TLS for each agent, on either side.
    let (_, most) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, most, most)?;
    site::runtime()?.block_on(measure(options))
}

async fn measure(options: &Options) -> anyhow::Result<Value> {
    let size = Size { nodes: options.nodes, attachments: options.attachments };
    let site = Site::new()?;
    let [agents_at, api_at] = site.configure()?;
    for node in 0..size.nodes {
        site.issue(&format!("n{node}"), Some(&format!("node/n{node}")))?;
    }
    let askers = Arc::new(Askers::new(&site, &format!("https://{api_at}/v1"))?);
    let began = Instant::now();
    Loaded::new(&site.path("fabric.db"), size).await?.close().await;
    let built = began.elapsed();

    let began = Instant::now();
    let mut process = Process::start(&options.sillon, &site)?;
    let mut ready = vec![began.elapsed()];
    let (board, url) = (Arc::new(Board::default()), format!("https://{agents_at}").parse()?);
    for node in 0..size.nodes {
        agents::start(&site, node, &url, &board)?;
    }
    board.in_sync(size.nodes, 0, PATIENCE).await?;
    let first = began.elapsed();
    askers.all_applied().await?;

    let cpu = process.cpu()?;
    let began = Instant::now();
    let times = visits(options, size, &askers, &board).await?;
    let (took, cpu) = (began.elapsed(), process.cpu()? - cpu);
    askers.all_confirmed().await?;
    let mut memory = vec![process.memory()?];

    let mut again = Vec::new();
    for _ in 0..options.restarts {
        let (term, began) = (board.term(), Instant::now());
        process.kill()?;
        process = Process::start(&options.sillon, &site)?;
        ready.push(began.elapsed());
        board.in_sync(size.nodes, term, PATIENCE).await?;
        again.push(began.elapsed());
        askers.all_confirmed().await?;
        memory.push(process.memory()?);
    }
    anyhow::ensure!(board.wrong() == 0, "{} updates were not what they said", board.wrong());
    let seconds = |all: &[Duration]| all.iter().map(Duration::as_secs_f64).collect::<Vec<_>>();
    Ok(json!({
        "built": built.as_secs_f64(),
        "ready": seconds(&ready),
        "first": first.as_secs_f64(),
        "changes": seconds(&times),
        "changes_a_second": times.len() as f64 / took.as_secs_f64(),
        "cpu_share": cpu.as_secs_f64() / took.as_secs_f64(),
        "again": seconds(&again),
        "memory": memory,
    }))
}

/// Attachments come and go, at an even rate whatever becomes of those before; how long each change
/// took to be at its agent.
async fn visits(
    options: &Options,
    size: Size,
    askers: &Arc<Askers>,
    board: &Arc<Board>,
) -> anyhow::Result<Vec<Duration>> {
    let (visits, mut ticks) =
        (Visits::new(size), interval(Duration::from_secs_f64(1.0 / options.rate)));
    let mut under_way = JoinSet::new();
    for _ in 0..options.visits {
        ticks.tick().await;
        under_way.spawn(visit_of(Arc::clone(askers), Arc::clone(board), visits.next()?));
    }
    let mut all = Vec::new();
    while let Some(times) = under_way.join_next().await {
        all.extend(times??);
    }
    Ok(all)
}

async fn visit_of(
    askers: Arc<Askers>,
    board: Arc<Board>,
    visit: Visit,
) -> anyhow::Result<[Duration; 2]> {
    let path = format!("attachments/o{}/{}", visit.operator, visit.name);
    let body = format!(r#"{{"spec":{}}}"#, visit.spec);
    let mut times = [Duration::ZERO; 2];
    let steps = [(Method::PUT, Some(body), true), (Method::DELETE, None, false)];
    for (time, (method, body, is_there)) in times.iter_mut().zip(steps) {
        let heard = board.expect(visit.node, &visit.part, is_there);
        let asked = Instant::now();
        askers.ask(visit.operator, method, &path, body).await?;
        let when = timeout(PATIENCE, heard).await.context("the agent heard nothing")??;
        *time = when.duration_since(asked);
    }
    Ok(times)
}

impl Askers {
    fn new(site: &Site, base: &str) -> anyhow::Result<Self> {
        let client = |stem: &str, identity: &str| -> anyhow::Result<Client> {
            site.issue(stem, Some(identity))?;
            let config = site.tls(stem)?.client(&HTTP)?;
            Ok(Client::builder().tls_backend_preconfigured(ClientConfig::clone(&config)).build()?)
        };
        let operators =
            (0..OPERATORS).map(|one| client(&format!("o{one}"), &format!("operator/o{one}")));
        Ok(Self {
            operators: operators.collect::<anyhow::Result<_>>()?,
            owner: client("owner", "owner")?,
            base: base.to_owned(),
        })
    }

    async fn ask(
        &self,
        operator: u32,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> anyhow::Result<()> {
        let mut request =
            self.operators[operator as usize].request(method, format!("{}/{path}", self.base));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        anyhow::ensure!(status.is_success(), "{path}: {status}: {}", answer.text().await?);
        Ok(())
    }

    /// Waits until all that the agents said of what they were sent first is in the fabric: a change
    /// of every object that there is.
    async fn all_applied(&self) -> anyhow::Result<()> {
        let none_left = async {
            let mut page = String::new();
            loop {
                let nodes = self.read(&format!("nodes?limit=100{page}")).await?;
                let items = nodes["items"].as_array().context("no items")?;
                if items.iter().any(|node| node.pointer("/status/applied") == Some(&json!(0))) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                let Some(next) = nodes["next"].as_str() else { return anyhow::Ok(()) };
                page = format!("&page={next}");
            }
        };
        timeout(PATIENCE, none_left).await.context("agents say nothing of what they were sent")?
    }

    async fn read(&self, path: &str) -> anyhow::Result<Value> {
        let answer =
            self.owner.get(format!("{}/{path}", self.base)).send().await?.error_for_status()?;
        Ok(serde_json::from_str(&answer.text().await?)?)
    }

    /// Waits until no node has to give up anything: all that they were told is confirmed.
    async fn all_confirmed(&self) -> anyhow::Result<()> {
        let none_left = async {
            loop {
                let answer = self.read("tombstones?limit=1").await?;
                if answer["items"].as_array().context("no items")?.is_empty() {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, none_left).await.context("what was freed is not confirmed")?
    }
}
