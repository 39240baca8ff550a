//! What is where in etcd, and as which text. All of it is below a prefix and the number of this
//! layout, so that several fabrics and other programs can share one etcd, and a later layout is
//! never taken for this one.
//!
//! | key | value |
//! | --- | --- |
//! | `version` | the number of the last commit; not there: nothing was ever written |
//! | `log/VERSION` | what that commit wrote, and by whom |
//! | `entry/KEY` | what a key had at some version from `compacted` on; the log may be newer |
//! | `compacted` | up to which version the log is folded into the entries |
//! | `fold` | who folds, or imports |
//! | `lead/NAME` | a leadership: its term and holder, under a lease of etcd's |
//! | `term` | the largest term that a leadership had |

use serde::{Deserialize, Serialize};

use super::super::{Batch, Leadership, StoreError, Version, Write};

/// Of what is told above.
const LAYOUT: &str = "v1";

/// The keys below one prefix.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// With or without slashes around it.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: format!("/{}/{LAYOUT}/", prefix.trim_matches('/')) }
    }

    fn at(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    pub fn version(&self) -> String {
        self.at("version")
    }

    pub fn compacted(&self) -> String {
        self.at("compacted")
    }

    pub fn fold(&self) -> String {
        self.at("fold")
    }

    pub fn term(&self) -> String {
        self.at("term")
    }

    pub fn lead(&self, name: &str) -> String {
        self.at(&format!("lead/{name}"))
    }

    /// In the order of the versions.
    pub fn log(&self, version: Version) -> String {
        self.at(&format!("log/{:020}", version.0))
    }

    pub fn entry(&self, key: &str) -> String {
        self.at(&format!("entry/{key}"))
    }

    /// Below which all entries are.
    pub fn entries(&self) -> String {
        self.at("entry/")
    }

    /// Below which the whole log is.
    pub fn logs(&self) -> String {
        self.at("log/")
    }

    /// The store's key of an entry, from etcd's.
    pub fn entry_of<'k>(&self, key: &'k str) -> Result<&'k str, StoreError> {
        key.strip_prefix(&self.entries()).ok_or_else(|| strange(key, "it is no entry"))
    }

    /// The version of a log record, from its key.
    pub fn log_of(&self, key: &str) -> Result<Version, StoreError> {
        let number = key.strip_prefix(&self.logs()).and_then(|number| number.parse().ok());
        number.map(Version).ok_or_else(|| strange(key, "it is no record of the log"))
    }
}

/// What a commit wrote.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// No two commits have the same, so that who does not know whether its commit was made finds
    /// out.
    by: String,
    writes: Vec<Write>,
}

impl Record {
    /// The text of a new one. Of what is written twice, the last counts.
    pub fn text(writes: &[Write]) -> Result<String, StoreError> {
        let last: std::collections::BTreeMap<_, _> = writes.iter().cloned().collect();
        let record = Self { by: token(), writes: last.into_iter().collect() };
        serde_json::to_string(&record).map_err(|error| StoreError::Failed(error.to_string()))
    }

    /// What the record of a version says.
    pub fn read(key: &str, version: Version, text: &str) -> Result<Batch, StoreError> {
        let record: Self =
            serde_json::from_str(text).map_err(|error| strange(key, &error.to_string()))?;
        Ok(Batch { version, writes: record.writes })
    }
}

/// A text that nobody else has.
pub fn token() -> String {
    format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}

/// A leadership as it stands in etcd.
pub fn lead_text(held: &Leadership) -> String {
    format!("{} {}", held.term, held.holder)
}

/// The leadership that stands there.
pub fn lead_of(name: &str, text: &str) -> Option<Leadership> {
    let (term, holder) = text.split_once(' ')?;
    Some(Leadership { name: name.to_owned(), holder: holder.to_owned(), term: term.parse().ok()? })
}

/// What stands under `version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// The last commit's number, and the text of it, which is none if nothing was ever written.
    At(Version, Option<String>),
    /// The store is being written anew, or that was cut off. All versions up to this one were in
    /// use before.
    Importing(Version, String),
}

/// The text while an import goes on, that no commit can expect.
pub fn importing(token: &str, until: Version) -> String {
    format!("importing {} {token}", until.0)
}

impl Head {
    pub fn read(key: &str, text: Option<&str>) -> Result<Self, StoreError> {
        let Some(text) = text else { return Ok(Self::At(Version(0), None)) };
        let owned = text.to_owned();
        if let Some((until, _)) =
            text.strip_prefix("importing ").and_then(|rest| rest.split_once(' '))
        {
            return Ok(Self::Importing(number(key, until)?, owned));
        }
        Ok(Self::At(number(key, text)?, Some(owned)))
    }

    /// The version, unless an import goes on.
    pub fn version(&self) -> Result<Version, StoreError> {
        match self {
            Self::At(version, _) => Ok(*version),
            Self::Importing(..) => Err(StoreError::Failed(
                "an import into this store has not ended; if it was cut off, import again and \
                 replace what is there"
                    .to_owned(),
            )),
        }
    }
}

/// A version as a text; one that is not there is 0.
pub fn number(key: &str, text: &str) -> Result<Version, StoreError> {
    text.parse().map(Version).map_err(|_| strange(key, "it is no version"))
}

pub fn strange(key: &str, what: &str) -> StoreError {
    StoreError::Failed(format!(
        "etcd's {key} is not what Sillon writes: {what}; choose another prefix"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_in_the_order_of_the_versions_below_a_prefix_of_its_own() {
        let keys = Keys::new("/sillon/");
        assert_eq!(keys.version(), Keys::new("sillon").version());
        let versions = [0, 9, 10, 99, 100, u64::MAX].map(Version);
        let logs: Vec<String> = versions.iter().map(|version| keys.log(*version)).collect();
        assert!(logs.is_sorted());
        assert!(logs.iter().zip(versions).all(|(key, version)| keys.log_of(key) == Ok(version)));
        assert_eq!(keys.entry_of(&keys.entry("a/b")), Ok("a/b"));
        assert!(keys.entry_of(&keys.version()).is_err() && keys.log_of(&keys.entry("1")).is_err());
    }

    #[test]
    fn a_record_says_what_was_written_and_no_two_are_the_same() {
        let write = |value: &str| ("k".to_owned(), Some(value.to_owned()));
        let (one, two) = (Record::text(&[write("é\0"), write("2")]), Record::text(&[write("2")]));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_ne!(one, two);
        let read = |text: &str| Record::read("log", Version(7), text);
        assert_eq!(read(&one), Ok(Batch { version: Version(7), writes: vec![write("2")] }));
        assert_eq!(read(&one), read(&two));
        assert!(read("{}").is_err());
    }

    #[test]
    fn a_head_is_a_version_or_an_import_and_nothing_else() {
        assert_eq!(Head::read("k", None), Ok(Head::At(Version(0), None)));
        assert_eq!(Head::read("k", Some("12")).unwrap().version(), Ok(Version(12)));
        let head = Head::read("k", Some(&importing("t", Version(5)))).unwrap();
        assert!(matches!(&head, Head::Importing(Version(5), _)) && head.version().is_err());
        assert!(Head::read("k", Some("something else")).is_err());
    }

    #[test]
    fn a_leadership_is_read_back() {
        let held = Leadership { name: "l".to_owned(), holder: "one of three".to_owned(), term: 12 };
        assert_eq!(lead_of("l", &lead_text(&held)), Some(held));
        assert_eq!(lead_of("l", "x y"), None);
    }
}
