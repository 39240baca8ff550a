//! What is printed.

use std::time::Duration;

use crate::{
    attacks::Reached,
    cast::{Cast, OPERATORS, ROVER, Seat},
    handover::{Handover, Seen},
    office::Office,
    paths::Worked,
};
use comfy_table::{Cell, CellAlignment, Table, presets};

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
pub fn introduction(cast: &Cast, vnis: &[u32; 3]) -> String {
    let mut seats =
        table(&["operator", "vni", "server", "addresses", "edge", "port", "encapsulation"]);
    let mut row = |operator: &str, vni: Cell, number_of: usize, seat: &Seat| {
        seats.add_row(vec![
            Cell::new(operator),
            vni,
            number(number_of),
            Cell::new(format!(
                "02:00:00:00:00:{number_of:02x} 10.0.0.{number_of} fd00::{number_of}"
            )),
            Cell::new(cast.fabric.edges[seat.edge].name()),
            Cell::new(seat.port),
            Cell::new(seat.encap),
        ]);
    };
    for (operator, vni) in OPERATORS.iter().zip(vnis) {
        for (number_of, seat) in (1..).zip(&operator.seats) {
            row(operator.name, number(vni), number_of, seat);
        }
    }
    row("alder, then birch", number("-"), ROVER.0.into(), &ROVER.1);
    titled("Three operators on the same two edges, all with the same addresses", &seats)
}

/// What was asked of the controller, and what it answered.
pub fn asked(office: &Office) -> String {
    let mut asked = table(&["who", "asks", "exit", "answer"]);
    for said in &office.said {
        let answer = Cell::new(&said.answer);
        asked.add_row(vec![
            Cell::new(&said.who),
            Cell::new(&said.command),
            number(said.code),
            answer,
        ]);
    }
    titled("What was asked of the controller, each with a certificate of its own", &asked)
}

/// The server that was handed over.
pub fn handover(handover: &Handover) -> String {
    let mut seen = table(&[
        "operator",
        "heard of server 4",
        "from",
        "until",
        "heard by server 4",
        "from",
        "until",
    ]);
    let cells = |seen: &Seen| {
        let time = |when: Option<Duration>| {
            number(
                when.map_or_else(|| "-".to_owned(), |when| format!("{:.2} s", when.as_secs_f32())),
            )
        };
        let (first, last) =
            (seen.between.map(|both| both.0.when), seen.between.map(|both| both.1.when));
        [number(seen.frames), time(first), time(last)]
    };
    for (operator, [heard, said]) in OPERATORS.iter().zip(&handover.seen) {
        let name = [Cell::new(operator.name)];
        seen.add_row(name.into_iter().chain(cells(heard)).chain(cells(said)).collect::<Vec<_>>());
    }
    let title = format!(
        "Server 4 is handed over from alder to birch while everybody talks: the owner asks at \
            {:.2} s, birch has attached it at {:.2} s",
        handover.asked.as_secs_f32(),
        handover.attached.as_secs_f32()
    );
    titled(&title, &seen)
}

/// What must work.
pub fn paths(worked: &[Worked]) -> String {
    let mut paths = table(&["operator", "path", "ping", "ping IPv6", "tcp", "gbit/s", ""]);
    for path in worked {
        let [v4, v6] = path.pings.map(|(answered, sent)| format!("{answered}/{sent}"));
        let (bytes, rate) = path.transfer.map_or(("-".to_owned(), "-".to_owned()), |transfer| {
            let what = if transfer.intact { "intact" } else { "damaged" };
            (
                format!("{} MB {what}", transfer.bytes / 1_000_000),
                format!("{:.2}", transfer.gigabits()),
            )
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
        "What must not work: frames that servers sent to everybody (own and forged tags, \
            addresses and tunnels), as receivers counted them",
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
            drops.add_row(vec![
                Cell::new(edge.name()),
                text("name"),
                text("reason"),
                frames,
                text("help"),
            ]);
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

/// What is not as it should be with the paths and the attacks.
pub fn faults(worked: &[Worked], reached: &Reached) -> Vec<String> {
    let broken = worked.iter().filter(|path| !path.is_right());
    let mut faults: Vec<String> = broken
        .map(|path| {
            format!("{} {} to {} does not work", path.operator.name, path.between.0, path.between.1)
        })
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
        "\nEvery path inside an operator works, not one frame crossed from one operator to \
            another, and no server was two operators' at once."
            .to_owned()
    } else {
        format!("\nNOT AS IT SHOULD BE:\n  {}", faults.join("\n  "))
    }
}

/// What to type in another terminal.
pub fn commands(cast: &Cast, office: &Office) -> String {
    let [one, two] = &cast.fabric.edges;
    let binary = cast.fabric.binary().display();
    let alder = &cast.servers[0][0].wire().netns;
    let birch = &cast.servers[1][0].wire().netns;
    format!(
        "\nThe rig is up until Ctrl-C. Try in another terminal, as root:\n\
         \n  # who asks the controller is a context: owner, auditor, alder, birch, cedar\n\
         \x20 sillon() {{ {office} env SILLON_CONTEXTS={contexts} {binary} \"$@\"; }}\n\
         \x20 sillon get nodes --context owner\n\
         \x20 sillon get attachments --context alder\n\
         \x20 sillon get attachments --context birch     # nothing of alder's\n\
         \x20 sillon describe lease birch/s7 --context birch\n\
         \x20 sillon detach alder/s1 --context alder     # its ping ends; this brings it back:\n\
         \x20 sillon apply -f {example} --context alder\n\
         \x20 sillon events -f --context owner\n\
         \n  # alder's first server: its second one, and its third, behind a tag\n\
         \x20 {alder} ping 10.0.0.2\n  {alder} ping fd00::3\n\
         \n  # birch's first server hears nothing of that\n  {birch} tcpdump -eni eth0\n\
         \n  # the edges\n  {one} {binary} node show --node edge1\n  {one} {binary} node show fdb --node edge1\n  {two} {binary} node show drops --json --node edge2\n\
         \n  # stop an agent: its edge goes on forwarding; take it down, and it does not\n\
         \x20 kill {agent}\n  {two} {binary} node flush --node edge2\n",
        office = office.netns.nsenter(),
        contexts = office.contexts_file(),
        example = office.example("alder.yaml"),
        alder = alder.nsenter(),
        birch = birch.nsenter(),
        one = one.netns.nsenter(),
        two = two.netns.nsenter(),
        agent = two.agent().map_or_else(|| "PID".to_owned(), |pid| pid.to_string()),
    )
}
