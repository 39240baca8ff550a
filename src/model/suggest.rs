//! "Did you mean": the closest known word, where one is close.

/// Jaro-Winkler similarity above which a suggestion helps more than it confuses; clap uses 0.7 for
/// its own, names of segments ("alder-lan", "cedar-lan") are alike by nature and want more.
const CLOSE: f64 = 0.82;

/// `did you mean "access"?`, if one of `known` is close to `word`.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    // Cost is the product of the lengths: no known word is long, so a long one is not a near miss.
    if word.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| {
            (strsim::jaro_winkler(&word.to_lowercase(), &candidate.to_lowercase()), candidate)
        })
        .filter(|(similarity, _)| *similarity >= CLOSE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| format!("did you mean {candidate:?}?"))
}
