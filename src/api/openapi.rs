//! What the API is, for programs: made of the same kinds, paths and types that serve it.
//! `docs/openapi.json` is a copy, which a test compares.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Paths, Ref, RefOr,
        Required, ResponseBuilder, Schema,
        path::{HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, PathItem},
        request_body::RequestBodyBuilder,
        schema::{AllOfBuilder, ArrayBuilder, ObjectBuilder, Type},
    },
};

use super::{
    paths::{has_long_names, name_of, plural},
    problem::{CONTENT_TYPE, Details},
};
use crate::{
    controller::counters::Counters,
    fabric::{
        AttachmentSpec, Kind, LeaseSpec, NodeSpec, OperatorSpec, PortSpec, ProfileSpec,
        SegmentSpec, ServerSpec,
    },
};

type Schemas = BTreeMap<String, RefOr<Schema>>;

/// All of it.
pub fn document() -> OpenApi {
    let mut schemas = Schemas::new();
    add::<Details>(&mut schemas);
    add::<OperatorSpec>(&mut schemas);
    add::<NodeSpec>(&mut schemas);
    add::<PortSpec>(&mut schemas);
    add::<ServerSpec>(&mut schemas);
    add::<LeaseSpec>(&mut schemas);
    add::<ProfileSpec>(&mut schemas);
    add::<SegmentSpec>(&mut schemas);
    add::<AttachmentSpec>(&mut schemas);
    add::<Counters>(&mut schemas);
    let mut paths = Paths::new();
    for kind in Kind::ALL {
        schemas.insert(object_name(kind), object(kind).into());
        kind_paths(&mut paths, kind);
    }
    schemas.insert("Event".to_owned(), event().into());
    schemas.insert("Change".to_owned(), change().into());
    other_paths(&mut paths);
    let info = InfoBuilder::new().title("Sillon").version("v1").description(Some(ABOUT)).build();
    let components = ComponentsBuilder::new().schemas_from_iter(schemas).build();
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).build()
}

const ABOUT: &str = "The controller of a Sillon fabric. Whoever asks says who it is by a client \
    certificate. What an operator may not see is answered as what is not there. Every error is a \
    problem (RFC 9457).";

/// A schema, and those that it refers to.
fn add<T: ToSchema>(schemas: &mut Schemas) {
    let mut inner = Vec::new();
    T::schemas(&mut inner);
    schemas.extend(inner);
    schemas.insert(T::name().into_owned(), <T as PartialSchema>::schema());
}

fn object_name(kind: Kind) -> String {
    let word = kind.as_str();
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

fn text(what: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(what))
}

/// `{"kind", "name", "etag", "spec", "status"}`
fn object(kind: Kind) -> ObjectBuilder {
    let mut status =
        ObjectBuilder::new().schema_type(Type::Object).description(Some("What became of it"));
    if kind == Kind::Attachment {
        // To whom may know them, from the controller that leads, and of one attachment at a time.
        status = status.property("counters", Ref::from_schema_name(Counters::name()));
    }
    let object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("kind", text("The kind").enum_values(Some([kind.as_str()])))
        .property("name", text("Its name within its kind").examples([json!(name_of(kind))]))
        .property("etag", text("Another one whenever what is asked of it changes"))
        .property(
            "revision",
            ObjectBuilder::new().schema_type(Type::Integer).description(Some(
                "The revision that last changed what is asked of it; not shown to operators",
            )),
        )
        .property("status", status);
    if has_long_names(kind) {
        return object;
    }
    object
        .property("spec", Ref::from_schema_name(format!("{}Spec", object_name(kind))))
        .required("spec")
}

fn event() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("key", text("`KIND/NAME`"))
        .property("type", text("What became of it").enum_values(Some(["put", "delete"])))
        .property(
            "object",
            ObjectBuilder::new().schema_type(Type::Object).description(Some("What it is now")),
        )
}

fn change() -> ObjectBuilder {
    let words = ["put", "delete", "accept", "drain", "confirm", "transfer", "forget"];
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("do", text("What to do").enum_values(Some(words)))
        .required("do")
        .property("key", text("Of put and delete: `KIND/NAME`"))
        .property(
            "spec",
            ObjectBuilder::new().schema_type(Type::Object).description(Some("Of put: the spec")),
        )
        .property(
            "expect",
            text("Of put and delete: `absent`, or the object's ETag without its quotation marks"),
        )
        .property("lease", text("Of accept, drain and confirm: `lease/OPERATOR/NAME`"))
        .property(
            "until",
            text("Of drain: when what is still attached is detached; now if it is left out"),
        )
        .property("server", text("Of transfer: the server"))
        .property(
            "node",
            text(
                "Of forget: the node whose machine is gone for good; nobody waits for it any more",
            ),
        )
        .property("to", text("Of transfer: the new lease, as `lease/OPERATOR/NAME`"))
}

/// What each operation has: an answer, and problems.
fn operation(
    id: &str,
    summary: &str,
    answers: &[(StatusCode, &str, Option<RefOr<Schema>>)],
) -> OperationBuilder {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let problem = ResponseBuilder::new()
        .description("Why it was not done")
        .content(CONTENT_TYPE, problem)
        .build();
    let mut operation = OperationBuilder::new().operation_id(Some(id)).summary(Some(summary));
    for (status, what, schema) in answers {
        let mut answer = ResponseBuilder::new().description(*what);
        if let Some(schema) = schema {
            answer = answer.content(
                "application/json",
                ContentBuilder::new().schema(Some(schema.clone())).build(),
            );
        }
        operation = operation.response(status.as_str(), answer.build());
    }
    operation.response("default", problem)
}

fn parameter(place: ParameterIn, name: &str, what: &str) -> ParameterBuilder {
    let required =
        if matches!(place, ParameterIn::Path) { Required::True } else { Required::False };
    let schema = ObjectBuilder::new().schema_type(Type::String);
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(what))
        .schema(Some(schema))
}

/// The parts of a path that are a name.
fn with_names(mut operation: OperationBuilder, path: &str) -> OperationBuilder {
    for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        operation =
            operation.parameter(parameter(ParameterIn::Path, part, "Its name, or one part of it"));
    }
    operation
}

fn dry_run(operation: OperationBuilder) -> OperationBuilder {
    operation.parameter(parameter(ParameterIn::Query, "dry_run", "`true`: it is only tried"))
}

fn preconditions(operation: OperationBuilder) -> OperationBuilder {
    let tags = "An ETag, several, or *: the object has to be so";
    operation.parameter(parameter(ParameterIn::Header, "If-Match", tags))
}

fn body(
    operation: OperationBuilder,
    kind: &str,
    schema: impl Into<RefOr<Schema>>,
) -> OperationBuilder {
    let content = ContentBuilder::new().schema(Some(schema)).build();
    operation.request_body(Some(
        RequestBodyBuilder::new().content(kind, content).required(Some(Required::True)).build(),
    ))
}

fn of(name: &str) -> Option<RefOr<Schema>> {
    Some(Ref::from_schema_name(name).into())
}

fn list_of(name: &str) -> Option<RefOr<Schema>> {
    let items = ArrayBuilder::new().items(Ref::from_schema_name(name));
    let list = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("items", items)
        .property("next", text("The page that follows, if there is one"));
    Some(Schema::from(list).into())
}

fn kind_paths(paths: &mut Paths, kind: Kind) {
    let (name, all) = (object_name(kind), format!("/v1/{}", plural(kind)));
    let mut list = operation(
        &format!("list{name}s"),
        &format!("Lists the {} that the asker may see", plural(kind)),
        &[(StatusCode::OK, "A page of them", list_of(&name))],
    );
    for (word, what) in [
        ("limit", "How many at most, up to 1000"),
        ("page", "`next` of the page before"),
        ("operator", "Only those of this operator"),
        ("server", "Only those that have to do with this server"),
        ("node", "Only those on this node"),
        ("segment", "Only those of this segment, as `OPERATOR/NAME`"),
    ] {
        list = list.parameter(parameter(ParameterIn::Query, word, what));
    }
    add_path(paths, &all, HttpMethod::Get, list);
    // OpenAPI has no parameters with slashes in them; a tombstone's and a trial's name has some.
    let one = format!("{all}/{}", name_of(kind).replace("{*", "{"));
    let get = operation(
        &format!("get{name}"),
        &format!("Gets one {kind}"),
        &[(StatusCode::OK, "It", of(&name))],
    );
    add_path(paths, &one, HttpMethod::Get, with_names(get, &one));
    if has_long_names(kind) {
        return;
    }
    let put = operation(
        &format!("put{name}"),
        &format!("Creates or replaces one {kind}"),
        &[(StatusCode::OK, "It is", of(&name)), (StatusCode::CREATED, "It was made", of(&name))],
    );
    let put = put.parameter(parameter(
        ParameterIn::Header,
        "If-None-Match",
        "*: it is not to be there yet",
    ));
    let put = body(
        preconditions(dry_run(with_names(put, &one))),
        "application/json",
        Ref::from_schema_name(&name),
    );
    add_path(paths, &one, HttpMethod::Put, put);
    let patch = operation(
        &format!("patch{name}"),
        &format!("Changes a part of the spec of one {kind} (JSON merge patch, RFC 7396)"),
        &[(StatusCode::OK, "It is", of(&name))],
    );
    let any = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("spec", ObjectBuilder::new().schema_type(Type::Object));
    let patch = body(
        preconditions(dry_run(with_names(patch, &one))),
        "application/merge-patch+json",
        Schema::from(any),
    );
    add_path(paths, &one, HttpMethod::Patch, patch);
    let delete = operation(
        &format!("delete{name}"),
        &format!("Deletes one {kind}"),
        &[(StatusCode::NO_CONTENT, "It is not", None)],
    );
    add_path(paths, &one, HttpMethod::Delete, preconditions(dry_run(with_names(delete, &one))));
}

fn other_paths(paths: &mut Paths) {
    let done = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("dry_run", ObjectBuilder::new().schema_type(Type::Boolean))
        .property("revision", ObjectBuilder::new().schema_type(Type::Integer))
        .property("events", ArrayBuilder::new().items(Ref::from_schema_name("Event")));
    let done: Option<RefOr<Schema>> = Some(Schema::from(done).into());
    let ok = |schema| [(StatusCode::OK, "It was done", schema)];

    let changes = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("changes", ArrayBuilder::new().items(Ref::from_schema_name("Change")))
        .required("changes");
    let batch =
        operation("transaction", "Makes several changes: all of them, or none", &ok(done.clone()));
    let batch = body(dry_run(batch), "application/json", Schema::from(changes));
    let confirm = "Take all of it back after so many seconds, unless `/v1/confirm` comes before; \
        one such transaction of an asker at a time";
    let batch = batch.parameter(parameter(ParameterIn::Query, "confirm", confirm));
    add_path(paths, "/v1/transactions", HttpMethod::Post, batch);

    for (path, id, summary) in [
        ("/v1/confirm", "confirm", "Keeps what was made with `confirm`"),
        (
            "/v1/rollback",
            "rollback",
            "Takes back at once what was made with `confirm`, except what somebody changed \
             since",
        ),
    ] {
        let of = "Whose: `owner` or `operator/NAME`; the asker's own if it is left out";
        let end = dry_run(operation(id, summary, &ok(done.clone())));
        add_path(
            paths,
            path,
            HttpMethod::Post,
            end.parameter(parameter(ParameterIn::Query, "of", of)),
        );
    }

    audit_paths(paths);

    let to = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("to", text("`lease/OPERATOR/NAME`"))
        .required("to");
    let path = "/v1/servers/{name}/transfer";
    let transfer = operation(
        "transferServer",
        "Ends the lease of a server and offers it to another operator",
        &ok(done),
    );
    let transfer = body(dry_run(with_names(transfer, path)), "application/json", Schema::from(to));
    add_path(paths, path, HttpMethod::Post, transfer);

    for (word, summary) in [
        ("accept", "Accepts the offer, as its operator"),
        ("drain", "Ends the lease; what is attached may stay until then"),
        ("confirm", "Ends the quarantine, as the owner"),
    ] {
        let path = format!("/v1/leases/{{operator}}/{{name}}/{word}");
        let mut step = dry_run(with_names(
            operation(&format!("{word}Lease"), summary, &ok(of("Lease"))),
            &path,
        ));
        if word == "drain" {
            let until =
                ObjectBuilder::new().schema_type(Type::Object).property("until", text("When"));
            let content = ContentBuilder::new().schema(Some(Schema::from(until))).build();
            step = step.request_body(Some(
                RequestBodyBuilder::new().content("application/json", content).build(),
            ));
        }
        add_path(paths, &path, HttpMethod::Post, step);
    }

    let events =
        ContentBuilder::new().schema(Some(text("Events `happened`, `place` and `cut`"))).build();
    let events =
        ResponseBuilder::new().description("What happens").content("text/event-stream", events);
    let watch = operation(
        "watch",
        "Streams the changes of what the asker may see, as server-sent events",
        &[],
    )
    .response("200", events.build())
    .parameter(parameter(ParameterIn::Query, "after", "The id of an event: go on after it"))
    .parameter(parameter(ParameterIn::Header, "Last-Event-ID", "The same"));
    add_path(paths, "/v1/watch", HttpMethod::Get, watch);
    let plain = || {
        Some(
            Schema::from(AllOfBuilder::new().item(ObjectBuilder::new().schema_type(Type::Object)))
                .into(),
        )
    };
    for (path, id, summary) in [
        ("/v1/whoami", "whoami", "Says who the asker is"),
        ("/v1/openapi.json", "openapi", "Gets this document"),
        ("/healthz", "healthz", "Says whether the controller answers"),
        ("/readyz", "readyz", "Says whether the controller can serve"),
    ] {
        add_path(paths, path, HttpMethod::Get, operation(id, summary, &ok(plain())));
    }
}

fn audit_paths(paths: &mut Paths) {
    let number =
        |what: &str| ObjectBuilder::new().schema_type(Type::Integer).description(Some(what));
    let item = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("at", number("Its place, from 0"))
        .property(
            "text",
            text(
                "What the commitment is of: the entry with its place, the root \
                 before it, and a salt, as JSON",
            ),
        )
        .property(
            "commitment",
            text(
                "Instead, of what is not for who asks: the SHA-256 of the \
                 text",
            ),
        );
    let page = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("items", ArrayBuilder::new().items(item))
        .property("next", number("Where it goes on, if there is more"))
        .property("entries", number("How many entries there are, all in all"));
    let page: RefOr<Schema> = Schema::from(page).into();
    let list = operation(
        "listAudit",
        "Lists what was changed and refused, as far as the asker may read it",
        &[(StatusCode::OK, "Some of it", Some(page))],
    )
    .parameter(parameter(
        ParameterIn::Query,
        "from",
        "The first place to look at; 0 if it is left out",
    ))
    .parameter(parameter(ParameterIn::Query, "limit", "How many places to look at, up to 1000"))
    .parameter(parameter(
        ParameterIn::Query,
        "whole",
        "`true`: of what is not for who asks the commitments, so that the whole can be checked",
    ));
    add_path(paths, "/v1/audit", HttpMethod::Get, list);
    let note = ContentBuilder::new()
        .schema(Some(text("Size and root of the log, signed (C2SP tlog-checkpoint)")))
        .build();
    let note =
        ResponseBuilder::new().description("The newest checkpoint").content("text/plain", note);
    let checkpoint = operation(
        "auditCheckpoint",
        "Gets the signed checkpoint, which everybody should keep a copy of",
        &[],
    )
    .response("200", note.build());
    add_path(paths, "/v1/audit/checkpoint", HttpMethod::Get, checkpoint);
    let proof: RefOr<Schema> = Schema::from(ObjectBuilder::new().schema_type(Type::Object)).into();
    for (path, id, summary) in [
        (
            "/v1/audit/entries/{entry}/proof",
            "auditProof",
            "Proves that an entry is in the log (RFC 9162 section 2.1.3) that has only grown",
        ),
        (
            "/v1/audit/growth",
            "auditGrowth",
            "Proves that the log has only grown (RFC 9162 section 2.1.4)",
        ),
    ] {
        let what = "What `sillon audit verify` checks";
        let since = "How many entries the log had: the size of a checkpoint that was kept";
        let shown = with_names(
            operation(id, summary, &[(StatusCode::OK, what, Some(proof.clone()))]),
            path,
        );
        add_path(
            paths,
            path,
            HttpMethod::Get,
            shown.parameter(parameter(ParameterIn::Query, "since", since)),
        );
    }
}

fn add_path(paths: &mut Paths, path: &str, method: HttpMethod, operation: OperationBuilder) {
    let operation: Operation = operation.build();
    let mut item = paths.paths.remove(path).unwrap_or_default();
    item.merge_operations(PathItem::new(method, operation));
    paths.paths.insert(path.to_owned(), item);
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

    /// `SILLON_WRITE_OPENAPI=1 cargo test --lib openapi` writes it anew.
    #[test]
    fn the_copy_in_docs_is_current() {
        let text = document().to_pretty_json().unwrap() + "\n";
        if std::env::var_os("SILLON_WRITE_OPENAPI").is_some() {
            std::fs::write(FILE, &text).unwrap();
        }
        let copy = std::fs::read_to_string(FILE).unwrap();
        assert!(
            copy == text,
            "docs/openapi.json is old: SILLON_WRITE_OPENAPI=1 cargo test --lib openapi"
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = serde_json::to_string(&document()).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let references: Vec<&str> =
            text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(references.len() > 50);
        for pointer in references {
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
