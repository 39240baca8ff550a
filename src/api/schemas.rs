//! How values of the model look in JSON, for `openapi.json`: those whose form is not their fields.

use std::borrow::Cow;

use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type},
    },
};

use crate::{
    fabric::{EncapWish, PortKey, Ranges},
    model::{
        Binding, BitRate, ByteSize, Control, Ethertype, Hook, LeafRole, MacAddr, Name, OverLimit,
        PortRole, Prefix, Service, Trust, Vni,
    },
};

/// A text of a certain form.
macro_rules! texts {
    ($($name:ident: $what:literal, $($example:literal),+;)+) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String).description(Some($what));
                text.examples([$(json!($example)),+]).into()
            }
        }
        impl ToSchema for $name {}
    )+};
}

texts! {
    Name: "1 to 63 letters, digits, `.`, `_` or `-`; the first is a letter or digit", "alder";
    PortKey: "`NODE/INTERFACE`", "edge1/p0";
    EncapWish: "`untagged`, `dot1q VID`, `qinq S-VID[.C-VID]` or `port`; without a VID, one is \
        drawn",
        "untagged", "dot1q 10", "dot1q", "qinq 10.5", "port";
    MacAddr: "A unicast MAC address", "02:00:00:00:00:01";
    Prefix: "An IPv4 or IPv6 prefix", "10.0.0.0/24", "fd00::/64";
    Ethertype: "An ethertype or its name", "ipv4", "0x88b5";
    Binding: "An IP address and its MAC, and `router` if it is one", "10.0.0.1 02:00:00:00:00:01";
}

/// A word of a list.
macro_rules! words {
    ($($name:ident: $what:literal;)+) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words = $name::ALL.iter().map(|word| word.as_str());
                let text = ObjectBuilder::new().schema_type(Type::String).description(Some($what));
                text.enum_values(Some(words)).into()
            }
        }
        impl ToSchema for $name {}
    )+};
}

words! {
    Hook: "Where in the kernel a port's frames are seen to";
    PortRole: "What a port faces: a rented server, an operator's own router, or the underlay";
    Service: "Who reaches whom";
    LeafRole: "What an attachment is in a tree";
    OverLimit: "What becomes of frames from one address more than there may be";
    Trust: "What an attachment is trusted to be";
    Control: "What becomes of link-local control frames";
}

/// A number, or a text with its unit; answers have the number.
macro_rules! quantities {
    ($($name:ident: $what:literal, $example:literal;)+) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let kinds = SchemaType::Array(vec![Type::Integer, Type::String]);
                let quantity = ObjectBuilder::new().schema_type(kinds).description(Some($what));
                quantity.examples([json!($example), json!(1_000_000)]).into()
            }
        }
        impl ToSchema for $name {}
    )+};
}

quantities! {
    BitRate: "Bits a second", "10 Mbit/s";
    ByteSize: "Bytes", "64 KiB";
}

impl PartialSchema for Vni {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Integer).description(Some("A VNI"));
        number.minimum(Some(Self::MIN.get())).maximum(Some(Self::MAX.get())).into()
    }
}

impl ToSchema for Vni {}

impl PartialSchema for Ranges {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build();
        let pair = ArrayBuilder::new().items(number).min_items(Some(2)).max_items(Some(2));
        let what = Some("Ranges of numbers, each with its first and last one");
        ArrayBuilder::new().items(pair).description(what).into()
    }
}

impl ToSchema for Ranges {
    fn name() -> Cow<'static, str> {
        "Ranges".into()
    }
}
