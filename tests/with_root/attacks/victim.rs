//! What an attack must not cost others: the victim's own traffic goes on while it is made.

use sillon_rig::{Frame, Wire};

use crate::common::stream;

/// Has numbered frames sent to `victim` (whose address is `to`) while `attack` goes on. At least 95
/// % of them must arrive, of which all arrive unattacked, and none of the attack's own may; `from`
/// is where they are sent.
///
/// What is compared is the share that arrives, not the number in a second: how fast the sender gets
/// to send on a busy machine is not the network's.
pub fn goes_on(from: &Wire, to: [u8; 6], victim: &Wire, attack: impl FnOnce()) {
    // A second look, since the stream's end takes all that comes.
    let tap = victim.tap().unwrap();
    let stream = stream(from, to, victim, attack);
    assert!(stream.sent > 100, "too little was sent to say anything: {stream:?}");
    assert!(
        stream.lost.len() * 20 <= stream.sent as usize,
        "the victim's own traffic suffers: {stream:?}"
    );
    while let Some(bytes) = tap.try_receive().unwrap() {
        let frame = Frame(bytes);
        assert!(
            !frame.contains(crate::attacks::frames::WORD),
            "the victim gets the attack: {frame:?}"
        );
    }
}
