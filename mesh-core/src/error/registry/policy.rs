use super::{call, other};
use crate::error::{Code, CodeInfo, ErrorKind};

const CHECK: &str = "`meshctl policy check FILE` shows the place and, where there is one, the fix.";

pub(super) const CODES: &[CodeInfo] = &[
    call(
        ErrorKind::Policy,
        "no usable policy",
        "The call needs a policy and there is none to use: the first one has not arrived, or the \
         one that was given is not valid. The call waited for it, at most 5 s or until its \
         deadline.",
        &[
            "The control server has not been reached since the process started (M1002).",
            "The policy file is not valid and there was none before.",
        ],
        &[
            "`meshctl check` shows whether the control server is reachable.",
            "`meshctl policy check FILE` lists everything that is wrong with a file.",
            "`meshctl clients` shows which revision each process runs.",
        ],
    ),
    other(
        Code::POLICY_SYNTAX,
        "the text is not YAML",
        "The policy text cannot be read as YAML. Nothing of the file was applied, and the policy \
         before it stays in force.",
        &[
            "A line is indented with a tab, or by one space too many or too few.",
            "A value with `:`, `#`, `*` or `{` needs quotes.",
            "A bracket or a quote is not closed.",
        ],
        &[CHECK],
    ),
    other(
        Code::POLICY_UNKNOWN_FIELD,
        "unknown field",
        "A field with this name does not exist at this place. It is refused, because a misspelt \
         field that is ignored would leave the default in force without a word.",
        &[
            "The name is misspelt; names are in camelCase.",
            "The field belongs one level higher or lower.",
            "The field is of another version of the schema.",
        ],
        &[
            CHECK,
            "`meshctl policy expand FILE` prints the long form with every field's place.",
        ],
    ),
    other(
        Code::POLICY_DUPLICATE_KEY,
        "a key is given twice",
        "The same key stands twice in one mapping. Which of the two was meant cannot be known, so \
         neither is taken.",
        &[
            "A block was copied and not changed.",
            "Two edits were merged by a tool.",
        ],
        &[
            CHECK,
            "Remove one of the two lines that `meshctl policy check FILE` shows.",
        ],
    ),
    other(
        Code::POLICY_WRONG_TYPE,
        "a value of the wrong type",
        "The value is not of the type that the field takes: a text where a number is due, a single \
         value where a list is due, or the reverse.",
        &[
            "A number stands in quotes, or a text that looks like a number does not.",
            "A list item lacks its `-`.",
        ],
        &[CHECK],
    ),
    other(
        Code::POLICY_DURATION,
        "a duration without a usable unit",
        "Durations need a unit: `500ms`, `2s`, `1m30s`, `1h` (the durations of Gateway API). A \
         bare number could mean seconds or milliseconds, so it is refused.",
        &[
            "A bare number, such as `timeout: 2`.",
            "A fraction, such as `1.5s`; write `1500ms`.",
            "A unit that does not exist here, such as `sec` or `d`.",
        ],
        &[CHECK],
    ),
    other(
        Code::POLICY_MISSING_FIELD,
        "a field is missing",
        "A field that has no default must be given and is not.",
        &[
            "It was left out.",
            "It stands one level too deep or not deep enough, through its indentation.",
        ],
        &[CHECK],
    ),
    other(
        Code::POLICY_UNKNOWN_KIND,
        "unknown kind or apiVersion",
        "The document's `kind` with its `apiVersion`, or the `type` of a filter, is not one that the \
         mesh reads or does yet.",
        &[
            "The kind is misspelt.",
            "The apiVersion is not `gateway.networking.k8s.io/v1` (routes), `v1` (Service) or \
             `policy.mesh/v1alpha1` (the rest).",
            "The file holds resources for something else.",
        ],
        &[CHECK],
    ),
    other(
        Code::POLICY_RANGE,
        "a value out of its range",
        "The value is of the right type but not within the limits of its field. The message gives \
         the limits.",
        &[
            "A percentage above 100, or a port above 65535.",
            "A duration of zero, or longer than the field allows.",
        ],
        &[CHECK],
    ),
    other(
        Code::POLICY_REFERENCE,
        "a reference to nothing",
        "The policy names a service, port or subset that does not exist.",
        &[
            "The name is misspelt; the message proposes the nearest one.",
            "The namespace is missing: a bare name means the namespace of the resource.",
            "The service is defined in a file that was not given.",
        ],
        &[
            CHECK,
            "`meshctl endpoints` lists the services that are known.",
        ],
    ),
    other(
        Code::POLICY_ZERO_WEIGHTS,
        "all weights are zero",
        "Every backend of the rule has weight 0, so no call could go anywhere.",
        &[
            "A roll-out was turned down on one side and not up on the other.",
            "The rule should answer by itself: use a redirect filter instead.",
        ],
        &[
            CHECK,
            "Give at least one of `backendRefs` a weight above 0.",
        ],
    ),
    other(
        Code::POLICY_ATTEMPTS_TIMEOUT,
        "the attempts do not fit the timeout",
        "All attempts together, each as long as `backendRequest` allows, take longer than \
         `request` allows for the whole call. The last attempts could never end.",
        &[
            "`retry.attempts` was raised and `timeouts.request` was not.",
            "`attempts` counts the retries: with `attempts: 2` there are three attempts.",
        ],
        &[
            CHECK,
            "Raise `timeouts.request`, or lower `retry.attempts` or `backendRequest`.",
        ],
    ),
    other(
        Code::POLICY_SHADOWED,
        "a rule can never match",
        "Everything that the rule matches is matched by an earlier one that takes precedence, so \
         it has no effect.",
        &[
            "A rule without `matches` stands before it in the same route.",
            "The same match stands in two rules.",
        ],
        &[
            CHECK,
            "`meshctl explain SERVICE` shows the rules in the order in which they are tried.",
        ],
    ),
    other(
        Code::POLICY_OVERLAP,
        "routes overlap on one parent",
        "Two routes of one service match the same requests. One of them wins by the order of \
         precedence, which may not be the one that was meant.",
        &[
            "Two teams attached a route to the same service.",
            "A route was renamed, and the old one is still there.",
        ],
        &[
            CHECK,
            "`meshctl explain SERVICE` shows which of the two wins.",
        ],
    ),
    other(
        Code::POLICY_RETRY_UNSAFE,
        "retry of a method that is not idempotent",
        "The route repeats calls with methods like POST, also when it is not known whether the \
         first attempt was processed. The work may then be done twice. This is a warning.",
        &["`nonIdempotent: Allow` in `retry`."],
        &[
            CHECK,
            "Remove `nonIdempotent` unless the service tells repeated calls apart: what provably \
             was not processed is repeated without it.",
        ],
    ),
    other(
        Code::POLICY_EJECTION_CAP,
        "ejection can empty the pool",
        "The policy allows so many endpoints to be ejected at a time that none would be left.",
        &["`maxEjectedPercent` of 100, or near it with few endpoints."],
        &[CHECK, "Use `maxEjectedPercent: 50`, which is the default."],
    ),
    other(
        Code::POLICY_EJECTION_EAGER,
        "too few consecutive errors eject",
        "With fewer than 3 consecutive errors chance alone ejects healthy endpoints: at 10 % \
         failures two in a row come once in a hundred calls.",
        &["`consecutiveErrors: 1` or `2`."],
        &[
            CHECK,
            "Use `consecutiveErrors: 5`, which is the default, or 0 to turn the rule off.",
        ],
    ),
    other(
        Code::POLICY_UNUSED,
        "the policy touches nothing",
        "No service, port or route that exists is selected by the policy, so it has no effect. \
         This is a warning.",
        &[
            "The target is misspelt or in another namespace.",
            "The target is not defined yet.",
        ],
        &[
            CHECK,
            "`meshctl endpoints` lists the services that are known.",
        ],
    ),
    other(
        Code::POLICY_CONFLICT,
        "two policies set the same",
        "Two policies attach to the same target and set the same field. Neither is more specific, \
         so neither wins.",
        &[
            "The same resource exists under two names.",
            "Two files of one directory hold the same policy.",
        ],
        &[
            CHECK,
            "Keep one of the two that `meshctl policy check FILE` names.",
        ],
    ),
    other(
        Code::POLICY_ACCESS_FROM,
        "an access rule does not say from whom",
        "A rule of an `AccessPolicy` has no `from`. Whether that means everybody or nobody would \
         be a guess, so it must be written: an empty list allows nobody.",
        &["`from` was left out, or misspelt."],
        &[
            CHECK,
            "Write `from: [{ service: NAME }]`, or `from: []` for nobody.",
        ],
    ),
    other(
        Code::POLICY_REGEX,
        "a regular expression does not compile",
        "The text is not a valid regular expression. The syntax is that of RE2: it has no \
         look-around and no back-references, so that matching takes linear time.",
        &[
            "A bracket is not closed, or a `*` has nothing before it.",
            "Look-around `(?=...)` or a back-reference `\\1`.",
            "The expression is so large that it would take more memory than is allowed (1 MiB).",
        ],
        &[CHECK],
    ),
    other(
        Code::POLICY_DUPLICATE_NAME,
        "two resources of one name",
        "Two resources have the same kind, namespace and name. Which of them counts cannot be \
         known.",
        &[
            "A file was copied and the name not changed.",
            "The same file is given twice.",
        ],
        &[CHECK],
    ),
    other(
        Code::POLICY_NAME,
        "a bad name, label or host",
        "The text is not valid as a name. Services and namespaces are DNS labels: at most 63 of \
         a-z, 0-9 and `-`, with a letter or digit at both ends.",
        &[
            "Capital letters or underscores.",
            "A host with a port or a scheme where only a host is due.",
        ],
        &[CHECK],
    ),
    other(
        Code::POLICY_TOO_LARGE,
        "more policy than is accepted",
        "A text may have at most 4 MiB, and a set at most 10,000 resources. More is taken for a \
         mistake.",
        &[
            "A generated file grew, or the directory holds something else.",
            "Aliases in the YAML expand to much more than the file holds.",
        ],
        &[
            CHECK,
            "Look at what is large: `du -a DIR | sort -n | tail`.",
        ],
    ),
    other(
        Code::POLICY_ENDLESS,
        "a fault without an end",
        "A fault that is made on purpose has no `expires`. What was a test of yesterday is then the \
         incident of today, and nobody remembers where the errors come from.",
        &["A `Fault` leaves `expires` out."],
        &[
            "Say when it is over, such as `expires: 2026-12-31T18:00:00Z`.",
            CHECK,
        ],
    ),
];
