//! scratch
use sillon::{agent, dataplane::{links::Mode, maps::Maps, pins::Pins, view::View}};
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    if a[1] == "agent" {
        let o = agent::Options { config: a[2].clone().into(), bpffs: Some(a[3].clone().into()), run_dir: "/tmp/run".into(), mode: Mode::Native };
        if let Err(e) = agent::run(o).await { eprintln!("{}", e); std::process::exit(1); }
    } else if a[1] == "show" {
        let m = Maps::open(&Pins::at(&a[2]).maps()).unwrap();
        let v = View::new(&m).unwrap();
        println!("{}", serde_json::to_string_pretty(&(v.ports().unwrap(), v.fdb().unwrap(), v.remotes().unwrap(), v.drops().unwrap())).unwrap());
    } else { agent::reconciler::flush(&Pins::at(&a[2])).await.unwrap(); }
}
