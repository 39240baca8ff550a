//! Makes a case that fails as short as it gets: halves, quarters and so on are left out as long as
//! it still fails.

use super::{
    bed::Bed,
    case::{Act, Case},
    replay::{Divergence, replay},
};

/// How often a case is tried.
const TRIES: u32 = 300;

/// The shortest case that was found, and how it fails; none where the case does not fail when each
/// frame is looked at by itself.
///
/// # Errors
/// A replay can't be done at all.
pub fn shrink(bed: &mut Bed, case: &Case) -> anyhow::Result<Option<(Case, Divergence)>> {
    let Err((at, mut divergence)) = replay(bed, case)? else { return Ok(None) };
    let mut acts = case.acts[..=at].to_vec();
    let mut size = acts.len() / 2;
    let mut tries = 0;
    while size > 0 && tries < TRIES {
        let mut start = 0;
        while start < acts.len() && tries < TRIES {
            let mut fewer = acts.clone();
            fewer.drain(start..(start + size).min(acts.len()));
            tries += 1;
            let trial = Case { about: String::new(), acts: fewer };
            // Without a configuration nothing is found that has a name.
            let is_case = matches!(trial.acts.first(), Some(Act::Configure(_) | Act::Cpu(_)));
            match if is_case { replay(bed, &trial)? } else { Ok(0) } {
                Err((at, now)) => {
                    acts = trial.acts[..=at].to_vec();
                    divergence = now;
                }
                Ok(_) => start += size,
            }
        }
        size /= 2;
    }
    Ok(Some((Case { about: String::new(), acts }, divergence)))
}
