//! The pipeline at XDP: one program for the ports that face servers and operators, one for uplinks. They are the same steps, but each leaves
//! out what can't be on its side, which is a third of the instructions; a program on a port of the other kind drops everything.

use core::mem::MaybeUninit;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use sillon_abi::{DropReason, Exit, PortEntry, Role};

use crate::{
    classify::{self, Origin},
    count,
    count::Scope,
    deliver, ecn, flood,
    frame::Frame,
    guard, lookup,
    maps::PORTS,
    parse::{self, Inner},
    police,
    recall::{Flow, Undecided},
    storm, suppress, tunnel,
};

/// On access and handover ports.
#[xdp(frags)]
pub fn sillon_port(ctx: XdpContext) -> u32 {
    run(&ctx, from_port)
}

/// On uplinks.
#[xdp(frags)]
pub fn sillon_uplink(ctx: XdpContext) -> u32 {
    run(&ctx, from_uplink)
}

#[inline(always)]
fn run(ctx: &XdpContext, pipeline: impl Fn(&Frame, &mut Scope) -> Result<u32, DropReason>) -> u32 {
    let frame = Frame::new(ctx);
    let mut scope = Scope::port(frame.ifindex());
    match pipeline(&frame, &mut scope) {
        Ok(action) => action,
        Err(reason) => {
            count::dropped(scope, reason);
            xdp_action::XDP_DROP
        }
    }
}

/// The port, if its role is one that this program is for.
#[inline(always)]
fn port(frame: &Frame, is_ours: impl Fn(u8) -> bool) -> Result<&'static PortEntry, DropReason> {
    // SAFETY: a map value, alive for the run of the program.
    let port = PORTS.get_ptr(frame.ifindex()).map(|port| unsafe { &*port });
    port.filter(|port| is_ours(port.role)).ok_or(DropReason::NoAttachment)
}

#[inline(always)]
fn from_port(frame: &Frame, scope: &mut Scope) -> Result<u32, DropReason> {
    let port = port(frame, |role| role != 0 && role != Role::Uplink as u8)?;
    let len = frame.len();
    let tags = classify::tags(frame, port)?;
    let macs = frame.read_macs(0)?;
    let undecided = Undecided::new(Flow::on_port(&tags, macs));
    let mut fresh = MaybeUninit::uninit();
    let (origin, recalled): (&Origin, Exit) = match undecided.recall() {
        Some(decision) => (&decision.origin, decision.exit),
        None => (fresh.write(classify::classify(port, &tags)?), Exit::NONE),
    };
    *scope = Scope::attachment(origin.ingress.id());
    count::received_on_port(origin.ingress, len);
    let inner = parse::inner(frame, origin, 0, macs, tags.priority)?;
    if recalled.is_none() {
        guard::addresses(origin, macs)?;
    }
    guard::size(origin, &inner, len)?;
    guard::packet(frame, origin, &inner)?;
    police::ingress(origin, len)?;
    if recalled.is_none() && guard::control::is_peers(origin, &inner)? {
        // Of the link and not of the segment: not learned, nobody's claim, nor a question to anybody in it.
        storm::allow(origin, &inner)?;
        return flood::to_peer(frame, origin);
    }
    let exit = decide(origin, &inner, recalled, &undecided)?;
    if let Some(question) = suppress::answer(frame, origin, &inner) {
        return deliver::back(frame, origin, question, len);
    }
    if exit.is_none() {
        storm::allow(origin, &inner)?;
        flood::hand_over(frame, origin, &inner)
    } else if exit.is_remote() {
        deliver::to_remote(frame, origin, &inner, exit, len)
    } else {
        deliver::to_attachment(frame, origin, &inner, exit, len)
    }
}

/// What comes out of a tunnel has been guarded and policed by the node that it came in at, and goes into no tunnel again.
#[inline(always)]
fn from_uplink(frame: &Frame, scope: &mut Scope) -> Result<u32, DropReason> {
    let port = port(frame, |role| role == Role::Uplink as u8)?;
    let Some(packet) = tunnel::packet(frame, port)? else { return Ok(flood::to_host(frame)) };
    let undecided = Undecided::new(Flow::in_tunnel(&packet));
    let mut fresh = MaybeUninit::uninit();
    let (origin, recalled): (&Origin, Exit) = match undecided.recall() {
        Some(decision) => (&decision.origin, decision.exit),
        None => (fresh.write(tunnel::classify(&packet, scope)?), Exit::NONE),
    };
    *scope = Scope::segment(origin.segment);
    frame.trim(packet.padding)?;
    count::received_from_tunnel(origin.ingress, packet.len);
    let len = packet.header + packet.len;
    let inner = parse::inner(frame, origin, packet.header, packet.macs, 0)?;
    if recalled.is_none() {
        guard::addresses(origin, packet.macs)?;
    }
    guard::size(origin, &inner, len)?;
    ecn::decapsulated(frame, &inner, packet.ecn)?;
    let exit = decide(origin, &inner, recalled, &undecided)?;
    // It is heard, and never answered: it has been asked for where it came in.
    let _ = suppress::answer(frame, origin, &inner);
    if exit.is_none() {
        flood::hand_over(frame, origin, &inner)
    } else if exit.is_remote() {
        Err(DropReason::SplitHorizon)
    } else {
        deliver::to_attachment(frame, origin, &inner, exit, len)
    }
}

/// A recalled exit, or else what is found; [`Exit::NONE`] is to all.
#[inline(always)]
fn decide(origin: &Origin, inner: &Inner, recalled: Exit, undecided: &Undecided) -> Result<Exit, DropReason> {
    if recalled.is_none() { lookup::lookup(origin, inner, undecided) } else { Ok(recalled) }
}
