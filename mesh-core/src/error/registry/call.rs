use super::{call, other};
use crate::error::{Code, CodeInfo, ErrorKind};

pub(super) const CODES: &[CodeInfo] = &[
    call(
        ErrorKind::NoRoute,
        "no route matched",
        "The service is not known to the mesh, or it has routes and none of them matches this \
         request. Nothing was sent.",
        &[
            "The name of the service is misspelt, or its namespace is missing.",
            "The service has routes for some paths, methods or hosts only, and no rule for the rest.",
            "The service was never defined and no instance of it has registered.",
            "At an ingress: none of its routes names the host, or the rule that does has no `backendRefs` to \
             another service.",
        ],
        &[
            "`meshctl explain SERVICE` shows the routes in the order in which they are tried.",
            "`meshctl endpoints` lists the services that are known.",
            "Add a rule without `matches` at the end of the route if the rest should go somewhere.",
        ],
    ),
    call(
        ErrorKind::NoEndpoints,
        "no endpoint is known",
        "The service is known, but there is no address to send the call to. The call waited for \
         one, at most 5 s or until its deadline.",
        &[
            "No instance of the service is running, or none has registered yet.",
            "The labels of a subset fit no instance.",
            "The name in DNS has no address (see M2011 when it does not resolve).",
            "All instances lost their lease (M5001).",
        ],
        &[
            "`meshctl endpoints SERVICE` shows what the registry holds.",
            "`meshctl check` names instances whose lease was lost.",
            "Compare the labels of the instances with the subset in the policy: \
             `meshctl explain SERVICE`.",
        ],
    ),
    call(
        ErrorKind::Ejected,
        "no endpoint could serve the call",
        "Endpoints exist, but every attempt failed or was not possible: endpoints that fail are \
         ejected for a time. The message counts what was tried and what was ejected.",
        &[
            "The instances fail: crashed, overloaded, or a broken release.",
            "Connections to them are refused or time out (M2010).",
            "The retry budget was empty, so the call was not tried elsewhere (M2013).",
        ],
        &[
            "`meshctl endpoints SERVICE` shows each endpoint's state and why it was ejected.",
            "`meshctl stat --to SERVICE` shows whether all callers see it.",
            "Look at the logs of the instance in the first attempt of the story.",
        ],
    ),
    call(
        ErrorKind::BreakerOpen,
        "the breaker is open",
        "Too many of the last calls to the service failed or were slow, so calls are refused for a while \
         without being sent. After that a few calls (10) are let through to see whether it recovered.",
        &[
            "The service fails, or answers too slowly.",
            "The breaker's thresholds are tighter than the service's usual failure rate.",
        ],
        &[
            "`meshctl stat --to SERVICE` shows the failures that opened it.",
            "`meshctl explain SERVICE` shows the thresholds and where they are set.",
        ],
    ),
    call(
        ErrorKind::Ceiling,
        "a ceiling was reached",
        "A limit on what this process may have open towards the service was reached: connections, \
         calls waiting for one, calls or retries (1024, 1024, 1024 and 3 unless the policy says \
         otherwise). The call was refused at once.",
        &[
            "The service became slow, so calls pile up.",
            "The load of this process is higher than the ceiling allows for.",
            "Bodies of answers are not read to their end: a call ends only then.",
        ],
        &[
            "`meshctl stat --to SERVICE` shows latency and calls; slow answers come first.",
            "Raise the limit that the message names under `ceilings` of a `BackendPolicy`.",
        ],
    ),
    call(
        ErrorKind::Throttled,
        "the client holds calls back",
        "The service refuses most calls as overloaded, so this client sends only part of them \
         until that changes.",
        &[
            "The service is overloaded (M2014).",
            "One instance answers for all of them and refuses.",
        ],
        &[
            "`meshctl stat --to SERVICE` shows how much is refused.",
            "Give the service more capacity, or have callers mark work that may be dropped with \
             `x-mesh-criticality: sheddable`.",
        ],
    ),
    call(
        ErrorKind::RateLimited,
        "a rate limit was reached",
        "The caller made more calls than its limit allows. The answer says in `Retry-After` when \
         the next call would be allowed.",
        &[
            "A burst above the limit.",
            "A loop, or a job that runs more often than it should.",
            "Several callers share one identity and so one limit.",
        ],
        &[
            "Wait for the time in `Retry-After`.",
            "`meshctl stat --to SERVICE` shows who calls how often.",
        ],
    ),
    call(
        ErrorKind::Deadline,
        "the deadline passed",
        "The time for the whole call was over before an answer came: the caller's remaining time, \
         or the route's `timeouts.request` (15 s unless the policy says otherwise), whichever is \
         shorter. All attempts and pauses between them count, and of an upload the time since its last \
         piece (`grpc-timeout`: since the start).",
        &[
            "The service is slow, or waits for something that is.",
            "The caller gave too little time; the story says who set the deadline.",
            "Several attempts of `timeouts.backendRequest` do not fit into the request's time \
             (M3011).",
        ],
        &[
            "`meshctl stat --to SERVICE` shows P50, P95 and P99 against the deadline.",
            "`meshctl endpoints SERVICE` shows whether one endpoint is slower than the rest.",
            "Change `timeouts.request` of the route, or the caller's own timeout.",
        ],
    ),
    call(
        ErrorKind::AttemptTimeout,
        "an attempt took too long",
        "One attempt did not answer within the route's `timeouts.backendRequest`, or its answer \
         began and then was silent for 5 minutes. The call may still have been processed, so it is \
         repeated only if its method is idempotent or the route says otherwise; an answer that has \
         begun is never repeated.",
        &[
            "One endpoint is slow or hangs.",
            "A stream has nothing to say for minutes: let it send something, if only a blank.",
            "The limit is below what the service takes at its busiest.",
        ],
        &[
            "`meshctl endpoints SERVICE` compares the latency of the endpoints.",
            "`meshctl explain SERVICE` shows the limit and where it is set.",
        ],
    ),
    call(
        ErrorKind::Connect,
        "no connection could be made",
        "The endpoint did not accept a connection within the connect timeout (1 s). Nothing was \
         sent, so the call may be made again elsewhere. The endpoint is passed over until a try \
         succeeds.",
        &[
            "The instance has stopped, and its address is still known.",
            "It listens on another port or only on another interface.",
            "A firewall or a network policy.",
        ],
        &[
            "`meshctl endpoints SERVICE` shows which endpoints are unreachable.",
            "`meshctl check` names instances that are gone.",
            "Try the address by hand: `nc -vz ADDRESS PORT`.",
        ],
    ),
    call(
        ErrorKind::Dns,
        "a name does not resolve",
        "The name that the service's endpoints come from has no answer in DNS. If there was an \
         answer before, that one stays in use.",
        &[
            "The name in the policy is misspelt.",
            "The DNS server does not answer, or answers that the name does not exist.",
            "SRV records were asked for and only addresses exist, or the reverse.",
        ],
        &[
            "`meshctl explain SERVICE` shows the name that is asked for.",
            "Ask for it by hand: `getent hosts NAME`.",
        ],
    ),
    call(
        ErrorKind::Protocol,
        "the peer broke the protocol",
        "The connection ended or was reset while the call was under way, or the answer was not \
         valid HTTP. Whether the call was processed is not known.",
        &[
            "The instance crashed or was killed in the middle of the call.",
            "Something that does not speak HTTP, or not this version, listens on the port.",
            "A device between closes connections that are idle.",
        ],
        &[
            "Look at the logs of the instance in the story at that time.",
            "`meshctl endpoints SERVICE` shows whether one endpoint does it.",
            "Check `appProtocol` of the service's port: `meshctl explain SERVICE`.",
        ],
    ),
    call(
        ErrorKind::BudgetEmpty,
        "the retry budget is empty",
        "The call failed and could have been tried again, but retries are limited to 20 % of the \
         calls of the last 10 s plus 10 a second. The limit keeps retries from turning a partial \
         outage into a complete one.",
        &[
            "Much of the service is failing: see the attempts in the story.",
            "The budget of the policy is smaller than the failure rate that it should cover.",
        ],
        &[
            "`meshctl stat --to SERVICE` shows failures and retries.",
            "`meshctl endpoints SERVICE` shows which endpoints fail.",
            "Change `retryBudget` of a `BackendPolicy` only when the service has room for it.",
        ],
    ),
    call(
        ErrorKind::Overloaded,
        "the service sheds load",
        "The service has more work than it can do and refuses part of it, the least critical \
         first. The call was not processed.",
        &[
            "More calls than the instances can serve.",
            "The instances became slower: a dependency, a lock, a full disk.",
        ],
        &[
            "`meshctl stat --to SERVICE` shows load and latency.",
            "Add instances, or wait for the time in `Retry-After`.",
        ],
    ),
    call(
        ErrorKind::Draining,
        "the process is shutting down",
        "The instance takes no new calls because it is stopping. The call was not processed and \
         may be made elsewhere at once.",
        &[
            "A release or a scale-down is under way.",
            "The caller still holds a connection from before.",
        ],
        &[
            "Nothing, if it passes: callers of the mesh go to another endpoint by themselves.",
            "`meshctl endpoints SERVICE` shows whether another instance is there.",
        ],
    ),
    call(
        ErrorKind::Unreached,
        "the application behind its shim did not take the call",
        "The shim in front of the application could not connect to it, or was refused before the \
         request was read. The call was not processed: callers of the mesh make it on another \
         instance.",
        &[
            "The application is starting, stopped or crashed while its shim runs on.",
            "The shim's `--port` is not the port on which the application listens.",
            "The application takes no more connections: its backlog or its file descriptors are used up.",
        ],
        &[
            "The message names the address: `curl -v http://ADDRESS/` on that machine.",
            "Look at the log of the application.",
            "`meshctl endpoints SERVICE` shows whether another instance is there.",
        ],
    ),
    call(
        ErrorKind::Unanswered,
        "the application broke off before its answer",
        "The application took the request from its shim and ended the connection without an answer. \
         It may have been processed: a call that may be repeated is made elsewhere if its route has a \
         retry policy, and others fail.",
        &[
            "The application crashed, was killed or restarted in the middle of the call.",
            "It closes idle connections after a very short time, and the request met the close.",
        ],
        &[
            "Look at the log of the application at that time.",
            "Give calls that may be repeated a `retry` in their route.",
        ],
    ),
    other(
        Code::FAULT_INJECTED,
        "a fault was injected",
        "A policy of kind `Fault` answered the call with an error, on purpose, to see how the caller \
         copes. Nothing was sent. The answer says so in `mesh-reason`; neither endpoints nor breakers \
         are blamed for it.",
        &[
            "A resource of kind `Fault` is attached to the route by `ExtensionRef`, or `fault` in the \
             short form.",
        ],
        &[
            "`meshctl explain SERVICE` shows the fault, whom it is meant for and when it ends.",
            "Delete the resource, or let it end by `expires`: `meshctl policy apply FILE`.",
        ],
    ),
    other(
        Code::DIRECT_RESPONSE,
        "the route answers itself",
        "A rule with a `DirectResponse` answered the call with an error status. No service was asked.",
        &["The rule is meant for it: maintenance, or a path that is closed to callers."],
        &["`meshctl explain SERVICE` shows the rule that answers, and where it stands."],
    ),
    call(
        ErrorKind::Internal,
        "a defect of the mesh",
        "Something happened that should not be possible, or the application's handler panicked. \
         The message and the log of the process say more.",
        &[
            "The handler panicked; the mesh answers for it and the process goes on.",
            "A defect of the mesh.",
        ],
        &[
            "Look at the log of the process that answered: `MESH_LOG=debug` says more.",
            "Report it with the whole story, as `{:#}` prints it.",
        ],
    ),
];
