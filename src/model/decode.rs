//! Reads a value out of JSON, and says what is wrong with it in the words of the file.
//!
//! Serde's own errors speak of Rust (`invalid type: map, expected struct Moves`). Whoever wrote the
//! file has to know where the mistake is, what stands there, and what would be right. So this is a
//! deserializer of its own: it knows the place, and its error type translates what types expect.

use std::fmt::{self, Display};

use serde::{
    Deserializer, de,
    de::{DeserializeOwned, Expected, IntoDeserializer, Unexpected},
    forward_to_deserialize_any,
};
use serde_json::{Value, map};

use super::suggest::did_you_mean;

/// Reads a value of type `T`.
///
/// # Errors
/// Returns the first mistake, with its place.
pub fn decode<T: DeserializeOwned>(value: Value) -> Result<T, Mistake> {
    T::deserialize(Reader(value))
}

/// What is wrong with a value, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// From the inside out: a mistake learns where it is on its way up.
    place: Vec<Step>,
    what: String,
    help: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Mistake {
    /// Makes one at the value itself.
    pub fn new(what: impl Display, help: impl Display) -> Self {
        Self { place: Vec::new(), what: what.to_string(), help: Some(help.to_string()) }
    }

    /// Says that it is in the value of this key.
    #[must_use]
    pub fn within(mut self, key: impl Into<String>) -> Self {
        self.place.push(Step::Key(key.into()));
        self
    }

    /// Says that it is in this element of a list, counted from 0.
    #[must_use]
    pub fn at(mut self, index: usize) -> Self {
        self.place.push(Step::Index(index));
        self
    }

    fn wrong_type(is: Unexpected<'_>, wanted: impl Display) -> Self {
        let wanted = format_args!("it has to be {wanted}");
        Self::new(format_args!("wrong type: this is {}", Shown(is)), wanted)
    }
}

impl Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, step) in self.place.iter().rev().enumerate() {
            match step {
                Step::Key(key) if count == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        if !self.place.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.what)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: Display>(what: T) -> Self {
        Self { place: Vec::new(), what: what.to_string(), help: None }
    }

    fn invalid_type(is: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::wrong_type(is, wanted_in_words(wanted))
    }

    fn invalid_value(is: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        let help = format_args!("it has to be {}", wanted_in_words(wanted));
        Self::new(format_args!("{} is not possible here", Shown(is)), help)
    }

    fn invalid_length(length: usize, wanted: &dyn Expected) -> Self {
        let help = format_args!("it has to be {}", wanted_in_words(wanted));
        Self::new(format_args!("this list has the length {length}"), help)
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::new(format_args!("{word:?} is not known here"), one_of(word, known))
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        let help = did_you_mean(key, known.iter().copied())
            .unwrap_or_else(|| format!("the keys here are {}", known.join(", ")));
        Self::new(format_args!("unknown key {key:?}"), help)
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(format_args!("there is no {key:?}"), "it has to be there")
    }

    fn duplicate_field(key: &'static str) -> Self {
        Self::new(format_args!("{key:?} is there twice"), "write it once")
    }
}

fn one_of(word: &str, known: &[&str]) -> String {
    did_you_mean(word, known.iter().copied())
        .unwrap_or_else(|| format!("it is one of {}", known.join(", ")))
}

/// Shows what stands in the file as it can be written there.
struct Shown<'a>(Unexpected<'a>);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Bool(is) => is.fmt(f),
            Unexpected::Unsigned(number) => write!(f, "the number {number}"),
            Unexpected::Signed(number) => write!(f, "the number {number}"),
            Unexpected::Float(number) => write!(f, "the number {number}"),
            Unexpected::Str(text) => write!(f, "the text {text:?}"),
            Unexpected::Unit | Unexpected::Option => f.write_str("nothing"),
            Unexpected::Seq => f.write_str("a list"),
            Unexpected::Map => f.write_str("a table"),
            _ => f.write_str("something else"),
        }
    }
}

/// Names what a type of another library is written as, and shows how. Their own errors say how
/// they read a text, and not what would be right.
fn of_another_library(wanted: &str) -> Option<(&'static str, &'static str)> {
    match wanted {
        "IP address" => Some((
            "an IP address",
            "write an address without a prefix length, like \"10.99.0.1\" or \"fd99::1\"",
        )),
        words if words.contains("timestamp") => {
            Some(("a time", "write a time with its zone, like \"2026-07-01T12:00:00Z\""))
        }
        _ => None,
    }
}

/// Says in plain words what a type expects. Types of this crate say it so already.
fn wanted_in_words(wanted: &dyn Expected) -> String {
    let whole = |most: u64| format!("a whole number from 0 to {most}");
    let text = wanted.to_string();
    if let Some((what, _)) = of_another_library(&text) {
        return format!("{what}, in quotes");
    }
    match text.as_str() {
        "u8" => whole(u8::MAX.into()),
        "u16" => whole(u16::MAX.into()),
        "u32" => whole(u32::MAX.into()),
        "u64" | "usize" => "a whole number, not negative".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false, without quotes".to_owned(),
        "a string" | "a borrowed string" => "text, in quotes".to_owned(),
        "a sequence" => "a list, in square brackets".to_owned(),
        "a map" => "a table of keys and values".to_owned(),
        words if words.starts_with("struct ") || words.starts_with("internally tagged ") => {
            "a table of keys and values".to_owned()
        }
        words if words.starts_with("enum ") => "one of its words".to_owned(),
        words => match words.strip_prefix("a tuple of size ") {
            Some(size) => format!("a list of {size}"),
            None => text,
        },
    }
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(is) => Unexpected::Bool(*is),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), ..) => Unexpected::Unsigned(number),
            (_, Some(number), _) => Unexpected::Signed(number),
            (.., number) => Unexpected::Float(number.unwrap_or(f64::NAN)),
        },
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    }
}

/// A value, as something to read.
struct Reader(Value);

impl<'de> Deserializer<'de> for Reader {
    type Error = Mistake;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(is) => visitor.visit_bool(is),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => visitor.visit_u64(number),
                (_, Some(number), _) => visitor.visit_i64(number),
                (.., number) => visitor.visit_f64(number.unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(elements) => visitor.visit_seq(Elements(elements.into_iter().enumerate())),
            Value::Object(map) => {
                visitor.visit_map(Entries { left: map.into_iter(), current: None })
            }
        }
    }

    fn deserialize_str<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let foreign = of_another_library(&(&visitor as &dyn Expected).to_string());
        let text = self.0.as_str().filter(|_| foreign.is_some()).map(str::to_owned);
        let read = self.deserialize_any(visitor);
        match (text, foreign) {
            (Some(text), Some((what, help))) => {
                read.map_err(|_| Mistake::new(format_args!("{text:?} is not {what}"), help))
            }
            _ => read,
        }
    }

    fn deserialize_string<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        if self.0.is_object() {
            return self.deserialize_any(visitor);
        }
        let wanted = format_args!("a table with keys of {}", keys.join(", "));
        Err(Mistake::wrong_type(unexpected(&self.0), wanted))
    }

    fn deserialize_tuple<V: de::Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match &self.0 {
            Value::Array(elements) if elements.len() != length => {
                Err(de::Error::invalid_length(elements.len(), &visitor))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let (word, value) = match self.0 {
            Value::String(word) => (word, None),
            Value::Object(map) if map.len() == 1 => match map.into_iter().next() {
                Some((word, value)) => (word, Some(value)),
                None => return Err(Mistake::new("this is empty", one_of("", words))),
            },
            Value::Object(map) => {
                let keys: Vec<&str> = map.keys().map(String::as_str).collect();
                let what = match keys.len() {
                    0 => "this is an empty table".to_owned(),
                    _ => format!("this is a table with the keys {}", keys.join(", ")),
                };
                return Err(Mistake::new(
                    what,
                    format_args!("it has to have one of {}", words.join(", ")),
                ));
            }
            other => {
                let wanted = format_args!("one of {}", words.join(", "));
                return Err(Mistake::wrong_type(unexpected(&other), wanted));
            }
        };
        visitor.visit_enum(Choice { word, value })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple_struct map identifier ignored_any
    }
}

/// The elements of a list.
struct Elements(std::iter::Enumerate<std::vec::IntoIter<Value>>);

impl<'de> de::SeqAccess<'de> for Elements {
    type Error = Mistake;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Mistake> {
        let Some((index, value)) = self.0.next() else { return Ok(None) };
        seed.deserialize(Reader(value)).map(Some).map_err(|mistake| mistake.at(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// The keys and values of a table.
struct Entries {
    left: map::IntoIter,
    current: Option<(String, Value)>,
}

impl<'de> de::MapAccess<'de> for Entries {
    type Error = Mistake;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mistake> {
        self.current = self.left.next();
        let Some((key, _)) = &self.current else { return Ok(None) };
        seed.deserialize(key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, Mistake> {
        let (key, value) = self.current.take().unwrap_or_default();
        seed.deserialize(Reader(value)).map_err(|mistake| mistake.within(key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.len())
    }
}

/// One word of several, as `word` alone or as `word: value`.
struct Choice {
    word: String,
    value: Option<Value>,
}

impl<'de> de::EnumAccess<'de> for Choice {
    type Error = Mistake;
    type Variant = Self;

    fn variant_seed<T: de::DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self), Mistake> {
        Ok((seed.deserialize(self.word.as_str().into_deserializer())?, self))
    }
}

impl Choice {
    fn value(self) -> Result<(String, Value), Mistake> {
        let Self { word, value } = self;
        match value {
            Some(value) => Ok((word, value)),
            None => Err(Mistake::new(
                format_args!("{word:?} stands without a value"),
                format_args!("write {{ {word}: VALUE }}"),
            )),
        }
    }
}

impl<'de> de::VariantAccess<'de> for Choice {
    type Error = Mistake;

    fn unit_variant(self) -> Result<(), Mistake> {
        match self.value {
            None => Ok(()),
            Some(_) => Err(Mistake::new(
                format_args!("{:?} has a value", self.word),
                format_args!("write {:?} alone", self.word),
            )),
        }
    }

    fn newtype_variant_seed<T: de::DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, Mistake> {
        let (word, value) = self.value()?;
        seed.deserialize(Reader(value)).map_err(|mistake| mistake.within(word))
    }

    fn tuple_variant<V: de::Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let (word, value) = self.value()?;
        Reader(value).deserialize_tuple(length, visitor).map_err(|mistake| mistake.within(word))
    }

    fn struct_variant<V: de::Visitor<'de>>(
        self,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let (word, value) = self.value()?;
        Reader(value).deserialize_struct("", keys, visitor).map_err(|mistake| mistake.within(word))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::IpAddr};

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(rename = "inner")]
        _inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "size")]
        _size: u16,
        #[serde(default, rename = "at")]
        _at: Option<IpAddr>,
        #[serde(default, rename = "which")]
        _which: BTreeMap<String, Which>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Which {
        All,
        Some(#[expect(dead_code, reason = "only its form matters")] (u8, u8)),
    }

    #[test]
    fn a_mistake_says_where_it_is_and_what_would_be_right() {
        for (inner, said) in [
            (json!({}), "inner[0]: there is no \"size\" (it has to be there)"),
            (
                json!({"size": 70000}),
                "inner[0].size: the number 70000 is not possible here \
                 (it has to be a whole number from 0 to 65535)",
            ),
            (
                json!({"size": "big"}),
                "inner[0].size: wrong type: this is the text \"big\" \
                 (it has to be a whole number from 0 to 65535)",
            ),
            (json!({"sise": 1}), "inner[0]: unknown key \"sise\" (did you mean \"size\"?)"),
            (json!({"x": 1}), "inner[0]: unknown key \"x\" (the keys here are size, at, which)"),
            (
                json!([1]),
                "inner[0]: wrong type: this is a list \
                 (it has to be a table with keys of size, at, which)",
            ),
            (
                json!({"size": 1, "at": "here"}),
                "inner[0].at: \"here\" is not an IP address \
                 (write an address without a prefix length, like \"10.99.0.1\" or \"fd99::1\")",
            ),
            (
                json!({"size": 1, "which": {"a": "al"}}),
                "inner[0].which.a: \"al\" is not known here (did you mean \"all\"?)",
            ),
            (
                json!({"size": 1, "which": {"a": {"all": 1}}}),
                "inner[0].which.a: \"all\" has a value (write \"all\" alone)",
            ),
            (
                json!({"size": 1, "which": {"a": "some"}}),
                "inner[0].which.a: \"some\" stands without a value (write { some: VALUE })",
            ),
            (
                json!({"size": 1, "which": {"a": {"some": [1]}}}),
                "inner[0].which.a.some: this list has the length 1 (it has to be a list of 2)",
            ),
        ] {
            let mistake = decode::<Outer>(json!({ "inner": [inner] })).unwrap_err();
            assert_eq!(mistake.to_string(), said);
        }
    }

    #[test]
    fn what_is_right_is_read() {
        let right = json!({"size": 1, "at": null, "which": {"a": "all", "b": {"some": [1, 2]}}});
        decode::<Outer>(json!({ "inner": [right] })).unwrap();
    }
}
