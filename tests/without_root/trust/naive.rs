//! The tree and the proofs of RFC 9162 section 2.1, word for word and without a thought for speed:
//! what the log is held against.

use sha2::{Digest, Sha256};

type Hash = [u8; 32];

/// Section 2.1.1: MTH.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => Sha256::digest([&[0], &leaf[..]].concat()).into(),
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            Sha256::digest([&[1], &root(left)[..], &root(right)[..]].concat()).into()
        }
    }
}

/// Section 2.1.3.1: PATH(m, D_n).
pub fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut rest, other) = if m < k { (path(m, left), right) } else { (path(m - k, right), left) };
    rest.push(root(other));
    rest
}

/// Section 2.1.4.1: PROOF(m, D_n) for 0 < m.
pub fn proof(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    subproof(m, leaves, true)
}

fn subproof(m: usize, leaves: &[Hash], is_whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if is_whole { Vec::new() } else { vec![root(leaves)] };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut rest, other) = if m <= k {
        (subproof(m, left, is_whole), right)
    } else {
        (subproof(m - k, right, false), left)
    };
    rest.push(root(other));
    rest
}

/// The largest power of two below `n`.
fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}
