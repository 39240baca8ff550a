//! Reading the keys of one table, each with its place and its type.

use std::{
    fmt::Display,
    ops::{Range, RangeInclusive},
    str::FromStr,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    super::{InvalidValue, suggest::did_you_mean},
    sink::Sink,
};

/// One table of the file, with the keys that it may have.
pub(super) struct Fields<'t> {
    /// As it is written: `[node]`, `[[port]]`.
    what: &'static str,
    at: Range<usize>,
    table: &'t DeTable<'t>,
}

impl<'t> Fields<'t> {
    /// Reports the keys that are not `known`.
    pub(super) fn new(
        what: &'static str,
        at: Range<usize>,
        table: &'t DeTable<'t>,
        known: &[&str],
        sink: &mut Sink,
    ) -> Self {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let (name, list) = (key.get_ref(), known.join(", "));
            let help = did_you_mean(name, known.iter().copied())
                .unwrap_or_else(|| format!("the keys of {what} are {list}"));
            sink.error(key.span(), format!("unknown key {name:?} in {what}"), "not known here")
                .help(help);
        }
        Self { what, at, table }
    }

    /// Where the table begins.
    pub(super) fn at(&self) -> Range<usize> {
        self.at.clone()
    }

    /// The value of a key, if the key is there.
    pub(super) fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    /// Reads a key that may be missing. What can't be read is reported, and is then `None` as well.
    pub(super) fn optional<T>(
        &self,
        sink: &mut Sink,
        key: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, InvalidValue>,
    ) -> Option<Spanned<T>> {
        checked(sink, self.get(key)?, key, read)
    }

    /// Reads a key that has to be there.
    pub(super) fn required<T>(
        &self,
        sink: &mut Sink,
        key: &str,
        example: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, InvalidValue>,
    ) -> Option<Spanned<T>> {
        if self.get(key).is_none() {
            let message = format!("{} has no {key:?}", self.what);
            sink.error(self.at(), message, "missing here")
                .help(format!("add a line like: {key} = {example}"));
        }
        self.optional(sink, key, read)
    }

    /// Reads a list, each element by itself; a list that is not there is empty.
    pub(super) fn list<T>(
        &self,
        sink: &mut Sink,
        key: &str,
        read: impl Fn(&DeValue<'_>) -> Result<T, InvalidValue>,
    ) -> Vec<Spanned<T>> {
        match self.get(key).map(|value| (value, value.get_ref())) {
            None => Vec::new(),
            Some((_, DeValue::Array(elements))) => {
                elements.iter().filter_map(|element| checked(sink, element, key, &read)).collect()
            }
            Some((value, other)) => {
                let wrong = wrong_type(other, "a list, in square brackets");
                report(sink, value.span(), key, &wrong);
                Vec::new()
            }
        }
    }
}

fn checked<T>(
    sink: &mut Sink,
    value: &Spanned<DeValue<'_>>,
    key: &str,
    read: impl FnOnce(&DeValue<'_>) -> Result<T, InvalidValue>,
) -> Option<Spanned<T>> {
    match read(value.get_ref()) {
        Ok(read) => Some(Spanned::new(value.span(), read)),
        Err(invalid) => {
            report(sink, value.span(), key, &invalid);
            None
        }
    }
}

/// Reports a value that was refused.
pub(super) fn report(sink: &mut Sink, at: Range<usize>, key: &str, invalid: &InvalidValue) {
    sink.error(at, format!("{key}: {invalid}"), "").help(invalid.help());
}

/// The error of a value whose TOML type is another one.
pub(super) fn wrong_type(value: &DeValue<'_>, wanted: impl Display) -> InvalidValue {
    InvalidValue::new(
        format_args!("wrong type: this is {}", type_of(value)),
        format_args!("it has to be {wanted}"),
    )
}

/// The TOML type of a value, with its article.
pub(super) fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Any string.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, InvalidValue> {
    value.as_str().map(str::to_owned).ok_or_else(|| wrong_type(value, "a string, in quotes"))
}

/// The checked form of a name that was read as text.
pub(super) fn spelled<T: FromStr<Err = InvalidValue>>(
    written: &Spanned<String>,
    sink: &mut Sink,
) -> Option<T> {
    match written.get_ref().parse() {
        Ok(name) => Some(name),
        Err(invalid) => {
            sink.error(written.span(), format!("name: {invalid}"), "").help(invalid.help());
            None
        }
    }
}

/// `true` or `false`.
pub(super) fn flag(value: &DeValue<'_>) -> Result<bool, InvalidValue> {
    value.as_bool().ok_or_else(|| wrong_type(value, "true or false, without quotes"))
}

/// A string that is a `T`.
pub(super) fn word<T: FromStr<Err = InvalidValue>>(value: &DeValue<'_>) -> Result<T, InvalidValue> {
    value.as_str().ok_or_else(|| wrong_type(value, "a string, in quotes"))?.parse()
}

/// An integer within `range`; `refuse` says what is wrong with one outside.
pub(super) fn number(
    range: RangeInclusive<u32>,
    refuse: impl FnOnce(&str) -> InvalidValue,
) -> impl FnOnce(&DeValue<'_>) -> Result<u32, InvalidValue> {
    move |value| {
        let DeValue::Integer(integer) = value else {
            return Err(wrong_type(value, "an integer, without quotes"));
        };
        match u32::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if range.contains(&number) => Ok(number),
            // Also what no u32 holds: negative or huge.
            _ => Err(refuse(&integer.to_string())),
        }
    }
}

/// An integer within `range`, of a key without a type of its own.
pub(super) fn number_within(
    range: RangeInclusive<u32>,
) -> impl FnOnce(&DeValue<'_>) -> Result<u32, InvalidValue> {
    let (low, high) = (*range.start(), *range.end());
    number(range, move |number| {
        InvalidValue::new(
            format_args!("{number} is outside {low}–{high}"),
            format_args!("it is a number from {low} to {high}"),
        )
    })
}
