use std::collections::HashMap;
use std::sync::Arc;

use super::decoder::{Decoder, allowed};
use super::expand::{SHORT, is_short};
use super::{Node, Origin, Pos, Source, Tree, Value, limits, yaml};
use crate::error::Code;
use crate::policy::error::{PolicyError, PolicyErrors};
use crate::policy::spec::{Decode, Encode, Kind, Metadata, Provenance, Resource, ResourceId};

/// What texts hold.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The resources, in the order of the texts. One with a problem is here too, as far as it could
    /// be read, so that the rest can be checked.
    pub resources: Vec<Arc<Resource>>,
    /// Where each was written; same positions as `resources`.
    pub origins: Vec<Arc<Origin>>,
    /// Resources of which no more than the name could be read.
    pub broken: Vec<ResourceId>,
    /// All problems. With any error, the texts as a whole are refused.
    pub diagnostics: PolicyErrors,
}

/// Reads texts in long and short form. A resource without a namespace belongs to `default`.
pub fn load(sources: &[Source]) -> Loaded {
    load_in(sources, "default")
}

/// Reads texts in long and short form. A resource without a namespace belongs to `namespace`.
pub fn load_in(sources: &[Source], namespace: &str) -> Loaded {
    let mut loaded = Loaded::default();
    let bytes: usize = sources.iter().map(|s| s.text.len()).sum();
    if bytes > limits::TEXT_BYTES {
        let message = format!(
            "the texts have {bytes} bytes; at most {} are read",
            limits::TEXT_BYTES
        );
        let error = PolicyError::new(Code::POLICY_TOO_LARGE, message);
        loaded.diagnostics.0.push(error);
        return loaded;
    }
    let mut seen: HashMap<ResourceId, String> = HashMap::new();
    let mut more = 0;
    for source in sources {
        let mut cx = Decoder::new(source.name.clone());
        let (documents, broken) = yaml::parse(&source.text);
        for document in &documents {
            cx.resource = None;
            if is_short(document) {
                for node in super::expand::expand(document, namespace, &mut cx) {
                    resource(node, namespace, &mut cx, &mut loaded, &mut seen);
                }
            } else {
                resource(document.clone(), namespace, &mut cx, &mut loaded, &mut seen);
            }
        }
        if let Some(broken) = broken {
            let code = if broken.too_large {
                Code::POLICY_TOO_LARGE
            } else {
                Code::POLICY_SYNTAX
            };
            cx.resource = None;
            let pos = broken.pos.unwrap_or(Pos {
                line: 1,
                column: 1,
                len: 1,
            });
            cx.note(code, pos, broken.message);
        }
        loaded.diagnostics.0.append(&mut cx.problems);
        more += cx.more;
        if loaded.resources.len() > limits::RESOURCES {
            let message = format!(
                "{} resources; at most {} are accepted",
                loaded.resources.len(),
                limits::RESOURCES
            );
            let error = PolicyError::new(Code::POLICY_TOO_LARGE, message);
            loaded.diagnostics.0.push(error);
            loaded.resources.truncate(limits::RESOURCES);
            loaded.origins.truncate(limits::RESOURCES);
            break;
        }
    }
    let problems = &mut loaded.diagnostics.0;
    if problems.len() + more > limits::PROBLEMS {
        more += problems.len().saturating_sub(limits::PROBLEMS);
        let message = format!("{more} more problems");
        problems.truncate(limits::PROBLEMS);
        problems.push(PolicyError::new(Code::POLICY, message));
    }
    loaded
}

/// Decodes one document in long form.
fn resource(
    node: Node,
    namespace: &str,
    cx: &mut Decoder,
    loaded: &mut Loaded,
    seen: &mut HashMap<ResourceId, String>,
) {
    cx.resource = None;
    let Value::Map(entries) = &node.value else {
        let message = format!("expected a resource, found {}", node.describe());
        cx.note(Code::POLICY_WRONG_TYPE, node.pos, message);
        return;
    };
    if node.entry("kind").is_none() && node.entry("apiVersion").is_none() {
        // Probably a misspelt `service:`.
        let near = entries
            .iter()
            .find(|e| super::closest(&e.key, ["service"]).is_some());
        match near {
            Some(entry) => {
                let message = format!("unknown field `{}`", entry.key);
                let hint = allowed(&entry.key, SHORT);
                cx.note_with(Code::POLICY_UNKNOWN_FIELD, entry.key_pos, message, hint);
            }
            None => cx.note_with(
                Code::POLICY_MISSING_FIELD,
                entries.first().map_or(node.pos, |e| e.key_pos),
                "neither `kind` (long form) nor `service` (short form) is given",
                None,
            ),
        }
        return;
    }
    cx.mapping(&node, &["apiVersion", "kind", "metadata", "spec"]);
    let kind = kind(&node, cx);
    let metadata = match node.get("metadata") {
        Some(metadata) => cx.at("metadata", |cx| Metadata::decode(metadata, cx)),
        None => {
            let pos = node.pos;
            cx.note(
                Code::POLICY_MISSING_FIELD,
                pos,
                "field `metadata` is missing",
            );
            None
        }
    };
    let (Some(kind), Some(mut metadata)) = (kind, metadata) else {
        return;
    };
    if metadata.namespace.is_empty() {
        namespace.clone_into(&mut metadata.namespace);
    }
    let id = ResourceId {
        kind,
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
    };
    cx.resource = Some(id.clone());
    let pos = node.locate("metadata.name");
    let place = pos.in_file(&cx.file()).to_string();
    if let Some(first) = seen.get(&id) {
        let hint = Some(format!("first given at {first}"));
        let message = format!("{id} is given twice");
        cx.at("metadata.name", |cx| {
            cx.note_with(Code::POLICY_DUPLICATE_NAME, pos, message, hint);
        });
        return;
    }
    seen.insert(id.clone(), place);
    let nothing = Node::new(Value::Map(Vec::new()), node.pos);
    let spec = node.get("spec").filter(|n| !n.is_null());
    let spec = spec.unwrap_or(&nothing);
    let decoded = cx.at("spec", |cx| Resource::decode_spec(kind, metadata, spec, cx));
    let Some(mut decoded) = decoded else {
        loaded.broken.push(id);
        return;
    };
    let origin = Arc::new(Origin::of_tree(cx.file(), node));
    decoded.set_provenance(Provenance::new(origin.clone()));
    loaded.resources.push(Arc::new(decoded));
    loaded.origins.push(origin);
}

fn kind(node: &Node, cx: &mut Decoder) -> Option<Kind> {
    let Some(entry) = node.entry("kind") else {
        cx.note(
            Code::POLICY_MISSING_FIELD,
            node.pos,
            "field `kind` is missing",
        );
        return None;
    };
    let text = cx.at("kind", |cx| cx.string(&entry.value))?;
    let found = Kind::CHOICES.iter().position(|k| *k == text);
    let Some(kind) = found.map(|n| ALL[n]) else {
        let hint = allowed(&text, Kind::CHOICES);
        let message = format!("unknown kind `{text}`");
        cx.at("kind", |cx| {
            cx.note_with(Code::POLICY_UNKNOWN_KIND, entry.value.pos, message, hint);
        });
        return None;
    };
    let Some(version) = node.get("apiVersion") else {
        let message = format!(
            "field `apiVersion` is missing; for {kind} it is {}",
            kind.api_versions()[0]
        );
        cx.note(Code::POLICY_MISSING_FIELD, entry.key_pos, message);
        return Some(kind);
    };
    let text = cx.at("apiVersion", |cx| cx.string(version))?;
    if !kind.api_versions().contains(&text.as_str()) {
        let message = format!("unknown apiVersion `{text}` of {kind}");
        let hint = allowed(&text, kind.api_versions());
        cx.at("apiVersion", |cx| {
            cx.note_with(Code::POLICY_UNKNOWN_KIND, version.pos, message, hint);
        });
    }
    Some(kind)
}

const ALL: [Kind; 11] = [
    Kind::Service,
    Kind::HttpRoute,
    Kind::GrpcRoute,
    Kind::BackendPolicy,
    Kind::AccessPolicy,
    Kind::TransportPolicy,
    Kind::TrafficPolicy,
    Kind::Fault,
    Kind::DirectResponse,
    Kind::StickySplit,
    Kind::TrailerEdit,
];

/// The text in long form: the same resources, one a document.
pub fn expand(source: &Source) -> Result<String, PolicyErrors> {
    rewrite(source, |resources| {
        resources.iter().map(|r| r.encode()).collect()
    })
}

/// The text in short form, as far as that can say it exactly; the rest stays long.
pub fn shorten(source: &Source) -> Result<String, PolicyErrors> {
    rewrite(source, super::shorten::shorten)
}

fn rewrite(
    source: &Source,
    write: impl Fn(&[&Resource]) -> Vec<Tree>,
) -> Result<String, PolicyErrors> {
    let loaded = load(std::slice::from_ref(source));
    if loaded.diagnostics.iter().any(PolicyError::is_error) {
        return Err(loaded.diagnostics);
    }
    let resources: Vec<&Resource> = loaded.resources.iter().map(|r| &**r).collect();
    Ok(to_text(&write(&resources)))
}

/// Documents as one text.
fn to_text(documents: &[Tree]) -> String {
    let texts: Vec<String> = documents.iter().map(Tree::to_yaml).collect();
    texts.join("---\n")
}

impl Resource {
    /// The resource as YAML in long form.
    pub fn to_yaml(&self) -> String {
        self.encode().to_yaml()
    }
}
