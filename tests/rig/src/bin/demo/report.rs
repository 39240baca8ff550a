//! What is printed.

use comfy_table::{Cell, CellAlignment, Table, presets};
use sillon_rig::Family;

use crate::{
    attacks::Reached,
    cast::{Cast, OPERATORS},
    paths::Worked,
};

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    table
}

fn number(value: impl ToString) -> Cell {
    Cell::new(value.to_string()).set_alignment(CellAlignment::Right)
}

fn titled(title: &str, table: &Table) -> String {
    format!("\n{title}\n{}", table.trim_fmt())
}

/// Who is where.
pub fn introduction(cast: &Cast) -> String {
    let mut seats =
        table(&["operator", "vni", "tunnel", "server", "addresses", "edge", "port", "encapsulation"]);
    for operator in &OPERATORS {
        let tunnel = if operator.family == Family::V4 { "VXLAN over IPv4" } else { "VXLAN over IPv6" };
        for (index, seat) in operator.seats.iter().enumerate() {
            let number_of = index + 1;
            seats.add_row(vec![
                Cell::new(operator.name),
                number(operator.vni),
                Cell::new(tunnel),
                number(number_of),
                Cell::new(format!("02:00:00:00:00:{number_of:02x} 10.0.0.{number_of} fd00::{number_of}")),
                Cell::new(cast.fabric.edges[seat.edge].name()),
                Cell::new(seat.port),
                Cell::new(seat.encap),
            ]);
        }
    }
    titled("Three operators on the same two edges, all with the same addresses", &seats)
}

/// What must work.
pub fn paths(worked: &[Worked]) -> String {
    let mut paths = table(&["operator", "path", "ping", "ping IPv6", "tcp", "gbit/s", ""]);
    for path in worked {
        let [v4, v6] = path.pings.map(|(answered, sent)| format!("{answered}/{sent}"));
        let (bytes, rate) = path.transfer.map_or(("-".to_owned(), "-".to_owned()), |transfer| {
            let what = if transfer.intact { "intact" } else { "damaged" };
            (format!("{} MB {what}", transfer.bytes / 1_000_000), format!("{:.2}", transfer.gigabits()))
        });
        paths.add_row(vec![
            Cell::new(path.operator.name),
            Cell::new(format!("{} to {}", path.between.0, path.between.1)),
            number(v4),
            number(v6),
            number(bytes),
            number(rate),
            Cell::new(if path.is_right() { "works" } else { "BROKEN" }),
        ]);
    }
    titled("What must work: inside an operator", &paths)
}

/// What must not work.
pub fn reached(reached: &Reached) -> String {
    let names = OPERATORS.each_ref().map(|operator| format!("came to {}", operator.name));
    let mut header = vec!["sent by", "frames"];
    header.extend(names.iter().map(String::as_str));
    let mut matrix = table(&header);
    for (operator, (sent, came)) in OPERATORS.iter().zip(reached.sent.iter().zip(reached.came)) {
        let mut row = vec![Cell::new(operator.name), number(sent)];
        row.extend(came.map(number));
        matrix.add_row(row);
    }
    titled(
        "What must not work: frames that servers sent to everybody (own and forged tags, addresses and tunnels), as receivers counted them",
        &matrix,
    )
}

/// What the edges dropped, and why.
pub fn drops(cast: &Cast) -> anyhow::Result<String> {
    let mut drops = table(&["edge", "at", "reason", "frames", "what it means"]);
    for edge in &cast.fabric.edges {
        for drop in edge.show("drops")? {
            let text = |key: &str| Cell::new(drop[key].as_str().unwrap_or("-"));
            let frames = number(drop["frames"].as_u64().unwrap_or(0));
            drops.add_row(vec![Cell::new(edge.name()), text("name"), text("reason"), frames, text("help")]);
        }
    }
    Ok(titled("What the edges dropped, and why", &drops))
}

/// What `sillon verify` says of the edges, and whether all is in order.
pub fn proof(cast: &Cast) -> anyhow::Result<(String, bool)> {
    let mut said = "\nWhat `sillon verify` says of what the edges' maps hold\n".to_owned();
    let mut in_order = true;
    for edge in &cast.fabric.edges {
        let output = edge.sillon(&["verify", "--node", edge.name()])?;
        said += &String::from_utf8_lossy(&output.stdout);
        in_order &= output.status.success();
    }
    Ok((said.trim_end().to_owned(), in_order))
}

/// What is not as it should be.
pub fn faults(worked: &[Worked], reached: &Reached) -> Vec<String> {
    let broken = worked.iter().filter(|path| !path.is_right());
    let mut faults: Vec<String> = broken
        .map(|path| format!("{} {} to {} does not work", path.operator.name, path.between.0, path.between.1))
        .collect();
    for (from, row) in reached.came.iter().enumerate() {
        for (to, frames) in row.iter().enumerate() {
            let (from_name, to_name) = (OPERATORS[from].name, OPERATORS[to].name);
            if from != to && *frames > 0 {
                faults.push(format!("{frames} frames of {from_name} came to {to_name}"));
            } else if from == to && *frames == 0 {
                faults.push(format!(
                    "no frame of {from_name} came to its own servers: the attack proves nothing"
                ));
            }
        }
    }
    faults
}

/// The last line.
pub fn verdict(faults: &[String]) -> String {
    if faults.is_empty() {
        "\nEvery path inside an operator works, and not one frame crossed from one operator to another."
            .to_owned()
    } else {
        format!("\nNOT AS IT SHOULD BE:\n  {}", faults.join("\n  "))
    }
}

/// What to type in another terminal.
pub fn commands(cast: &Cast) -> String {
    let [one, two] = &cast.fabric.edges;
    let sillon = cast.fabric.binary().display();
    let alder = &cast.servers[0][0].wire().netns;
    let birch = &cast.servers[1][0].wire().netns;
    format!(
        "\nThe rig is up until Ctrl-C. Try in another terminal, as root:\n\
         \n  # alder's first server: its second one, and its third, behind a tag\n\
         \x20 {alder} ping 10.0.0.2\n  {alder} ping fd00::3\n\
         \n  # birch's first server hears nothing of that\n  {birch} tcpdump -eni eth0\n\
         \n  # the edges\n  {one} {sillon} node show --node edge1\n  {one} {sillon} node show fdb --node edge1\n  {two} {sillon} node show drops --json --node edge2\n\
         \n  # stop an agent: its edge goes on forwarding; take it down, and it does not\n\
         \x20 kill {agent}\n  {two} {sillon} node flush --node edge2\n",
        alder = alder.nsenter(),
        birch = birch.nsenter(),
        one = one.netns.nsenter(),
        two = two.netns.nsenter(),
        agent = two.agent().map_or_else(|| "PID".to_owned(), |pid| pid.to_string()),
    )
}
